//! Channels between cores.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use corering::Cores;
use corering::cores::channel;
use corering::sync::mpsc::{TryRecvError, TrySendError};
use corering::task::yield_now;
use corering::time::{sleep, timeout};
use futures_lite::future::{block_on, poll_once};

use crate::LONG;

#[test]
fn values_cross_in_order_whichever_side_is_slow() {
    const VALUES: u64 = 20_000;
    for (capacity, slow) in [(1, 0), (1, 1), (64, 0), (64, 1), (VALUES as usize, 2)] {
        let run = Cores::count(2).unwrap().run(move |core| async move {
            if core.index() == 0 {
                let (mut sender, mut receiver) = channel(capacity);
                let sending = core.spawn_on(1, move || async move {
                    for value in 0..VALUES {
                        if slow == 0 && value % 1000 == 0 {
                            sleep(Duration::from_millis(1)).await;
                        }
                        sender.send(value).await.unwrap();
                    }
                });
                for value in 0..VALUES {
                    if slow == 1 && value % 1000 == 0 {
                        sleep(Duration::from_millis(1)).await;
                    }
                    let received = timeout(LONG, receiver.recv()).await;
                    assert_eq!(received.expect("it comes"), Some(value));
                }
                assert_eq!(receiver.recv().await, None);
                sending.await.unwrap();
                core.stop();
            }
            core.stopping().await;
            Ok(())
        });
        run.unwrap();
    }
}

#[test]
fn a_full_channel_keeps_its_sender_and_gives_refused_values_back() {
    block_on(async {
        let (mut sender, mut receiver) = channel(2);
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        sender.send(1).await.unwrap();
        sender.try_send(2).unwrap();
        assert_eq!(sender.try_send(3), Err(TrySendError::Full(3)));
        assert!(poll_once(sender.send(3)).await.is_none());
        assert_eq!(
            (receiver.recv().await, receiver.try_recv()),
            (Some(1), Ok(2))
        );
        assert!(
            poll_once(receiver.recv()).await.is_none(),
            "a dropped send has sent nothing"
        );
        sender.send(4).await.unwrap();
        drop(sender);
        assert_eq!(
            (receiver.recv().await, receiver.recv().await),
            (Some(4), None)
        );
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));

        let (mut sender, receiver) = channel(1);
        sender.try_send(5).unwrap();
        drop(receiver);
        assert!(sender.is_closed());
        assert_eq!(sender.try_send(6), Err(TrySendError::Closed(6)));
        assert_eq!(sender.send(7).await.unwrap_err().0, 7);
    });
}

#[test]
fn a_receiver_that_goes_drops_what_is_on_its_way_and_wakes_the_sender() {
    struct Count(Arc<AtomicUsize>);
    impl Drop for Count {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let (counted, tried) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let run = Cores::count(2).unwrap().run(move |core| {
        let (counted, tried) = (Arc::clone(&counted), Arc::clone(&tried));
        async move {
            if core.index() == 0 {
                let (mut sender, receiver) = channel(4);
                let (count, tries) = (Arc::clone(&counted), Arc::clone(&tried));
                let sending = core.spawn_on(1, move || async move {
                    let mut sent = 0;
                    loop {
                        tries.fetch_add(1, Ordering::Relaxed);
                        if sender.send(Count(Arc::clone(&count))).await.is_err() {
                            return sent;
                        }
                        sent += 1;
                    }
                });
                while tried.load(Ordering::Relaxed) < 5 {
                    sleep(Duration::from_millis(1)).await;
                }
                drop(receiver);
                let sent: usize = timeout(LONG, sending).await.expect("woken").unwrap();
                assert_eq!((sent, counted.load(Ordering::Relaxed)), (4, 5));
                core.stop();
            }
            core.stopping().await;
            Ok(())
        }
    });
    run.unwrap();
}

#[test]
fn a_thread_without_a_runtime_sends_and_receives() {
    let (mut sender, mut receiver) = channel(3);
    let (mut back, answers) = channel(3);
    let thread = thread::spawn(move || {
        block_on(async move {
            while let Some(value) = receiver.recv().await {
                back.send(value * 2).await.unwrap();
            }
        });
    });
    let (result, results) = mpsc::channel();
    let answers = std::sync::Mutex::new(Some((answers, result)));
    let run = Cores::count(1).unwrap().start(move |_| {
        let taken = answers.lock().unwrap().take();
        async move {
            let (mut answers, result) = taken.expect("one core");
            while let Some(answer) = answers.recv().await {
                result.send(answer).unwrap();
                yield_now().await;
            }
        }
    });
    block_on(async move {
        for value in 0..1000 {
            sender.send(value).await.unwrap();
        }
    });
    assert!(run.unwrap().join()[0].output.is_ok());
    thread.join().unwrap();
    assert!(results.into_iter().eq((0..1000).map(|value| value * 2)));
}
