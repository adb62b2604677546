//! What sends: the peer gets what was reported, in order, and what was committed whole.

use std::cell::RefCell;
use std::future::Future;
use std::io::ErrorKind;
use std::marker::PhantomData;
use std::net::Shutdown;
use std::rc::Rc;
use std::time::Duration;

use corering::net::TcpStream;
use corering::time::sleep;
use futures_lite::future::{or, poll_once};

use crate::cell::{Attempt, Course, End, Got, How, Scene, State, Way, in_flight};
use crate::common::pattern;
use crate::peer::{Peer, stuff, without_runtime};

/// A way to send.
pub(crate) trait Means: 'static {
    const NAME: &'static str;
    const FILES: &'static [&'static str] = &["send.rs"];
    const LEN: usize = 3_000;
    /// Whether a part of it is torn.
    const WHOLE: bool = false;

    fn begin(stream: Rc<TcpStream>, how: Rc<How>) -> Attempt;
}

pub(crate) struct Once;

impl Means for Once {
    const NAME: &'static str = "write";

    fn begin(stream: Rc<TcpStream>, how: Rc<How>) -> Attempt {
        Box::pin(async move {
            let (n, buf) = how.end(stream.write(message::<Self>())).await;
            assert!(buf == message::<Self>(), "the buffer is back");
            Got::of(n, Got::Count)
        })
    }
}

pub(crate) struct All;

impl Means for All {
    const NAME: &'static str = "write_all";
    const WHOLE: bool = true;

    fn begin(stream: Rc<TcpStream>, how: Rc<How>) -> Attempt {
        write_all(stream, how, message::<Self>())
    }
}

/// One that the kernel takes in many parts.
pub(crate) struct Long;

impl Means for Long {
    const NAME: &'static str = "write_all, long";
    const LEN: usize = 600_000;
    const WHOLE: bool = true;

    fn begin(stream: Rc<TcpStream>, how: Rc<How>) -> Attempt {
        write_all(stream, how, message::<Self>())
    }
}

fn write_all(stream: Rc<TcpStream>, how: Rc<How>, message: Vec<u8>) -> Attempt {
    Box::pin(async move {
        let len = message.len();
        let (n, buf) = how.end(stream.write_all(message)).await;
        assert_eq!(buf.len(), len, "the buffer is back");
        Got::of(n, Got::Count)
    })
}

pub(crate) struct Vectored;

impl Means for Vectored {
    const NAME: &'static str = "write_vectored";
    const FILES: &'static [&'static str] = &["send_vectored.rs"];

    fn begin(stream: Rc<TcpStream>, how: Rc<How>) -> Attempt {
        Box::pin(async move {
            let parts: Vec<_> = message::<Self>().chunks(700).map(<[u8]>::to_vec).collect();
            let (n, bufs) = how.end(stream.write_vectored(parts)).await;
            assert!(bufs.concat() == message::<Self>(), "the buffers are back");
            Got::of(n, Got::Count)
        })
    }
}

pub(crate) struct ZeroCopy;

impl Means for ZeroCopy {
    const NAME: &'static str = "write_zero_copy";
    const FILES: &'static [&'static str] = &["send_zc.rs"];

    fn begin(stream: Rc<TcpStream>, how: Rc<How>) -> Attempt {
        Box::pin(async move {
            let (n, buf) = how.end(stream.write_zero_copy(message::<Self>())).await;
            assert!(buf == message::<Self>(), "the buffer is back");
            Got::of(n, Got::Count)
        })
    }
}

fn message<M: Means>() -> Vec<u8> {
    pattern(9, M::LEN)
}

/// A stream whose socket is full, unless the message itself fills it.
pub(crate) struct Write<M> {
    stream: RefCell<Option<Rc<TcpStream>>>,
    peer: Peer,
    before: Vec<u8>,
    in_flight: usize,
    means: PhantomData<M>,
}

impl<M: Means> Write<M> {
    fn is_long() -> bool {
        M::LEN > 100_000
    }

    fn stream(&self) -> Rc<TcpStream> {
        Rc::clone(self.stream.borrow().as_ref().expect("it is there"))
    }

    /// How many bytes of the message the peer must get: at least, and at most.
    fn sent(&self, end: &End) -> (usize, usize) {
        let any = if M::WHOLE { M::LEN } else { 1 };
        match end.got {
            Some(Got::Count(n)) => (n, n),
            Some(_) => (0, 0),
            None if end.state == State::Unpolled => (0, 0),
            // It may have been ended before its first byte: see `check`.
            None if end.way == Way::CancelDropped => (0, M::LEN),
            // Whoever ends the runtime ends its writes.
            None if !end.way.is_inside() && end.state != State::Reaped => (0, M::LEN),
            None => (any, M::LEN),
        }
    }

    /// Checks what the peer got: what was there before, a part of the message, and `next`.
    fn check(&self, got: &[u8], end: &End, next: &[u8]) {
        let rest = got
            .strip_prefix(&self.before[..])
            .expect("what was sent before");
        let n = rest
            .len()
            .checked_sub(next.len())
            .expect("what was sent after");
        let (least, most) = self.sent(end);
        assert!(
            (least..=most).contains(&n),
            "{n} of {least} to {most} bytes"
        );
        let torn = M::WHOLE && end.got.is_none() && end.way.is_inside();
        assert!(!torn || n == 0 || n == M::LEN, "torn after {n} bytes");
        assert!(rest[..n] == message::<M>()[..n], "other bytes");
        assert!(&rest[n..] == next, "what was sent after");
    }
}

/// Waits for `future` while the peer reads.
async fn read_meanwhile<T>(peer: &Peer, future: impl Future<Output = T>) -> T {
    let reads = async {
        loop {
            peer.drain();
            sleep(Duration::from_micros(100)).await;
        }
    };
    or(future, reads).await
}

/// Reads until the kernel has sent all that it had.
fn read_all(peer: &Peer) {
    for _ in 0..4 {
        peer.drain();
        std::thread::sleep(Duration::from_micros(200));
    }
}

impl<M: Means> Scene for Write<M> {
    const NAME: &'static str = M::NAME;
    const FILES: &'static [&'static str] = M::FILES;

    async fn set(_: State) -> Self {
        let (ours, peer) = Peer::pair(true);
        ours.set_nonblocking(true).expect("a socket");
        let before = if Self::is_long() {
            Vec::new()
        } else {
            stuff(&ours)
        };
        let stream = TcpStream::from_std(ours).expect("a runtime");
        Write {
            stream: RefCell::new(Some(Rc::new(stream))),
            peer,
            before,
            in_flight: in_flight(),
            means: PhantomData,
        }
    }

    fn begin(self: &Rc<Self>, how: Rc<How>) -> Attempt {
        M::begin(self.stream(), how)
    }

    fn missing(_: Way, state: State) -> Option<&'static str> {
        let long = Self::is_long() && matches!(state, State::Completed | State::Posted);
        long.then_some("the kernel takes its last part only when the loop has turned")
    }

    fn happen(&self) {
        read_all(&self.peer);
    }

    /// The kernel has memory that is lent until the peer has read it.
    fn has_begun(&self) -> bool {
        self.peer.drain();
        self.peer.received() > self.before.len()
    }

    async fn reaped(&self) {
        let done = async {
            while in_flight() > self.in_flight {
                sleep(Duration::from_micros(100)).await;
            }
        };
        read_meanwhile(&self.peer, done).await;
    }

    fn let_go(&self) {
        self.stream.take();
    }

    async fn after(&self, end: End) {
        end.check_outcome();
        let next: &[u8] = if end.way == Way::Resource {
            b""
        } else {
            b"next"
        };
        let torn = M::WHOLE && matches!(end.got, Some(Got::Count(n)) if 0 < n && n < M::LEN);
        if end.way != Way::Resource {
            let stream = self.stream();
            let (written, _) = read_meanwhile(&self.peer, stream.write_all("next")).await;
            match written {
                Err(e) => assert!(torn && e.kind() == ErrorKind::BrokenPipe, "{e}"),
                Ok(()) => assert!(!torn, "something follows a write that was cut"),
            }
            let shut = read_meanwhile(&self.peer, stream.shutdown(Shutdown::Write)).await;
            shut.expect("a connection");
        }
        let got = self.peer.all().await;
        self.check(&got, &end, if torn { b"" } else { next });
    }

    fn after_runtime(&self, end: End) {
        let stream = self.stream();
        let (refused, _) = without_runtime(stream.write_all("next")).expect("it does not wait");
        assert!(refused.is_err(), "nobody sends it");
        drop(stream);
        self.let_go();
        let got = self.peer.all_now();
        self.check(&got, &end, b"");
    }
}

/// What the peer sends, and nobody reads before the close.
const UNREAD: &[u8] = b"unread";

/// `TcpStream::close`, with an inbox, and behind a write if it is to wait.
pub(crate) struct CloseStream {
    stream: RefCell<Option<TcpStream>>,
    peer: Peer,
    sent: Vec<u8>,
    stuck: bool,
}

impl Scene for CloseStream {
    const NAME: &'static str = "TcpStream::close";
    const FILES: &'static [&'static str] = &["close.rs"];
    /// The first poll ends the receive.
    const PRELUDE: usize = 1;

    async fn set(state: State) -> Self {
        let (ours, peer) = Peer::pair(true);
        ours.set_nonblocking(true).expect("a socket");
        let stuck = state == State::Submitted;
        let mut sent = if stuck { stuff(&ours) } else { Vec::new() };
        let stream = TcpStream::from_std(ours).expect("a runtime");
        peer.send(UNREAD).expect("it fits");
        assert_eq!(stream.fill_buf().await.expect("bytes").len(), UNREAD.len());
        if stuck {
            let mut write = Box::pin(stream.write_all("committed"));
            assert!(poll_once(&mut write).await.is_none());
            sent.extend_from_slice(b"committed");
        }
        CloseStream {
            stream: RefCell::new(Some(stream)),
            peer,
            sent,
            stuck,
        }
    }

    fn course(state: State) -> Course {
        match state {
            State::Submitted => Course::Waits,
            _ => Course::AtOnce,
        }
    }

    fn missing(way: Way, _: State) -> Option<&'static str> {
        match way {
            Way::Resource => Some("it has the stream"),
            Way::Cancel | Way::CancelDropped => Some("it is no operation: there is no cancel()"),
            _ => None,
        }
    }

    fn begin(self: &Rc<Self>, how: Rc<How>) -> Attempt {
        let stream = self.stream.take().expect("it is closed once");
        let close = stream.close();
        Box::pin(async move {
            let closed = async {
                let flat = |unread: Vec<corering::Lease>| {
                    Got::Bytes(unread.iter().flat_map(|lease| lease.to_vec()).collect())
                };
                Got::of(close.await, flat)
            };
            how.end_plain(closed).await
        })
    }

    fn happen(&self) {
        if self.stuck {
            read_all(&self.peer);
        }
    }

    async fn after(&self, end: End) {
        end.check_outcome();
        if let Some(Got::Bytes(unread)) = &end.got {
            assert_eq!(unread, UNREAD);
        }
        assert!(self.peer.all().await == self.sent, "the end of the stream");
    }

    fn after_runtime(&self, end: End) {
        let got = self.peer.all_now();
        let whole = got == self.sent || end.state == State::Submitted;
        assert!(
            whole && self.sent.starts_with(&got),
            "the end of the stream"
        );
    }
}
