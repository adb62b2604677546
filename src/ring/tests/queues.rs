//! What goes in comes out, whatever the sizes of the queues.

use std::io::{self, Read};
use std::os::fd::OwnedFd;

use super::super::{Config, Entered, Fd, Full, Ring, Wait, Workers};
use super::child::alone;
use super::{keep, nop, reap, ring};

#[test]
fn a_nop_comes_back_with_its_user_data() {
    let mut ring = ring();
    ring.push(&nop(7)).unwrap();
    assert_eq!(ring.staged(), 1);
    assert_eq!(ring.enter(Wait::Forever).unwrap(), Entered::Done);
    assert_eq!(ring.staged(), 0);
    let cqe = ring.pop().unwrap();
    assert_eq!((cqe.user_data, cqe.res, cqe.is_more()), (7, 0, false));
    assert_eq!(ring.pop(), None);
}

#[test]
fn nothing_is_submitted_before_enter() {
    let mut ring = ring();
    ring.push(&nop(1)).unwrap();
    assert!(!ring.has_work());
    assert_eq!(ring.enter(Wait::No).unwrap(), Entered::Done);
    assert!(ring.has_work() && ring.pop().is_some());
}

#[test]
fn a_full_submission_queue_is_reported_and_emptied_by_submit() {
    let mut ring = Ring::new(&Config {
        entries: 4,
        cq_entries: 64,
        workers: Workers::DEFAULT,
    })
    .unwrap();
    for user_data in 0..4 {
        ring.push(&nop(user_data)).unwrap();
    }
    assert_eq!(ring.push(&nop(4)), Err(Full));
    assert_eq!(ring.staged(), 4);
    assert_eq!(ring.submit().unwrap(), Entered::Done);
    assert_eq!(ring.staged(), 0);
    ring.push(&nop(4)).unwrap();
    let seen = reap(&mut ring, 5);
    assert!((0..5).all(|user_data| seen[&user_data] == 1), "{seen:?}");
}

#[test]
fn an_overflown_completion_queue_loses_nothing() {
    const COUNT: u64 = 1_000;
    let mut ring = Ring::new(&Config {
        entries: 4,
        cq_entries: 4,
        workers: Workers::DEFAULT,
    })
    .unwrap();
    for user_data in 0..COUNT {
        if ring.push(&nop(user_data)).is_err() {
            assert_eq!(ring.submit().unwrap(), Entered::Done);
            ring.push(&nop(user_data)).unwrap();
        }
    }
    let fitted = std::iter::from_fn(|| ring.pop().copied()).map(|cqe| cqe.user_data);
    assert!(fitted.eq(0..4));
    assert!(ring.has_work(), "what did not fit is work");
    let seen = reap(&mut ring, COUNT as usize - 4);
    assert!(
        seen.into_iter()
            .eq((4..COUNT).map(|user_data| (user_data, 1)))
    );
    assert!(
        ring.overflows() > 0,
        "1,000 completions fit in no queue of 4"
    );
}

#[test]
fn a_queue_that_was_popped_empty_is_no_work() {
    let mut ring = ring();
    ring.push(&nop(1)).unwrap();
    ring.push(&nop(2)).unwrap();
    let _ = ring.enter(Wait::Forever).unwrap();
    assert!(ring.pop().is_some());
    assert!(ring.has_work(), "one is left");
    assert!(ring.pop().is_some());
    assert!(ring.pop().is_none());
    assert!(!ring.has_work());
}

#[test]
fn completions_are_seen_in_order_across_many_turns_of_the_queues() {
    let mut ring = Ring::new(&Config {
        entries: 2,
        cq_entries: 2,
        workers: Workers::DEFAULT,
    })
    .unwrap();
    for user_data in 0..10_000 {
        ring.push(&nop(user_data)).unwrap();
        let _ = ring.enter(Wait::No).unwrap();
        assert_eq!(ring.pop().map(|cqe| cqe.user_data), Some(user_data));
    }
    assert_eq!(ring.overflows(), 0);
}

#[test]
fn sizes_that_no_kernel_takes_are_clamped() {
    for (entries, cq_entries) in [(0, 0), (1, 1), (5, 3), (u32::MAX / 2, 1)] {
        let mut ring = Ring::new(&Config {
            entries,
            cq_entries,
            workers: Workers::DEFAULT,
        })
        .unwrap();
        ring.push(&nop(1)).unwrap();
        assert_eq!(reap(&mut ring, 1).len(), 1);
    }
}

/// Fails by never ending, in a child that its alarm kills.
#[test]
fn a_dropped_ring_lets_go_of_what_it_watched() {
    alone(|| {
        let (mut reader, writer) = io::pipe().unwrap();
        let writer = Fd::from(OwnedFd::from(writer));
        let mut ring = ring();
        keep(&mut ring, writer);
        drop(ring);
        assert_eq!(reader.read(&mut [0; 1]).unwrap(), 0);
    });
}

/// Does not compile if `Ring` is `Send`: then both impls apply, and the type stays ambiguous.
#[test]
fn a_ring_stays_on_its_thread() {
    trait NotSend<T> {
        fn holds() {}
    }
    impl<T: ?Sized> NotSend<()> for T {}
    impl<T: ?Sized + Send> NotSend<u8> for T {}
    <Ring as NotSend<_>>::holds();
}
