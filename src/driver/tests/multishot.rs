//! Multishot ops: items go to the resource, the op ends once, and no buffer is lost.

use std::io::Write as _;

use super::*;
use crate::op::{AcceptMulti, RecvMulti};

fn arm(core: &Core, socket: &Rc<Resource>) -> Key {
    match core.arm(RecvMulti(Rc::clone(socket))) {
        Ok(key) => key,
        Err(_) => panic!("the driver is open"),
    }
}

fn bytes_of(socket: &Resource) -> Vec<u8> {
    let leases = socket.leases.take();
    leases.iter().flat_map(|lease| lease.to_vec()).collect()
}

#[test]
fn items_come_in_order_until_the_end_of_the_stream() {
    let core = Core::new();
    let (socket, mut peer) = Resource::pair(&core);
    arm(&core, &socket);
    for text in ["one", "two", "three"] {
        peer.write_all(text.as_bytes()).unwrap();
        core.turn_until("an item comes", || !socket.log.borrow().is_empty());
        assert_eq!(socket.notes(), [format!("item {}", text.len())]);
    }
    drop(peer);
    core.drain();
    assert_eq!(socket.notes(), ["item 0", "ended 0"]);
    assert_eq!(bytes_of(&socket), b"onetwothree");
    assert_eq!((core.counts().sqes, Rc::strong_count(&socket)), (1, 1));
}

#[test]
fn an_item_wakes_who_waits_once() {
    let core = Core::new();
    let (socket, mut peer) = Resource::pair(&core);
    let wakes = Arc::new(Wakes::default());
    socket.waker.replace(Some(Waker::from(Arc::clone(&wakes))));
    arm(&core, &socket);
    for count in 1..=2 {
        peer.write_all(b"x").unwrap();
        core.turn_until("an item comes", || socket.leases.borrow().len() == count);
        assert_eq!(wakes.count(), 1);
    }
}

#[test]
fn an_op_that_has_enough_is_cancelled() {
    let core = Core::new();
    let (socket, mut peer) = Resource::pair(&core);
    socket.enough.set(1);
    arm(&core, &socket);
    peer.write_all(b"first").unwrap();
    core.drain();
    assert_eq!(socket.notes(), ["item 5", "item -125", "ended -125"]);
    peer.write_all(b"second").unwrap();
    core.turn_on();
    assert_eq!(bytes_of(&socket), b"first", "the rest stays in the socket");
    arm(&core, &socket);
    core.drain();
    assert_eq!(bytes_of(&socket), b"second");
}

#[test]
fn cancelled_receives_give_every_buffer_back() {
    let core = Core::new();
    let (socket, mut peer) = Resource::pair(&core);
    let free = core.buffers().available();
    for _ in 0..2_000 {
        let key = arm(&core, &socket);
        peer.write_all(b"x").unwrap();
        core.cancel(key);
        core.drain();
        socket.notes();
        socket.leases.borrow_mut().clear();
    }
    assert_eq!(core.buffers().available(), free);
    assert_eq!(core.buffers().leased(), 0);
}

#[test]
fn no_byte_is_lost_between_two_receives() {
    let core = Core::new();
    let (socket, mut peer) = Resource::pair(&core);
    let (mut expected, mut got) = (Vec::new(), Vec::new());
    for i in 0..500_u32 {
        let part = i.to_le_bytes();
        expected.extend_from_slice(&part);
        let key = arm(&core, &socket);
        if i % 3 == 0 {
            core.turn();
        }
        peer.write_all(&part).unwrap();
        if i % 2 == 0 {
            core.enter(Wait::No).unwrap();
        }
        core.cancel(key);
        core.drain();
        got.extend(bytes_of(&socket));
    }
    drop(peer);
    arm(&core, &socket);
    core.drain();
    got.extend(bytes_of(&socket));
    assert_eq!(got, expected);
}

#[test]
fn a_receive_without_buffers_ends_and_is_counted() {
    let core = Core::new();
    let (socket, mut peer) = Resource::pair(&core);
    arm(&core, &socket);
    let chunk = vec![7; 64 * 1024];
    peer.set_nonblocking(true).unwrap();
    core.turn_until("the buffers run out", || {
        let _ = peer.write(&chunk);
        core.counts().enobufs > 0
    });
    core.drain();
    assert_eq!(socket.notes().last().unwrap(), "ended -105");
    assert_eq!(core.buffers().available(), 0);
    let all = core.buffers().capacity() as usize;
    assert!(core.buffers().leased() as usize >= all, "all are held");
    drop(bytes_of(&socket));
    assert!(core.buffers().available() > 0, "they came back");
}

#[test]
fn every_accepted_connection_reaches_the_listener() {
    let core = Core::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let listener = Resource::new(&core, listener);
    let Ok(key) = core.arm(AcceptMulti(Rc::clone(&listener))) else {
        panic!("the driver is open");
    };
    let mut clients = Vec::new();
    for _ in 0..50 {
        clients.push(std::net::TcpStream::connect(address).unwrap());
        core.turn();
    }
    core.turn_until("all are there", || listener.accepted.borrow().len() == 50);
    core.cancel(key);
    core.drain();
    assert_eq!(listener.notes().last().unwrap(), "ended");
    let flags: Vec<_> = listener.accepted.take().iter().map(close_on_exec).collect();
    assert!(flags.iter().all(|&set| set));
}

fn close_on_exec(fd: &Fd) -> bool {
    let number = std::os::fd::AsRawFd::as_raw_fd(&fd.as_fd());
    // SAFETY: F_GETFD takes no pointer.
    unsafe { libc::fcntl(number, libc::F_GETFD) & libc::FD_CLOEXEC != 0 }
}
