//! Waiting until the inbox holds so many bytes: nothing is taken before.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use corering_buffers::{BufResult, Fill, IoBufMut, Lease};

use super::Socket;
use crate::driver::budget;
use crate::io::waiters::Place;
use crate::io::{PIECE_MAX, piece_full, too_large, too_much};

impl Socket {
    /// Fills all of `buf` once the inbox holds as much.
    pub(crate) async fn read_exact<B: IoBufMut>(self: &Rc<Self>, mut buf: B) -> BufResult<(), B> {
        let (_, len) = buf.parts_mut();
        let holding = self.holds_exactly(len).await;
        let output = self.take_exactly(len, buf);
        drop(holding);
        output
    }

    /// Waits until the inbox holds `len` bytes, or can never. Who has this is the first in line.
    pub(crate) async fn holds_exactly(self: &Rc<Self>, len: usize) -> Option<Holding<'_>> {
        if (1..=PIECE_MAX).contains(&len) {
            return Some(self.holds(len).await);
        }
        None
    }

    /// Fills all of `buf`, `len` bytes, of what the inbox [holds](Self::holds_exactly).
    pub(crate) fn take_exactly<B: IoBufMut>(
        self: &Rc<Self>,
        len: usize,
        mut buf: B,
    ) -> BufResult<(), B> {
        if len > PIECE_MAX {
            return (Err(too_large()), buf);
        }
        if len == 0 {
            return (Ok(()), buf);
        }
        let side = self.recv.borrow();
        let (held, end) = (side.len(), side.ended());
        drop(side);
        if held < len {
            let error = match end {
                Some(Err(error)) => error,
                _ => io::ErrorKind::UnexpectedEof.into(),
            };
            return (Err(error), buf);
        }
        let mut out = Fill::new(&mut buf);
        let len = len.min(out.room());
        self.take_bytes(len, |piece| {
            out.put(piece);
        });
        out.finish();
        (Ok(()), buf)
    }

    /// The oldest `n` bytes in one piece, or what is there if the stream ends before.
    pub(crate) async fn fill_to(self: &Rc<Self>, n: usize) -> io::Result<Lease> {
        if n > PIECE_MAX {
            return Err(piece_full());
        }
        let holding = self.holds(n.max(1)).await;
        let mut side = self.recv.borrow_mut();
        if side.len() < n
            && let Some(Err(error)) = side.ended()
        {
            return Err(error);
        }
        if side.head().is_some_and(|head| head.len() < n) {
            side.merge();
        }
        let piece = side.head().cloned().unwrap_or_default();
        drop(side);
        drop(holding);
        Ok(piece)
    }

    /// Appends all that comes until the end of the stream, `limit` bytes at most.
    pub(crate) async fn read_to_end(
        self: &Rc<Self>,
        buf: &mut Vec<u8>,
        limit: usize,
    ) -> io::Result<usize> {
        let mut total = 0;
        loop {
            drop(self.holds(1).await);
            let side = self.recv.borrow();
            // A byte more than allowed, to learn that there is one.
            let n = side.len().min((limit - total).saturating_add(1));
            let end = side.ended();
            drop(side);
            self.take_bytes(n, |piece| buf.extend_from_slice(piece));
            total += n;
            match end {
                _ if total > limit => return Err(too_much(limit)),
                Some(end) if n == 0 => return end.map(|()| total),
                _ => {}
            }
        }
    }

    /// Waits until the inbox holds `len` bytes, or the stream has ended. Whoever gets the place
    /// that this returns is the first in line until it is dropped.
    async fn holds(self: &Rc<Self>, len: usize) -> Holding<'_> {
        poll_fn(|cx| budget::spend(cx)).await;
        let mut holding = Holding {
            socket: self,
            place: None,
            len,
        };
        poll_fn(|cx| holding.poll(cx)).await;
        holding
    }
}

/// A place in the line of readers, of one who wants so many bytes at once.
pub(crate) struct Holding<'a> {
    socket: &'a Rc<Socket>,
    place: Option<Place>,
    len: usize,
}

impl Holding<'_> {
    fn poll(&mut self, cx: &Context<'_>) -> Poll<()> {
        let mut side = ready!(self.socket.poll_inbox(&mut self.place, cx, true));
        if side.len() >= self.len || side.ended().is_some() {
            return Poll::Ready(());
        }
        side.raise(self.len);
        drop(side);
        drop(self.socket.stand_in_line(&mut self.place, cx));
        self.socket.arm();
        Poll::Pending
    }
}

impl Drop for Holding<'_> {
    fn drop(&mut self) {
        // Or a peer might fill as much for who wants little.
        self.socket.recv.borrow_mut().lower();
        self.socket.leave_inbox(&mut self.place);
    }
}
