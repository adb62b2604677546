//! A round trip through the ring.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::driver::{Driver, Op, Submit};
use crate::io::{Operation, Sealed};
use crate::op;

/// Does nothing, through the kernel: what any operation costs at least.
///
/// # Errors
///
/// `NotConnected`: no runtime runs on this thread.
///
/// # Kernel
///
/// `IORING_OP_NOP`, since 5.1.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// corering::Runtime::new()?.block_on(corering::runtime::nop())
/// # }
/// ```
#[doc(alias = "IORING_OP_NOP")]
pub fn nop() -> Nop {
    Nop(None)
}

/// The future of [`nop`].
///
/// # Cancellation
///
/// Dropped, it is cancelled.
#[must_use = "futures do nothing unless polled"]
pub struct Nop(Option<Submit<op::Nop>>);

impl Nop {
    fn poll_with(
        &mut self,
        poll: impl FnOnce(&mut Submit<op::Nop>) -> Poll<io::Result<()>>,
    ) -> Poll<io::Result<()>> {
        let submit = match &mut self.0 {
            Some(submit) => submit,
            none => none.insert(op::Nop.submit(&Driver::current()?)),
        };
        poll(submit)
    }
}

impl Future for Nop {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_with(|submit| Pin::new(submit).poll(cx))
    }
}

impl Sealed for Nop {}

impl Operation for Nop {
    type Outcome = Self::Output;

    fn poll_cancel(&mut self, cx: &mut Context<'_>) -> Poll<Self::Outcome> {
        self.poll_with(|submit| submit.poll_cancel(cx))
    }
}

impl fmt::Debug for Nop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nop").finish_non_exhaustive()
    }
}
