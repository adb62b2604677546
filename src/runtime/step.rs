//! Turning a simulated core by hand: whoever steps it decides what runs next, and lets time go on.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::os::fd::RawFd;
use std::rc::Rc;

use super::{CURRENT, Entered, Runtime};
use crate::driver::{Driver, Op};
use crate::op;
use crate::task::{self, JoinHandle};

/// When a core is to be stepped next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Next {
    Now,
    /// At this time on its clock, if nothing comes before.
    At(u64),
    /// When something comes.
    Later,
}

impl Runtime {
    /// Spawns a task from outside.
    pub(crate) fn start<F: Future + 'static>(&self, future: F) -> JoinHandle<F::Output> {
        self.core.enter_tasks(|| task::spawn(future))
    }

    /// Runs the tasks that are ready and does what a turn does, once and as long as `again` says
    /// so. Never waits. No code of a program's runs in `again`.
    pub(crate) fn step_while(&self, again: impl FnMut() -> bool) {
        let core = Rc::clone(&self.core);
        let _current = Entered(CURRENT.with(|current| current.replace(Some(Rc::clone(&core)))));
        core.step_while(again);
    }

    /// The number of its ring, for [`tell`].
    pub(crate) fn ring_number(&self) -> io::Result<RawFd> {
        self.core.driver().with_ring(|ring| Ok(ring.raw_fd()))
    }

    /// Whether a step would run a task at once.
    #[inline]
    pub(crate) fn has_ready_tasks(&self) -> bool {
        !self.core.is_idle()
    }

    /// When there is something to do, while no task is ready: the same until the next step, or
    /// until its ring is [stirred](crate::ring::Ring::stirred).
    pub(crate) fn next_step(&self) -> Next {
        let driver = self.core.driver();
        // A turn arms those who wait for buffers for datagrams.
        if !driver.is_quiet() || driver.are_datagrams_awaited() {
            return Next::Now;
        }
        let deadline = self.core.next_deadline_ns();
        deadline.map_or(Next::Later, Next::At)
    }

    /// Is set when something comes to its ring.
    pub(crate) fn stirred(&self) -> io::Result<Rc<Cell<bool>>> {
        self.core.driver().with_ring(|ring| Ok(ring.stirred()))
    }
}

/// Has the current core put an empty message on another ring.
pub(crate) async fn tell(ring: RawFd) -> io::Result<()> {
    let driver = Driver::current()?;
    op::MsgRing { target: ring }.submit(&driver).await
}
