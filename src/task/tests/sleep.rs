//! A thread that sleeps until its waker is called, in place of a core with a task.

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use super::EventFd;

/// A core that sleeps when it has nothing to do. A wake that is lost shows as a deadlock.
#[derive(Default)]
pub(crate) struct Sleep(EventFd);

impl Wake for Sleep {
    fn wake(self: Arc<Sleep>) {
        self.0.write();
    }
}

impl Sleep {
    /// Looks again and again until `look` has found what it wants, sleeping in between.
    pub(crate) fn until<T>(
        self: &Arc<Sleep>,
        mut look: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> T {
        let waker = Waker::from(Arc::clone(self));
        let mut cx = Context::from_waker(&waker);
        loop {
            if let Poll::Ready(found) = look(&mut cx) {
                return found;
            }
            self.0.wait();
        }
    }
}
