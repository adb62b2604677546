//! `accept_within(limit)`: a connection when there may be one more.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use super::TcpStream;
use super::accept::{Accept, Connection};
use super::limit::{Acquire, ConnectionLimit, ConnectionPermit};
use super::listener::Listener;
use crate::io::{Operation, Sealed, cancelled};

/// A connection, its peer's address, and its permit.
type Admitted<S> = (S, <S as Connection>::Address, ConnectionPermit);

/// The future of a listener's `accept_within`: the stream, its peer's address and the permit.
///
/// # Cancellation
///
/// Dropped, it gives the permit back and leaves the connection to the next call.
#[must_use = "futures do nothing unless polled"]
pub struct AcceptWithin<'a, S = TcpStream> {
    accept: Accept<'a, S>,
    acquire: Acquire<'a>,
    /// Held while the accept is armed.
    permit: Option<ConnectionPermit>,
}

impl<'a, S: Connection> AcceptWithin<'a, S> {
    pub(super) fn new(listener: &'a Rc<Listener>, limit: &'a ConnectionLimit) -> Self {
        AcceptWithin {
            accept: Accept::single(listener),
            acquire: limit.acquire(),
            permit: None,
        }
    }

    /// Gives `None` once `stop` is done: as
    /// [`TcpListener::accept_until`](super::TcpListener::accept_until), within the limit.
    ///
    /// A connection that was accepted for a future that is gone, while there is no permit for it,
    /// stays with the listener: its `close` returns it.
    ///
    /// # Errors
    ///
    /// As [`TcpListener::accept`](super::TcpListener::accept).
    ///
    /// # Cancellation
    ///
    /// As that of the future itself.
    pub async fn until(mut self, stop: impl Future) -> io::Result<Option<Admitted<S>>> {
        let mut stop = pin!(stop);
        let going_on = poll_fn(|cx| {
            if stop.as_mut().poll(cx).is_ready() {
                return Poll::Ready(None);
            }
            Pin::new(&mut self).poll(cx).map(Some)
        });
        if let Some(accepted) = going_on.await {
            return accepted.map(Some);
        }
        let rest = poll_fn(|cx| self.poll_rest(cx)).await;
        rest.transpose()
    }

    /// What the kernel has accepted already, if there may be one more.
    fn poll_rest(&mut self, cx: &Context<'_>) -> Poll<Option<io::Result<Admitted<S>>>> {
        if self.permit.is_none() {
            let Poll::Ready(permit) = self.acquire.poll_permit(cx) else {
                return Poll::Ready(None);
            };
            self.permit = Some(permit);
        }
        let rest = ready!(self.accept.poll_rest(cx));
        Poll::Ready(rest.map(|accepted| self.admit(accepted)))
    }

    fn admit(&mut self, accepted: io::Result<(S, S::Address)>) -> io::Result<Admitted<S>> {
        let (connection, address) = accepted?;
        let permit = self.permit.take();
        Ok((connection, address, permit.expect("taken before accepting")))
    }
}

impl<S: Connection> Future for AcceptWithin<'_, S> {
    type Output = io::Result<Admitted<S>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if this.permit.is_none() {
            this.permit = Some(ready!(Pin::new(&mut this.acquire).poll(cx)));
        }
        let accepted = ready!(Pin::new(&mut this.accept).poll(cx));
        Poll::Ready(this.admit(accepted))
    }
}

impl<S> Sealed for AcceptWithin<'_, S> {}

impl<S: Connection> Operation for AcceptWithin<'_, S> {
    type Outcome = Self::Output;

    fn poll_cancel(&mut self, cx: &mut Context<'_>) -> Poll<Self::Outcome> {
        if self.permit.is_none() {
            return Poll::Ready(Err(cancelled()));
        }
        let accepted = ready!(self.accept.poll_cancel(cx));
        Poll::Ready(self.admit(accepted))
    }
}

impl<S> fmt::Debug for AcceptWithin<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcceptWithin").finish_non_exhaustive()
    }
}
