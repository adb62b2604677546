//! What a turn asks before it does anything.

use super::Driver;
use crate::ring::Ring;

impl Driver {
    /// Whether an enter would submit something, or bring something that is not there yet.
    #[inline]
    pub(crate) fn needs_enter(&self) -> bool {
        let core = self.core.borrow();
        let is_staged = core.has_staged() || !self.departing.is_empty();
        is_staged || core.ring.as_ref().is_some_and(Ring::needs_enter)
    }

    /// Whether there is something to reap, or would be after an enter. Cheap, for spinning.
    #[inline]
    pub(crate) fn has_completions(&self) -> bool {
        self.core.borrow().ring.as_ref().is_some_and(Ring::has_work)
    }

    /// Whether a turn would find nothing to do here: nobody waits for buffers or for the next
    /// submission, no op lingers, and nothing is to be submitted or reaped, now or after an enter.
    #[inline]
    pub(crate) fn is_at_rest(&self) -> bool {
        let core = self.core.borrow();
        let is_quiet = |ring: &Ring| ring.staged() == 0 && !ring.has_work();
        core.ring.as_ref().is_none_or(is_quiet)
            && core.cancels.is_empty()
            && core.backlog.is_empty()
            && core.lingering.is_empty()
            && self.departing.is_empty()
            && !self.is_anybody_starved()
    }

    /// Whether nothing is to be submitted or reaped, now or after an enter.
    #[cfg(feature = "sim")]
    pub(crate) fn is_quiet(&self) -> bool {
        let core = self.core.borrow();
        let is_quiet = core.ring.as_ref().is_none_or(Ring::is_quiet);
        let is_quiet = is_quiet && core.cancels.is_empty() && core.backlog.is_empty();
        is_quiet && self.departing.is_empty()
    }

    /// SQEs that were submitted or staged.
    #[inline]
    pub(crate) fn sqes(&self) -> u64 {
        let core = self.core.borrow();
        core.counts.sqes + core.ring.as_ref().map_or(0, Ring::staged) as u64
    }

    /// Whether something waits to be submitted.
    #[inline]
    pub(crate) fn has_staged(&self) -> bool {
        !self.departing.is_empty() || self.core.borrow().has_staged()
    }
}
