//! What receives: bytes that came are delivered, or the next one delivers them.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::rc::Rc;

use corering::net::TcpStream;

use crate::cell::{Attempt, End, Got, How, Scene, State, Way, turns};
use crate::common::{pattern, read_exactly};
use crate::peer::{Peer, rest_in, without_runtime};

/// A way to receive.
pub(crate) trait Means: 'static {
    const NAME: &'static str;
    const FILES: &'static [&'static str] = &["recv_multi.rs"];
    const PRELUDE: usize = 0;
    const LEN: usize = 100;
    /// Bytes that are in the inbox before.
    const BEFORE: usize = 0;

    /// Makes the stream what it has to be.
    async fn prepare(_: &TcpStream, _: &Peer) {}

    fn begin(stream: Rc<TcpStream>, how: Rc<How>) -> Attempt;
}

pub(crate) struct ByRecv;

impl Means for ByRecv {
    const NAME: &'static str = "recv";

    fn begin(stream: Rc<TcpStream>, how: Rc<How>) -> Attempt {
        Box::pin(async move {
            let lease = how.end(stream.recv()).await;
            Got::of(lease, |lease| Got::Bytes(lease.expect("no end").to_vec()))
        })
    }
}

pub(crate) struct ByRead;

impl Means for ByRead {
    const NAME: &'static str = "read, inbox";

    fn begin(stream: Rc<TcpStream>, how: Rc<How>) -> Attempt {
        read(stream, how, 64)
    }
}

fn read(stream: Rc<TcpStream>, how: Rc<How>, room: usize) -> Attempt {
    Box::pin(async move {
        let (n, buf) = how.end(stream.read(Vec::with_capacity(room))).await;
        assert!(buf.capacity() >= room, "the buffer is back");
        Got::of(n, |n| {
            assert_eq!(n, buf.len());
            Got::Bytes(buf)
        })
    })
}

pub(crate) struct ByDirectRead;

impl Means for ByDirectRead {
    const NAME: &'static str = "read, direct";
    const FILES: &'static [&'static str] = &["recv.rs", "recv_multi.rs"];
    /// The first poll ends the receive that is in the way.
    const PRELUDE: usize = 1;
    const LEN: usize = 12 * 1024;

    async fn prepare(stream: &TcpStream, peer: &Peer) {
        for seed in [5, 6] {
            let large = pattern(seed, 16 * 1024);
            peer.send(&large).expect("it fits");
            assert!(read_exactly(stream, large.len()).await == large);
        }
    }

    fn begin(stream: Rc<TcpStream>, how: Rc<How>) -> Attempt {
        read(stream, how, 32 * 1024)
    }
}

pub(crate) struct ByFillBuf;

impl Means for ByFillBuf {
    const NAME: &'static str = "fill_buf";

    fn begin(stream: Rc<TcpStream>, how: Rc<How>) -> Attempt {
        Box::pin(async move {
            let lease = how.end(stream.fill_buf()).await;
            Got::of(lease, |lease| Got::Count(lease.len()))
        })
    }
}

pub(crate) struct ByFillMore;

impl Means for ByFillMore {
    const NAME: &'static str = "fill_more";
    const BEFORE: usize = 10;

    async fn prepare(stream: &TcpStream, peer: &Peer) {
        peer.send(&whole::<Self>()[..Self::BEFORE])
            .expect("it fits");
        assert_eq!(stream.fill_buf().await.expect("bytes").len(), Self::BEFORE);
    }

    fn begin(stream: Rc<TcpStream>, how: Rc<How>) -> Attempt {
        Box::pin(async move {
            let more = how.end(stream.fill_more()).await;
            Got::of(more, |()| Got::Done)
        })
    }
}

/// All that the peer sends before the operation is over.
fn whole<M: Means>() -> Vec<u8> {
    pattern(3, M::BEFORE + M::LEN)
}

pub(crate) struct Receive<M> {
    stream: RefCell<Option<Rc<TcpStream>>>,
    peer: Peer,
    means: PhantomData<M>,
}

impl<M: Means> Receive<M> {
    fn stream(&self) -> Rc<TcpStream> {
        Rc::clone(self.stream.borrow().as_ref().expect("it is there"))
    }

    /// Checks what was delivered. Says how many bytes of it are taken.
    fn delivered(&self, end: &End) -> usize {
        end.check_outcome();
        let whole = whole::<M>();
        match &end.got {
            Some(Got::Bytes(bytes)) => {
                assert!(!bytes.is_empty() && whole.starts_with(bytes), "other bytes");
                bytes.len()
            }
            Some(Got::Count(n)) => {
                assert!((1..=whole.len()).contains(n), "{n} bytes in the inbox");
                0
            }
            _ => 0,
        }
    }
}

impl<M: Means> Scene for Receive<M> {
    const NAME: &'static str = M::NAME;
    const FILES: &'static [&'static str] = M::FILES;
    const PRELUDE: usize = M::PRELUDE;

    async fn set(_: State) -> Self {
        let (ours, peer) = Peer::pair(false);
        let stream = TcpStream::from_std(ours).expect("a runtime");
        // From here on a receive is armed, whether anybody waits or not.
        peer.send(b"first").expect("it fits");
        assert_eq!(read_exactly(&stream, 5).await, b"first");
        M::prepare(&stream, &peer).await;
        Receive {
            stream: RefCell::new(Some(Rc::new(stream))),
            peer,
            means: PhantomData,
        }
    }

    fn begin(self: &Rc<Self>, how: Rc<How>) -> Attempt {
        M::begin(self.stream(), how)
    }

    fn happen(&self) {
        let sent = self.peer.send(&whole::<M>()[M::BEFORE..]);
        // Nobody may be there any more.
        assert!(sent.is_ok() || self.stream.borrow().is_none(), "{sent:?}");
    }

    fn let_go(&self) {
        self.stream.take();
    }

    async fn after(&self, end: End) {
        let taken = self.delivered(&end);
        if end.way == Way::Resource {
            return drop(self.peer.all().await);
        }
        let (stream, whole) = (self.stream(), whole::<M>());
        let rest = read_exactly(&stream, whole.len() - taken).await;
        assert!(rest == whole[taken..], "bytes are lost or out of order");
        // And goes on.
        self.peer.send(b"again").expect("it fits");
        assert_eq!(read_exactly(&stream, 5).await, b"again");
        self.peer.end();
        for _ in 0..2 {
            assert!(stream.recv().await.expect("the end").is_none());
        }
        turns(1).await;
    }

    fn after_runtime(&self, _: End) {
        let stream = self.stream();
        let mut bytes = Vec::new();
        while let Some(Ok(Some(lease))) = without_runtime(stream.recv()) {
            bytes.extend_from_slice(&lease);
        }
        let told = without_runtime(stream.recv()).expect("it does not wait for ever");
        let errno = told.map_err(|e| e.raw_os_error());
        assert!(matches!(errno, Err(Some(libc::ECANCELED))), "{errno:?}");
        bytes.extend(rest_in(&*stream));
        assert!(bytes == whole::<M>(), "{} bytes are held", bytes.len());
        drop(stream);
        self.let_go();
        assert_eq!(self.peer.all_now(), b"", "the end");
    }
}
