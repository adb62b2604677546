//! The task that takes a core's messages.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::core::Local;
use super::mesh::{Level, Message};

/// Messages that are taken before other tasks have their turn.
const BATCH: usize = 128;

/// There from before main is polled until the runtime ends. Dropped, it closes the core's queues.
pub(super) struct Mailman {
    local: Rc<Local>,
    /// What those who wait for a stop were told.
    told: Level,
}

impl Mailman {
    pub(super) fn new(local: Rc<Local>) -> Mailman {
        Mailman {
            local,
            told: Level::Running,
        }
    }

    fn tell_stop(&mut self) {
        let level = self.local.mesh.level();
        if level > self.told {
            self.told = level;
            self.local.stop.wake_all();
        }
    }
}

impl Future for Mailman {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let local = &this.local;
        local.mesh.register(local.index, cx.waker().clone());
        let taken = local.mesh.receive(local.index, BATCH, |message| message());
        let received = &local.messages.received;
        received.set(received.get() + taken as u64);
        if taken >= BATCH {
            cx.waker().wake_by_ref();
        }
        local.room.wake_all();
        this.tell_stop();
        Poll::Pending
    }
}

impl Drop for Mailman {
    fn drop(&mut self) {
        let drop_one = |message: Message| {
            // A closure's destructor is its sender's code: the others are dropped all the same.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(message)));
        };
        self.local.mesh.close(self.local.index, drop_one);
    }
}
