use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Poll;

use corering::spawn;
use corering::sync::broadcast::{self, RecvError, SendError, TryRecvError};
use corering::task::yield_now;

use crate::common::run;
use crate::{now, poll, waiting};

#[test]
fn every_receiver_gets_every_value_in_order() {
    run(async {
        let (sender, receiver) = broadcast::channel(4);
        let mut receivers = vec![receiver, sender.subscribe(), sender.subscribe()];
        let tasks: Vec<_> = receivers
            .drain(..)
            .map(|mut receiver| {
                spawn(async move {
                    let mut all = Vec::new();
                    while let Ok(value) = receiver.recv().await {
                        all.push(value);
                    }
                    all
                })
            })
            .collect();
        for number in 0..100 {
            assert_eq!(sender.send(number), Ok(3));
            yield_now().await;
        }
        drop(sender);
        for task in tasks {
            assert_eq!(task.await.unwrap(), (0..100).collect::<Vec<_>>());
        }
    });
}

#[test]
fn a_receiver_that_lags_is_told_how_much_it_lost() {
    let (sender, mut receiver) = broadcast::channel(3);
    for number in 0..10 {
        sender.send(number).unwrap();
    }
    assert_eq!((receiver.len(), sender.len()), (10, 3));
    assert_eq!(now(receiver.recv()), Err(RecvError::Lagged(7)));
    for number in 7..10 {
        assert_eq!(now(receiver.recv()), Ok(number));
    }
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    for number in 10..14 {
        sender.send(number).unwrap();
    }
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Lagged(1)));
    drop(sender);
    assert_eq!(now(receiver.recv()), Ok(11));
    assert_eq!((receiver.try_recv(), receiver.try_recv()), (Ok(12), Ok(13)));
    assert_eq!(now(receiver.recv()), Err(RecvError::Closed));
}

#[test]
fn who_comes_later_gets_what_is_sent_later() {
    let (sender, mut early) = broadcast::channel(2);
    sender.send(1).unwrap();
    let mut late = sender.subscribe();
    let mut again = early.resubscribe();
    assert!(again.same_channel(&early));
    sender.send(2).unwrap();
    assert_eq!(early.try_recv(), Ok(1));
    assert_eq!((late.try_recv(), again.try_recv()), (Ok(2), Ok(2)));
}

#[test]
fn without_a_receiver_the_sender_gets_its_value_back() {
    let (sender, receiver) = broadcast::channel(1);
    let mut closed = waiting(sender.closed());
    drop(receiver);
    assert!(poll(&mut closed).is_ready());
    assert_eq!(sender.send(5), Err(SendError(5)));
}

/// Counts its clones and ends.
struct Counts(Rc<(Cell<u32>, Cell<u32>)>);

impl Clone for Counts {
    fn clone(&self) -> Counts {
        let made = &self.0.0;
        made.set(made.get() + 1);
        Counts(Rc::clone(&self.0))
    }
}

impl Drop for Counts {
    fn drop(&mut self) {
        let ended = &self.0.1;
        ended.set(ended.get() + 1);
    }
}

#[test]
fn a_value_is_gone_when_its_last_receiver_has_it_or_is_gone() {
    let counts = Rc::default();
    let (sender, mut a) = broadcast::channel(4);
    let (mut b, c) = (sender.subscribe(), sender.subscribe());
    assert!(sender.send(Counts(Rc::clone(&counts))).is_ok());
    assert!(a.try_recv().is_ok() && b.try_recv().is_ok());
    assert_eq!((counts.0.get(), counts.1.get()), (2, 2), "clones");
    assert_eq!(sender.len(), 1);
    drop(c);
    assert_eq!((counts.1.get(), sender.len()), (3, 0));
    // The last one gets the value itself.
    assert!(sender.send(Counts(Rc::clone(&counts))).is_ok());
    assert!(a.try_recv().is_ok() && b.try_recv().is_ok());
    assert_eq!((counts.0.get(), counts.1.get()), (3, 5));
}

type Receivers = Rc<RefCell<Vec<broadcast::Receiver<Meddles>>>>;

/// Uses its channel while it is cloned and dropped.
struct Meddles(broadcast::Sender<Meddles>, Receivers, u32);

impl Clone for Meddles {
    fn clone(&self) -> Meddles {
        if self.2 > 0 {
            let sent = Meddles(self.0.clone(), Rc::clone(&self.1), self.2 - 1);
            assert!(self.0.send(sent).is_ok());
        }
        Meddles(self.0.clone(), Rc::clone(&self.1), 0)
    }
}

impl Drop for Meddles {
    fn drop(&mut self) {
        let other = self.1.borrow_mut().pop();
        if let Some(mut other) = other {
            let _ = other.try_recv();
        }
    }
}

#[test]
fn a_value_may_use_its_channel_as_it_is_cloned_and_dropped() {
    let (sender, mut receiver) = broadcast::channel(1);
    let others = Receivers::default();
    others
        .borrow_mut()
        .extend([sender.subscribe(), sender.subscribe()]);
    let value = Meddles(sender.clone(), Rc::clone(&others), 3);
    assert!(sender.send(value).is_ok());
    assert!(receiver.try_recv().is_ok());
    assert!(matches!(
        receiver.try_recv(),
        Ok(_) | Err(TryRecvError::Lagged(_))
    ));
    others.borrow_mut().clear();
}

#[test]
fn a_value_may_use_its_channel_as_a_new_one_takes_its_place() {
    let (sender, receiver) = broadcast::channel(1);
    let others = Receivers::default();
    others.borrow_mut().push(sender.subscribe());
    for _ in 0..2 {
        let value = Meddles(sender.clone(), Rc::clone(&others), 0);
        assert!(sender.send(value).is_ok());
    }
    assert!(others.borrow().is_empty(), "the first one was dropped");
    assert_eq!(receiver.len(), 2);
}

#[test]
fn a_dropped_recv_takes_nothing_and_all_who_wait_are_woken() {
    let (sender, mut a) = broadcast::channel(1);
    let mut b = sender.subscribe();
    drop(waiting(a.recv()));
    let mut waits = waiting(b.recv());
    sender.send(1).unwrap();
    assert_eq!(poll(&mut waits), Poll::Ready(Ok(1)));
    assert_eq!(now(a.recv()), Ok(1));
}
