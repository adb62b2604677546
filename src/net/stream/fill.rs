//! `fill_buf()`, `fill_more()` and `consume()`: a parser's view of the inbox.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use corering_buffers::Lease;

use super::Socket;
use crate::driver::budget;
use crate::io::waiters::Place;
use crate::io::{Operation, PIECE_MAX, Sealed, cancelled, piece_full};

/// The future of `fill_buf()`.
///
/// # Cancellation
///
/// Dropped, it has taken nothing.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct FillBuf<'a> {
    socket: &'a Rc<Socket>,
    place: Option<Place>,
}

/// The future of `fill_more()`.
///
/// # Cancellation
///
/// Dropped, it has taken nothing.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct FillMore<'a> {
    socket: &'a Rc<Socket>,
    place: Option<Place>,
}

impl<'a> FillBuf<'a> {
    pub(crate) fn new(socket: &'a Rc<Socket>) -> Self {
        let place = None;
        FillBuf { socket, place }
    }
}

impl<'a> FillMore<'a> {
    pub(crate) fn new(socket: &'a Rc<Socket>) -> Self {
        let place = None;
        FillMore { socket, place }
    }
}

impl FillBuf<'_> {
    fn poll_inbox(&mut self, cx: &mut Context<'_>, arm: bool) -> Poll<io::Result<Lease>> {
        let side = ready!(self.socket.poll_inbox(&mut self.place, cx, arm));
        // A second handle on the same bytes: it keeps them, whatever happens to the inbox.
        let piece = side.head().cloned();
        let end = side.ended();
        drop(side);
        self.socket.leave_inbox(&mut self.place);
        match (piece, end) {
            (Some(piece), _) => Poll::Ready(Ok(piece)),
            (None, Some(Err(e))) => Poll::Ready(Err(e)),
            (None, _) => Poll::Ready(Ok(Lease::default())),
        }
    }
}

impl Future for FillBuf<'_> {
    type Output = io::Result<Lease>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.place.is_none() {
            ready!(budget::spend(cx));
        }
        self.poll_inbox(cx, true)
    }
}

impl Sealed for FillBuf<'_> {}

impl Operation for FillBuf<'_> {
    type Outcome = Self::Output;

    fn poll_cancel(&mut self, cx: &mut Context<'_>) -> Poll<Self::Outcome> {
        if let Poll::Ready(output) = self.poll_inbox(cx, false) {
            return Poll::Ready(output);
        }
        self.socket.leave_inbox(&mut self.place);
        Poll::Ready(Err(cancelled()))
    }
}

impl Drop for FillBuf<'_> {
    fn drop(&mut self) {
        self.socket.leave_inbox(&mut self.place);
    }
}

impl FillMore<'_> {
    fn poll_longer(&mut self, cx: &mut Context<'_>, arm: bool) -> Poll<io::Result<()>> {
        ready!(self.socket.poll_longer(&mut self.place, cx, arm));
        let merged = self.socket.merge();
        self.socket.leave_inbox(&mut self.place);
        Poll::Ready(merged)
    }
}

impl Future for FillMore<'_> {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.place.is_none() {
            ready!(budget::spend(cx));
        }
        self.poll_longer(cx, true)
    }
}

impl Sealed for FillMore<'_> {}

impl Operation for FillMore<'_> {
    type Outcome = Self::Output;

    fn poll_cancel(&mut self, cx: &mut Context<'_>) -> Poll<Self::Outcome> {
        if let Poll::Ready(output) = self.poll_longer(cx, false) {
            return Poll::Ready(output);
        }
        self.socket.leave_inbox(&mut self.place);
        Poll::Ready(Err(cancelled()))
    }
}

impl Drop for FillMore<'_> {
    fn drop(&mut self) {
        self.socket.leave_inbox(&mut self.place);
    }
}

impl Socket {
    /// Waits until more than the first piece is there, or until that can never be.
    fn poll_longer(
        self: &Rc<Self>,
        place: &mut Option<Place>,
        cx: &mut Context<'_>,
        arm: bool,
    ) -> Poll<()> {
        let mut side = ready!(self.poll_inbox(place, cx, arm));
        let first = side.head().map_or(0, |head| head.len());
        if side.len() > first || side.ended().is_some() || first >= PIECE_MAX {
            return Poll::Ready(());
        }
        // Twice as much, so that a long piece is not merged byte by byte.
        side.raise(2 * first);
        drop(side);
        drop(self.stand_in_line(place, cx));
        if arm {
            self.arm();
        }
        Poll::Pending
    }

    /// Makes one piece of the whole inbox.
    fn merge(&self) -> io::Result<()> {
        let mut side = self.recv.borrow_mut();
        let first = side.head().map_or(0, |head| head.len());
        if first >= PIECE_MAX {
            return Err(piece_full());
        }
        if side.len() == first {
            return match side.ended() {
                Some(Err(e)) => Err(e),
                _ => Err(io::ErrorKind::UnexpectedEof.into()),
            };
        }
        side.merge();
        Ok(())
    }

    /// Takes `n` bytes off the inbox.
    pub(crate) fn consume(self: &Rc<Self>, n: usize) {
        self.take_bytes(n, |_| {});
    }

    /// Takes `n` bytes off the inbox and returns a copy of them.
    pub(crate) fn consume_to_vec(self: &Rc<Self>, n: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(n);
        self.take_bytes(n, |piece| bytes.extend_from_slice(piece));
        bytes
    }

    pub(super) fn take_bytes(self: &Rc<Self>, mut n: usize, mut each: impl FnMut(&[u8])) {
        let mut side = self.recv.borrow_mut();
        assert!(
            n <= side.len(),
            "consume of more bytes than the inbox holds"
        );
        while n > 0 {
            let mut piece = side.pop().expect("the inbox holds at least n bytes");
            let part = n.min(piece.len());
            each(&piece[..part]);
            n -= part;
            piece.advance(part);
            if !piece.is_empty() {
                side.unpop(piece);
            }
        }
        let arm = side.wants_more();
        drop(side);
        if arm {
            self.arm();
        }
    }
}
