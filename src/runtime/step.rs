//! Turning a simulated core by hand: whoever steps it decides what runs next, and lets time go on.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::os::fd::RawFd;
use std::rc::Rc;

use super::core::Core;
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

    /// Runs the tasks that are ready and does what a turn does. Never waits.
    pub(crate) fn step(&self) {
        let core = Rc::clone(&self.core);
        let _current = Entered(CURRENT.with(|current| current.replace(Some(Rc::clone(&core)))));
        core.step();
    }

    /// The number of its ring, for [`tell`].
    pub(crate) fn ring_number(&self) -> io::Result<RawFd> {
        self.core.driver().with_ring(|ring| Ok(ring.raw_fd()))
    }

    /// When there is something to do. `before`: what this said since the last step, if it did and
    /// its ring has not been [stirred](crate::ring::Ring::stirred) after that.
    pub(crate) fn next_step(&self, before: Option<Next>) -> Next {
        self.core.next_step(before)
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

impl Core {
    fn next_step(&self, before: Option<Next>) -> Next {
        if !self.is_idle() {
            return Next::Now;
        }
        let driver = self.driver();
        let next = match before {
            Some(next @ (Next::At(_) | Next::Later)) => next,
            // A turn arms those who wait for buffers for datagrams.
            _ if !driver.is_quiet() || driver.are_datagrams_awaited() => Next::Now,
            _ => self.next_deadline_ns().map_or(Next::Later, Next::At),
        };
        match next {
            Next::At(at) if at <= driver.now_ns() => Next::Now,
            next => next,
        }
    }
}
