use std::rc::Rc;
use std::task::Poll;

use corering::spawn;
use corering::sync::oneshot::{self, TryRecvError};

use crate::common::run;
use crate::{now, poll, waiting};

#[test]
fn the_value_arrives_whether_it_is_waited_for_or_not() {
    run(async {
        let (sender, receiver) = oneshot::channel();
        let waiter = spawn(receiver);
        corering::task::yield_now().await;
        sender.send(1).unwrap();
        assert_eq!(waiter.await.unwrap(), Ok(1));

        let (sender, mut receiver) = oneshot::channel();
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        sender.send(2).unwrap();
        assert_eq!(receiver.await, Ok(2));
    });
}

#[test]
fn a_sender_that_goes_without_sending_is_an_error() {
    let (sender, receiver) = oneshot::channel::<()>();
    let mut receiver = waiting(receiver);
    drop(sender);
    assert!(matches!(poll(&mut receiver), Poll::Ready(Err(_))));
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Closed));
}

#[test]
fn the_sender_gets_its_value_back_when_the_receiver_is_gone() {
    let (sender, receiver) = oneshot::channel();
    drop(receiver);
    assert!(sender.is_closed());
    assert_eq!(sender.send(5), Err(5));
}

#[test]
fn the_sender_learns_that_the_receiver_is_gone() {
    let (mut sender, mut receiver) = oneshot::channel::<()>();
    let mut closed = waiting(sender.closed());
    receiver.close();
    assert!(poll(&mut closed).is_ready());
    drop(closed);
    assert_eq!(sender.send(()), Err(()));
    assert!(now(receiver).is_err());
}

#[test]
fn a_value_that_nobody_takes_is_dropped_with_the_receiver() {
    let value = Rc::new(());
    let (sender, receiver) = oneshot::channel();
    sender.send(Rc::clone(&value)).unwrap();
    drop(receiver);
    assert_eq!(Rc::strong_count(&value), 1);
}

#[test]
fn a_value_that_was_sent_can_be_taken_after_the_close() {
    let (sender, mut receiver) = oneshot::channel();
    sender.send(4).unwrap();
    receiver.close();
    assert_eq!(now(receiver), Ok(4));
}
