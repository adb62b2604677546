//! `recv()`: the next bytes, where the kernel has put them.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use corering_buffers::Lease;

use super::Socket;
use crate::driver::budget;
use crate::net::waiters::Place;

/// The future of `recv()`.
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

impl Future for Recv<'_> {
    type Output = io::Result<Option<Lease>>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if this.place.is_none() {
            ready!(budget::spend(cx));
        }
        let mut side = ready!(this.socket.poll_inbox(&mut this.place, cx, true));
        let Some(lease) = side.pop() else {
            let end = side.ended();
            drop(side);
            this.socket.leave_inbox(&mut this.place);
            return Poll::Ready(end.unwrap_or(Ok(())).map(|()| None));
        };
        this.socket.taken(side, &mut this.place);
        Poll::Ready(Ok(Some(lease)))
    }
}

impl Drop for Recv<'_> {
    #[inline]
    fn drop(&mut self) {
        self.socket.leave_inbox(&mut self.place);
    }
}
