//! A stream that lies in memory, for tests of what is written for any stream.

use std::cell::{RefCell, RefMut};
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::mem;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes, BytesMut};
use corering_buffers::{BufResult, Fill, IoBuf, IoBufExt, IoBufMut, Lease};

use super::buffered::exactly;
use super::{AsyncBufRead, AsyncRead, AsyncWrite, by_reference, no_room};

/// Two streams, each the other's peer, of which each holds at most `max_buf_size` bytes that the
/// other has not read.
///
/// # Panics
///
/// If `max_buf_size` is 0.
///
/// # Examples
///
/// ```
/// use corering::io::{AsyncBufRead, AsyncWrite, duplex};
///
/// # fn main() -> std::io::Result<()> {
/// # corering::Runtime::new()?.block_on(async {
/// let (mut client, mut server) = duplex(64);
/// client.write_all("ping\n").await.0?;
/// assert_eq!(server.read_line(64).await?.as_deref(), Some("ping"));
/// # Ok(()) })
/// # }
/// ```
pub fn duplex(max_buf_size: usize) -> (DuplexStream, DuplexStream) {
    assert!(max_buf_size > 0, "a stream that holds 0 bytes");
    let (there, back) = (Pipe::new(max_buf_size), Pipe::new(max_buf_size));
    let near = DuplexStream {
        reads: Rc::clone(&back),
        writes: Rc::clone(&there),
    };
    let far = DuplexStream {
        reads: there,
        writes: back,
    };
    (near, far)
}

/// One end of a stream in memory, made by [`duplex`].
///
/// Dropping it is its end for the peer, whose writes then fail with `BrokenPipe`.
///
/// # Cancellation
///
/// Dropped reads have taken nothing. A dropped [`write_all`](AsyncWrite::write_all) may have
/// written a part, if there was no room for all of it.
pub struct DuplexStream {
    reads: Rc<Pipe>,
    writes: Rc<Pipe>,
}

/// One direction.
struct Pipe {
    max: usize,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    /// The oldest bytes: what a reader is shown.
    front: Bytes,
    back: BytesMut,
    ended: bool,
    /// The reader is gone.
    refused: bool,
    /// Who waits for a change, at most one of each task.
    wakers: Vec<Waker>,
}

impl State {
    fn len(&self) -> usize {
        self.front.len() + self.back.len()
    }
}

impl Pipe {
    fn new(max: usize) -> Rc<Pipe> {
        let state = RefCell::default();
        Rc::new(Pipe { max, state })
    }

    /// Changes the state, and wakes who waits for that.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.borrow_mut();
        let output = change(&mut state);
        let wakers = mem::take(&mut state.wakers);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        output
    }

    /// Waits until `ready` holds.
    async fn until(&self, ready: impl Fn(&State) -> bool) -> RefMut<'_, State> {
        poll_fn(|cx: &mut Context<'_>| {
            let waker = cx.waker().clone();
            let mut state = self.state.borrow_mut();
            if ready(&state) {
                return Poll::Ready(());
            }
            if !state.wakers.iter().any(|other| other.will_wake(&waker)) {
                state.wakers.push(waker);
            }
            Poll::Pending
        })
        .await;
        self.state.borrow_mut()
    }

    async fn show(&self) -> Bytes {
        let mut state = self.until(|state| state.len() > 0 || state.ended).await;
        if state.front.is_empty() {
            state.front = state.back.split().freeze();
        }
        state.front.clone()
    }

    async fn show_more(&self) -> io::Result<()> {
        let max = self.max;
        let ready = |state: &State| {
            let first = state.front.len();
            state.len() > first || state.ended || first >= max
        };
        let mut state = self.until(ready).await;
        if state.len() > state.front.len() {
            let mut whole = BytesMut::with_capacity(state.len());
            whole.extend_from_slice(&state.front);
            whole.extend_from_slice(&state.back);
            state.back.clear();
            state.front = whole.freeze();
            return Ok(());
        }
        if state.ended {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let text = format!("the {max} bytes that this stream can hold are in one piece");
        Err(io::Error::new(io::ErrorKind::OutOfMemory, text))
    }

    fn consume(&self, n: usize) {
        self.change(|state| {
            assert!(n <= state.len(), "consume of more bytes than are held");
            let first = n.min(state.front.len());
            state.front.advance(first);
            state.back.advance(n - first);
        });
    }

    /// Takes as much of `bytes` as there is room for, at least one.
    async fn put(&self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let state = self
            .until(|state| state.len() < self.max || state.ended || state.refused)
            .await;
        if state.ended || state.refused {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let n = bytes.len().min(self.max - state.len());
        drop(state);
        self.change(|state| state.back.extend_from_slice(&bytes[..n]));
        Ok(n)
    }
}

impl AsyncRead for &DuplexStream {
    async fn read<B: IoBufMut>(&mut self, mut buf: B) -> BufResult<usize, B> {
        if buf.parts_mut().1 == 0 {
            return (Err(no_room()), buf);
        }
        let piece = self.reads.show().await;
        let mut out = Fill::new(&mut buf);
        let n = out.put(&piece);
        out.finish();
        self.reads.consume(n);
        (Ok(n), buf)
    }

    async fn read_exact<B: IoBuf + IoBufMut>(&mut self, buf: B) -> BufResult<(), B> {
        exactly(self, buf).await
    }
}

impl AsyncBufRead for &DuplexStream {
    async fn fill_buf(&mut self) -> io::Result<Lease> {
        Ok(Lease::from(self.reads.show().await))
    }

    async fn fill_more(&mut self) -> io::Result<()> {
        self.reads.show_more().await
    }

    fn consume(&mut self, n: usize) {
        self.reads.consume(n);
    }
}

impl AsyncWrite for &DuplexStream {
    async fn write<B: IoBuf>(&mut self, buf: B) -> BufResult<usize, B> {
        (self.writes.put(buf.as_init()).await, buf)
    }

    async fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    async fn shutdown(&mut self) -> io::Result<()> {
        self.writes.change(|state| state.ended = true);
        Ok(())
    }
}

by_reference!([] DuplexStream);

impl Drop for DuplexStream {
    fn drop(&mut self) {
        self.writes.change(|state| state.ended = true);
        self.reads.change(|state| state.refused = true);
    }
}

impl fmt::Debug for DuplexStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DuplexStream").finish_non_exhaustive()
    }
}
