//! A core that ends gives everything back that the kernel has let go of.

use std::net::TcpListener;
use std::os::unix::net::UnixStream;

use super::*;
use crate::op::{self, Accept, AcceptMulti, Kick, Nop, Read, Recv, RecvMulti, Send};
use crate::ring::sys;

/// One op of each kind that waits for something which never comes.
fn everything_in_flight(core: &Core, drops: &Drops) -> (Vec<UnixStream>, io::PipeWriter) {
    let (pipe, writer) = io::pipe().unwrap();
    let pipe = Resource::new(core, pipe);
    let (sender, peer) = Resource::pair(core);
    let (multi, other) = Resource::pair(core);
    let listener = || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Resource::new(core, listener)
    };
    let (receiver, third) = Resource::pair(core);
    core.submit_detached(Recv {
        socket: receiver,
        buf: drops.buf(16),
        poll_first: true,
    });
    core.submit_detached(Read {
        file: pipe,
        buf: drops.buf(16),
        offset: 0,
    });
    core.submit_detached(Send::new(sender, drops.buf(4 << 20), true));
    core.submit_detached(Accept(listener()));
    core.submit_detached(op::Poll {
        fd: Arc::new(sys::eventfd().unwrap()),
        events: libc::POLLIN.cast_unsigned().into(),
    });
    core.submit_detached(Kick {
        eventfd: Arc::new(sys::eventfd().unwrap()),
        armed: Rc::new(Cell::new(true)),
        count: 0,
    });
    assert!(core.arm(RecvMulti(multi)).is_ok());
    assert!(core.arm(AcceptMulti(listener())).is_ok());
    (vec![peer, other, third], writer)
}

#[test]
fn everything_in_flight_comes_back() {
    for turns in 0..3 {
        let core = Core::new();
        let drops = Drops::default();
        let (peers, _writer) = everything_in_flight(&core, &drops);
        for _ in 0..turns {
            core.turn();
        }
        assert_eq!((core.counts().in_flight, drops.count()), (8, 0));
        assert_eq!(core.shut_down(PATIENCE), 0);
        assert_eq!((core.counts().in_flight, drops.count()), (0, 3));
        assert!(peers.iter().all(ends));
        // A second time is as good.
        assert_eq!(core.shut_down(PATIENCE), 0);
        assert_eq!(Rc::strong_count(&core), 1, "no op holds the driver");
    }
}

#[test]
fn what_is_still_in_the_backlog_comes_back_too() {
    let core = Core::with_entries(2, 4);
    let drops = Drops::default();
    let mut peers = Vec::new();
    for _ in 0..100 {
        let (socket, peer) = Resource::pair(&core);
        core.submit_detached(Recv {
            socket,
            buf: drops.buf(16),
            poll_first: false,
        });
        peers.push(peer);
    }
    assert_eq!(core.shut_down(PATIENCE), 0);
    assert_eq!(drops.count(), 100);
    assert!(peers.iter().all(ends));
}

#[test]
fn what_is_staged_when_the_core_ends_is_sent() {
    let core = Core::new();
    let (socket, peer) = Resource::pair(&core);
    core.submit_detached(Send::new(Rc::clone(&socket), &b"last words"[..], true));
    assert_eq!(core.shut_down(PATIENCE), 0);
    assert_eq!(socket.notes(), ["sent ok 10"]);
    drop(socket);
    let mut text = String::new();
    io::Read::read_to_string(&mut &peer, &mut text).unwrap();
    assert_eq!(text, "last words");
}

#[test]
fn nothing_is_taken_any_more_once_a_core_is_closed() {
    let core = Core::new();
    let drops = Drops::default();
    let (socket, _peer) = Resource::pair(&core);
    core.close();
    assert!(core.arm(RecvMulti(Rc::clone(&socket))).is_err());
    let op = Send::new(Rc::clone(&socket), drops.buf(4), true);
    assert!(core.submit_detached(op).is_none());
    assert_eq!(socket.notes(), ["sent err 125"]);
    assert_eq!(drops.count(), 1);
    let cx = Context::from_waker(Waker::noop());
    assert!(core.submit(|| Nop, &cx).is_err());
    assert_eq!(core.counts().in_flight, 0);
}

#[test]
fn leases_stay_readable_after_the_ring_is_gone() {
    let core = Core::new();
    let (socket, peer) = Resource::pair(&core);
    assert!(core.arm(RecvMulti(Rc::clone(&socket))).is_ok());
    io::Write::write_all(&mut &peer, b"kept").unwrap();
    core.turn_until("it has come", || !socket.leases.borrow().is_empty());
    let lease = socket.leases.borrow_mut().pop().unwrap();
    assert_eq!(core.shut_down(PATIENCE), 0);
    drop(core);
    drop(socket);
    assert_eq!(&lease[..], b"kept");
}
