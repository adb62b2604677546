//! No cancel is lost, and none is trusted.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use super::*;
use crate::driver::{CANCEL, CANCEL_TRIES, Ticket};
use crate::op::{Recv, Send};
use crate::ring::{RawSqe, sys};

fn idle(core: &Core, socket: &Rc<Resource>) -> Ticket<Recv<Resource, Vec<u8>>> {
    let op = Recv {
        socket: Rc::clone(socket),
        buf: Vec::with_capacity(16),
        poll_first: false,
    };
    match core.submit(|| op, &Context::from_waker(Waker::noop())) {
        Ok(ticket) => ticket,
        Err(_) => panic!("the driver is open"),
    }
}

#[test]
fn a_cancel_that_keeps_the_claim_gives_the_exact_outcome() {
    let core = Core::new();
    let (socket, mut peer) = Resource::pair(&core);
    let cx = Context::from_waker(Waker::noop());
    let mut nothing = idle(&core, &socket);
    core.turn();
    core.cancel(nothing.key().unwrap());
    core.drain();
    let Poll::Ready((n, buf)) = nothing.poll(&cx) else {
        panic!("it has ended");
    };
    assert_eq!((errno(n), buf.capacity()), (Some(libc::ECANCELED), 16));

    let mut bytes = idle(&core, &socket);
    core.turn();
    peer.write_all(b"won").unwrap();
    core.enter(Wait::No).unwrap();
    core.cancel(bytes.key().unwrap());
    core.drain();
    let Poll::Ready((n, buf)) = bytes.poll(&cx) else {
        panic!("it has ended");
    };
    assert_eq!((n.unwrap(), &buf[..]), (3, &b"won"[..]));
}

#[test]
fn a_cancel_that_misses_its_op_is_tried_again() {
    let core = Core::new();
    let (socket, _peer) = Resource::pair(&core);
    let ticket = idle(&core, &socket);
    core.turn();
    let key = ticket.key().unwrap();
    core.cancel(key);
    core.core.borrow_mut().cancels.clear();
    // What the kernel says when an op is between two of its queues.
    let missed = Cqe {
        user_data: key.to_user_data() | CANCEL,
        res: -libc::ENOENT,
        flags: 0,
    };
    core.0.core.borrow_mut().answered(missed);
    assert!(core.has_staged());
    core.drain();
    drop(ticket);
    assert_eq!(socket.notes(), ["late err 125"]);
}

#[test]
fn a_cancel_that_always_misses_is_given_up() {
    let core = Core::new();
    let (socket, mut peer) = Resource::pair(&core);
    let ticket = idle(&core, &socket);
    core.turn();
    let missed = Cqe {
        user_data: ticket.key().unwrap().to_user_data() | CANCEL,
        res: -libc::ENOENT,
        flags: 0,
    };
    let tries = (0..100).filter(|_| {
        let mut inside = core.0.core.borrow_mut();
        inside.answered(missed);
        inside.cancels.pop_front().is_some()
    });
    assert!((1..=usize::from(CANCEL_TRIES)).contains(&tries.count()));
    // Its own completion is what counts, and comes when there is something.
    assert_eq!(core.counts().in_flight, 1);
    peer.write_all(b"x").unwrap();
    core.drain();
    drop(ticket);
    assert_eq!(socket.notes(), ["late ok x"]);
}

#[test]
fn an_answer_for_an_op_that_has_ended_cancels_nothing() {
    let core = Core::new();
    let (socket, mut peer) = Resource::pair(&core);
    let old = idle(&core, &socket);
    let missed = Cqe {
        user_data: old.key().unwrap().to_user_data() | CANCEL,
        res: -libc::ENOENT,
        flags: 0,
    };
    drop(old);
    core.drain();
    let mut new = idle(&core, &socket);
    core.turn();
    core.0.core.borrow_mut().answered(missed);
    core.turn_on();
    peer.write_all(b"x").unwrap();
    core.drain();
    let poll = new.poll(&Context::from_waker(Waker::noop()));
    assert!(matches!(poll, Poll::Ready((Ok(1), _))));
}

/// Has the kernel cancel an op without asking for it, as it does by itself when a signal keeps it
/// from starting a worker.
fn kernel_gives_up(core: &Core, key: Key) {
    let target = key.to_user_data();
    let cqes = core.counts().cqes;
    core.core
        .borrow_mut()
        .push(RawSqe::cancel(target, target | CANCEL));
    core.turn_until("the op has answered", || core.counts().cqes > cqes);
}

#[test]
fn an_op_that_the_kernel_gives_up_is_submitted_again() {
    let core = Core::new();
    let (socket, mut peer) = Resource::pair(&core);
    let mut waited = idle(&core, &socket);
    core.turn();
    for _ in 0..3 {
        kernel_gives_up(&core, waited.key().unwrap());
        assert!(
            waited
                .poll(&Context::from_waker(Waker::noop()))
                .is_pending()
        );
    }
    peer.write_all(b"here").unwrap();
    core.drain();
    let Poll::Ready((n, buf)) = waited.poll(&Context::from_waker(Waker::noop())) else {
        panic!("it has ended");
    };
    assert_eq!((n.unwrap(), &buf[..]), (4, &b"here"[..]));

    let (op, drops) = (Rc::clone(&socket), Drops::default());
    let send = Send::new(op, drops.buf(LONG), false);
    let key = core.submit_detached(send).unwrap();
    core.turn_until("it is sent", || drops.count() == 1);
    assert!(!core.core.borrow().slots.is_in_flight(key));
}

#[test]
fn an_op_that_the_kernel_always_gives_up_ends() {
    let core = Core::new();
    let (socket, _peer) = Resource::pair(&core);
    let mut ticket = idle(&core, &socket);
    core.turn();
    let mut tries = 0;
    while core.counts().in_flight > 0 {
        kernel_gives_up(&core, ticket.key().unwrap());
        tries += 1;
        assert!(tries < 1000, "for ever");
    }
    let Poll::Ready((n, buf)) = ticket.poll(&Context::from_waker(Waker::noop())) else {
        panic!("it has ended");
    };
    assert_eq!((errno(n), buf.capacity()), (Some(libc::ECANCELED), 16));
}

#[test]
fn an_op_whose_buffer_panics_when_it_is_submitted_again_ends() {
    let core = Core::new();
    let (socket, _peer) = Resource::pair(&core);
    let panics = Rc::new(Cell::new(false));
    let op = Recv {
        socket: Rc::clone(&socket),
        buf: Fragile(vec![0; 16], Rc::clone(&panics)),
        poll_first: false,
    };
    let Ok(mut ticket) = core.submit(|| op, &Context::from_waker(Waker::noop())) else {
        panic!("the driver is open");
    };
    core.turn();
    panics.set(true);
    kernel_gives_up(&core, ticket.key().unwrap());
    panics.set(false);
    let Poll::Ready((n, _)) = ticket.poll(&Context::from_waker(Waker::noop())) else {
        panic!("it has ended");
    };
    assert_eq!(errno(n), Some(libc::ECANCELED));
}

/// Panics when it is asked where it is, if it is told to.
struct Fragile(Vec<u8>, Rc<Cell<bool>>);

// SAFETY: those of the `Vec`.
unsafe impl IoBuf for Fragile {
    fn parts(&self) -> (*const u8, usize) {
        self.0.parts()
    }
}

// SAFETY: those of the `Vec`.
unsafe impl IoBufMut for Fragile {
    fn parts_mut(&mut self) -> (*mut u8, usize) {
        assert!(!self.1.get(), "asked");
        self.0.parts_mut()
    }

    unsafe fn set_init(&mut self, len: usize) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.0.set_init(len) };
    }
}

#[test]
fn an_op_that_lingers_is_cancelled_when_its_time_has_come() {
    let core = Core::new();
    let op = || crate::op::Poll {
        fd: Arc::new(sys::eventfd().unwrap()),
        events: libc::POLLIN.cast_unsigned().into(),
    };
    let (last, first) = (core.submit_detached(op()), core.submit_detached(op()));
    core.linger(last.unwrap(), 2_000);
    core.linger(first.unwrap(), 1_000);
    assert_eq!(core.next_linger_ns(), Some(1_000));
    core.expire(999);
    core.turn_on();
    assert!(!core.is_at_rest(), "their time will come");
    assert_eq!(core.counts().in_flight, 2);
    core.expire(1_000);
    core.turn_until("the first has ended", || core.counts().in_flight == 1);
    assert_eq!(core.next_linger_ns(), Some(2_000));
    core.expire(1_999);
    core.turn_on();
    assert_eq!((core.counts().in_flight, core.counts().cancels), (1, 1));
    core.expire(2_000);
    core.drain();
    assert_eq!((core.next_linger_ns(), core.is_at_rest()), (None, true));
}

/// A send of which the kernel has taken a part, and waits for room.
fn half_sent(core: &Core, drops: &Drops) -> (Rc<Resource>, Key, UnixStream) {
    let (socket, peer) = Resource::pair(core);
    let send = Send::new(Rc::clone(&socket), drops.buf(LONG), true);
    let key = core.submit_detached(send).unwrap();
    core.turn_on();
    assert_eq!(core.counts().in_flight, 1);
    (socket, key, peer)
}

const LONG: usize = 4 << 20;

#[test]
fn a_committed_send_that_is_cut_short_goes_on() {
    let core = Core::new();
    let drops = Drops::default();
    let (socket, key, mut peer) = half_sent(&core, &drops);
    core.cancel(key);
    core.turn_until("it was cut", || !socket.log.borrow().is_empty());
    assert_eq!((socket.notes(), drops.count()), (vec!["goes on".into()], 0));
    let reader = std::thread::spawn(move || {
        let mut bytes = vec![1; LONG];
        peer.read_exact(&mut bytes).unwrap();
        peer
    });
    core.drain();
    assert_eq!(socket.notes(), ["sent ok 4194304"]);
    assert_eq!(drops.count(), 1);
    drop(reader.join().unwrap());
}
