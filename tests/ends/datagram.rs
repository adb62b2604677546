//! Datagrams: one that came is delivered, or the next call delivers it; one that is sent is whole.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::net::UdpSocket as StdSocket;
use std::os::fd::AsFd;
use std::rc::Rc;

use corering::net::{Control, UdpSocket};
use futures_lite::future::poll_once;

use crate::cell::{Attempt, Course, End, Got, How, Scene, State, Way, turns};
use crate::common::{localhost, pattern};
use crate::core::NO_CANCEL;
use crate::peer::without_runtime;

/// A way to receive.
pub(crate) trait Means: 'static {
    const NAME: &'static str;

    fn begin(socket: Rc<UdpSocket>, how: Rc<How>) -> Attempt;
}

pub(crate) struct ByRecv;

impl Means for ByRecv {
    const NAME: &'static str = "udp recv";

    fn begin(socket: Rc<UdpSocket>, how: Rc<How>) -> Attempt {
        Box::pin(async move {
            let datagram = how.end(socket.recv()).await;
            Got::of(datagram, |datagram| Got::Bytes(datagram.payload.to_vec()))
        })
    }
}

pub(crate) struct ByRecvFrom;

impl Means for ByRecvFrom {
    const NAME: &'static str = "udp recv_from";

    fn begin(socket: Rc<UdpSocket>, how: Rc<How>) -> Attempt {
        Box::pin(async move {
            let (received, buf) = how.end(socket.recv_from(Vec::with_capacity(64))).await;
            assert!(buf.capacity() >= 64, "the buffer is back");
            Got::of(received, |received| {
                assert_eq!(received.len, buf.len());
                Got::Bytes(buf)
            })
        })
    }
}

pub(crate) struct ByPeek;

impl Means for ByPeek {
    const NAME: &'static str = "udp peek";

    fn begin(socket: Rc<UdpSocket>, how: Rc<How>) -> Attempt {
        Box::pin(async move {
            let (received, buf) = how.end(socket.peek(Vec::with_capacity(64))).await;
            assert!(buf.capacity() >= 64, "the buffer is back");
            Got::of(received, |received| Got::Count(received.len))
        })
    }
}

/// What comes, in order. The last one has no bytes, which ends the receive that is armed.
const COMING: [&[u8]; 3] = [b"the first", b"and the second", b""];

/// A socket and its peer, connected to each other.
async fn pair() -> (UdpSocket, StdSocket) {
    let peer = StdSocket::bind(localhost()).expect("a socket");
    let socket = UdpSocket::bind(localhost()).await.expect("a socket");
    let address = peer.local_addr().expect("its address");
    socket.connect(address).await.expect("it is there");
    peer.connect(socket.local_addr().expect("its address"))
        .expect("it is there");
    peer.set_nonblocking(true).expect("a socket");
    (socket, peer)
}

/// What is in a socket of which nobody reads any more.
fn rest_in(socket: impl AsFd) -> Vec<Vec<u8>> {
    let copy = socket.as_fd().try_clone_to_owned().expect("a descriptor");
    let copy = StdSocket::from(copy);
    copy.set_nonblocking(true).expect("a socket");
    let mut buf = vec![0; 64 * 1024];
    let datagrams = std::iter::from_fn(|| copy.recv(&mut buf).ok().map(|n| buf[..n].to_vec()));
    datagrams.collect()
}

pub(crate) struct Receive<M> {
    socket: RefCell<Option<Rc<UdpSocket>>>,
    peer: StdSocket,
    means: PhantomData<M>,
}

impl<M: Means> Receive<M> {
    fn socket(&self) -> Rc<UdpSocket> {
        Rc::clone(self.socket.borrow().as_ref().expect("it is there"))
    }
}

impl<M: Means> Scene for Receive<M> {
    const NAME: &'static str = M::NAME;
    const FILES: &'static [&'static str] = &["recvmsg_multi.rs"];

    async fn set(_: State) -> Self {
        let (socket, peer) = pair().await;
        // From here on a receive is armed, whether anybody waits or not.
        peer.send(b"before").expect("it fits");
        let before = socket.recv().await.expect("a datagram");
        assert_eq!(&*before.payload, b"before");
        Receive {
            socket: RefCell::new(Some(Rc::new(socket))),
            peer,
            means: PhantomData,
        }
    }

    fn begin(self: &Rc<Self>, how: Rc<How>) -> Attempt {
        M::begin(self.socket(), how)
    }

    fn happen(&self) {
        for datagram in COMING {
            let sent = self.peer.send(datagram);
            // Nobody may be there any more.
            assert!(sent.is_ok() || self.socket.borrow().is_none(), "{sent:?}");
        }
    }

    fn let_go(&self) {
        self.socket.take();
    }

    async fn after(&self, end: End) {
        end.check_outcome();
        if end.way == Way::Resource {
            return;
        }
        let taken = match &end.got {
            Some(Got::Bytes(bytes)) => {
                assert_eq!(bytes, COMING[0], "another datagram");
                1
            }
            Some(Got::Count(n)) => {
                assert_eq!(*n, COMING[0].len(), "another datagram");
                0
            }
            _ => 0,
        };
        let socket = self.socket();
        for expected in &COMING[taken..] {
            let datagram = socket.recv().await.expect("a datagram");
            assert_eq!(&*datagram.payload, *expected, "lost, or out of order");
        }
        // And goes on.
        self.peer.send(b"again").expect("it fits");
        let again = socket.recv().await.expect("a datagram");
        assert_eq!(&*again.payload, b"again");
        assert!(poll_once(socket.recv()).await.is_none(), "one too many");
        turns(1).await;
    }

    fn after_runtime(&self, _: End) {
        let socket = self.socket();
        let mut held = Vec::new();
        let told = loop {
            match without_runtime(socket.recv()).expect("it does not wait for ever") {
                Ok(datagram) => held.push(datagram.payload.to_vec()),
                Err(e) => break e.raw_os_error(),
            }
        };
        assert_eq!(told, Some(libc::ECANCELED));
        held.extend(rest_in(&*socket));
        assert_eq!(held, COMING, "held, or in the kernel");
        drop(socket);
        self.let_go();
    }
}

/// A way to send.
pub(crate) trait Sends: 'static {
    const NAME: &'static str;
    const FILES: &'static [&'static str];
    /// How often it sends the message.
    const TIMES: usize = 1;
    /// How often of these at least, once it has begun.
    const COMMITTED: usize = 0;
    const IS_CANCELLED: bool = true;

    fn begin(socket: Rc<UdpSocket>, how: Rc<How>) -> Attempt;
}

pub(crate) struct ByAddress;

impl Sends for ByAddress {
    const NAME: &'static str = "udp send_to";
    const FILES: &'static [&'static str] = &["send_to.rs"];

    fn begin(socket: Rc<UdpSocket>, how: Rc<How>) -> Attempt {
        Box::pin(async move {
            let peer = socket.peer_addr().expect("it is connected");
            let (n, buf) = how.end(socket.send_to(message(), peer)).await;
            assert!(buf == message(), "the buffer is back");
            Got::of(n, Got::Count)
        })
    }
}

pub(crate) struct WithControl;

impl Sends for WithControl {
    const NAME: &'static str = "udp send_msg";
    const FILES: &'static [&'static str] = &["sendmsg.rs"];

    fn begin(socket: Rc<UdpSocket>, how: Rc<How>) -> Attempt {
        Box::pin(async move {
            let mut control = Control::new();
            control.set_ecn(1);
            let (n, buf) = how.end(socket.send_msg(message(), None, control)).await;
            assert!(buf == message(), "the buffer is back");
            Got::of(n, Got::Count)
        })
    }
}

/// Two that nobody waits for, and one that waits for its end.
pub(crate) struct Together;

impl Sends for Together {
    const NAME: &'static str = "udp try_send";
    const FILES: &'static [&'static str] = &["held.rs", "train.rs", "send_train.rs"];
    const TIMES: usize = 3;
    const COMMITTED: usize = 2;
    const IS_CANCELLED: bool = false;

    fn begin(socket: Rc<UdpSocket>, how: Rc<How>) -> Attempt {
        let all = async move {
            for _ in 0..2 {
                if let Err((error, buf)) = socket.try_send(message()) {
                    assert!(buf == message(), "the buffer is back");
                    return Got::of(Err(error), Got::Count);
                }
            }
            Got::of(socket.send(message()).await.0, Got::Count)
        };
        Box::pin(async move { how.end_plain(all).await })
    }
}

fn message() -> Vec<u8> {
    pattern(9, 1_200)
}

/// A socket that can send: on loopback it always can.
pub(crate) struct Send<M> {
    socket: RefCell<Option<Rc<UdpSocket>>>,
    peer: StdSocket,
    means: PhantomData<M>,
}

impl<M: Sends> Send<M> {
    fn socket(&self) -> Rc<UdpSocket> {
        Rc::clone(self.socket.borrow().as_ref().expect("it is there"))
    }

    /// Checks what the peer got: the message as often as it may be, and `next`.
    fn check(&self, end: &End, next: &[&[u8]]) {
        let (least, most) = match end.got {
            Some(Got::Count(n)) => {
                assert_eq!(n, message().len());
                (1, 1)
            }
            // Its time was up, but it was sent.
            Some(Got::TimedOut) if !M::IS_CANCELLED => (1, 1),
            Some(_) => (0, 0),
            None if end.state == State::Unpolled => (0, 0),
            // It may have been ended before it was sent.
            None if end.way == Way::CancelDropped => (0, 1),
            // Whoever ends the runtime ends its sends.
            None if !end.way.is_inside() && end.state != State::Reaped => (0, 1),
            None => (1, 1),
        };
        let got = rest_in(&self.peer);
        let count = got.len().checked_sub(next.len()).expect("what came after");
        let least = (least * M::TIMES).max(most * M::COMMITTED);
        let all = least..=most * M::TIMES;
        assert!(all.contains(&count), "{count} messages");
        assert!(got[..count].iter().all(|datagram| *datagram == message()));
        assert_eq!(got[count..], *next);
    }
}

impl<M: Sends> Scene for Send<M> {
    const NAME: &'static str = M::NAME;
    const FILES: &'static [&'static str] = M::FILES;

    async fn set(_: State) -> Self {
        let (socket, peer) = pair().await;
        Send {
            socket: RefCell::new(Some(Rc::new(socket))),
            peer,
            means: PhantomData,
        }
    }

    fn missing(way: Way, _: State) -> Option<&'static str> {
        let is_missing = matches!(way, Way::Cancel | Way::CancelDropped) && !M::IS_CANCELLED;
        is_missing.then_some(NO_CANCEL)
    }

    fn begin(self: &Rc<Self>, how: Rc<How>) -> Attempt {
        M::begin(self.socket(), how)
    }

    fn course(_: State) -> Course {
        Course::AtOnce
    }

    fn let_go(&self) {
        self.socket.take();
    }

    async fn after(&self, end: End) {
        end.check_outcome();
        turns(2).await;
        if end.way == Way::Resource {
            return self.check(&end, &[]);
        }
        let socket = self.socket();
        socket.send("next").await.0.expect("it fits");
        self.check(&end, &[b"next"]);
        // And receives.
        self.peer.send(b"back").expect("it fits");
        let back = socket.recv().await.expect("a datagram");
        assert_eq!(&*back.payload, b"back");
    }

    fn after_runtime(&self, end: End) {
        let socket = self.socket();
        let (refused, _) = without_runtime(socket.send("next")).expect("it does not wait");
        assert!(refused.is_err(), "nobody sends it");
        drop(socket);
        self.let_go();
        self.check(&end, &[]);
    }
}
