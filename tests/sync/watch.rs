use std::task::Poll;
use std::time::Duration;

use corering::spawn;
use corering::sync::watch::{self, SendError};
use corering::time::timeout;

use crate::common::run;
use crate::{now, poll, waiting};

#[test]
fn a_receiver_sees_the_latest_value_only() {
    let (sender, mut receiver) = watch::channel(0);
    drop(waiting(receiver.changed()));
    for number in 1..=5 {
        sender.send(number).unwrap();
    }
    assert_eq!(receiver.has_changed(), Ok(true));
    assert!(receiver.borrow().has_changed());
    now(receiver.changed()).unwrap();
    assert_eq!(*receiver.borrow(), 5);
    drop(waiting(receiver.changed()));
}

#[test]
fn all_receivers_are_told_and_then_that_the_senders_are_gone() {
    run(async {
        let (sender, receiver) = watch::channel(0);
        let tasks: Vec<_> = (0..10)
            .map(|_| {
                let mut receiver = receiver.clone();
                spawn(async move {
                    let mut last = *receiver.borrow();
                    while receiver.changed().await.is_ok() {
                        last = *receiver.borrow();
                    }
                    last
                })
            })
            .collect();
        assert_eq!(sender.receiver_count(), 11);
        let other = sender.clone();
        for number in 1..5 {
            sender.send(number).unwrap();
            corering::task::yield_now().await;
        }
        drop(sender);
        other.send(9).unwrap();
        drop(other);
        for task in tasks {
            assert_eq!(task.await.unwrap(), 9, "the last value is seen");
        }
    });
}

#[test]
fn a_dropped_changed_has_seen_nothing() {
    run(async {
        let (sender, mut receiver) = watch::channel(0);
        let early = timeout(Duration::from_millis(1), receiver.changed()).await;
        assert!(early.is_err());
        sender.send(1).unwrap();
        assert_eq!(receiver.changed().await, Ok(()));
    });
}

#[test]
fn a_condition_is_waited_for() {
    let (sender, mut receiver) = watch::channel(0);
    let mut large = waiting(receiver.wait_for(|value| *value > 2));
    sender.send(1).unwrap();
    assert!(poll(&mut large).is_pending());
    sender.send(3).unwrap();
    let Poll::Ready(Ok(value)) = poll(&mut large) else {
        panic!("it is large");
    };
    assert_eq!(*value, 3);
    drop((value, large));
    assert!(receiver.has_changed().is_ok_and(|changed| !changed));
    drop(sender);
    assert!(now(receiver.wait_for(|value| *value > 5)).is_err());
}

#[test]
fn a_value_is_changed_in_place_and_receivers_are_told_if_it_was() {
    let (sender, mut receiver) = watch::channel(vec![1]);
    sender.send_modify(|value| value.push(2));
    assert!(receiver.borrow_and_update().has_changed());
    assert!(!sender.send_if_modified(|_| false));
    assert_eq!(receiver.has_changed(), Ok(false));
    assert_eq!(sender.send_replace(Vec::new()), [1, 2]);
    receiver.mark_unchanged();
    drop(waiting(receiver.changed()));
    receiver.mark_changed();
    assert_eq!(now(receiver.changed()), Ok(()));
}

#[test]
fn without_a_receiver_the_sender_gets_its_value_back() {
    let (sender, receiver) = watch::channel(0);
    let mut closed = waiting(sender.closed());
    drop(receiver);
    assert!(poll(&mut closed).is_ready());
    assert_eq!(sender.send(1), Err(SendError(1)));
    sender.send_replace(2);
    assert_eq!(*sender.borrow(), 2);
    assert_eq!(*sender.subscribe().borrow(), 2);
}

#[test]
#[should_panic(expected = "do not hold one across an await")]
fn a_value_that_is_looked_at_cannot_be_changed() {
    let (sender, receiver) = watch::channel(0);
    let _looked_at = receiver.borrow();
    let _ = sender.send(1);
}

#[test]
fn one_value_wakes_all_who_wait() {
    let (sender, receiver) = watch::channel(0);
    let mut receivers: Vec<_> = (0..5).map(|_| receiver.clone()).collect();
    let mut changes: Vec<_> = receivers
        .iter_mut()
        .map(|receiver| waiting(receiver.changed()))
        .collect();
    sender.send(1).unwrap();
    for change in &mut changes {
        assert_eq!(poll(change), Poll::Ready(Ok(())));
    }
    drop(changes);
    let mut ends: Vec<_> = receivers
        .iter_mut()
        .map(|receiver| waiting(receiver.changed()))
        .collect();
    drop(sender);
    for end in &mut ends {
        assert!(matches!(poll(end), Poll::Ready(Err(_))));
    }
}
