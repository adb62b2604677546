//! How a core ends.
//!
//! Only an op's own final completion says that the kernel is done with its memory: neither closing
//! the ring nor the answer to a cancel does. So a core that ends cancels everything and reaps until
//! nothing is in flight. What does not end in time (a read of a hung network file system, say)
//! keeps all of the core's memory for ever: leaking is safe, freeing is not.

use std::rc::{Rc, Weak};
use std::time::Duration;

use super::Driver;
use crate::ring::{RawSqe, Wait};

/// Cancels are repeated this often: an op that was between two states may have missed one.
const PERIOD: Duration = Duration::from_millis(10);

impl Driver {
    /// Refuses new ops from now on: they complete with `ECANCELED`.
    pub(crate) fn close(&self) {
        self.let_depart(true);
        self.core.borrow_mut().closing = true;
        // They may outlive the runtime, and must not wait for buffers that never come.
        let datagrams = self.starved_of_datagrams.take();
        let datagrams = datagrams.iter().filter_map(Weak::upgrade);
        for resource in self.starved.take().into_iter().chain(datagrams) {
            resource.resume();
        }
    }

    /// Ends all ops and gives the ring back. Says how many ops did not end within `limit`; if there
    /// are any, all that the kernel may still touch is leaked.
    ///
    /// Other threads may hold wakers and this one may hold claims on ops: both stay valid.
    pub(crate) fn shut_down(self: &Rc<Self>, limit: Duration) -> usize {
        self.close();
        let limit = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
        let start = self.now_ns();
        let mut cancelled = None;
        let left = loop {
            let left = self.in_flight();
            if left == 0 {
                break 0;
            }
            let now = self.now_ns();
            if cancelled.is_none_or(|at| now - at >= PERIOD.as_nanos() as u64) {
                if now - start > limit {
                    break left;
                }
                self.core.borrow_mut().cancel_all();
                cancelled = Some(now);
            }
            if self.enter(Wait::For(PERIOD)).is_err() {
                break left;
            }
            self.reap(Err);
        };
        if left > 0 {
            // The slots, the ring and the buffers live as long as the driver: for ever, now.
            std::mem::forget(Rc::clone(self));
            return left;
        }
        let ring = self.core.borrow_mut().ring.take();
        if let Some(mut ring) = ring {
            // Before the pages go: nobody may publish a buffer in a ring that the kernel forgot.
            let _ = ring.unregister_buf_ring(super::BUFFER_GROUP);
            self.buffers.close();
            if let Some(datagrams) = self.datagram_buffers.get() {
                let _ = ring.unregister_buf_ring(super::DATAGRAM_GROUP);
                datagrams.close();
            }
        }
        0
    }

    fn in_flight(&self) -> usize {
        let core = self.core.borrow();
        match core.ring {
            Some(_) => core.slots.in_flight(),
            None => 0,
        }
    }
}

impl super::Core {
    fn cancel_all(&mut self) {
        self.counts.cancels += 1;
        // One that does not fit is repeated after `PERIOD`.
        self.try_push(RawSqe::cancel_all(super::CANCEL));
    }
}
