//! An op's way: taken, tried until it does not have to wait, completed.

use super::errnos::On;
use super::faults::{Fault, errnos, errnos_of_pipe, errnos_of_unix, runs_on_worker};
use super::kernel::{Args, Event, HostId, InFlight, Kernel, RingId, Stage};
use super::table::Id;
use crate::ring::cqe::Cqe;
use crate::ring::opcode;
use crate::ring::sqe::RawSqe;

pub(super) const MORE: u32 = 1 << 1;
pub(super) const NOTIFICATION: u32 = 1 << 3;
/// A multishot op gives way to others after this many results.
const IN_A_ROW: u32 = 32;
/// A worker takes this long at most, nanoseconds.
const WORK_NS: u64 = 200_000;
/// What workers have ended is seen at multiples of this, nanoseconds.
const BATCH_NS: u64 = 16_384;

/// What came of trying an op.
#[derive(Debug)]
pub(super) enum Tried {
    /// Its result and the completion's flags.
    Done(i32, u32),
    /// The same, and it goes on.
    Item(i32, u32),
    /// A zero-copy send has sent: its notification follows.
    Sent(i32, Vec<u8>),
    /// It waits for its object.
    Wait,
}

impl Tried {
    pub(super) fn failed(errno: i32) -> Tried {
        Tried::Done(-errno, 0)
    }

    pub(super) fn of(result: Result<i32, i32>) -> Tried {
        match result {
            Ok(result) => Tried::Done(result, 0),
            Err(errno) => Tried::failed(errno),
        }
    }
}

impl Kernel {
    /// Takes one submission.
    ///
    /// What it lends is the kernel's until its final completion was popped: `Ring::push`'s callers
    /// have promised that (see `Sqe::into_raw`).
    pub(super) fn submit(&mut self, ring: RingId, sqe: &RawSqe) {
        let host = self.rings[ring].host;
        let name = &self.hosts[host].name;
        self.trace.submitted(self.now_ns, ring, name, sqe);
        self.adversary.coverage.submitted(sqe.opcode);
        if sqe.opcode == opcode::ASYNC_CANCEL {
            return self.cancel(ring, sqe);
        }
        match self.take(ring, host, sqe) {
            Ok(id) => self.begin(id),
            Err(errno) => self.post(ring, sqe, -errno, 0),
        }
    }

    pub(super) fn take(&mut self, ring: RingId, host: HostId, sqe: &RawSqe) -> Result<Id, i32> {
        if self.hosts[host].is_down || self.rings[ring].is_gone {
            return Err(libc::ECANCELED);
        }
        if !super::arguments::is_allowed(sqe.opcode) {
            return Err(libc::EACCES);
        }
        let args = super::arguments::take(sqe)?;
        if self.trace.is_recorded() {
            let texts = args.texts();
            if !texts.is_empty() {
                self.note(host, || format!("   {texts}"));
            }
        }
        let object = if super::arguments::has_descriptor(sqe.opcode) {
            let object = self.object_of(host, sqe.fd)?;
            if let Some(object) = self.objects.find_mut(object) {
                object.references += 1;
            }
            Some(object)
        } else {
            None
        };
        Ok(self.ops.insert(InFlight::new(ring, sqe, object, args)))
    }

    /// Tries an op that was just taken, or leaves it to a worker.
    pub(super) fn begin(&mut self, id: Id) {
        let Some(op) = self.ops.find(id) else { return };
        let (code, object) = (op.sqe.opcode, op.object);
        let late = self.adversary.strikes(Fault::Late, code);
        if late || self.needs_worker(code, object) {
            let delay = 1_000 + self.adversary.below("a worker's delay", WORK_NS);
            // Several end at once, as on a machine that has been busy, and are then in any order.
            let delay = delay + (self.now_ns + delay).wrapping_neg() % BATCH_NS;
            self.after(delay, Event::Due(id));
        } else {
            self.attempt(id);
        }
    }

    /// Whether a worker has to do it. Pipes are polled instead.
    pub(super) fn needs_worker(&self, code: u8, object: Option<Id>) -> bool {
        runs_on_worker(code) && !self.is_pipe(object)
    }

    /// Tries what is due on a ring.
    pub(super) fn run_due(&mut self, ring: RingId) {
        // What becomes due meanwhile waits for the next enter.
        for _ in 0..self.rings[ring].due.len() {
            let due = &self.rings[ring].due;
            let Some(first) = due.front().and_then(|first| self.ops.find(*first)) else {
                self.rings[ring].due.pop_front();
                continue;
            };
            let (code, len) = (first.sqe.opcode, due.len());
            let mut at = 0;
            if len > 1 && self.adversary.strikes(Fault::Reordered, code) {
                at = self.adversary.below("who is first", len as u64) as usize;
            }
            if let Some(id) = self.rings[ring].due.remove(at) {
                self.attempt(id);
            }
        }
    }

    pub(super) fn attempt(&mut self, id: Id) {
        for _ in 0..IN_A_ROW {
            let Some(op) = self.ops.find(id) else { return };
            let (ring, sqe, object) = (op.ring, op.sqe, op.object);
            match self.try_op(id, &sqe) {
                Tried::Done(result, flags) => return self.finish(id, result, flags),
                Tried::Item(result, flags) => {
                    self.may_fill_up(ring, sqe.opcode);
                    if self.rings[ring].is_full()
                        || self.adversary.strikes(Fault::MultishotEnd, sqe.opcode)
                    {
                        return self.finish(id, result, flags);
                    }
                    self.post(ring, &sqe, result, flags | MORE);
                    // One more try would ask for a buffer.
                    if sqe.opcode == opcode::RECV && !self.is_readable(object) {
                        return self.wait(id);
                    }
                }
                Tried::Sent(result, bytes) => return self.notify_later(id, result, bytes),
                Tried::Wait => return self.wait(id),
            }
        }
        self.make_due(id);
    }

    fn wait(&mut self, id: Id) {
        let Some(op) = self.ops.find_mut(id) else {
            return;
        };
        if op.is_cancelled {
            let done = i32::try_from(op.done).unwrap_or(i32::MAX);
            let result = if done > 0 { done } else { -libc::ECANCELED };
            return self.end_cancelled(id, result);
        }
        op.stage = Stage::Waiting;
        let object = op.object;
        if let Some(object) = object.and_then(|object| self.objects.find_mut(object)) {
            object.waiters.push(id);
        }
    }

    fn try_op(&mut self, id: Id, sqe: &RawSqe) -> Tried {
        let Some(op) = self.ops.find(id) else {
            return Tried::failed(libc::EIO);
        };
        if let Stage::Sent(before) = &op.stage {
            if let Args::Memory(lent) = op.args {
                let same = lent.read(before.len()) == *before;
                assert!(same, "a buffer was changed before its notification");
            }
            return Tried::Done(0, NOTIFICATION);
        }
        let (host, object) = (self.rings[op.ring].host, op.object);
        if self.hosts[host].is_down {
            return Tried::failed(libc::ECANCELED);
        }
        let on = self.on(object);
        if let Some(failed) = self.try_to_fail(id, host, (object, on), sqe) {
            return failed;
        }
        match (sqe.opcode, object) {
            (opcode::NOP, _) => Tried::Done(0, 0),
            (opcode::ACCEPT, Some(object)) => self.try_accept(object, sqe),
            (opcode::CONNECT, Some(object)) => self.try_connect(id, object),
            (opcode::RECV, Some(object)) => self.try_recv(id, object, sqe),
            (opcode::RECVMSG, Some(object)) if is_unix(on) => self.try_recv_parcel(id, object, sqe),
            (opcode::RECVMSG, Some(object)) => self.try_recvmsg(id, object, sqe),
            (opcode::SEND | opcode::SENDMSG, Some(object)) if on == On::UnixMessages => {
                self.try_send_parcel(id, object, sqe)
            }
            (opcode::SEND | opcode::SENDMSG, Some(object)) if on == On::Udp => {
                self.try_send_message(id, object, sqe)
            }
            (opcode::SEND | opcode::SENDMSG | opcode::SEND_ZC, Some(object)) => {
                self.try_send(id, object, sqe)
            }
            (opcode::POLL_ADD, Some(object)) => self.try_poll(object, sqe.op_flags),
            (opcode::READ, Some(object)) => self.try_read(id, object, sqe),
            (opcode::WRITE, Some(object)) => self.try_write(id, object, sqe),
            (opcode::FSYNC, Some(object)) => Tried::of(self.fsync(object)),
            (opcode::FTRUNCATE, Some(object)) => Tried::of(self.truncate(object, sqe.off)),
            (opcode::CLOSE, _) => Tried::of(self.close(host, sqe.fd).map(|()| 0)),
            (opcode::MSG_RING, Some(object)) => Tried::of(self.message(object, sqe)),
            (
                opcode::OPENAT
                | opcode::STATX
                | opcode::RENAMEAT
                | opcode::UNLINKAT
                | opcode::MKDIRAT,
                _,
            ) => Tried::of(self.path_op(id, host, sqe)),
            _ => Tried::failed(libc::EINVAL),
        }
    }

    /// What an op fails with before anything is tried, if it does.
    fn try_to_fail(
        &mut self,
        id: Id,
        host: HostId,
        (object, on): (Option<Id>, On),
        sqe: &RawSqe,
    ) -> Option<Tried> {
        let on_worker = runs_on_worker(sqe.opcode) && on != On::Pipe;
        if on_worker && self.adversary.strikes(Fault::GivenUp, sqe.opcode) {
            return Some(Tried::failed(libc::ECANCELED));
        }
        let is_unix = is_unix(on);
        if is_unix && sqe.opcode == opcode::SEND_ZC {
            return Some(Tried::Sent(-libc::EOPNOTSUPP, Vec::new()));
        }
        if is_unix && self.passes_descriptors(id) {
            return Some(Tried::failed(libc::EBADF));
        }
        let mut errno = self.adversary.forced(sqe.opcode, on);
        if errno.is_none() {
            let errnos = match () {
                () if is_unix => errnos_of_unix(sqe.opcode),
                () if on == On::Pipe => errnos_of_pipe(sqe.opcode),
                () => errnos(sqe.opcode),
            };
            errno = self.adversary.errno(sqe.opcode, errnos);
            if let Some(object) = object.filter(|_| on == On::Udp) {
                errno = errno.map(|errno| self.errno_of_messages(object, errno));
            }
            if errno.is_none() && self.is_of_a_disk(host, on, sqe) {
                errno = self.adversary.disk_errno(sqe.opcode);
            }
        }
        errno.map(|errno| self.fail(host, object, sqe, errno))
    }

    /// Whether an op works on a file or a name.
    fn is_of_a_disk(&self, host: HostId, on: On, sqe: &RawSqe) -> bool {
        match sqe.opcode {
            opcode::CLOSE => {
                let closed = self.object_of(host, sqe.fd);
                closed.is_ok_and(|object| self.on(Some(object)) == On::File)
            }
            _ => matches!(on, On::File | On::Nothing),
        }
    }

    /// An error that the adversary has chosen, with what belongs to it.
    fn fail(&mut self, host: HostId, object: Option<Id>, sqe: &RawSqe, errno: i32) -> Tried {
        match (sqe.opcode, object) {
            // One that nobody has run has done nothing.
            _ if errno == libc::ECANCELED => {}
            // The number is released whatever close reports.
            (opcode::CLOSE, _) => {
                let _ = self.close(host, sqe.fd);
            }
            (opcode::ACCEPT, Some(object)) if errno == libc::ECONNABORTED => {
                self.abort_first(object);
            }
            (opcode::RECV | opcode::SEND | opcode::SENDMSG | opcode::SEND_ZC, Some(object))
                if !is_of_the_call(errno) =>
            {
                self.break_connection(object);
            }
            (opcode::FSYNC, Some(object)) if !is_of_the_call(errno) => self.doom(object),
            _ => {}
        }
        let is_refused = matches!(errno, libc::EBADF | libc::EINVAL | libc::ENOMEM);
        if sqe.opcode == opcode::SEND_ZC && !is_refused {
            // Its notification was made before it was tried, and comes all the same.
            return Tried::Sent(-errno, Vec::new());
        }
        Tried::failed(errno)
    }

    fn notify_later(&mut self, id: Id, result: i32, bytes: Vec<u8>) {
        let Some(op) = self.ops.find_mut(id) else {
            return;
        };
        op.stage = Stage::Sent(bytes);
        let (ring, sqe) = (op.ring, op.sqe);
        self.post(ring, &sqe, result, MORE);
        let mut delay = 1_000;
        if self.adversary.strikes(Fault::LateNotification, sqe.opcode) {
            delay += self.adversary.below("a notification's delay", 50_000_000);
        }
        self.after(delay, Event::Due(id));
    }

    /// Ends an op that a cancel has found.
    pub(super) fn end_cancelled(&mut self, id: Id, result: i32) {
        let code = self.ops.find(id).map(|op| op.sqe.opcode);
        if code == Some(opcode::SEND_ZC) {
            // Its notification was made when it was submitted.
            self.notify_later(id, result, Vec::new());
        } else {
            self.finish(id, result, 0);
        }
    }

    /// Posts an op's final completion.
    pub(super) fn finish(&mut self, id: Id, result: i32, flags: u32) {
        let Some(op) = self.ops.remove(id) else {
            return;
        };
        // The kernel may be at work in lent memory until this moment, whatever the result.
        for lent in op.args.lent() {
            lent.touch(super::arguments::writes(op.sqe.opcode));
        }
        self.post(op.ring, &op.sqe, result, flags);
        if let Some(object) = op.object {
            self.release(object);
        }
        if !op.rest.is_empty() {
            self.continue_chain(op, result);
        }
    }

    /// Posts a completion of `sqe`.
    pub(super) fn post(&mut self, ring: RingId, sqe: &RawSqe, result: i32, flags: u32) {
        if sqe.flags & opcode::SKIP_SUCCESS != 0 && result >= 0 {
            return;
        }
        let cqe = Cqe {
            user_data: sqe.user_data,
            res: result,
            flags,
        };
        let host = self.rings[ring].host;
        let name = &self.hosts[host].name;
        self.trace
            .completed(self.now_ns, ring, name, sqe.opcode, cqe);
        if flags & MORE == 0 {
            self.may_fill_up(ring, sqe.opcode);
        }
        self.post_raw(ring, sqe.opcode, cqe);
    }

    /// The completion queue may turn out to be full, as if there had been more completions.
    fn may_fill_up(&mut self, ring: RingId, op: u8) {
        if self.adversary.wants(Fault::Overflow, op) {
            self.rings[ring].fills_up = true;
        }
    }

    fn post_raw(&mut self, ring: RingId, op: u8, cqe: Cqe) {
        let ring = &mut self.rings[ring];
        ring.stirred.set(true);
        if ring.is_full() {
            self.adversary.coverage.count(op, Fault::Overflow);
            ring.overflow.push_back(cqe);
        } else {
            ring.cq.push_back(cqe);
        }
    }

    /// Puts a completion on another ring.
    fn message(&mut self, object: Id, sqe: &RawSqe) -> Result<i32, i32> {
        let object = self.objects.find(object).ok_or(libc::EBADF)?;
        let super::object::OpenFile::Ring(target) = object.file else {
            return Err(libc::EBADFD);
        };
        if self.rings[target].is_gone {
            return Err(libc::EOWNERDEAD);
        }
        let res = sqe.len.cast_signed();
        let user_data = sqe.off;
        let flags = 0;
        self.may_fill_up(target, sqe.opcode);
        self.post_raw(
            target,
            sqe.opcode,
            Cqe {
                user_data,
                res,
                flags,
            },
        );
        Ok(0)
    }
}

fn is_unix(on: On) -> bool {
    matches!(on, On::Unix | On::UnixMessages)
}

/// Whether an errno says something of one call, and nothing of the object.
fn is_of_the_call(errno: i32) -> bool {
    matches!(
        errno,
        libc::ENOMEM
            | libc::ENOBUFS
            | libc::EBADF
            | libc::EINVAL
            | libc::EINTR
            | libc::EPERM
            | libc::EACCES
            | libc::EOPNOTSUPP
    )
}
