//! What leaves with the next enter of a turn.
//!
//! A resource that would rather hand over several things as one waits for the end of the turn: all
//! that its tasks have handed to it until then goes together.

use std::rc::Rc;

use super::Driver;

/// A resource that keeps things back until the next enter.
pub(crate) trait Departs {
    /// Submits them. `last`: the core ends, and takes nothing afterwards. No user code may run.
    fn depart(self: Rc<Self>, last: bool);
}

impl Driver {
    /// Has a resource [depart](Departs::depart) before the next enter, even of a core that ends.
    #[inline]
    pub(crate) fn depart_with_next(&self, resource: Rc<dyn Departs>) {
        self.departing.push(resource);
    }

    #[inline(never)]
    pub(super) fn let_depart(&self, last: bool) {
        while let Some(resource) = self.departing.pop() {
            resource.depart(last);
        }
    }
}
