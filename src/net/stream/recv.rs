//! `recv()`: the next bytes, where the kernel has put them.

use std::cell::RefMut;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use corering_buffers::Lease;

use super::Socket;
use super::inbox::RecvSide;
use crate::driver::budget;
use crate::io::waiters::Place;
use crate::io::{Operation, Sealed, cancelled};

/// The future of `recv()`.
///
/// # Cancellation
///
/// Dropped, it leaves the bytes to the next read.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Recv<'a> {
    socket: &'a Rc<Socket>,
    place: Option<Place>,
}

impl<'a> Recv<'a> {
    #[inline]
    pub(crate) fn new(socket: &'a Rc<Socket>) -> Self {
        let place = None;
        Recv { socket, place }
    }
}

impl Recv<'_> {
    #[inline(always)]
    fn poll_inbox(&mut self, cx: &mut Context<'_>, arm: bool) -> Poll<<Self as Future>::Output> {
        let mut side = ready!(self.socket.poll_inbox(&mut self.place, cx, arm));
        if let Some(lease) = side.pop_only(&mut self.place) {
            return Poll::Ready(Ok(Some(lease)));
        }
        self.take(side)
    }

    /// Apart, and after the usual case: a lease that is there while something may unwind is kept
    /// in memory, and copied again.
    #[inline(never)]
    fn take(&mut self, mut side: RefMut<'_, RecvSide>) -> Poll<<Self as Future>::Output> {
        let Some(lease) = side.pop() else {
            let end = side.ended();
            drop(side);
            self.socket.leave_inbox(&mut self.place);
            return Poll::Ready(end.unwrap_or(Ok(())).map(|()| None));
        };
        self.socket.taken(side, &mut self.place);
        Poll::Ready(Ok(Some(lease)))
    }
}

impl Future for Recv<'_> {
    type Output = io::Result<Option<Lease>>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.place.is_none() {
            ready!(budget::spend(cx));
        }
        self.poll_inbox(cx, true)
    }
}

impl Sealed for Recv<'_> {}

impl Operation for Recv<'_> {
    type Outcome = Self::Output;

    fn poll_cancel(&mut self, cx: &mut Context<'_>) -> Poll<Self::Outcome> {
        if let Poll::Ready(output) = self.poll_inbox(cx, false) {
            return Poll::Ready(output);
        }
        self.socket.leave_inbox(&mut self.place);
        Poll::Ready(Err(cancelled()))
    }
}

impl Drop for Recv<'_> {
    #[inline]
    fn drop(&mut self) {
        self.socket.leave_inbox(&mut self.place);
    }
}
