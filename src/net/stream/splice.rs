//! Bytes from one stream to another that do not come by the process.
//!
//! They are moved to a pipe of the core's and on, by plain calls on streams that are ready: what
//! was taken from one stream goes to the other within the same poll, or is committed to it
//! ([`SpliceOut`]). So the pipe is empty whenever this waits for the source, and a future that is
//! dropped leaves nothing behind. What the inbox of the source has goes first, as a write.
//!
//! The sockets do not block from then on, so that no plain call can: the ring waits all the same.

use std::future::{Future, poll_fn};
use std::io;
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use super::inbox::{Arm, End};
use super::write::{Turn, WriteAll};
use super::{Socket, SpliceEnd};
use crate::driver::{Op, Pipe, Ticket, budget};
use crate::io::both;
use crate::io::waiters::Place;
use crate::op::{Poured, Readable, Sender, SpliceOut};
use crate::ring::sys;

/// The most that is taken at once, bytes: what a pipe holds.
const AT_ONCE: usize = 64 * 1024;

/// Moves all that `from` receives until its end to `to`: the number of bytes. They are not copied,
/// and take no buffer of the core's; what `from` has received already goes first.
///
/// It pays where much comes at once: against [`io::copy`](crate::io::copy) it takes half the
/// processor time with pieces of 64 KiB, nine tenths with 16 KiB, and more with 4 KiB.
///
/// Where the kernel cannot splice two streams, where no descriptor is left for a pipe, and where
/// `SIGPIPE` would end the process (Rust has it ignored), it copies.
///
/// # Errors
///
/// What a receive from `from` or a write to `to` reports; `TimedOut` where one of them is
/// [guarded](crate::net::Guarded), and if that is a write that takes too long, the write side of
/// `to` is over. What was moved before is unknown.
///
/// # Cancellation
///
/// Dropped, it loses nothing: what was taken from one stream is committed to the other in the same
/// moment, and goes there before whatever is written later. How much that was is lost.
///
/// # Kernel
///
/// `splice(2)` when `IORING_OP_POLL_ADD` says that there is something. The ring has an opcode for
/// it, `IORING_OP_SPLICE`, which always goes to a worker thread, and waits there.
///
/// # Source
///
/// [`splice(2)`](https://man7.org/linux/man-pages/man2/splice.2.html)
///
/// # Examples
///
/// ```
/// use corering::net::{UnixStream, splice};
/// use std::net::Shutdown;
///
/// # fn main() -> std::io::Result<()> {
/// # corering::Runtime::new()?.block_on(async {
/// let (client, ours) = UnixStream::pair()?;
/// let (to_server, server) = UnixStream::pair()?;
/// client.write_all("hello").await.0?;
/// client.shutdown(Shutdown::Write).await?;
///
/// assert_eq!(splice(&ours, &to_server).await?, 5);
/// assert_eq!(server.recv().await?.as_deref(), Some(&b"hello"[..]));
/// # Ok(()) })
/// # }
/// ```
pub async fn splice<A: SpliceEnd, B: SpliceEnd>(from: &A, to: &B) -> io::Result<u64> {
    Splicing::new(from, to)?.run().await
}

/// Moves bytes both ways between two streams until both have ended: the bytes from `a` to `b`, and
/// from `b` to `a`.
///
/// The end of one direction is carried over (the write side of the other stream is shut down) and
/// the other direction goes on. See [`splice`].
///
/// # Errors
///
/// The first error of either direction, which ends both.
///
/// # Cancellation
///
/// As [`splice`], in both directions.
///
/// # Examples
///
/// ```
/// use corering::net::{TcpStream, splice_bidirectional};
///
/// /// Connects a client to a server in another place.
/// async fn proxy(client: TcpStream, server: &str) -> std::io::Result<(u64, u64)> {
///     let server = TcpStream::connect(server).await?;
///     splice_bidirectional(&client, &server).await
/// }
/// ```
pub async fn splice_bidirectional<A, B>(a: &A, b: &B) -> io::Result<(u64, u64)>
where
    A: SpliceEnd,
    B: SpliceEnd,
{
    both(to_end(a, b), to_end(b, a)).await
}

async fn to_end<A: SpliceEnd, B: SpliceEnd>(from: &A, to: &B) -> io::Result<u64> {
    let moved = splice(from, to).await?;
    let ending = to.end().shutdown(std::net::Shutdown::Write);
    to.until_sent(ending).await??;
    Ok(moved)
}

struct Splicing<'a, A, B> {
    source: &'a A,
    sink: &'a B,
    from: &'a Rc<Socket>,
    to: &'a Rc<Socket>,
    /// It cannot be spliced: the inbox takes what comes.
    copies: bool,
    moved: u64,
}

/// What one piece has come to.
enum Step {
    /// There may be more at once.
    More,
    /// There is nothing before the source says so.
    Wait,
    /// The source has ended.
    End,
}

impl<'a, A: SpliceEnd, B: SpliceEnd> Splicing<'a, A, B> {
    fn new(source: &'a A, sink: &'a B) -> io::Result<Self> {
        let (from, to) = (source.end(), sink.end());
        let copies = sys::is_sigpipe_deadly();
        if !copies {
            from.fd.set_nonblocking()?;
            to.fd.set_nonblocking()?;
        }
        Ok(Splicing {
            source,
            sink,
            from,
            to,
            copies,
            moved: 0,
        })
    }

    async fn run(mut self) -> io::Result<u64> {
        loop {
            let arrival = Arrival::new(self.from, self.copies);
            let step = match self.source.until_received(arrival).await?? {
                Arrived::Inbox => self.write_inbox().await?,
                Arrived::Socket => self.splice().await?,
                Arrived::End => Step::End,
            };
            let step = match step {
                Step::More => self.splice_on().await?,
                step => step,
            };
            if matches!(step, Step::End) {
                return self.ended();
            }
        }
    }

    /// Goes on without asking for as long as as much comes as can be taken at once.
    async fn splice_on(&mut self) -> io::Result<Step> {
        loop {
            poll_fn(|cx| budget::spend(cx)).await;
            match self.splice().await? {
                Step::More => {}
                step => return Ok(step),
            }
        }
    }

    fn ended(self) -> io::Result<u64> {
        let end = self.from.recv.borrow().ended();
        end.unwrap_or(Ok(())).map(|()| self.moved)
    }

    /// What was received by earlier reads.
    async fn write_inbox(&mut self) -> io::Result<Step> {
        // A write whose future was dropped may still be going on. Bytes that were taken before its
        // end would have to wait for their turn, and be lost with this future.
        self.sink.until_sent(self.to.flush()).await??;
        let lease = self.from.recv.borrow_mut().pop();
        if let Some(lease) = lease {
            self.moved += lease.len() as u64;
            self.source.took(lease.len());
            let write = WriteAll::new(self.to, lease);
            self.in_time(async { write.await.0 }).await?;
        }
        Ok(Step::Wait)
    }

    /// Takes a piece from the one and gives it to the other.
    async fn splice(&mut self) -> io::Result<Step> {
        let turn = self.sink.until_sent(self.turn()).await??;
        // It was our turn to receive before we waited for this one.
        if !self.from.is_idle() {
            return Ok(Step::Wait);
        }
        let Ok(pipe) = self.to.driver.pipe() else {
            self.copies = true;
            return Ok(Step::Wait);
        };
        let n = match self.from.fd.splice(&pipe.writer, AT_ONCE) {
            Ok(n) => n,
            Err(error) => {
                self.to.driver.return_pipe(pipe);
                return self.refused(&error);
            }
        };
        if n == 0 {
            self.to.driver.return_pipe(pipe);
            self.from.recv.borrow_mut().eof();
            return Ok(Step::End);
        }
        self.moved += n as u64;
        self.source.took(n);
        mem::forget(turn);
        self.in_time(self.give(pipe, n)).await?;
        Ok(if n < AT_ONCE { Step::Wait } else { Step::More })
    }

    /// Sends what is committed, which nobody must wait for when that takes too long.
    async fn in_time(&self, send: impl Future<Output = io::Result<()>>) -> io::Result<()> {
        let sent = self.sink.until_sent(send).await;
        sent.inspect_err(|_| self.to.cut_send())?
    }

    /// Waits until it is our turn to write.
    async fn turn(&self) -> io::Result<Turn<'a>> {
        let to = self.to;
        let mut line = Line(to, None);
        poll_fn(|cx| to.poll_turn(&mut line.1, cx)).await?;
        Ok(Turn(to))
    }

    /// The source has given nothing.
    fn refused(&mut self, error: &io::Error) -> io::Result<Step> {
        match error.raw_os_error() {
            Some(libc::EAGAIN | libc::EINTR) => {}
            Some(libc::EINVAL) => self.copies = true,
            errno => {
                let mut side = self.from.recv.borrow_mut();
                side.fail(errno.unwrap_or(libc::EIO));
                return Ok(Step::End);
            }
        }
        Ok(Step::Wait)
    }

    /// Gives `n` bytes to the sink, which are committed to it from here on.
    async fn give(&self, pipe: Pipe, n: usize) -> io::Result<()> {
        let out = SpliceOut {
            socket: Rc::clone(self.to),
            driver: Rc::clone(&self.to.driver),
            pipe,
            left: n,
        };
        let mut poured = out.pour();
        let (mut ticket, mut left) = (None, n);
        loop {
            match poured {
                Poured::All(result) => return result,
                Poured::HandedOver => return self.to.flush().await,
                Poured::Rest(rest) => {
                    if rest.left < left {
                        left = rest.left;
                        self.to.took_a_part();
                    }
                    let mut rest = Some(rest);
                    poured = poll_fn(|cx| self.poll_out(&mut rest, &mut ticket, cx)).await;
                }
            }
        }
    }

    fn poll_out(
        &self,
        rest: &mut Option<SpliceOut<Socket>>,
        ticket: &mut Option<Ticket<SpliceOut<Socket>>>,
        cx: &Context<'_>,
    ) -> Poll<Poured<Socket>> {
        if let Some(out) = rest.take() {
            match self.to.driver.submit(|| out, cx) {
                Ok(submitted) => {
                    self.to.last_send.set(submitted.key());
                    *ticket = Some(submitted);
                }
                Err((out, cqe)) => return Poll::Ready(out.complete(cqe)),
            }
        }
        let waiting = ticket.as_mut().expect("submitted above");
        waiting.poll(cx)
    }
}

impl Socket {
    /// Whether nothing is being received, and nothing was that nobody has taken, and nobody waits.
    fn is_idle(&self) -> bool {
        let side = self.recv.borrow();
        let nothing = side.arm == Arm::Idle && side.head().is_none() && side.end == End::Open;
        nothing && side.waiters.may_go(None)
    }
}

/// A place in the line of the writers.
struct Line<'a>(&'a Socket, Option<Place>);

impl Drop for Line<'_> {
    fn drop(&mut self) {
        self.0.leave_line(&mut self.1);
    }
}

/// Waits until a source has something, in line with those who read it.
struct Arrival<'a> {
    socket: &'a Rc<Socket>,
    place: Option<Place>,
    ticket: Option<Ticket<Readable<Socket>>>,
    /// What comes is to be in the inbox.
    receives: bool,
}

/// Where something is.
enum Arrived {
    Inbox,
    Socket,
    End,
}

impl<'a> Arrival<'a> {
    fn new(socket: &'a Rc<Socket>, receives: bool) -> Self {
        Arrival {
            socket,
            place: None,
            ticket: None,
            receives,
        }
    }

    fn wait(&mut self, cx: &Context<'_>) -> Poll<io::Result<Arrived>> {
        let is_first = self.socket.recv.borrow().waiters.may_go(self.place);
        if self.receives || !is_first || !self.socket.disarm() {
            return Poll::Pending;
        }
        drop(self.socket.go_direct());
        let socket = Rc::clone(self.socket);
        match self.socket.driver.submit(|| Readable { socket }, cx) {
            Ok(ticket) => {
                self.ticket = Some(ticket);
                Poll::Pending
            }
            Err((op, cqe)) => Poll::Ready(op.complete(cqe).map(|()| Arrived::Socket)),
        }
    }
}

impl Future for Arrival<'_> {
    type Output = io::Result<Arrived>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Some(ticket) = &mut this.ticket {
            let polled = ready!(ticket.poll(cx));
            this.ticket = None;
            this.socket.leave_inbox(&mut this.place);
            return Poll::Ready(polled.map(|()| Arrived::Socket));
        }
        if this.place.is_none() {
            ready!(budget::spend(cx));
        }
        let side = match this.socket.poll_inbox(&mut this.place, cx, this.receives) {
            Poll::Ready(side) => side,
            Poll::Pending => return this.wait(cx),
        };
        let arrived = match side.head() {
            Some(_) => Arrived::Inbox,
            None => Arrived::End,
        };
        drop(side);
        this.socket.leave_inbox(&mut this.place);
        Poll::Ready(Ok(arrived))
    }
}

impl Drop for Arrival<'_> {
    fn drop(&mut self) {
        self.socket.leave_inbox(&mut self.place);
    }
}
