//! `accept`: connections that were made are delivered, or wait for the next one.

use std::cell::RefCell;
use std::net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::rc::Rc;

use corering::net::{ConnectionLimit, TcpListener, TcpStream};
use futures_lite::future::poll_once;

use crate::cell::{Attempt, End, Got, How, Scene, State, Way};
use crate::common::{localhost, read_exactly};
use crate::peer::{Peer, without_runtime};

/// By `accept`, or within a limit.
pub(crate) struct Accept<const WITHIN: bool> {
    limit: ConnectionLimit,
    listener: RefCell<Option<Rc<TcpListener>>>,
    address: SocketAddr,
    clients: RefCell<Vec<Peer>>,
}

impl<const WITHIN: bool> Accept<WITHIN> {
    fn listener(&self) -> Rc<TcpListener> {
        Rc::clone(self.listener.borrow().as_ref().expect("it is there"))
    }

    /// The address that a connection comes from, the first one made.
    fn first(&self) -> SocketAddr {
        let clients = self.clients.borrow();
        let local = clients[0].stream().local_addr();
        local.expect("an address")
    }
}

async fn is_whole(stream: &TcpStream, client: &Peer) {
    client.send(b"x").expect("it fits");
    assert_eq!(read_exactly(stream, 1).await, b"x");
}

impl<const WITHIN: bool> Scene for Accept<WITHIN> {
    const NAME: &'static str = if WITHIN { "accept_within" } else { "accept" };
    const FILES: &'static [&'static str] = &["accept.rs", "accept_multi.rs"];

    async fn set(_: State) -> Self {
        let listener = TcpListener::bind(localhost()).await.expect("a listener");
        let address = listener.local_addr().expect("its address");
        if !WITHIN {
            // From here on an accept is armed, whether anybody waits or not.
            drop(StdStream::connect(address).expect("a connection"));
            drop(listener.accept().await.expect("its other end"));
        }
        Accept {
            limit: ConnectionLimit::new(1),
            address,
            listener: RefCell::new(Some(Rc::new(listener))),
            clients: RefCell::default(),
        }
    }

    fn begin(self: &Rc<Self>, how: Rc<How>) -> Attempt {
        let (listener, limit) = (self.listener(), self.limit.clone());
        Box::pin(async move {
            if WITHIN {
                let accepted = how.end(listener.accept_within(&limit)).await;
                return Got::of(accepted, |(stream, _, _)| Got::Stream(stream));
            }
            let accepted = how.end(listener.accept()).await;
            Got::of(accepted, |(stream, _)| Got::Stream(stream))
        })
    }

    fn happen(&self) {
        match StdStream::connect(self.address) {
            Ok(client) => self.clients.borrow_mut().push(Peer::new(client)),
            Err(e) => assert!(self.listener.borrow().is_none(), "{e}"),
        }
    }

    fn let_go(&self) {
        self.listener.take();
    }

    async fn after(&self, end: End) {
        end.check_outcome();
        assert_eq!(self.limit.in_use(), 0, "the permit is back");
        if end.way == Way::Resource {
            for client in self.clients.take() {
                assert_eq!(client.all().await, b"", "its connection is closed");
            }
            return;
        }
        let listener = self.listener();
        let stream = match end.got {
            Some(Got::Stream(stream)) => stream,
            _ => listener.accept().await.expect("a connection").0,
        };
        assert_eq!(stream.peer_addr().expect("it is connected"), self.first());
        // The next ones come in order, and no other.
        self.happen();
        self.happen();
        let clients = self.clients.take();
        is_whole(&stream, &clients[0]).await;
        for client in &clients[1..] {
            let (stream, peer) = listener.accept().await.expect("the next");
            assert_eq!(peer, client.stream().local_addr().expect("an address"));
            is_whole(&stream, client).await;
        }
        assert!(poll_once(listener.accept()).await.is_none(), "one too many");
    }

    fn after_runtime(&self, _: End) {
        assert_eq!(self.limit.in_use(), 0, "the permit is back");
        let listener = self.listener();
        let held = match without_runtime(listener.accept()) {
            Some(Ok((_, peer))) => peer,
            other => {
                assert!(other.is_some(), "it does not wait for ever");
                let copy = std::os::fd::AsFd::as_fd(&*listener).try_clone_to_owned();
                let copy = StdListener::from(copy.expect("a descriptor"));
                copy.set_nonblocking(true).expect("a listener");
                copy.accept().expect("in the backlog").1
            }
        };
        assert_eq!(held, self.first());
        drop(listener);
        self.let_go();
        for client in self.clients.take() {
            assert_eq!(client.all_now(), b"", "its connection is closed");
        }
    }
}
