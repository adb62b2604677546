use std::cell::RefCell;
use std::future::pending;
use std::rc::Rc;
use std::task::Poll;

use corering::spawn;
use corering::sync::{Mutex, RwLock};
use corering::task::yield_now;

use crate::common::run;
use crate::{now, poll, waiting};

#[test]
fn a_mutex_goes_to_who_has_waited_longest() {
    run(async {
        let order = Rc::new(Mutex::new(Vec::new()));
        let held = order.lock().await;
        let tasks: Vec<_> = (0..10)
            .map(|number| {
                let order = Rc::clone(&order);
                spawn(async move { order.lock().await.push(number) })
            })
            .collect();
        yield_now().await;
        drop(held);
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*order.lock().await, (0..10).collect::<Vec<_>>());
    });
}

#[test]
fn nobody_changes_what_a_task_holds_across_an_await() {
    run(async {
        let total = Rc::new(Mutex::new(0));
        let tasks: Vec<_> = (0..100)
            .map(|_| {
                let total = Rc::clone(&total);
                spawn(async move {
                    for _ in 0..10 {
                        let mut total = total.lock().await;
                        let before = *total;
                        yield_now().await;
                        *total = before + 1;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*total.lock().await, 1000);
    });
}

#[test]
fn a_lock_that_was_handed_over_cannot_be_overtaken() {
    let mutex = Mutex::new(());
    let held = mutex.try_lock().unwrap();
    let mut first = waiting(mutex.lock());
    drop(held);
    assert!(mutex.try_lock().is_err());
    let mut second = waiting(mutex.lock());
    let Poll::Ready(guard) = poll(&mut first) else {
        panic!("it was handed the lock");
    };
    assert!(poll(&mut second).is_pending());
    drop(guard);
    assert!(poll(&mut second).is_ready());
}

#[test]
fn a_dropped_waiter_passes_the_lock_on_that_it_was_handed() {
    let mutex = Mutex::new(());
    let held = mutex.try_lock().unwrap();
    let first = waiting(mutex.lock());
    let mut second = waiting(mutex.lock());
    drop(held);
    drop(first);
    assert!(poll(&mut second).is_ready());
    let third = waiting_behind(&mutex);
    drop(third);
    assert!(mutex.try_lock().is_ok(), "all are gone");
}

fn waiting_behind(mutex: &Mutex<()>) -> impl Future<Output = ()> {
    let held = mutex.try_lock().unwrap();
    let future = waiting(async { drop(mutex.lock().await) });
    drop(held);
    future
}

#[test]
fn a_waiter_that_is_dropped_in_line_is_skipped() {
    let mutex = Mutex::new(());
    let held = mutex.try_lock().unwrap();
    let first = waiting(mutex.lock());
    let mut second = waiting(mutex.lock());
    drop(first);
    drop(held);
    assert!(poll(&mut second).is_ready());
}

#[test]
fn a_holder_that_is_aborted_or_panics_unlocks_and_poisons_nothing() {
    run(async {
        let mutex = Rc::new(Mutex::new(0));
        let same = Rc::clone(&mutex);
        let holder = spawn(async move {
            *same.lock().await = 1;
            let _guard = same.lock().await;
            pending::<()>().await;
        });
        yield_now().await;
        let same = Rc::clone(&mutex);
        let waiter = spawn(async move { *same.lock().await });
        yield_now().await;
        assert!(mutex.try_lock().is_err());
        holder.abort();
        assert_eq!(waiter.await.unwrap(), 1);

        let same = Rc::clone(&mutex);
        let panics = spawn(async move {
            *same.lock().await = 2;
            let _guard = same.lock().await;
            panic!("as it is meant to");
        });
        assert!(panics.await.unwrap_err().is_panic());
        assert_eq!(*mutex.try_lock().unwrap(), 2);
    });
}

#[test]
fn readers_share_and_a_writer_is_alone() {
    let lock = RwLock::new(1);
    let (a, b) = (now(lock.read()), now(lock.read()));
    assert_eq!((*a, *b), (1, 1));
    assert!(lock.try_write().is_err());
    drop((a, b));
    let mut writer = now(lock.write());
    *writer = 2;
    assert!(lock.try_read().is_err() && lock.try_write().is_err());
    drop(writer);
    assert_eq!(lock.into_inner(), 2);
}

#[test]
fn readers_that_come_later_do_not_starve_a_writer() {
    let lock = RwLock::new(());
    let reader = now(lock.read());
    let mut writer = waiting(lock.write());
    let mut late = waiting(lock.read());
    assert!(lock.try_read().is_err());
    drop(reader);
    assert!(poll(&mut late).is_pending());
    let Poll::Ready(guard) = poll(&mut writer) else {
        panic!("the writer was first");
    };
    drop(guard);
    assert!(poll(&mut late).is_ready());
}

#[test]
fn a_writer_that_gives_up_lets_the_readers_behind_it_in() {
    let lock = RwLock::new(());
    let reader = now(lock.read());
    let writer = waiting(lock.write());
    let mut late = waiting(lock.read());
    drop(writer);
    assert!(poll(&mut late).is_ready());
    drop(reader);
    drop(late);
    assert!(lock.try_write().is_ok());
}

#[test]
fn a_writer_goes_on_as_a_reader_with_nobody_in_between() {
    let lock = RwLock::new(1);
    let mut writer = now(lock.write());
    let mut reader = waiting(lock.read());
    let mut other = waiting(lock.write());
    *writer = 2;
    let downgraded = writer.downgrade();
    let Poll::Ready(reader) = poll(&mut reader) else {
        panic!("readers that are next are let in");
    };
    assert!(poll(&mut other).is_pending());
    assert_eq!((*downgraded, *reader), (2, 2));
    drop((downgraded, reader));
    assert!(poll(&mut other).is_ready());
}

#[test]
fn a_guard_shows_its_value_and_a_held_lock_shows_none() {
    let mutex = Mutex::new(7);
    assert_eq!(format!("{mutex:?}"), "Mutex { value: 7 }");
    let guard = mutex.try_lock().unwrap();
    assert_eq!(format!("{guard:?} {guard} {mutex:?}"), "7 7 Mutex { .. }");
    let lock = RwLock::new(RefCell::new(7));
    let _guard = lock.try_write().unwrap();
    assert_eq!(format!("{lock:?}"), "RwLock { .. }");
}
