//! Linked submissions: the next one begins when the one before it has ended.
//!
//! A chain is what one enter takes in a row up to the first submission without a link. An op that
//! fails, or that does less than it was asked for, breaks it: the rest is cancelled without having
//! begun. A hard link goes on all the same. As on Linux a submission that is refused as such fails
//! its whole chain, while a descriptor is looked for only when its op begins.

use super::arguments::is_allowed;
use super::kernel::{Args, HostId, InFlight, Kernel, RingId, Stage};
use super::table::Id;
use crate::ring::opcode;
use crate::ring::sqe::RawSqe;

const LINKS: u8 = opcode::IO_LINK | opcode::IO_HARDLINK;

/// Whether another submission follows in its chain.
pub(super) fn is_linked(sqe: &RawSqe) -> bool {
    sqe.flags & LINKS != 0
}

impl Kernel {
    /// Takes submissions that were made together, chain by chain.
    pub(super) fn submit_all(&mut self, ring: RingId, mut sqes: &[RawSqe]) {
        while let Some(first) = sqes.first() {
            let linked = sqes.iter().take_while(|sqe| is_linked(sqe)).count();
            if linked == 0 {
                self.submit(ring, first);
                sqes = &sqes[1..];
            } else {
                let (chain, rest) = sqes.split_at((linked + 1).min(sqes.len()));
                self.submit_chain(ring, chain);
                sqes = rest;
            }
        }
    }

    fn submit_chain(&mut self, ring: RingId, chain: &[RawSqe]) {
        let host = self.rings[ring].host;
        for sqe in chain {
            let name = &self.hosts[host].name;
            self.trace.submitted(self.now_ns, ring, name, sqe);
            self.adversary.coverage.submitted(sqe.opcode);
        }
        if let Some(refused) = chain.iter().position(|sqe| !is_allowed(sqe.opcode)) {
            for (at, sqe) in chain.iter().enumerate() {
                let errno = if at == refused {
                    libc::EACCES
                } else {
                    libc::ECANCELED
                };
                self.post(ring, sqe, -errno, 0);
            }
            return;
        }
        let ids: Vec<Id> = chain
            .iter()
            .map(|sqe| self.take_linked(ring, host, sqe))
            .collect();
        if let Some((&head, rest)) = ids.split_first() {
            self.go_on(head, rest.to_vec());
        }
    }

    /// An op that has not begun.
    fn take_linked(&mut self, ring: RingId, host: HostId, sqe: &RawSqe) -> Id {
        match self.take(ring, host, sqe) {
            Ok(id) => {
                if let Some(op) = self.ops.find_mut(id) {
                    op.stage = Stage::Linked;
                }
                id
            }
            Err(errno) => self.ops.insert(InFlight {
                stage: Stage::Refused(errno),
                ..InFlight::new(ring, sqe, None, Args::None)
            }),
        }
    }

    fn go_on(&mut self, id: Id, rest: Vec<Id>) {
        let Some(op) = self.ops.find_mut(id) else {
            return;
        };
        op.rest = rest;
        if let Stage::Refused(errno) = op.stage {
            return self.finish(id, -errno, 0);
        }
        op.stage = Stage::Due;
        if op.sqe.opcode == opcode::ASYNC_CANCEL {
            let (ring, sqe) = (op.ring, op.sqe);
            let result = self.cancel_by(ring, &sqe);
            return self.finish(id, result, 0);
        }
        self.begin(id);
    }

    /// An op with this result has ended: what was linked to it begins, or never will.
    pub(super) fn continue_chain(&mut self, op: InFlight, result: i32) {
        let (sqe, rest) = (&op.sqe, op.rest);
        let is_hard = sqe.flags & opcode::IO_HARDLINK != 0;
        let is_refused = matches!(op.stage, Stage::Refused(_)) || result == -libc::ECANCELED;
        if !is_hard && (is_refused || breaks(sqe, result)) {
            for id in rest {
                self.finish(id, -libc::ECANCELED, 0);
            }
        } else if let Some((&next, rest)) = rest.split_first() {
            self.go_on(next, rest.to_vec());
        }
    }
}

/// Whether it counts as failed: less than was asked for does, where all of it was asked for. What
/// some operations fail with does not, though the kernel's manual says so.
fn breaks(sqe: &RawSqe, result: i32) -> bool {
    let wants_all = match sqe.opcode {
        opcode::FSYNC
        | opcode::FTRUNCATE
        | opcode::STATX
        | opcode::RENAMEAT
        | opcode::UNLINKAT
        | opcode::MKDIRAT => return false,
        opcode::READ | opcode::WRITE => true,
        opcode::SEND | opcode::SENDMSG | opcode::SEND_ZC | opcode::RECV => {
            sqe.op_flags & libc::MSG_WAITALL.cast_unsigned() != 0
        }
        _ => false,
    };
    let len = i32::try_from(sqe.len).unwrap_or(i32::MAX);
    result < 0 || wants_all && sqe.opcode != opcode::SENDMSG && result < len
}
