//! A point that tasks reach together.

use std::pin::Pin;
use std::task::{Context, Poll};

use super::line::{Line, Place};

/// Has tasks wait until a given number of them is there, again and again.
///
/// # Examples
///
/// ```
/// use std::rc::Rc;
/// use corering::sync::Barrier;
///
/// # fn main() -> std::io::Result<()> {
/// corering::Runtime::new()?.block_on(async {
///     let barrier = Rc::new(Barrier::new(3));
///     let tasks: Vec<_> = (0..3)
///         .map(|_| {
///             let barrier = Rc::clone(&barrier);
///             corering::spawn(async move { barrier.wait().await.is_leader() })
///         })
///         .collect();
///     let mut leaders = 0;
///     for task in tasks {
///         leaders += u32::from(task.await.unwrap());
///     }
///     assert_eq!(leaders, 1);
/// });
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Barrier {
    size: usize,
    line: Line<()>,
}

impl Barrier {
    /// A barrier for `size` tasks; 0 is as 1.
    #[must_use]
    pub const fn new(size: usize) -> Barrier {
        Barrier {
            size,
            line: Line::new(),
        }
    }

    /// Waits until as many are here as the barrier is for. The last of them is the leader.
    ///
    /// # Cancellation
    ///
    /// Dropped while it waits, it no longer counts. Once the last one is there, all may go on: who
    /// is dropped then does not hold up the others.
    pub fn wait(&self) -> impl Future<Output = BarrierWaitResult> {
        Wait {
            barrier: self,
            place: None,
        }
    }
}

struct Wait<'a> {
    barrier: &'a Barrier,
    place: Option<Place>,
}

impl Future for Wait<'_> {
    type Output = BarrierWaitResult;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<BarrierWaitResult> {
        let line = &self.barrier.line;
        if let Some(place) = self.place.take() {
            if !line.poll_called(&place, cx) {
                self.place = Some(place);
                return Poll::Pending;
            }
            line.leave(place);
            return Poll::Ready(BarrierWaitResult { leads: false });
        }
        let waker = cx.waker().clone();
        if line.len() + 1 < self.barrier.size {
            self.place = Some(line.push((), waker));
            return Poll::Pending;
        }
        line.call_all();
        line.wake_called();
        Poll::Ready(BarrierWaitResult { leads: true })
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            self.barrier.line.leave(place);
        }
    }
}

/// What [`Barrier::wait`] gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BarrierWaitResult {
    leads: bool,
}

impl BarrierWaitResult {
    /// Whether this is the one of the tasks that came last.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.leads
    }
}
