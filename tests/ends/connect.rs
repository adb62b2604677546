//! `connect`: a connection that was made is delivered, or closed.

use std::net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::rc::Rc;
use std::sync::OnceLock;
use std::time::Duration;

use corering::net::{TcpSocket, TcpStream};
use socket2::{Domain, Socket, Type};

use crate::cell::{Attempt, Course, End, Got, How, Scene, State, Way};
use crate::common::{localhost, read_exactly};
use crate::peer::Peer;

pub(crate) struct Connect {
    listener: StdListener,
    address: SocketAddr,
}

/// The address of a listener that answers nobody: its backlog is full, for ever.
fn deaf() -> SocketAddr {
    static DEAF: OnceLock<(Socket, Vec<StdStream>, SocketAddr)> = OnceLock::new();
    let made = DEAF.get_or_init(|| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.bind(&localhost().into()).expect("a port");
        socket.listen(0).expect("a listener");
        let address = socket.local_addr().expect("its address");
        let address = address.as_socket().expect("of the internet");
        let patience = Duration::from_millis(100);
        let backlog = std::iter::from_fn(|| StdStream::connect_timeout(&address, patience).ok());
        let backlog = backlog.collect();
        (socket, backlog, address)
    });
    made.2
}

/// Makes it, so that it does not count as a leak.
pub(crate) fn warm_up() {
    deaf();
}

impl Connect {
    /// Whether a connection has come. If so it must have ended, unless somebody has it.
    fn is_closed(&self, way: Way) -> Option<Peer> {
        match self.listener.accept() {
            Ok((stream, _)) => Some(Peer::new(stream)),
            Err(e) => {
                assert_eq!(e.kind(), std::io::ErrorKind::WouldBlock, "{way:?}");
                None
            }
        }
    }
}

async fn is_whole(stream: TcpStream, peer: &Peer) {
    peer.send(b"x").expect("it fits");
    assert_eq!(read_exactly(&stream, 1).await, b"x");
    stream.write_all("y").await.0.expect("it fits");
    drop(stream);
    assert_eq!(peer.all().await, b"y");
}

impl Scene for Connect {
    const NAME: &'static str = "connect";
    const FILES: &'static [&'static str] = &["connect.rs"];

    async fn set(state: State) -> Self {
        let listener = StdListener::bind(localhost()).expect("a listener");
        listener.set_nonblocking(true).expect("a listener");
        let address = match state {
            State::Submitted => deaf(),
            _ => listener.local_addr().expect("its address"),
        };
        Connect { listener, address }
    }

    fn course(state: State) -> Course {
        match state {
            State::Submitted => Course::Waits,
            _ => Course::AtOnce,
        }
    }

    fn missing(way: Way, _: State) -> Option<&'static str> {
        (way == Way::Resource).then_some("the socket belongs to the future")
    }

    fn begin(self: &Rc<Self>, how: Rc<How>) -> Attempt {
        let address = self.address;
        let socket = TcpSocket::new_v4().expect("a socket");
        Box::pin(async move {
            let connected = how.end(socket.connect(address)).await;
            Got::of(connected, Got::Stream)
        })
    }

    async fn after(&self, end: End) {
        end.check_outcome();
        let made = self.is_closed(end.way);
        if end.state == State::Unpolled && end.way != Way::Timeout {
            assert!(made.is_none(), "a connect that was never polled");
        }
        match (end.got, made) {
            (Some(Got::Stream(stream)), Some(peer)) => is_whole(stream, &peer).await,
            (Some(Got::Stream(_)), None) => panic!("connected to whom?"),
            (_, Some(peer)) => assert_eq!(peer.all().await, b""),
            (_, None) => assert!(end.state != State::Reaped, "it was made"),
        }
    }

    fn after_runtime(&self, end: End) {
        match self.is_closed(end.way) {
            Some(peer) => assert_eq!(peer.all_now(), b""),
            None => assert!(!end.state.has_happened(), "it was made"),
        }
    }
}
