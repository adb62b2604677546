//! `write_with_descriptors(buf, descriptors)`.

use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use corering_buffers::{BufResult, IoBuf};

use super::Socket;
use super::write::{Finish, InTurn};
use crate::driver::Op;
use crate::io::{Operation, Sealed};
use crate::op::SendDescriptors;
use crate::ring::{ControlData, Cqe, Fd};

/// The future of `write_with_descriptors(buf, descriptors)`.
///
/// # Cancellation
///
/// As that of [`WriteAll`](crate::net::WriteAll), for what the kernel takes at once. Descriptors of
/// what is not sent are closed.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct WriteWithDescriptors<'a, B: IoBuf>(
    InTurn<'a, (B, Box<ControlData>), SendDescriptors<Socket, B>>,
);

impl<'a, B: IoBuf> WriteWithDescriptors<'a, B> {
    pub(crate) fn new(socket: &'a Rc<Socket>, buf: B, descriptors: Vec<OwnedFd>) -> Self {
        let mut control = Box::<ControlData>::default();
        control.descriptors = descriptors.into_iter().map(Fd::from).collect();
        WriteWithDescriptors(InTurn::new(socket, (buf, control)))
    }
}

/// The buffer goes back to the caller, and the descriptors are closed.
fn without_descriptors<B>(
    (result, (buf, control)): BufResult<usize, (B, Box<ControlData>)>,
) -> BufResult<usize, B> {
    if matches!(result, Ok(0)) && !control.descriptors.is_empty() {
        // The kernel has done nothing at all, and calls that a success.
        let text = "descriptors go with a byte, and there is none";
        return (Err(io::Error::new(io::ErrorKind::InvalidInput, text)), buf);
    }
    (result, buf)
}

impl<B: IoBuf> Finish for SendDescriptors<Socket, B> {
    type Buf = (B, Box<ControlData>);
    type Done = BufResult<usize, Self::Buf>;

    fn finish(self, cqe: Cqe) -> Self::Done {
        self.complete(cqe)
    }

    fn cut(self, cqe: Cqe) -> Self::Done {
        self.complete(cqe)
    }

    fn refused(error: io::Error, buf: Self::Buf) -> Self::Done {
        (Err(error), buf)
    }
}

impl<B: IoBuf> Future for WriteWithDescriptors<'_, B> {
    type Output = BufResult<usize, B>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let written = self.0.poll(cx, SendDescriptors::new);
        written.map(without_descriptors)
    }
}

impl<B: IoBuf> Sealed for WriteWithDescriptors<'_, B> {}

impl<B: IoBuf> Operation for WriteWithDescriptors<'_, B> {
    type Outcome = Self::Output;

    fn poll_cancel(&mut self, cx: &mut Context<'_>) -> Poll<Self::Outcome> {
        self.0.poll_cancel(cx).map(without_descriptors)
    }
}
