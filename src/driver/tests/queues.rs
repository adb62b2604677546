//! Small queues: what does not fit waits, and nothing is lost.

use std::os::unix::net::UnixStream;

use super::*;
use crate::driver::{Op, Resume, Submit};
use crate::op::{Nop, Recv};

type IdleRead = Submit<Recv<Resource, Counted>>;

fn idle_reads(core: &Core, drops: &Drops, count: usize) -> (Vec<IdleRead>, Vec<UnixStream>) {
    let pairs = (0..count).map(|_| Resource::pair(core));
    let idle = |(socket, peer)| {
        let op = Recv {
            socket,
            buf: drops.buf(16),
            poll_first: false,
        };
        (op.submit(core), peer)
    };
    pairs.map(idle).unzip()
}

/// Lets the process have `wanted` descriptors. False if it may not.
fn may_open(wanted: usize) -> bool {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is live for both calls.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
    }
    limit.rlim_cur as usize >= wanted
}

fn all_end_when_dropped_in_one_turn(count: usize) {
    if !may_open(2 * count + 500) {
        println!("skipped: {count} connections need more descriptors than there may be");
        return;
    }
    let core = Core::with_entries(2, 16);
    let drops = Drops::default();
    let (mut futures, peers) = idle_reads(&core, &drops, count);
    for future in &mut futures {
        assert!(poll(future).is_pending());
    }
    drop(futures);
    let counts = core.counts();
    assert_eq!((counts.in_flight, counts.orphans), (count, count));
    assert_eq!(counts.cancels, count as u64);
    core.drain();
    assert_eq!(drops.count(), count);
    assert_eq!(core.counts().orphans, 0);
    assert!(peers.iter().all(ends), "a socket is still open");
    // What was answered was for ops that have ended: nothing is left to do.
    core.turn_on();
    assert!(!core.has_staged());
}

#[test]
fn a_thousand_reads_dropped_in_one_turn_all_end_with_two_entries() {
    all_end_when_dropped_in_one_turn(1_000);
}

#[test]
fn three_thousand_reads_dropped_in_one_turn_all_end_with_two_entries() {
    all_end_when_dropped_in_one_turn(3_000);
}

#[test]
fn reads_in_flight_that_are_dropped_in_one_turn_all_end_with_two_entries() {
    let core = Core::with_entries(2, 16);
    let drops = Drops::default();
    let (mut futures, peers) = idle_reads(&core, &drops, 400);
    for future in &mut futures {
        assert!(poll(future).is_pending());
    }
    core.turn();
    drop(futures);
    core.drain();
    assert_eq!(drops.count(), 400);
    assert!(peers.iter().all(ends));
}

#[test]
fn what_overflows_the_completion_queue_is_not_lost() {
    const COUNT: usize = 10_000;
    let core = Core::with_entries(2, 4);
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let mut cx = Context::from_waker(&waker);
    let mut futures: Vec<_> = (0..COUNT).map(|_| Nop.submit(&core)).collect();
    for future in &mut futures {
        assert!(Pin::new(future).poll(&mut cx).is_pending());
    }
    core.drain();
    let overflows = core.0.core.borrow().ring.as_ref().unwrap().overflows();
    assert!(overflows > 0, "the queue was large enough");
    let counts = core.counts();
    assert_eq!((wakes.count(), counts.cqes), (COUNT, COUNT as u64));
    assert_eq!(counts.sqes, COUNT as u64);
    for future in &mut futures {
        assert!(matches!(
            Pin::new(future).poll(&mut cx),
            Poll::Ready(Ok(()))
        ));
    }
}

#[test]
fn what_waits_for_room_in_the_queue_keeps_its_order() {
    use crate::op::Send;
    let core = Core::with_entries(2, 16);
    let (socket, peer) = Resource::pair(&core);
    let expected: Vec<u8> = (0..200).collect();
    let mut sends: Vec<_> = expected
        .iter()
        .map(|&byte| Send::new(Rc::clone(&socket), vec![byte], true).submit(&core))
        .collect();
    for send in &mut sends {
        assert!(poll(send).is_pending());
    }
    core.drain();
    for mut send in sends {
        assert!(poll(&mut send).is_ready());
    }
    let mut got = vec![0; expected.len()];
    io::Read::read_exact(&mut &peer, &mut got).unwrap();
    assert_eq!(got, expected);
}

#[test]
fn what_the_kernel_does_not_take_is_kept_in_order() {
    use crate::op::Send;
    let core = Core::with_entries(2, 16);
    let drops = Drops::default();
    let (socket, peer) = Resource::pair(&core);
    let send = |byte| {
        core.submit_detached(Send::new(Rc::clone(&socket), vec![byte], true));
    };
    // A kernel without memory takes nothing, for as long as that lasts.
    let ring = core.0.core.borrow_mut().ring.take();
    (0..50).for_each(send);
    let (mut idle, peers) = idle_reads(&core, &drops, 50);
    for read in &mut idle {
        assert!(poll(read).is_pending());
    }
    drop(idle);
    for _ in 0..3 {
        assert!(core.has_staged());
        assert!(core.enter(Wait::No).is_err());
    }
    core.0.core.borrow_mut().ring = ring;
    (50..100).for_each(send);
    core.drain();
    assert_eq!(drops.count(), 50, "no cancel was lost");
    assert!(peers.iter().all(ends));
    let mut got = vec![0; 100];
    io::Read::read_exact(&mut &peer, &mut got).unwrap();
    assert!(got.iter().copied().eq(0..100), "{got:?}");
}

#[test]
fn a_cancel_that_the_kernel_does_not_take_is_kept() {
    let core = Core::with_entries(2, 16);
    let drops = Drops::default();
    let (mut idle, _peers) = idle_reads(&core, &drops, 50);
    for read in &mut idle {
        assert!(poll(read).is_pending());
    }
    core.turn();
    let ring = core.0.core.borrow_mut().ring.take();
    drop(idle);
    for _ in 0..3 {
        assert!(core.has_staged());
        assert!(core.enter(Wait::No).is_err());
    }
    core.0.core.borrow_mut().ring = ring;
    core.drain();
    assert_eq!(drops.count(), 50);
}

/// Waits for buffers, and wants none.
struct Modest;

impl Resume for Modest {
    fn resume(self: Rc<Self>) {}
}

#[test]
fn a_driver_with_something_to_do_is_not_at_rest() {
    let core = Core::new();
    assert!(core.is_at_rest());
    core.submit_detached(Nop);
    assert!(!core.is_at_rest(), "it is not submitted");
    core.enter(Wait::No).expect("enter");
    assert!(!core.is_at_rest(), "it is not reaped");
    core.reap(Err);
    assert!(core.is_at_rest());
    core.starve(Rc::new(Modest));
    assert!(!core.is_at_rest(), "somebody waits for buffers");
    core.tend_buffers(false);
    assert!(core.is_at_rest());
    let waiting: Rc<dyn Resume> = Rc::new(Modest);
    core.starve_of_datagrams(Rc::downgrade(&waiting));
    assert!(
        !core.is_at_rest(),
        "somebody waits for buffers for datagrams"
    );
    core.tend_buffers(false);
    assert!(core.is_at_rest());
}

#[test]
fn a_driver_with_a_cancel_is_not_at_rest() {
    let core = Core::new();
    let drops = Drops::default();
    let (mut reads, _peers) = idle_reads(&core, &drops, 2);
    for read in &mut reads {
        assert!(poll(read).is_pending());
    }
    core.turn();
    assert!(core.is_at_rest(), "the kernel has them");
    drop(reads.pop());
    assert!(!core.is_at_rest(), "the cancel is not submitted");
    core.turn_until("the dropped read ends", || core.counts().in_flight == 1);
    assert!(core.is_at_rest());
}

#[test]
fn a_driver_with_more_than_fits_into_its_queue_is_not_at_rest() {
    let core = Core::with_entries(2, 16);
    // A kernel without memory takes nothing.
    let ring = core.0.core.borrow_mut().ring.take();
    core.submit_detached(Nop);
    assert!(!core.is_at_rest());
    core.0.core.borrow_mut().ring = ring;
    core.turn();
    assert!(core.is_at_rest());
}
