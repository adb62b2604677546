//! Unix messages and descriptors: what came is delivered with its descriptors, or the next call
//! delivers it; what is sent is whole; and no descriptor is left over.

use std::cell::RefCell;
use std::future::Future;
use std::io::{self, IoSlice, Read};
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use corering::net::{Control, UnixDatagram, UnixDescriptorReceiver, UnixSeqpacket, UnixStream};
use corering::time::sleep;
use futures_lite::future::{or, poll_once};
use socket2::{Domain, MsgHdr, Socket, Type};

use crate::cell::{Attempt, End, Got, How, Scene, State, Way, in_flight, turns};
use crate::common::pattern;
use crate::peer::without_runtime;

/// What comes, in order, each with a descriptor. An empty one ends the receive that is armed.
const COMING: [&[u8]; 3] = [b"the first", b"and the second", b""];

/// One end of a pair for the operation, and the other for the test.
fn pair(kind: Type) -> (OwnedFd, Socket) {
    let (ours, peer) = Socket::pair(Domain::UNIX, kind, None).expect("a pair");
    peer.set_nonblocking(true).expect("a socket");
    (ours.into(), peer)
}

fn descriptor() -> OwnedFd {
    std::fs::File::open("/dev/null")
        .expect("it is there")
        .into()
}

/// Sends `bytes` with a descriptor.
fn send(peer: &Socket, bytes: &[u8]) -> io::Result<usize> {
    let descriptor = descriptor();
    let mut control = 20_usize.to_ne_bytes().to_vec();
    for word in [
        libc::SOL_SOCKET,
        libc::SCM_RIGHTS,
        descriptor.as_raw_fd(),
        0,
    ] {
        control.extend(word.to_ne_bytes());
    }
    let bytes = [IoSlice::new(bytes)];
    let message = MsgHdr::new().with_buffers(&bytes).with_control(&control);
    peer.sendmsg(&message, libc::MSG_NOSIGNAL)
}

/// What is in a socket of which nobody reads any more, up to `most` messages.
fn rest_in(socket: BorrowedFd<'_>, most: usize) -> Vec<Vec<u8>> {
    let copy = Socket::from(socket.try_clone_to_owned().expect("a descriptor"));
    copy.set_nonblocking(true).expect("a socket");
    let mut buf = vec![0; 64 * 1024];
    let messages = std::iter::from_fn(|| (&copy).read(&mut buf).ok().map(|n| buf[..n].to_vec()));
    messages.take(most).collect()
}

/// A socket that receives.
pub(crate) trait Receives: 'static {
    const NAME: &'static str;
    /// How many of [`COMING`] it can be sent.
    const MESSAGES: usize = 3;
    type Socket: 'static;

    fn pair() -> (Self::Socket, Socket);

    fn fd(socket: &Self::Socket) -> BorrowedFd<'_>;

    fn begin(socket: Rc<Self::Socket>, how: Rc<How>) -> Attempt;

    /// The bytes of the next message, and its descriptors.
    async fn next(socket: &Self::Socket) -> io::Result<(Vec<u8>, usize)>;
}

fn taken(payload: &[u8], control: &Control) -> Got {
    assert_eq!((control.descriptors(), control.truncated()), (1, false));
    Got::Bytes(payload.to_vec())
}

pub(crate) struct Datagrams;

impl Receives for Datagrams {
    const NAME: &'static str = "unix recv";
    type Socket = UnixDatagram;

    fn pair() -> (UnixDatagram, Socket) {
        let (ours, peer) = pair(Type::DGRAM);
        (
            UnixDatagram::from_std(ours.into()).expect("a runtime"),
            peer,
        )
    }

    fn fd(socket: &UnixDatagram) -> BorrowedFd<'_> {
        socket.as_fd()
    }

    fn begin(socket: Rc<UnixDatagram>, how: Rc<How>) -> Attempt {
        Box::pin(async move {
            let message = how.end(socket.recv()).await;
            Got::of(message, |it| taken(&it.payload, &it.control))
        })
    }

    async fn next(socket: &UnixDatagram) -> io::Result<(Vec<u8>, usize)> {
        let message = socket.recv().await?;
        Ok((message.payload.to_vec(), message.control.descriptors()))
    }
}

pub(crate) struct Records<const COPIED: bool>;

impl<const COPIED: bool> Receives for Records<COPIED> {
    const NAME: &'static str = if COPIED {
        "seqpacket recv_into"
    } else {
        "seqpacket recv"
    };
    type Socket = UnixSeqpacket;

    fn pair() -> (UnixSeqpacket, Socket) {
        let (ours, peer) = pair(Type::SEQPACKET);
        (UnixSeqpacket::from_fd(ours).expect("a runtime"), peer)
    }

    fn fd(socket: &UnixSeqpacket) -> BorrowedFd<'_> {
        socket.as_fd()
    }

    fn begin(socket: Rc<UnixSeqpacket>, how: Rc<How>) -> Attempt {
        Box::pin(async move {
            if !COPIED {
                let record = how.end(socket.recv()).await;
                return Got::of(record, |it| {
                    let it = it.expect("no end");
                    taken(&it.payload, &it.control)
                });
            }
            let (record, buf) = how.end(socket.recv_into(Vec::with_capacity(64))).await;
            assert!(buf.capacity() >= 64, "the buffer is back");
            Got::of(record, |it| taken(&buf, &it.expect("no end").control))
        })
    }

    async fn next(socket: &UnixSeqpacket) -> io::Result<(Vec<u8>, usize)> {
        let record = socket.recv().await?.expect("no end");
        Ok((record.payload.to_vec(), record.control.descriptors()))
    }
}

pub(crate) struct Pieces;

impl Receives for Pieces {
    const NAME: &'static str = "receive_descriptors";
    const MESSAGES: usize = 2;
    type Socket = (UnixStream, UnixDescriptorReceiver);

    fn pair() -> (Self::Socket, Socket) {
        let (ours, peer) = pair(Type::STREAM);
        let stream = UnixStream::from_std(ours.into()).expect("a runtime");
        let incoming = stream.receive_descriptors().expect("it is fresh");
        ((stream, incoming), peer)
    }

    fn fd(socket: &Self::Socket) -> BorrowedFd<'_> {
        socket.0.as_fd()
    }

    fn begin(socket: Rc<Self::Socket>, how: Rc<How>) -> Attempt {
        Box::pin(async move {
            let piece = how.end(socket.1.recv()).await;
            Got::of(piece, |it| {
                let it = it.expect("no end");
                taken(&it.payload, &it.control)
            })
        })
    }

    async fn next(socket: &Self::Socket) -> io::Result<(Vec<u8>, usize)> {
        let piece = socket.1.recv().await?.expect("no end");
        Ok((piece.payload.to_vec(), piece.control.descriptors()))
    }
}

pub(crate) struct Receive<M: Receives> {
    socket: RefCell<Option<Rc<M::Socket>>>,
    peer: Socket,
}

impl<M: Receives> Receive<M> {
    fn socket(&self) -> Rc<M::Socket> {
        Rc::clone(self.socket.borrow().as_ref().expect("it is there"))
    }

    fn coming() -> &'static [&'static [u8]] {
        &COMING[..M::MESSAGES]
    }
}

impl<M: Receives> Scene for Receive<M> {
    const NAME: &'static str = M::NAME;
    const FILES: &'static [&'static str] = &["recvmsg_multi.rs"];

    async fn set(_: State) -> Self {
        let (socket, peer) = M::pair();
        // From here on a receive is armed, whether anybody waits or not.
        send(&peer, b"before").expect("it fits");
        let before = M::next(&socket).await.expect("a message");
        assert_eq!(before, (b"before".to_vec(), 1));
        let socket = RefCell::new(Some(Rc::new(socket)));
        Receive { socket, peer }
    }

    fn begin(self: &Rc<Self>, how: Rc<How>) -> Attempt {
        M::begin(self.socket(), how)
    }

    fn happen(&self) {
        for message in Self::coming() {
            let sent = send(&self.peer, message);
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
        let mut left = Self::coming();
        if let Some(Got::Bytes(bytes)) = &end.got {
            assert_eq!(bytes, left[0], "another message");
            left = &left[1..];
        }
        let socket = self.socket();
        for expected in left {
            let next = M::next(&socket).await.expect("a message");
            assert_eq!(next, (expected.to_vec(), 1), "lost, or out of order");
        }
        // And goes on.
        send(&self.peer, b"again").expect("it fits");
        let again = M::next(&socket).await.expect("a message");
        assert_eq!(again, (b"again".to_vec(), 1));
        assert!(
            poll_once(Box::pin(M::next(&socket))).await.is_none(),
            "one too many"
        );
        turns(1).await;
    }

    fn after_runtime(&self, _: End) {
        let socket = self.socket();
        let mut held = Vec::new();
        let told = loop {
            match without_runtime(M::next(&socket)).expect("it does not wait for ever") {
                Ok((bytes, descriptors)) => {
                    assert_eq!(descriptors, 1);
                    held.push(bytes);
                }
                Err(e) => break e.raw_os_error(),
            }
        };
        assert_eq!(told, Some(libc::ECANCELED));
        let most = Self::coming().len() - held.len();
        held.extend(rest_in(M::fd(&socket), most));
        assert_eq!(held, Self::coming(), "held, or in the kernel");
        drop(socket);
        self.let_go();
    }
}

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
