//! Every choice that the simulated kernel has, made by a seed.
//!
//! The n-th choice of a run is a hash of the seed and n, not the n-th output of a generator: when a
//! choice is taken back to find a shorter schedule, the others keep their values. 0 is always the
//! harmless one: no fault, no delay, first come first served.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::errnos::On;
use super::faults::{Coverage, Fault, Faults, disk_errnos};
use super::opcodes::Opcodes;
use crate::ring::opcode;

/// What each kind of fault can happen to, for a look at each of them at each operation.
const CONCERNED: [Opcodes; Fault::ALL.len()] = {
    let mut concerned = [Opcodes::NONE; Fault::ALL.len()];
    let mut at = 0;
    while at < Fault::ALL.len() {
        let mut op = 0;
        while op < Opcodes::MAX {
            if Fault::ALL[at].concerns(op) {
                concerned[at] = concerned[at].and(op);
            }
            op += 1;
        }
        at += 1;
    }
    concerned
};

/// Probabilities are counted in this.
const WHOLE: f64 = 4_294_967_296.0;

/// One choice that was not the harmless one.
#[derive(Clone, Debug)]
pub(crate) struct Choice {
    pub(crate) number: u64,
    pub(crate) at_ns: u64,
    pub(crate) what: &'static str,
    pub(crate) value: u64,
}

/// An error to be forced on one operation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Forced {
    pub(crate) op: u8,
    pub(crate) on: On,
    /// Which of those operations, from 0.
    pub(crate) nth: u64,
    pub(crate) errno: i32,
}

#[derive(Debug)]
pub(crate) struct Adversary {
    seed: u64,
    next: u64,
    rates: [u32; Fault::ALL.len()],
    /// Only these choices count, if it is set; the others are harmless.
    keep: Option<Rc<BTreeSet<u64>>>,
    forced: Option<Forced>,
    pub(super) coverage: Coverage,
    /// What was chosen, if it is recorded.
    pub(crate) chosen: Option<Vec<Choice>>,
    pub(super) now_ns: u64,
}

impl Adversary {
    pub(super) fn new(seed: u64, faults: &Faults, keep: Option<Rc<BTreeSet<u64>>>) -> Adversary {
        let mut rates = [0; Fault::ALL.len()];
        for fault in Fault::ALL {
            let off = faults.is_swarm() && mix(seed ^ 0x5151, fault.index() as u64) & 1 == 0;
            if !off {
                let rate = (faults.rate_of(fault) * WHOLE).min(WHOLE - 1.0);
                rates[fault.index()] = rate as u32;
            }
        }
        Adversary {
            seed,
            next: 0,
            rates,
            keep,
            forced: None,
            coverage: Coverage::default(),
            chosen: None,
            now_ns: 0,
        }
    }

    pub(super) fn force(&mut self, forced: Forced) {
        self.forced = Some(forced);
    }

    /// Strikes no more.
    pub(super) fn calm(&mut self) {
        self.rates = [0; Fault::ALL.len()];
    }

    /// Writes every choice down from now on.
    pub(super) fn record(&mut self) {
        self.chosen = Some(Vec::new());
    }

    /// A number for the set-up of a run, the same whatever else is chosen.
    pub(super) fn fixed(&self, what: u64, below: u64) -> u64 {
        mix(self.seed ^ 0xf1de, what) % below.max(1)
    }

    /// A number below `n`.
    pub(crate) fn below(&mut self, what: &'static str, n: u64) -> u64 {
        if n <= 1 {
            return 0;
        }
        let (number, value) = self.draw();
        let value = value % n;
        self.settle(what, number, value)
    }

    /// Whether `fault` happens to `op` now.
    pub(super) fn strikes(&mut self, fault: Fault, op: u8) -> bool {
        let strikes = self.wants(fault, op);
        if strikes {
            self.coverage.count(op, fault);
        }
        strikes
    }

    /// The same, of what is counted where its effect is seen.
    #[inline]
    pub(super) fn wants(&mut self, fault: Fault, op: u8) -> bool {
        let rate = self.rates[fault.index()];
        rate > 0 && CONCERNED[fault.index()].has(op) && self.draws(fault, rate)
    }

    fn draws(&mut self, fault: Fault, rate: u32) -> bool {
        let (number, value) = self.draw();
        let strikes = (value >> 32) < u64::from(rate);
        strikes && self.settle(name(fault), number, 1) == 1
    }

    /// The errno that is forced on this try of `op`, if it is its turn.
    pub(super) fn forced(&mut self, op: u8, on: On) -> Option<i32> {
        let forced = self.forced.as_mut()?;
        if (forced.op, forced.on) != (op, on) {
            return None;
        }
        if forced.nth > 0 {
            forced.nth -= 1;
            return None;
        }
        let errno = forced.errno;
        self.forced = None;
        // What no program is told of excuses nothing.
        let fault = match (op, errno) {
            (opcode::ASYNC_CANCEL, _) => Fault::CancelMissed,
            (_, libc::ECANCELED) => Fault::GivenUp,
            _ => Fault::Error,
        };
        self.coverage.count(op, fault);
        Some(errno)
    }

    /// The one of these errnos that `op` fails with now, if it does.
    pub(super) fn errno(&mut self, op: u8, errnos: &[i32]) -> Option<i32> {
        self.one_of(Fault::Error, op, errnos)
    }

    /// The errno that `op` on a file fails with now because of its disk, if it does.
    pub(super) fn disk_errno(&mut self, op: u8) -> Option<i32> {
        self.one_of(Fault::DiskError, op, disk_errnos(op))
    }

    fn one_of(&mut self, fault: Fault, op: u8, errnos: &[i32]) -> Option<i32> {
        if errnos.is_empty() || !self.strikes(fault, op) {
            return None;
        }
        let (_, value) = self.draw();
        Some(errnos[value as usize % errnos.len()])
    }

    fn draw(&mut self) -> (u64, u64) {
        let number = self.next;
        self.next += 1;
        (number, mix(self.seed, number))
    }

    fn settle(&mut self, what: &'static str, number: u64, value: u64) -> u64 {
        if value == 0
            || self
                .keep
                .as_ref()
                .is_some_and(|keep| !keep.contains(&number))
        {
            return 0;
        }
        if let Some(chosen) = &mut self.chosen {
            chosen.push(Choice {
                number,
                at_ns: self.now_ns,
                what,
                value,
            });
        }
        value
    }
}

fn name(fault: Fault) -> &'static str {
    match fault {
        Fault::Late => "late",
        Fault::Reordered => "reordered",
        Fault::Short => "short count",
        Fault::Error => "error",
        Fault::Reset => "connection reset",
        Fault::MultishotEnd => "multishot ended",
        Fault::NoBuffers => "no provided buffer",
        Fault::FlagMissing => "BUF_MORE left out",
        Fault::CancelMissed => "cancel missed its operation",
        Fault::CancelLost => "cancelled too late",
        Fault::GivenUp => "given up by a worker",
        Fault::LateNotification => "late notification",
        Fault::Interrupted => "enter interrupted",
        Fault::Busy => "enter busy",
        Fault::Lost => "datagram lost",
        Fault::Duplicated => "datagram came twice",
        Fault::DiskError => "disk error",
        Fault::Overflow => "completion queue full",
    }
}

/// A number that depends on every bit of both (the finaliser of SplitMix64).
pub(crate) fn mix(seed: u64, n: u64) -> u64 {
    let mut z = seed ^ n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
