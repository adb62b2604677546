//! Receiving one direction of a conversation, in every form.

use std::cell::Cell;
use std::collections::VecDeque;
use std::convert::identity;
use std::io;
use std::time::Duration;

use corering::buffers::Lease;
use corering::net::TcpStream;
use corering::time::sleep;

use crate::counts::{Half, Shared};
use crate::fate::{Failure, Fate, Fated};
use crate::pattern::Pattern;
use crate::random::Random;

const ROOM_MAX: u64 = 64 * 1024;
/// Leases that a slow reader holds.
const HELD_MAX: usize = 3;

pub(crate) struct Receiving<'a> {
    pub(crate) stream: &'a TcpStream,
    pub(crate) half: &'a Cell<Half>,
    pub(crate) pattern: Pattern,
    pub(crate) random: Random,
    pub(crate) shared: &'a Shared,
}

impl Receiving<'_> {
    /// Receives to the end of the stream, or until the peer is gone.
    pub(crate) async fn run(mut self) {
        // They must not change while they are held.
        let mut held = VecDeque::new();
        loop {
            if self.random.one_in(100) {
                sleep(self.random.time(Duration::from_millis(4))).await;
            }
            let fate = Fate::random(&mut self.random);
            let on = match self.random.below(8) {
                0..3 => self.recv(fate, &mut held).await,
                3..6 => self.read(fate).await,
                6 => self.parse(fate).await,
                _ => self.parse_more(fate).await,
            };
            if !on {
                break;
            }
            if held.len() > HELD_MAX || self.random.one_in(4) {
                self.release(held.pop_front());
            }
        }
        for lease in held {
            self.release(Some(lease));
        }
    }

    async fn recv(&mut self, fate: Fate, held: &mut VecDeque<(u64, Lease)>) -> bool {
        match fate.of(self.stream.recv(), identity, self.shared).await {
            Fated::Done(Ok(Some(lease))) => {
                let at = self.half.get().received;
                self.take(&lease);
                if self.random.one_in(4) {
                    held.push_back((at, lease));
                }
                true
            }
            Fated::Done(Ok(None)) => self.end(),
            Fated::Done(Err(error)) => self.goes_on(&error),
            _ => true,
        }
    }

    async fn read(&mut self, fate: Fate) -> bool {
        let room = self.random.size(ROOM_MAX) as usize;
        let read = self.stream.read(Vec::with_capacity(room));
        match fate.of(read, identity, self.shared).await {
            Fated::Done((Ok(0), _)) => self.end(),
            Fated::Done((Ok(n), buf)) => {
                if n != buf.len() {
                    self.shared
                        .fault(format!("{n} bytes read, {} there", buf.len()));
                }
                self.take(&buf);
                true
            }
            Fated::Done((Err(error), buf)) => {
                if buf.capacity() < room {
                    self.shared.fault("another buffer came back");
                }
                self.goes_on(&error)
            }
            _ => true,
        }
    }

    /// Looks at the inbox and takes a part of it.
    async fn parse(&mut self, fate: Fate) -> bool {
        match fate.of(self.stream.fill_buf(), identity, self.shared).await {
            Fated::Done(Ok(piece)) if piece.is_empty() => self.end(),
            Fated::Done(Ok(piece)) => {
                let part = self.random.size(ROOM_MAX).min(piece.len() as u64) as usize;
                if self.random.one_in(2) {
                    self.stream.consume(part);
                    self.take(&piece[..part]);
                } else {
                    self.take(&self.stream.consume_to_vec(part));
                }
                true
            }
            Fated::Done(Err(error)) => self.goes_on(&error),
            _ => true,
        }
    }

    /// Waits for more than the inbox holds in one piece. Takes nothing.
    async fn parse_more(&mut self, fate: Fate) -> bool {
        match fate
            .of(self.stream.fill_more(), identity, self.shared)
            .await
        {
            Fated::Done(Err(error)) if error.kind() != io::ErrorKind::UnexpectedEof => {
                // What came before the error is still there.
                Failure::of(&error, "fill_more", self.shared) != Failure::Fault
            }
            _ => true,
        }
    }

    fn take(&self, bytes: &[u8]) {
        check(self.half, self.pattern, bytes, self.shared);
    }

    fn release(&self, held: Option<(u64, Lease)>) {
        if let Some((at, lease)) = held
            && let Some(wrong) = self.pattern.wrong(at, &lease)
        {
            let text = format!("byte {wrong} has changed while its lease was held");
            self.shared.fault(text);
        }
    }

    fn end(&self) -> bool {
        let mut half = self.half.get();
        half.saw_end = true;
        self.half.set(half);
        false
    }

    fn goes_on(&self, error: &io::Error) -> bool {
        Failure::of(error, "read", self.shared) == Failure::Ended
    }
}

/// Compares what came next, and counts it.
pub(crate) fn check(half: &Cell<Half>, pattern: Pattern, bytes: &[u8], shared: &Shared) {
    let mut now = half.get();
    if let Some(wrong) = pattern.wrong(now.received, bytes) {
        let (at, len) = (now.received, bytes.len());
        shared.fault(format!("byte {wrong} is wrong, in {len} bytes from {at}"));
    }
    now.received += bytes.len() as u64;
    half.set(now);
}
