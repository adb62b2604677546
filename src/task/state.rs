//! The life of a task: its states, and who may touch what when.
//!
//! # Two words
//!
//! Two words decide everything between threads: one per task, `Header::word`, and one per core, the
//! head of its foreign queue. The *owner* is the thread of the core's `Tasks`, which is `!Send`.
//!
//! | where | what | who |
//! |---|---|---|
//! | `word` | `QUEUED`, `WAKE`, `MERGED`, the others' count | everybody with a claim |
//! | `link` | next in the foreign queue | who set `QUEUED`, then the owner (see the field) |
//! | `own`, `stage` | the owner's count, flags, lists, join waker; future or output | the owner |
//! | `core`, `vtable` | constant | everybody with a claim |
//! | the core's head | null, `PARKED`, `CLOSED`, or the newest task | everybody |
//! | the core's `owned` | run queues, list of tasks | the owner |
//!
//! *References* are counted twice: by the owner in plain memory (`own.state`), by others in the
//! word. One may be counted on one side and dropped on the other, so the word's count may be
//! negative; the sum never is. A *claim* on a task is a reference, or having set `QUEUED`, or being
//! the owner of a task that is not merged. Nobody touches a task without one.
//!
//! 1. The owner's count is 0 if and only if `MERGED`, for good. Only the owner merges. Until then
//!    only the owner frees.
//! 2. The task is freed by the exchange that makes the word exactly `MERGED`: no reference, not
//!    queued. Two exceptions, where nobody else is left and the owner frees directly: it folds a
//!    negative count to 0; it drops the last reference that it counts and finds the word 0.
//! 3. The runtime holds one reference, counted by the owner, until the task is complete *and* not
//!    in the run queue. The run queue owns none; the foreign queue's claim is `QUEUED`.
//! 4. A task is in its core's list until it is merged or freed, not until it is complete: teardown
//!    must find the references that the owner counts, and hand them to who holds them.
//! 5. Future, output and join waker are gone before the count can reach zero. The handle, which is
//!    `!Send`, is a reference and takes the output with it. So another thread frees memory only.
//! 6. A merged task has a count of its core. The others need none: the `Tasks`, which has one, goes
//!    only when all of them are merged or freed.
//! 7. "Am I the owner?" is: has this thread entered the task's core? Between two `block_on`, in
//!    destructors of thread-locals and after teardown the answer is no, and the way of other
//!    threads is right there too. The owner's half may then still be used by what is `!Send`.
//!
//! # One task, in order
//!
//! Spawned: `SCHEDULED`. Run: `SCHEDULED` off, then polled. Pending: idle until a wake sets it
//! again. Ready, panicked, or `ABORTED` when its turn comes: `COMPLETE`, then the future is
//! dropped, then the output is stored or dropped (`FINISHED`, `OUTPUT`), then who joins is woken.
//! All that is user code, so nothing of ours is borrowed meanwhile and its panics are contained;
//! what it may do to the same task (wake, abort, drop the handle) finds the flags as they are.
//!
//! A wake by another thread sets `QUEUED` and `WAKE` in one exchange; if `QUEUED` was clear, it
//! pushes the task on its core's foreign queue, and kicks the core if the push replaced `PARKED`.
//! A drop by another thread of a reference that the owner counts goes home the same way, without
//! `WAKE`. The owner takes the queue whole, clears both bits, schedules the task, and takes home
//! what was dropped. A pusher that finds the queue `CLOSED` clears its bits and is done.
//!
//! Teardown, on the owner: (1) drop every future, refusing new tasks; (2) empty the run queue; (3)
//! close the foreign queue and take what is in it; (4) merge each task that is left. No user code
//! runs in 2 to 4. A pusher that is refused between 3 and 4 clears its bits, and 4 sees its count;
//! one that is refused after 4 may be the one that frees.

/// In `word`: the task is in the foreign queue, or on its way there.
///
/// Whoever sets it owns the task's link and must push the task. It is a claim on the task, as a
/// reference is: the task is not freed while it is set. Cleared by the owner when the task arrives,
/// or by the pusher that finds the queue closed.
pub(super) const QUEUED: usize = 1;

/// In `word`: the core must run the task when it arrives.
///
/// Set only together with `QUEUED`, or while it is set, and cleared together with it.
pub(super) const WAKE: usize = 2;

/// In `word`: the owner's count was added to this word and is zero for good.
///
/// Set once, by the owner, and never cleared. A merged task is complete, or its core is gone: it is
/// never run again, and a wake of it does nothing. Word exactly `MERGED`: the task is freed.
pub(super) const MERGED: usize = 4;

/// One reference in `word`, above the three bits.
pub(super) const ONE: usize = 8;

/// The references counted in `word`. Negative if others dropped some that the owner counts.
pub(super) const fn count(word: usize) -> isize {
    word.cast_signed() >> 3
}

/// In `own.state`: the task is in the run queue, which relies on the runtime's reference.
///
/// Cleared before the poll, so that a wake during it queues the task again.
pub(super) const SCHEDULED: usize = 1;

/// In `own.state`: the future is never polled again. It is being dropped or is gone.
///
/// Set before the future's destructor runs, never cleared. A wake or an abort does nothing.
pub(super) const COMPLETE: usize = 2;

/// In `own.state`: the future is dropped instead of polled when the task leaves the run queue.
///
/// Only on a task that is scheduled, or on its way here through the foreign queue.
pub(super) const ABORTED: usize = 4;

/// In `own.state`: the outcome was decided, and given to the handle or dropped. Implies `COMPLETE`.
pub(super) const FINISHED: usize = 8;

/// In `own.state`: the stage holds the output, until the handle takes it. Implies `FINISHED` and
/// not `DETACHED`.
pub(super) const OUTPUT: usize = 16;

/// In `own.state`: the handle is gone, so nobody wants the output, and there is no join waker.
pub(super) const DETACHED: usize = 32;

/// In `own.state`: teardown has come by, so the task is in the list of those that ended.
pub(super) const ENDED: usize = 64;

/// In `own.state`: the task is of the class that runs first. Set when it is spawned, for good.
pub(super) const LATENCY: usize = 128;

/// In `own.state`: the task is of the class that has a share. Set when it is spawned, for good.
pub(super) const BULK: usize = 256;

/// One reference in `own.state`, above the flags.
const LOCAL_ONE: usize = 512;
const _: () = assert!(BULK < LOCAL_ONE);

/// The owner's word on a task: the flags, and its count of references above them. In one, because
/// each task pays for it, and each wake reads both.
pub(super) struct State(usize);

impl State {
    pub(super) const fn new(count: usize, flags: usize) -> Self {
        Self((count * LOCAL_ONE) | flags)
    }

    /// Whether any of `flags` is set.
    #[inline(always)]
    pub(super) const fn has(&self, flags: usize) -> bool {
        self.0 & flags != 0
    }

    #[inline(always)]
    pub(super) const fn set(&mut self, flags: usize) {
        self.0 |= flags;
    }

    /// Clears `flags`; whether any was set.
    #[inline(always)]
    pub(super) const fn take(&mut self, flags: usize) -> bool {
        let had = self.has(flags);
        self.0 &= !flags;
        had
    }

    /// The owner's count. Zero if and only if `MERGED` is set.
    #[inline(always)]
    pub(super) const fn count(&self) -> usize {
        self.0 / LOCAL_ONE
    }

    /// Counts one more. `false`: merged, so it must be counted in the word.
    #[inline(always)]
    pub(super) const fn count_one(&mut self) -> bool {
        let counts = self.0 >= LOCAL_ONE;
        if counts {
            self.0 += LOCAL_ONE;
        }
        counts
    }

    /// Counts one less. `false`: it is the last, or merged, and nothing was done.
    #[inline(always)]
    pub(super) const fn drop_one(&mut self) -> bool {
        let drops = self.0 >= 2 * LOCAL_ONE;
        if drops {
            self.0 -= LOCAL_ONE;
        }
        drops
    }

    /// Sets `SCHEDULED` and counts one less, for a wake that gives up its reference. `false`: that
    /// is not all that is to be done, and nothing was done.
    #[inline(always)]
    pub(super) const fn schedule_for_one(&mut self) -> bool {
        if self.has(SCHEDULED | COMPLETE | LATENCY | BULK) {
            std::hint::cold_path();
            return false;
        }
        if self.0 < 2 * LOCAL_ONE {
            std::hint::cold_path();
            return false;
        }
        self.0 = self.0 - LOCAL_ONE + SCHEDULED;
        true
    }

    /// Takes the count out, which is zero for good then.
    pub(super) const fn take_count(&mut self) -> usize {
        let count = self.count();
        self.0 %= LOCAL_ONE;
        count
    }

    /// Takes `home` references off that others dropped. Returns how many are left.
    pub(super) const fn fold(&mut self, home: usize) -> usize {
        self.0 = self.0.strict_sub(home * LOCAL_ONE);
        self.count()
    }
}
