//! Cancelling, and who wins.

use super::errnos::On;
use super::faults::Fault;
use super::kernel::{Kernel, RingId, Stage};
use super::table::Id;
use crate::ring::opcode;
use crate::ring::sqe::RawSqe;

/// `ERESTARTSYS`: what an interrupted system call says inside the kernel, and workers let out.
const ERESTARTSYS: i32 = 512;

impl Kernel {
    pub(super) fn cancel(&mut self, ring: RingId, sqe: &RawSqe) {
        let any = opcode::CANCEL_ANY | opcode::CANCEL_ALL;
        if sqe.op_flags & any == any {
            let all: Vec<Id> = self.of_ring(ring).collect();
            let found = all.into_iter().filter(|&id| self.cancel_one(id).is_ok());
            let found = found.count() as i32;
            return self.post(ring, sqe, found, 0);
        }
        let result = self.cancel_by(ring, sqe);
        self.post(ring, sqe, result, 0);
    }

    /// Cancels one op, and says what the cancel says.
    pub(super) fn cancel_by(&mut self, ring: RingId, sqe: &RawSqe) -> i32 {
        let target = self.of_key(ring, sqe.addr);
        let result = target
            .ok_or(libc::ENOENT)
            .and_then(|id| self.cancel_one(id));
        result.map_or_else(|errno| -errno, |()| 0)
    }

    /// The op in flight that was submitted with this key, the last one if there are several. Looked
    /// for: to be found at once, each op would have to be entered somewhere, and few are cancelled.
    fn of_key(&self, ring: RingId, key: u64) -> Option<Id> {
        let ops = self.ops.iter();
        let named = ops.filter(|(_, op)| op.sqe.user_data == key && op.ring == ring);
        named.map(|(id, _)| id).max_by_key(Id::age)
    }

    /// The ops in flight of a ring.
    pub(super) fn of_ring(&self, ring: RingId) -> impl Iterator<Item = Id> {
        let ops = self.ops.iter();
        ops.filter(move |(_, op)| op.ring == ring).map(|(id, _)| id)
    }

    fn cancel_one(&mut self, id: Id) -> Result<(), i32> {
        let op = self.ops.find(id).ok_or(libc::ENOENT)?;
        let (code, stage, done) = (op.sqe.opcode, op.stage.clone(), op.done);
        let object = op.object;
        // Sent: what is left is the notification, which no cancel reaches. What has not begun is on
        // no list that a cancel looks at.
        if matches!(stage, Stage::Sent(_) | Stage::Linked | Stage::Refused(_)) {
            return Err(libc::ENOENT);
        }
        let forced = self.adversary.forced(opcode::ASYNC_CANCEL, On::Nothing);
        let missed = forced == Some(libc::ENOENT);
        if missed || self.adversary.strikes(Fault::CancelMissed, code) {
            return Err(libc::ENOENT);
        }
        let lost = self.adversary.strikes(Fault::CancelLost, code);
        let running = stage == Stage::Due && self.adversary.below("already running", 2) == 1;
        let running = running || forced == Some(libc::EALREADY);
        if lost || running {
            if let Some(op) = self.ops.find_mut(id) {
                op.is_cancelled = true;
            }
            if stage == Stage::Waiting {
                self.make_due(id);
            }
            return if lost { Ok(()) } else { Err(libc::EALREADY) };
        }
        let errno = if self.needs_worker(code, object) {
            let errnos = [libc::ECANCELED, libc::EINTR, ERESTARTSYS];
            errnos[self.adversary.below("errno of a cancelled op", 3) as usize]
        } else {
            libc::ECANCELED
        };
        // A send that has sent a part reports the part.
        let result = if done > 0 { done as i32 } else { -errno };
        self.end_cancelled(id, result);
        Ok(())
    }
}
