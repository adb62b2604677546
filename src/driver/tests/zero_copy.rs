//! A buffer that is sent without a copy is the kernel's until its notification.

use std::io::Read as _;
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use socket2::{Domain, Socket, Type};

use super::*;
use crate::driver::Op;
use crate::op::SendZc;

const LEN: usize = 128 * 1024;

/// A connection whose far end takes little, and whose near end keeps much.
fn slow_pair(core: &Core) -> (Rc<Resource>, TcpStream) {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.set_recv_buffer_size(16 * 1024).unwrap();
    let any = std::net::SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    listener.bind(&any.into()).unwrap();
    listener.listen(1).unwrap();
    let listener = TcpListener::from(listener);
    let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    socket2::SockRef::from(&ours)
        .set_send_buffer_size(4 * LEN)
        .unwrap();
    let (theirs, _) = listener.accept().unwrap();
    theirs.set_read_timeout(Some(PATIENCE)).unwrap();
    (Resource::new(core, ours), theirs)
}

fn sent(core: &Core, socket: &Rc<Resource>, drops: &Drops) -> crate::driver::Submit<Zc> {
    let mut buf = drops.buf(LEN);
    for (i, byte) in buf.bytes.iter_mut().enumerate() {
        *byte = i as u8;
    }
    let socket = Rc::clone(socket);
    let mut future = SendZc { socket, buf }.submit(core);
    assert!(poll(&mut future).is_pending());
    core.turn_until("the send is done", || core.counts().cqes == 1);
    core.turn_on();
    future
}

type Zc = SendZc<Resource, Counted>;

/// Reads `len` bytes, which must be those that were sent.
fn receive(mut peer: TcpStream, len: usize) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let mut bytes = vec![0; len];
        peer.read_exact(&mut bytes).unwrap();
        let changed = bytes.iter().enumerate().find(|(i, b)| **b != *i as u8);
        assert_eq!(changed, None);
    })
}

#[test]
fn the_buffer_comes_back_at_the_notification() {
    let core = Core::new();
    let drops = Drops::default();
    let (socket, peer) = slow_pair(&core);
    let mut future = sent(&core, &socket, &drops);
    assert!(poll(&mut future).is_pending(), "sent, but still in use");
    assert_eq!(core.counts().in_flight, 1);
    let reader = receive(peer, LEN);
    let (n, buf) = core.finish(future);
    assert_eq!(n.unwrap(), LEN, "the notification says nothing about it");
    assert_eq!(core.counts().cqes, 2);
    assert_eq!(drops.count(), 0);
    drop(buf);
    assert_eq!(socket.notes(), [format!("sent ok {LEN}")]);
    reader.join().unwrap();
}

#[test]
fn a_dropped_future_leaves_its_buffer_until_the_notification() {
    let core = Core::new();
    let drops = Drops::default();
    let (socket, peer) = slow_pair(&core);
    let future = sent(&core, &socket, &drops);
    drop(future);
    core.turn_on();
    assert_eq!(drops.count(), 0, "the kernel still reads it");
    let reader = receive(peer, LEN);
    core.turn_until("the notification comes", || drops.count() == 1);
    assert_eq!(socket.notes(), [format!("sent ok {LEN}")]);
    reader.join().unwrap();
}

#[test]
fn a_send_that_fails_gives_its_buffer_back() {
    let core = Core::new();
    let drops = Drops::default();
    // A Unix socket cannot send without a copy.
    let (socket, _peer) = Resource::pair(&core);
    let buf = drops.buf(16);
    let op = SendZc { socket, buf };
    let (n, _buf) = core.finish(op.submit(&core));
    assert_eq!(errno(n), Some(libc::EOPNOTSUPP));
    assert_eq!(core.counts().in_flight, 0);
}
