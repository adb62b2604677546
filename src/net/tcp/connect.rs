//! `connect()`: the future of one attempt.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::stream::TcpStream;
use crate::driver::{Driver, Submit};
use crate::io::{Operation, Sealed};
use crate::net::stream::Socket;
use crate::op;
use crate::ring::Fd;

/// The future of [`TcpSocket::connect`](super::TcpSocket::connect).
///
/// # Cancellation
///
/// Dropped, it cancels the attempt; a connection that comes about all the same is closed.
#[must_use = "futures do nothing unless polled"]
pub struct Connect {
    submit: Submit<op::Connect>,
    driver: Rc<Driver>,
}

impl Connect {
    pub(super) fn new(submit: Submit<op::Connect>, driver: Rc<Driver>) -> Connect {
        Connect { submit, driver }
    }

    fn connected(&self, fd: io::Result<Fd>) -> io::Result<TcpStream> {
        Ok(TcpStream::new(Socket::new(fd?, Rc::clone(&self.driver))))
    }
}

impl Future for Connect {
    type Output = io::Result<TcpStream>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let connected = Pin::new(&mut self.submit).poll(cx);
        connected.map(|fd| self.connected(fd))
    }
}

impl Sealed for Connect {}

impl Operation for Connect {
    type Outcome = Self::Output;

    fn poll_cancel(&mut self, cx: &mut Context<'_>) -> Poll<Self::Outcome> {
        let connected = self.submit.poll_cancel(cx);
        connected.map(|fd| self.connected(fd))
    }
}

impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect").finish_non_exhaustive()
    }
}
