//! Several rings: messages between them, and several drivers on one thread.

use std::io::Write as _;
use std::os::fd::RawFd;
use std::sync::mpsc;
use std::thread;

use super::*;
use crate::driver::Op;
use crate::op::{MsgRing, Nop, Recv};

fn number(core: &Core) -> RawFd {
    core.0.core.borrow().ring.as_ref().unwrap().raw_fd()
}

#[test]
fn a_message_ends_the_wait_of_another_ring() {
    let (tell, told) = mpsc::channel();
    let sleeper = thread::spawn(move || {
        let core = Core::new();
        tell.send(number(&core)).unwrap();
        let start = Instant::now();
        core.enter(Wait::For(PATIENCE)).unwrap();
        let completions = core.reap(Err);
        // The other side says when it is done with our number.
        (start.elapsed(), completions, core.counts().in_flight)
    });
    let target = told.recv().unwrap();
    thread::sleep(Duration::from_millis(50));
    let core = Core::new();
    core.finish(MsgRing { target }.submit(&core)).unwrap();
    let (slept, completions, in_flight) = sleeper.join().unwrap();
    assert!(slept < PATIENCE / 2, "{slept:?}");
    assert_eq!((completions, in_flight), (1, 0));
}

#[test]
fn a_message_to_what_is_no_ring_fails() {
    let core = Core::new();
    let file = std::fs::File::open("/dev/null").unwrap();
    let target = std::os::fd::AsRawFd::as_raw_fd(&file);
    let sent = core.finish(MsgRing { target }.submit(&core));
    assert_eq!(errno(sent), Some(libc::EBADFD));
}

#[test]
fn a_dropped_message_arrives_or_is_cancelled() {
    let (core, other) = (Core::new(), Core::new());
    let mut future = MsgRing {
        target: number(&other),
    }
    .submit(&core);
    assert!(poll(&mut future).is_pending());
    drop(future);
    core.drain();
    other.turn();
    assert!(other.counts().cqes <= 1);
    assert_eq!(other.counts().in_flight, 0);
}

#[test]
fn ops_of_two_drivers_on_one_thread_do_not_meet() {
    let (left, right) = (Core::new(), Core::new());
    let (near, mut far) = Resource::pair(&left);
    let (here, mut there) = Resource::pair(&right);
    let recv = |socket: &Rc<Resource>, core: &Core| {
        let op = Recv {
            socket: Rc::clone(socket),
            buf: Vec::with_capacity(8),
            poll_first: false,
        };
        op.submit(core)
    };
    // The first slot of either: the same key, in two tables.
    let (mut a, mut b) = (recv(&near, &left), recv(&here, &right));
    assert!(poll(&mut a).is_pending() && poll(&mut b).is_pending());
    left.turn();
    right.turn();
    far.write_all(b"left").unwrap();
    left.drain();
    right.turn();
    assert!(poll(&mut b).is_pending());
    let Poll::Ready((n, buf)) = poll(&mut a) else {
        panic!("it has completed");
    };
    assert_eq!((n.unwrap(), &buf[..]), (4, &b"left"[..]));
    drop(b);
    left.turn();
    assert_eq!((left.counts().cancels, right.counts().cancels), (0, 1));
    right.drain();
    there.write_all(b"right").unwrap();
    assert_eq!(right.finish(recv(&here, &right)).0.unwrap(), 5);
}

#[test]
fn the_current_driver_is_that_of_the_innermost_runtime() {
    assert_eq!(
        Driver::current().unwrap_err().kind(),
        io::ErrorKind::NotConnected
    );
    let (outer, inner) = (Core::new(), Core::new());
    let first = outer.enter_current();
    assert!(Rc::ptr_eq(&Driver::current().unwrap(), &outer));
    let second = inner.enter_current();
    assert!(Rc::ptr_eq(&Driver::current().unwrap(), &inner));
    drop(second);
    let op = Nop.submit(&Driver::current().unwrap());
    outer.finish(op).unwrap();
    assert_eq!((outer.counts().sqes, inner.counts().sqes), (1, 0));
    drop(first);
    assert!(Driver::current().is_err());
}
