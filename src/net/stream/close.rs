//! `close().await`: an orderly end, with what was left. And `detach().await`, the same without the
//! end.

use std::io;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use corering_buffers::Lease;

use super::Socket;
use super::inbox::{End, RecvSide};
use super::send_side::Ended;
use crate::driver::{Driver, Op};
use crate::op;
use crate::ring::Fd;

/// A socket between two cores, with all that is known of it.
pub(crate) struct Parts {
    fd: Fd,
    unread: Bytes,
    end: End,
    was_reset: bool,
    sent: Ended,
}

impl Socket {
    /// Waits for the committed send, ends the receive, closes the descriptor. Returns what was
    /// received and never read. `handle` is the user's, which abandons the stream if this future is
    /// dropped.
    pub(crate) async fn close<H>(self: Rc<Self>, handle: H) -> io::Result<Vec<Lease>> {
        let sent = self.sends_done().await;
        self.stop_receiving();
        self.receive_done().await;
        let unread = self.unread();
        drop(handle);
        let driver = Rc::clone(&self.driver);
        // The last completion has been taken, so no op holds the socket any more.
        let closed = match Rc::try_unwrap(self) {
            Ok(socket) => op::Close(socket.fd).submit(&driver).await,
            Err(_) => Ok(()),
        };
        sent.and(closed).map(|()| unread)
    }

    /// Waits for the committed send, ends the receive, and takes the socket apart. `handle` is the
    /// user's, which abandons the stream if this future is dropped.
    pub(crate) async fn detach<H>(self: Rc<Self>, handle: H) -> Parts {
        // Why the write side is over goes along.
        let _ = self.sends_done().await;
        self.stop_receiving();
        self.receive_idle().await;
        drop(handle);
        let Ok(socket) = Rc::try_unwrap(self) else {
            unreachable!("no op holds the socket any more, and its only handle is gone");
        };
        let mut side = socket.recv.into_inner();
        Parts {
            fd: socket.fd,
            unread: joined(&mut side),
            end: side.end,
            was_reset: side.was_reset,
            sent: socket.send.ended(),
        }
    }

    /// Puts a socket together again.
    pub(crate) fn attach(parts: Parts, driver: Rc<Driver>) -> Rc<Socket> {
        let socket = Socket::new(parts.fd, driver);
        let mut side = socket.recv.borrow_mut();
        (side.end, side.was_reset) = (parts.end, parts.was_reset);
        if !parts.unread.is_empty() {
            side.push(Lease::from(parts.unread));
        }
        drop(side);
        socket.send.begin_as(parts.sent);
        socket
    }

    /// Empties the inbox.
    fn unread(&self) -> Vec<Lease> {
        let mut side = self.recv.borrow_mut();
        std::iter::from_fn(|| side.pop()).collect()
    }
}

/// The inbox in one piece, in memory that may go to another thread.
fn joined(side: &mut RecvSide) -> Bytes {
    let mut bytes = BytesMut::with_capacity(side.len());
    while let Some(piece) = side.pop() {
        bytes.extend_from_slice(&piece);
    }
    bytes.freeze()
}
