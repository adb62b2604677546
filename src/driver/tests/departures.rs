//! What is kept back until the next submission.

use std::cell::Cell;
use std::rc::Rc;

use super::Core;
use crate::driver::{Departs, Driver};
use crate::op::Nop;
use crate::ring::Wait;

/// Submits an op when it departs, and counts that.
struct Late {
    driver: Rc<Driver>,
    departures: Cell<u32>,
}

impl Late {
    fn of(core: &Core) -> Rc<Late> {
        Rc::new(Late {
            driver: Rc::clone(core),
            departures: Cell::new(0),
        })
    }
}

impl Departs for Late {
    fn depart(self: Rc<Self>, _: bool) {
        self.departures.set(self.departures.get() + 1);
        self.driver.submit_detached(Nop);
    }
}

#[test]
fn what_was_kept_back_leaves_with_the_next_submission() {
    let core = Core::new();
    let late = Late::of(&core);
    core.depart_with_next(Rc::clone(&late) as Rc<dyn Departs>);
    assert_eq!(core.counts().in_flight, 0, "it is kept back");
    assert!(!core.is_at_rest() && core.has_staged() && core.needs_enter());
    core.enter(Wait::No).expect("enter");
    assert_eq!((late.departures.get(), core.counts().in_flight), (1, 1));
    assert!(!core.has_staged(), "it has left");
    core.reap(Err);
    assert!(core.is_at_rest());
    core.enter(Wait::No).expect("enter");
    assert_eq!(late.departures.get(), 1, "once");
}

#[test]
fn ops_that_say_that_they_are_heavy_are_handed_over_a_few_at_a_time() {
    let core = Core::new();
    for _ in 0..3 {
        core.submit_heavy(Nop, 32);
    }
    core.enter(Wait::No).expect("enter");
    assert!(core.has_staged(), "two of them are as much as goes at once");
    core.enter(Wait::No).expect("enter");
    assert!(!core.has_staged());
}

#[test]
fn what_was_kept_back_leaves_before_its_core_ends() {
    let core = Core::new();
    let late = Late::of(&core);
    core.depart_with_next(Rc::clone(&late) as Rc<dyn Departs>);
    core.close();
    let counts = core.counts();
    assert_eq!(
        (counts.in_flight, counts.sqes),
        (1, 1),
        "it was not refused"
    );
}
