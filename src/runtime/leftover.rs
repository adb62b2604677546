//! What was left when a runtime ended.

use std::fmt;

/// What had not ended when a runtime was [shut down](super::Runtime::shutdown).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
#[must_use = "operations that are left have leaked the runtime's memory"]
pub struct Leftover {
    /// Operations that the kernel still works on. If there is one, the memory of all is leaked.
    pub operations: usize,
    /// Calls of [`spawn_blocking`](crate::task::spawn_blocking) that still run, or have only just
    /// ended. They go on by themselves.
    pub blocking_calls: usize,
}

impl Leftover {
    /// Whether all has ended.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Leftover::default()
    }
}

impl fmt::Display for Leftover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Leftover {
            operations,
            blocking_calls,
        } = self;
        write!(
            f,
            "{operations} operations and {blocking_calls} blocking calls left"
        )
    }
}
