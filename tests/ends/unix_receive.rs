//! Unix messages and descriptors that come: each is delivered with its descriptors, or the next
//! call delivers it, and no descriptor is left over.

use std::cell::RefCell;
use std::io::{self, IoSlice, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use corering::net::{Control, UnixDatagram, UnixDescriptorReceiver, UnixSeqpacket, UnixStream};
use futures_lite::future::poll_once;
use socket2::{Domain, MsgHdr, Socket, Type};

use crate::cell::{Attempt, End, Got, How, Scene, State, Way, turns};
use crate::peer::without_runtime;

/// What comes, in order, each with a descriptor. An empty one ends the receive that is armed.
const COMING: [&[u8]; 3] = [b"the first", b"and the second", b""];

/// One end of a pair for the operation, and the other for the test.
pub(crate) fn pair(kind: Type) -> (OwnedFd, Socket) {
    let (ours, peer) = Socket::pair(Domain::UNIX, kind, None).expect("a pair");
    peer.set_nonblocking(true).expect("a socket");
    (ours.into(), peer)
}

pub(crate) fn descriptor() -> OwnedFd {
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
