//! Connecting: what comes about when nobody waits any more is closed.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use socket2::{Domain, SockAddr, Socket, Type};

use super::*;
use crate::driver::{Op, Submit};
use crate::op::Connect;
use crate::ring::sys;

fn connect(core: &Core, address: SocketAddr) -> Submit<Connect> {
    let fd = sys::socket(Domain::IPV4, Type::STREAM, None).unwrap();
    let address = Box::new(SockAddr::from(address));
    Connect { fd, address }.submit(core)
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// The end of the next connection that the listener has.
fn comes_and_goes(listener: &TcpListener) -> bool {
    let (mut peer, _) = listener.accept().unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    let read = io::Read::read(&mut peer, &mut [0]).map_err(|e| e.kind());
    matches!(read, Ok(0) | Err(io::ErrorKind::ConnectionReset))
}

#[test]
fn a_connect_gives_the_connected_socket() {
    let core = Core::new();
    let (listener, address) = listener();
    let fd = core.finish(connect(&core, address)).unwrap();
    let stream = TcpStream::from(fd.into_owned());
    assert_eq!(stream.peer_addr().unwrap(), address);
    let (peer, from) = listener.accept().unwrap();
    assert_eq!(from, stream.local_addr().unwrap());
    assert_eq!(peer.peer_addr().unwrap(), from);
}

#[test]
fn a_connect_that_is_refused_says_so() {
    let core = Core::new();
    // Bound, so that nobody else listens there, and not listening.
    let bound = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    bound
        .bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())
        .unwrap();
    let address = bound.local_addr().unwrap().as_socket().unwrap();
    let refused = core.finish(connect(&core, address));
    assert_eq!(errno(refused), Some(libc::ECONNREFUSED));
}

#[test]
fn a_connect_that_is_dropped_before_it_is_polled_does_not_happen() {
    let core = Core::new();
    let (listener, address) = listener();
    drop(connect(&core, address));
    core.turn_on();
    listener.set_nonblocking(true).unwrap();
    assert_eq!(
        listener.accept().map(drop).map_err(|e| e.kind()),
        Err(io::ErrorKind::WouldBlock)
    );
}

/// A listener that answers nobody: its backlog is full.
fn deaf() -> (Socket, Vec<TcpStream>, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket
        .bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())
        .unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let patience = Duration::from_millis(200);
    let backlog = std::iter::from_fn(|| TcpStream::connect_timeout(&address, patience).ok());
    let backlog = backlog.collect();
    (socket, backlog, address)
}

#[test]
fn a_connect_that_is_dropped_in_flight_ends() {
    let core = Core::new();
    let (_listener, _backlog, address) = deaf();
    let mut future = connect(&core, address);
    assert!(poll(&mut future).is_pending());
    core.turn_on();
    assert_eq!(core.counts().in_flight, 1, "nobody answers");
    drop(future);
    assert_eq!(core.counts().orphans, 1);
    core.drain();
    assert_eq!(core.counts().cancels, 1);
}

#[test]
fn a_connection_that_comes_too_late_is_closed() {
    let core = Core::new();
    let (listener, address) = listener();
    let mut during = connect(&core, address);
    assert!(poll(&mut during).is_pending());
    core.enter(Wait::No).unwrap();
    drop(during);
    core.drain();
    assert!(comes_and_goes(&listener));

    let mut after = connect(&core, address);
    assert!(poll(&mut after).is_pending());
    core.drain();
    drop(after);
    assert!(comes_and_goes(&listener));
}
