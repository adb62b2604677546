//! The classes of tasks, and what share of a core each has.

use super::state::{BULK, LATENCY};

/// How soon a task is run, beside others that are ready: see [`Builder::priority`].
///
/// [`Builder::priority`]: super::Builder::priority
///
/// In each turn a core runs
///
/// 1. all tasks of the class `Latency` that are ready,
/// 2. all of the class `Normal`,
/// 3. of the class `Bulk` one for each seven others that ran, at least one; eight if no other ran.
///
/// Then it looks for completions and timers, and whom they concern runs in the next turn. Within a
/// class it is first come, first served. So nobody starves: `Normal` tasks run as often as without
/// classes, and of the polls of a turn at least one in eight is a `Bulk` task's, if one is ready.
/// And nobody waits for a thousand `Bulk` tasks, but for eight of them or an eighth of the turn.
///
/// A class says who goes first, not how long a task may take: none is interrupted. What computes
/// for long has to [yield](super::yield_now) in every class.
///
/// It is the task's own, from the first poll to the last, whoever wakes it. It is not handed down:
/// a task that a `Bulk` task spawns is `Normal` unless it is spawned otherwise. Neither does a
/// `Latency` task that waits for a `Bulk` one lend it its own class.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Priority {
    /// Before all others: for tasks with little to do at a time, which somebody waits for.
    Latency,
    /// What [`spawn`](super::spawn) gives.
    #[default]
    Normal,
    /// After all others, a few at a time: for work that has to be done at some time.
    Bulk,
}

impl Priority {
    /// The bits of the task's state.
    pub(super) const fn flags(self) -> usize {
        match self {
            Priority::Latency => LATENCY,
            Priority::Normal => 0,
            Priority::Bulk => BULK,
        }
    }
}

/// Tasks of other classes in a turn for each one of `Bulk`.
pub(super) const OTHERS_PER_BULK: usize = 7;

/// Tasks of the class `Bulk` in a turn without others.
pub(super) const BULK_ALONE: usize = 8;
