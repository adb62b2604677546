//! What leaves with the next submission.
//!
//! A resource that would rather hand over several things as one waits for the end of the turn: all
//! that its tasks have handed to it until then goes together.

use std::rc::Rc;

use super::Driver;

/// A resource that keeps things back until the next submission.
pub(crate) trait Departs {
    /// Submits them. No user code may run.
    fn depart(self: Rc<Self>);
}

impl Driver {
    /// Has a resource [depart](Departs::depart) before the next submission, even of a core that
    /// ends.
    #[inline]
    pub(crate) fn depart_with_next(&self, resource: Rc<dyn Departs>) {
        self.departing.push(resource);
    }

    #[inline(never)]
    pub(super) fn let_depart(&self) {
        while let Some(resource) = self.departing.pop() {
            resource.depart();
        }
    }
}
