//! The bits of a task, as invariants. `mod.rs` says who may change them and how.

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

/// In `flags`: the task is in the run queue, which relies on the runtime's reference.
///
/// Cleared before the poll, so that a wake during it queues the task again.
pub(super) const SCHEDULED: u8 = 1;

/// In `flags`: the future is never polled again. It is being dropped or is gone.
///
/// Set before the future's destructor runs, never cleared. A wake or an abort does nothing.
pub(super) const COMPLETE: u8 = 2;

/// In `flags`: the future is dropped instead of polled when the task leaves the run queue.
///
/// Only on a task that is scheduled, or on its way here through the foreign queue.
pub(super) const ABORTED: u8 = 4;

/// In `flags`: the outcome was decided, and given to the handle or dropped. Implies `COMPLETE`.
pub(super) const FINISHED: u8 = 8;

/// In `flags`: the stage holds the output, until the handle takes it. Implies `FINISHED` and not
/// `DETACHED`.
pub(super) const OUTPUT: u8 = 16;

/// In `flags`: the handle is gone, so nobody wants the output, and there is no join waker.
pub(super) const DETACHED: u8 = 32;

/// In `flags`: teardown has come by, so the task is in the list of those that ended.
pub(super) const ENDED: u8 = 64;
