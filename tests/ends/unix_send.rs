//! Unix messages and descriptors that are sent: whole or not at all, and nothing is left over.

use std::cell::RefCell;
use std::future::Future;
use std::io::{self, Read};
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::time::Duration;

use corering::net::{Control, UnixDatagram, UnixSeqpacket, UnixStream};
use corering::time::sleep;
use futures_lite::future::or;
use socket2::{Socket, Type};

use crate::cell::{Attempt, End, Got, How, Scene, State, Way, in_flight};
use crate::common::pattern;
use crate::peer::without_runtime;
use crate::unix_receive::{Datagrams, Receives, Records, descriptor, pair};

/// A socket that sends.
pub(crate) trait Sends: 'static {
    const NAME: &'static str;
    const FILES: &'static [&'static str];
    type Socket: 'static;

    fn pair() -> (Self::Socket, Socket);

    fn fd(socket: &Self::Socket) -> BorrowedFd<'_>;

    fn begin(socket: Rc<Self::Socket>, how: Rc<How>) -> Attempt;

    async fn send(socket: &Self::Socket, text: &'static str) -> io::Result<()>;
}

fn with_descriptor() -> Control {
    let mut control = Control::new();
    control.add_descriptor(descriptor());
    control
}

fn message() -> Vec<u8> {
    pattern(9, 1_200)
}

pub(crate) struct SendDatagram<const DESCRIPTOR: bool>;

impl<const DESCRIPTOR: bool> Sends for SendDatagram<DESCRIPTOR> {
    const NAME: &'static str = if DESCRIPTOR {
        "unix send_msg"
    } else {
        "unix send"
    };
    const FILES: &'static [&'static str] = &[if DESCRIPTOR {
        "sendmsg.rs"
    } else {
        "send_to.rs"
    }];
    type Socket = UnixDatagram;

    fn pair() -> (UnixDatagram, Socket) {
        Datagrams::pair()
    }

    fn fd(socket: &UnixDatagram) -> BorrowedFd<'_> {
        socket.as_fd()
    }

    fn begin(socket: Rc<UnixDatagram>, how: Rc<How>) -> Attempt {
        Box::pin(async move {
            let (n, buf) = match DESCRIPTOR {
                true => how.end(socket.send_msg(message(), with_descriptor())).await,
                false => how.end(socket.send(message())).await,
            };
            assert!(buf == message(), "the buffer is back");
            Got::of(n, Got::Count)
        })
    }

    async fn send(socket: &UnixDatagram, text: &'static str) -> io::Result<()> {
        socket.send(text).await.0.map(drop)
    }
}

pub(crate) struct SendRecord;

impl Sends for SendRecord {
    const NAME: &'static str = "seqpacket send_msg";
    const FILES: &'static [&'static str] = &["sendmsg.rs"];
    type Socket = UnixSeqpacket;

    fn pair() -> (UnixSeqpacket, Socket) {
        Records::<false>::pair()
    }

    fn fd(socket: &UnixSeqpacket) -> BorrowedFd<'_> {
        socket.as_fd()
    }

    fn begin(socket: Rc<UnixSeqpacket>, how: Rc<How>) -> Attempt {
        Box::pin(async move {
            let (n, buf) = how.end(socket.send_msg(message(), with_descriptor())).await;
            assert!(buf == message(), "the buffer is back");
            Got::of(n, Got::Count)
        })
    }

    async fn send(socket: &UnixSeqpacket, text: &'static str) -> io::Result<()> {
        socket.send(text).await.0.map(drop)
    }
}

pub(crate) struct WriteWithDescriptors;

impl Sends for WriteWithDescriptors {
    const NAME: &'static str = "write_with_descr.";
    const FILES: &'static [&'static str] = &["send_descriptors.rs"];
    type Socket = UnixStream;

    fn pair() -> (UnixStream, Socket) {
        let (ours, peer) = pair(Type::STREAM);
        (UnixStream::from_std(ours.into()).expect("a runtime"), peer)
    }

    fn fd(socket: &UnixStream) -> BorrowedFd<'_> {
        socket.as_fd()
    }

    fn begin(socket: Rc<UnixStream>, how: Rc<How>) -> Attempt {
        Box::pin(async move {
            let write = socket.write_with_descriptors(message(), vec![descriptor()]);
            let (n, buf) = how.end(write).await;
            assert!(buf == message(), "the buffer is back");
            Got::of(n, Got::Count)
        })
    }

    async fn send(socket: &UnixStream, text: &'static str) -> io::Result<()> {
        socket.write_all(text).await.0
    }
}

/// A socket whose peer has no room.
pub(crate) struct Send<M: Sends> {
    socket: RefCell<Option<Rc<M::Socket>>>,
    peer: Socket,
    /// Bytes that were sent before.
    before: usize,
    /// All that the peer has got.
    got: RefCell<Vec<u8>>,
    in_flight: usize,
    means: PhantomData<M>,
}

impl<M: Sends> Send<M> {
    fn socket(&self) -> Rc<M::Socket> {
        Rc::clone(self.socket.borrow().as_ref().expect("it is there"))
    }

    fn drain(&self) {
        let mut buf = vec![0; 64 * 1024];
        while let Ok(n) = (&self.peer).read(&mut buf)
            && n > 0
        {
            self.got.borrow_mut().extend_from_slice(&buf[..n]);
        }
    }

    /// Waits for `future` while the peer reads.
    async fn while_reading<T>(&self, future: impl Future<Output = T>) -> T {
        let reads = async {
            loop {
                self.drain();
                sleep(Duration::from_micros(100)).await;
            }
        };
        or(future, reads).await
    }

    /// Checks what the peer got: what was there before, the message at most once, and `next`.
    fn check(&self, end: &End, next: &[u8]) {
        self.drain();
        let (least, most) = match end.got {
            Some(Got::Count(n)) => {
                assert_eq!(n, message().len());
                (1, 1)
            }
            Some(_) => (0, 0),
            None if end.state == State::Unpolled => (0, 0),
            // It may have been ended before it was sent.
            None if end.way == Way::CancelDropped => (0, 1),
            // Whoever ends the runtime ends its sends.
            None if !end.way.is_inside() && end.state != State::Reaped => (0, 1),
            None => (1, 1),
        };
        let got = self.got.borrow();
        let rest = got.get(self.before..).expect("what was sent before");
        let sent = rest.strip_suffix(next).expect("what was sent after");
        let count = sent.len() / message().len();
        assert!((least..=most).contains(&count), "{count} messages");
        assert!(sent == message().repeat(count), "other bytes");
    }
}

impl<M: Sends> Scene for Send<M> {
    const NAME: &'static str = M::NAME;
    const FILES: &'static [&'static str] = M::FILES;

    async fn set(_: State) -> Self {
        let (socket, peer) = M::pair();
        let copy = M::fd(&socket).try_clone_to_owned().expect("a descriptor");
        let copy = Socket::from(copy);
        let mut before = 0;
        // The flag of a call, since the other one would be of the socket.
        while let Ok(n) = copy.send_with_flags(&[7; 900], libc::MSG_DONTWAIT) {
            before += n;
        }
        drop(copy);
        Send {
            socket: RefCell::new(Some(Rc::new(socket))),
            peer,
            before,
            got: RefCell::default(),
            in_flight: in_flight(),
            means: PhantomData,
        }
    }

    fn begin(self: &Rc<Self>, how: Rc<How>) -> Attempt {
        M::begin(self.socket(), how)
    }

    fn happen(&self) {
        self.drain();
    }

    async fn reaped(&self) {
        let done = async {
            while in_flight() > self.in_flight {
                sleep(Duration::from_micros(100)).await;
            }
        };
        self.while_reading(done).await;
    }

    fn let_go(&self) {
        self.socket.take();
    }

    async fn after(&self, end: End) {
        end.check_outcome();
        if end.way == Way::Resource {
            self.reaped().await;
            return self.check(&end, b"");
        }
        let socket = self.socket();
        let next = self.while_reading(M::send(&socket, "next")).await;
        next.expect("it is not torn");
        self.check(&end, b"next");
    }

    fn after_runtime(&self, end: End) {
        let socket = self.socket();
        let refused = without_runtime(M::send(&socket, "next")).expect("it does not wait");
        assert!(refused.is_err(), "nobody sends it");
        drop(socket);
        self.let_go();
        self.check(&end, b"");
    }
}
