//! What a run did: a digest always, lines for a reader if they are asked for.

use std::collections::VecDeque;

use super::faults::name_of;
use super::number::without_world;
use crate::ring::cqe::Cqe;
use crate::ring::opcode;
use crate::ring::sqe::RawSqe;

/// Lines that are kept: the end of a run is where it failed.
const LINES: usize = 100_000;

#[derive(Debug)]
pub(crate) struct Trace {
    digest: u64,
    lines: Option<VecDeque<String>>,
}

impl Trace {
    pub(super) fn new() -> Trace {
        Trace {
            digest: 0xcbf2_9ce4_8422_2325,
            lines: None,
        }
    }

    /// Keeps lines from now on.
    pub(super) fn record(&mut self) {
        self.lines = Some(VecDeque::new());
    }

    /// A number that two runs share only if the same submissions and completions went through the
    /// same rings in the same order at the same times.
    pub(crate) fn digest(&self) -> u64 {
        self.digest
    }

    /// Takes the lines that were kept.
    pub(crate) fn take_lines(&mut self) -> VecDeque<String> {
        self.lines.take().unwrap_or_default()
    }

    pub(super) fn is_recorded(&self) -> bool {
        self.lines.is_some()
    }

    fn mix(&mut self, value: u64) {
        self.digest = (self.digest ^ value)
            .wrapping_mul(0x9fb2_1c65_1e98_df25)
            .rotate_left(29);
    }

    /// Addresses stay out of the digest: the allocator chooses them.
    pub(super) fn submitted(&mut self, now_ns: u64, ring: usize, host: &str, sqe: &RawSqe) {
        self.mix(now_ns);
        self.mix(ring as u64);
        self.mix(u64::from(sqe.opcode) << 32 | u64::from(sqe.len));
        self.mix(sqe.user_data);
        self.mix(without_world(sqe.fd).cast_unsigned().into());
        if self.is_recorded() {
            let (name, fd, len) = (name_of(sqe.opcode), Number(sqe.fd), sqe.len);
            let key = sqe.user_data;
            let operands = match sqe.opcode {
                opcode::READ | opcode::WRITE => format!(" fd {fd} len {len} at {}", sqe.off),
                // What `len` means besides is no length.
                opcode::RECV | opcode::SEND | opcode::SEND_ZC => format!(" fd {fd} len {len}"),
                opcode::ASYNC_CANCEL => format!(" of #{:x}", sqe.addr),
                _ if sqe.fd < 0 => String::new(),
                _ => format!(" fd {fd}"),
            };
            let text = format!("-> {name}{operands} #{key:x}");
            self.line(now_ns, host, &text);
        }
    }

    pub(super) fn completed(&mut self, now_ns: u64, ring: usize, host: &str, op: u8, cqe: Cqe) {
        self.mix(now_ns);
        self.mix(ring as u64);
        self.mix(cqe.user_data);
        let result = without_world(cqe.res);
        self.mix(u64::from(result.cast_unsigned()) << 32 | u64::from(cqe.flags));
        if self.is_recorded() {
            let name = name_of(op);
            let more = if cqe.is_more() { ", more follow" } else { "" };
            let result = match u32::try_from(cqe.res) {
                Ok(_) if result >= 1 << 30 => format!("fd {}", Number(result)),
                Ok(result) => result.to_string(),
                Err(_) => std::io::Error::from_raw_os_error(-cqe.res).to_string(),
            };
            let key = cqe.user_data;
            self.line(
                now_ns,
                host,
                &format!("<- {name} = {result}{more} #{key:x}"),
            );
        }
    }

    /// Something that is neither, for the reader.
    pub(super) fn note(&mut self, now_ns: u64, host: &str, text: impl FnOnce() -> String) {
        if self.is_recorded() {
            self.line(now_ns, host, &text());
        }
    }

    fn line(&mut self, now_ns: u64, host: &str, text: &str) {
        let Some(lines) = &mut self.lines else { return };
        if lines.len() == LINES {
            lines.pop_front();
        }
        let ms = now_ns as f64 / 1e6;
        lines.push_back(format!("{ms:>14.6} ms  {host:<10} {text}"));
    }
}

/// A descriptor's number without what tells it from a real one.
pub(super) struct Number(pub(super) i32);

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let number = if self.0 < 0 { self.0 } else { self.0 & 0xffff };
        write!(f, "{number}")
    }
}
