//! Turning a simulated core by hand: whoever steps it decides what runs next, and lets time go on.

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

    /// Whether there is something to do now.
    pub(crate) fn is_ready(&self) -> bool {
        self.next_step() == Next::Now
    }

    /// The number of its ring, for [`tell`].
    pub(crate) fn ring_number(&self) -> io::Result<RawFd> {
        self.core.driver().with_ring(|ring| Ok(ring.raw_fd()))
    }

    /// When there is something to do.
    pub(crate) fn next_step(&self) -> Next {
        self.core.next_step()
    }
}

/// Has the current core put an empty message on another ring.
pub(crate) async fn tell(ring: RawFd) -> io::Result<()> {
    let driver = Driver::current()?;
    op::MsgRing { target: ring }.submit(&driver).await
}

impl Core {
    fn next_step(&self) -> Next {
        let driver = self.driver();
        // Whether something is due counts as a completion.
        if !self.is_idle() || driver.has_completions() || driver.has_staged() {
            return Next::Now;
        }
        // A turn arms them.
        if driver.are_datagrams_awaited() {
            return Next::Now;
        }
        match self.next_deadline_ns() {
            Some(at) if at <= self.driver().now_ns() => Next::Now,
            Some(at) => Next::At(at),
            None => Next::Later,
        }
    }
}
