use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use corering::spawn;
use corering::sync::mpsc::{self, SendError, TryRecvError, TrySendError};
use corering::task::yield_now;
use corering::time::{sleep, timeout};

use crate::common::run;
use crate::{now, poll, waiting};

#[test]
fn values_arrive_in_order_and_the_last_sender_ends_the_stream() {
    run(async {
        let (sender, mut receiver) = mpsc::channel(3);
        let sending = spawn(async move {
            for number in 0..100 {
                sender.send(number).await.unwrap();
            }
        });
        for number in 0..100 {
            assert_eq!(receiver.recv().await, Some(number));
        }
        assert_eq!(receiver.recv().await, None);
        sending.await.unwrap();
    });
}

#[test]
fn senders_wait_in_order_while_the_channel_is_full() {
    let (sender, mut receiver) = mpsc::channel(1);
    now(sender.send(0)).unwrap();
    assert_eq!(sender.try_send(9), Err(TrySendError::Full(9)));
    let (mut a, mut b) = (waiting(sender.send(1)), waiting(sender.send(2)));
    assert_eq!(receiver.try_recv(), Ok(0));
    // The place is the first one's, not whoever's comes now.
    assert_eq!(sender.try_send(9), Err(TrySendError::Full(9)));
    assert!(poll(&mut b).is_pending());
    assert!(poll(&mut a).is_ready());
    assert_eq!(receiver.try_recv(), Ok(1));
    assert!(poll(&mut b).is_ready());
    assert_eq!(receiver.try_recv(), Ok(2));
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
}

#[test]
fn a_sender_that_gives_up_passes_its_place_on() {
    let (sender, mut receiver) = mpsc::channel(1);
    now(sender.send(0)).unwrap();
    let dropped = waiting(sender.send(1));
    let mut next = waiting(sender.send(2));
    assert_eq!(receiver.try_recv(), Ok(0));
    drop(dropped);
    assert!(poll(&mut next).is_ready());
    assert_eq!(receiver.try_recv(), Ok(2));
}

#[test]
fn a_receiver_that_is_dropped_drops_what_is_on_its_way_and_gives_back_the_rest() {
    let value = Rc::new(());
    let (sender, receiver) = mpsc::channel(2);
    let permit = now(sender.reserve()).unwrap();
    now(sender.send(Rc::clone(&value))).unwrap();
    let mut waits = waiting(sender.send(Rc::clone(&value)));
    let mut closed = waiting(sender.closed());
    drop(receiver);
    assert!(poll(&mut closed).is_ready());
    let Poll::Ready(Err(SendError(back))) = poll(&mut waits) else {
        panic!("nobody can receive it");
    };
    drop(back);
    permit.send(Rc::clone(&value));
    assert_eq!(Rc::strong_count(&value), 1, "the others are dropped");
    assert!(matches!(
        now(sender.send(value)),
        Err(SendError(back)) if Rc::strong_count(&back) == 1
    ));
}

/// Comes back to its channel when it is dropped.
struct Sends(Option<mpsc::Sender<Sends>>, Rc<Cell<u32>>);

impl Drop for Sends {
    fn drop(&mut self) {
        self.1.set(self.1.get() + 1);
        if let Some(sender) = self.0.take() {
            let refused = sender.try_send(Sends(None, Rc::clone(&self.1)));
            assert!(refused.is_err() && sender.is_closed());
        }
    }
}

#[test]
fn a_value_may_use_its_channel_as_it_is_dropped() {
    let dropped = Rc::new(Cell::new(0));
    let (sender, receiver) = mpsc::channel(4);
    for _ in 0..2 {
        let value = Sends(Some(sender.clone()), Rc::clone(&dropped));
        assert!(sender.try_send(value).is_ok());
    }
    drop(receiver);
    assert_eq!(dropped.get(), 4);
}

#[test]
fn a_dropped_recv_takes_nothing() {
    run(async {
        let (sender, mut receiver) = mpsc::channel(1);
        let early = timeout(Duration::from_millis(1), receiver.recv()).await;
        assert!(early.is_err());
        sender.send(3).await.unwrap();
        drop(waiting_with_value(&mut receiver));
        assert_eq!(receiver.recv().await, Some(3));
    });
}

/// A `recv` that was never polled.
fn waiting_with_value(receiver: &mut mpsc::Receiver<i32>) -> impl Future<Output = Option<i32>> {
    receiver.recv()
}

#[test]
fn a_permit_keeps_its_place_until_it_is_used_or_dropped() {
    let (sender, mut receiver) = mpsc::channel(1);
    let permit = now(sender.reserve()).unwrap();
    assert_eq!((sender.capacity(), sender.max_capacity()), (0, 1));
    assert!(sender.try_reserve().is_err());
    drop(permit);
    sender.try_reserve().unwrap().send(1);
    assert_eq!(receiver.try_recv(), Ok(1));
}

#[test]
fn a_closed_receiver_gets_what_was_sent_or_reserved() {
    let (sender, mut receiver) = mpsc::channel(3);
    now(sender.send(1)).unwrap();
    let (used, dropped) = (sender.try_reserve().unwrap(), sender.try_reserve().unwrap());
    receiver.close();
    assert!(now(sender.send(9)).is_err());
    used.send(2);
    assert_eq!(now(receiver.recv()), Some(1));
    assert_eq!(now(receiver.recv()), Some(2));
    let mut end = waiting(receiver.recv());
    drop(dropped);
    assert_eq!(poll(&mut end), Poll::Ready(None));
}

#[test]
fn a_permit_that_comes_back_wakes_the_receiver_of_a_closed_channel() {
    run(async {
        let (sender, mut receiver) = mpsc::channel::<()>(1);
        let reserved = sender.try_reserve().unwrap();
        receiver.close();
        let end = spawn(async move { receiver.recv().await });
        yield_now().await;
        assert!(!end.is_finished());
        drop(reserved);
        assert_eq!(end.await.unwrap(), None);
    });
}

#[test]
fn weak_senders_do_not_keep_the_stream_open() {
    let (sender, mut receiver) = mpsc::channel(1);
    let weak = sender.downgrade();
    let strong = weak.upgrade().unwrap();
    assert!(strong.same_channel(&sender));
    drop(sender);
    strong.try_send(1).unwrap();
    drop(strong);
    assert!(weak.upgrade().is_none() && receiver.is_closed());
    assert_eq!(now(receiver.recv()), Some(1));
    assert_eq!(now(receiver.recv()), None);
}

#[test]
fn many_values_are_received_at_once() {
    let (sender, mut receiver) = mpsc::channel(8);
    for number in 0..5 {
        sender.try_send(number).unwrap();
    }
    let mut buffer = Vec::new();
    assert_eq!(now(receiver.recv_many(&mut buffer, 0)), 0);
    assert_eq!(now(receiver.recv_many(&mut buffer, 3)), 3);
    assert_eq!(now(receiver.recv_many(&mut buffer, 3)), 2);
    assert_eq!((buffer, sender.capacity()), (vec![0, 1, 2, 3, 4], 8));
    drop(sender);
    assert_eq!(now(receiver.recv_many(&mut Vec::new(), 3)), 0);
}

#[test]
fn channels_that_are_always_ready_let_others_run() {
    run(async {
        let order = Rc::new(RefCell::new(Vec::new()));
        let tasks: Vec<_> = (0..2)
            .map(|name| {
                let order = Rc::clone(&order);
                spawn(async move {
                    let (sender, mut receiver) = mpsc::channel(1);
                    for _ in 0..10_000 {
                        sender.send(()).await.unwrap();
                        receiver.recv().await.unwrap();
                        let mut order = order.borrow_mut();
                        if order.last() != Some(&name) {
                            order.push(name);
                        }
                    }
                })
            })
            .collect();
        sleep(Duration::from_millis(1)).await;
        for task in tasks {
            task.await.unwrap();
        }
        // 20,000 results of each task, 128 at a time.
        let turns = order.borrow().len();
        assert!(turns > 200, "they took {turns} turns");
    });
}

#[test]
fn channels_work_outside_of_a_runtime() {
    let (sender, mut receiver) = mpsc::channel(1);
    futures_lite::future::block_on(async {
        for number in 0..1000 {
            sender.send(number).await.unwrap();
            assert_eq!(receiver.recv().await, Some(number));
        }
    });
}

#[test]
fn a_task_that_waits_is_woken_and_one_that_was_aborted_is_not_missed() {
    run(async {
        let (sender, mut receiver) = mpsc::channel(1);
        sender.send(0).await.unwrap();
        let same = sender.clone();
        let aborted = spawn(async move { same.send(1).await });
        yield_now().await;
        let last = spawn(async move { sender.send(2).await });
        yield_now().await;
        aborted.abort();
        assert_eq!(receiver.recv().await, Some(0));
        assert_eq!(receiver.recv().await, Some(2));
        assert_eq!(receiver.recv().await, None);
        last.await.unwrap().unwrap();
    });
}
