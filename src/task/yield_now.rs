//! Letting other tasks run.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use super::waker;

/// Lets every other task that is ready run first: the task goes to the back of the queue.
///
/// The core looks for completions before the task runs again. For loops that compute for long;
/// futures of this crate that find their results ready let others run by themselves.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// # corering::Runtime::new()?.block_on(async {
/// let mut sum = 0_u64;
/// for i in 0..1_000_000 {
///     sum += i;
///     if i % 100_000 == 0 {
///         corering::task::yield_now().await;
///     }
/// }
/// # assert_eq!(sum, 499_999_500_000);
/// # });
/// # Ok(())
/// # }
/// ```
pub fn yield_now() -> YieldNow {
    YieldNow { yielded: false }
}

/// The future of [`yield_now`].
///
/// # Cancellation
///
/// Dropped, it does nothing: the task stays at the back of the queue.
#[derive(Debug)]
#[must_use = "nothing is yielded until the future is awaited"]
pub struct YieldNow {
    yielded: bool,
}

impl Future for YieldNow {
    type Output = ();

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.yielded {
            return Poll::Ready(());
        }
        self.yielded = true;
        waker::wake_by_ref_here(context.waker());
        Poll::Pending
    }
}
