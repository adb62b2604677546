//! Tasks that hold their core for too long, and who says so.
//!
//! A core that a task does not let go of cannot look at its own clock. So one thread of the process
//! looks at all cores, a few times within the limit, at what they write down as they go: which poll
//! it is, and of what (`task/pulse.rs`). Nothing of it is a system call, or a clock read, for the
//! core.
//!
//! * `suspicion`: when a poll that is seen again and again is a stall.
//! * `watchdog`: the thread, and when it sleeps.
//! * `line`: the default report.

mod line;
mod suspicion;
mod watchdog;

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use crate::task::Name;

pub(super) use self::watchdog::{Watched, look_again, watch};

/// How long a task may hold its core unless the builder says otherwise.
pub(super) const LIMIT: Duration = Duration::from_millis(16);

/// A task that holds its core for longer than the limit, or has done so.
///
/// See [`Builder::on_stall`](super::Builder::on_stall).
#[derive(Clone, Debug)]
pub struct Stall {
    location: &'static Location<'static>,
    future: &'static str,
    name: Option<Name>,
    held: Duration,
    is_over: bool,
    is_blocked: bool,
    thread: i32,
}

impl Stall {
    /// Where the task was spawned; where `block_on` was called, if it is the main future.
    #[must_use]
    pub fn location(&self) -> &'static Location<'static> {
        self.location
    }

    /// The type of the task's future, as [`type_name`](std::any::type_name) has it: for a block or
    /// a function that is `async`, the path of the function.
    #[must_use]
    pub fn future(&self) -> &'static str {
        self.future
    }

    /// The name that the task was given, if any: see [`task::Builder`](crate::task::Builder::name).
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_ref().map(Name::as_str)
    }

    /// How long the task has held the core so far, or in all if that is over. Time in which the
    /// system had no processor for the thread does not count; otherwise it is the truth less the
    /// time before the first look and after the last, half the limit each at most.
    #[must_use]
    pub fn held(&self) -> Duration {
        self.held
    }

    /// Whether the core has gone on since.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// Whether the thread was asleep in a system call when the limit was reached, and did not
    /// compute.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.is_blocked
    }

    /// The number of the core's thread: `gdb -p` and `perf record -t` take it.
    #[must_use]
    pub fn thread_id(&self) -> i32 {
        self.thread
    }
}

/// One line, without an end.
impl fmt::Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stall { thread, future, .. } = self;
        f.write_str("a task ")?;
        if let Some(name) = self.name() {
            write!(f, "{name:?} ")?;
        }
        let (has, how) = match (self.is_over, self.is_blocked) {
            (true, _) => ("held", ""),
            (false, true) => ("has held", ", blocked in a system call"),
            (false, false) => ("has held", ", computing"),
        };
        let held = self.held.as_millis();
        write!(f, "{has} its core (thread {thread}) for {held} ms{how}: ")?;
        write!(f, "spawned at {}, {future}", self.location)
    }
}

/// Who is told of stalls instead of stderr.
#[derive(Clone)]
pub(super) struct OnStall(Arc<dyn Fn(&Stall) + Send + Sync>);

impl OnStall {
    pub(super) fn new(report: impl Fn(&Stall) + Send + Sync + 'static) -> OnStall {
        OnStall(Arc::new(report))
    }
}

impl fmt::Debug for OnStall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OnStall").finish_non_exhaustive()
    }
}
