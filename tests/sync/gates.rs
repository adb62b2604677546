use std::cell::Cell;
use std::future::pending;
use std::pin::pin;
use std::task::Poll;

use corering::sync::{Barrier, Notify, OnceCell, SetError};

use crate::{now, poll, waiting};

#[test]
fn a_notification_is_remembered_once() {
    let notify = Notify::new();
    notify.notify_one();
    notify.notify_one();
    now(notify.notified());
    drop(waiting(notify.notified()));
}

#[test]
fn notify_one_wakes_who_has_waited_longest() {
    let notify = Notify::new();
    let (mut a, mut b) = (waiting(notify.notified()), waiting(notify.notified()));
    notify.notify_one();
    assert!(poll(&mut b).is_pending());
    assert!(poll(&mut a).is_ready());
    assert!(poll(&mut a).is_ready(), "and stays so");
    notify.notify_one();
    assert!(poll(&mut b).is_ready());
}

#[test]
fn a_dropped_waiter_passes_the_notification_on() {
    let notify = Notify::new();
    let first = waiting(notify.notified());
    let mut second = waiting(notify.notified());
    notify.notify_one();
    drop(first);
    assert!(poll(&mut second).is_ready());
    let last = waiting(notify.notified());
    notify.notify_one();
    drop(last);
    now(notify.notified());
}

#[test]
fn notify_waiters_wakes_all_that_exist_and_is_not_remembered() {
    let notify = Notify::new();
    let mut polled = waiting(notify.notified());
    let not_polled = notify.notified();
    notify.notify_waiters();
    assert!(poll(&mut polled).is_ready());
    now(not_polled);
    let late = waiting(notify.notified());
    notify.notify_waiters();
    drop(late);
    drop(waiting(notify.notified()));
}

#[test]
fn who_is_enabled_stands_in_line_without_being_polled() {
    let notify = Notify::new();
    {
        let mut first = pin!(notify.notified());
        assert!(!first.as_mut().enable());
        let mut second = waiting(notify.notified());
        notify.notify_one();
        assert!(first.as_mut().enable());
        assert!(poll(&mut second).is_pending());
        now(first);
    }
    notify.notify_one();
    let mut third = pin!(notify.notified());
    assert!(third.as_mut().enable());
}

#[test]
fn a_barrier_opens_for_all_at_once_and_the_last_one_leads() {
    let barrier = Barrier::new(3);
    for _ in 0..2 {
        let (mut a, mut b) = (waiting(barrier.wait()), waiting(barrier.wait()));
        assert!(poll(&mut a).is_pending());
        assert!(now(barrier.wait()).is_leader());
        for waiter in [&mut a, &mut b] {
            let Poll::Ready(result) = poll(waiter) else {
                panic!("the last one is there");
            };
            assert!(!result.is_leader());
        }
    }
    assert!(now(Barrier::new(0).wait()).is_leader());
}

#[test]
fn who_has_left_a_barrier_does_not_count() {
    let barrier = Barrier::new(3);
    let mut stays = waiting(barrier.wait());
    drop(waiting(barrier.wait()));
    let mut second = waiting(barrier.wait());
    assert!(now(barrier.wait()).is_leader());
    assert!(poll(&mut stays).is_ready());
    assert!(poll(&mut second).is_ready());
}

#[test]
fn a_value_is_made_once_whoever_asks() {
    let cell = OnceCell::new();
    let made = Cell::new(0);
    let mut first = waiting(cell.get_or_init(|| async {
        made.set(made.get() + 1);
        yield_once().await;
        5
    }));
    let mut second = waiting(cell.get_or_init(|| async { 6 }));
    assert_eq!(cell.set(7), Err(SetError::InitializingError(7)));
    assert!(poll(&mut second).is_pending());
    assert_eq!(poll(&mut first), Poll::Ready(&5));
    assert_eq!(poll(&mut second), Poll::Ready(&5));
    assert_eq!(now(cell.get_or_init(|| async { 8 })), &5);
    assert_eq!(cell.set(9), Err(SetError::AlreadyInitializedError(9)));
    assert_eq!(made.get(), 1);
}

async fn yield_once() {
    corering::task::yield_now().await;
}

#[test]
fn the_next_makes_the_value_if_the_first_fails_or_is_dropped() {
    let cell = OnceCell::<u32>::new();
    let dropped = waiting(cell.get_or_init(pending));
    let mut next = waiting(cell.get_or_try_init(|| async { Err("no luck") }));
    drop(dropped);
    assert_eq!(poll(&mut next), Poll::Ready(Err("no luck")));
    assert!(!cell.initialized());
    assert_eq!(cell.set(3), Ok(()));
    assert_eq!(cell.get(), Some(&3));
}

#[test]
fn a_value_that_was_taken_can_be_made_again() {
    let mut cell = OnceCell::from(1);
    assert_eq!(cell.take(), Some(1));
    assert_eq!(now(cell.get_or_init(|| async { 2 })), &2);
    assert_eq!(cell.get_mut().copied(), cell.into_inner());
}
