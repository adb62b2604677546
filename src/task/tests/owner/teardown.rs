//! The end of a core, and what remains.

use std::{
    cell::RefCell,
    future::pending,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    thread,
};

use super::{Log, OnDrop, block_on, settle, tasks, waker_into};
use crate::task::{JoinHandle, spawn, waker};

#[test]
fn teardown_drops_every_future_and_handles_tell() {
    let (tasks, kicks) = tasks();
    let log = Log::default();
    let (never, once, held) = (log.on_drop("a"), log.on_drop("b"), log.clone());
    let first = tasks.spawn(async move { drop(never) });
    let second = tasks.spawn(async move {
        held.say("polled");
        pending::<()>().await;
        drop(once);
    });
    first.abort();
    tasks.enter(|| tasks.run_batch(|| {}));
    let third = tasks.spawn(async {});
    tasks.teardown();
    assert_eq!(tasks.len(), 0);
    log.expect(&["a", "polled", "b"]);
    tasks.teardown();
    drop(tasks);
    for handle in [first, second, third] {
        assert!(handle.is_finished());
        handle.abort();
        assert!(!kicks.core_is_freed());
        let error = futures_lite::future::block_on(handle).unwrap_err();
        assert!(error.is_cancelled());
    }
    assert!(kicks.core_is_freed());
}

#[test]
fn what_destructors_do_during_teardown_is_refused_or_harmless() {
    let (tasks, kicks) = tasks();
    let log = Log::default();
    let late: Rc<RefCell<Vec<JoinHandle<()>>>> = Rc::default();
    let other = Rc::new(tasks.spawn(pending::<()>()));
    for _ in 0..3 {
        let (log, late, other, place) =
            (log.clone(), Rc::clone(&late), other.clone(), Rc::default());
        let wait = waker_into(&place);
        tasks.spawn(async move {
            let _held = OnDrop(move || {
                let waker = place.take().unwrap();
                waker.wake_by_ref();
                drop(waker.clone());
                other.abort();
                let refused = log.on_drop("refused");
                let handle = spawn(async move { drop(refused) });
                log.say(if handle.is_finished() {
                    "at once"
                } else {
                    "later"
                });
                late.borrow_mut().push(handle);
                waker.wake();
            });
            wait.await;
        });
    }
    settle(&tasks);
    drop(tasks);
    log.expect(&["refused", "at once"].repeat(3));
    for handle in late.take() {
        assert!(
            futures_lite::future::block_on(handle)
                .unwrap_err()
                .is_cancelled()
        );
    }
    drop(other);
    assert!(kicks.core_is_freed());
}

#[test]
fn destructors_that_panic_do_not_stop_teardown() {
    let (tasks, kicks) = tasks();
    let log = Log::default();
    let mut handles = vec![];
    for _ in 0..3 {
        let (bomb, held) = (
            OnDrop(|| panic!("a destructor panics")),
            log.on_drop("future"),
        );
        handles.push(tasks.spawn(async move {
            pending::<()>().await;
            drop((bomb, held));
        }));
    }
    settle(&tasks);
    drop(tasks);
    log.expect(&["future"; 3]);
    for handle in handles {
        assert!(
            futures_lite::future::block_on(handle)
                .unwrap_err()
                .is_panic()
        );
    }
    assert!(kicks.core_is_freed());
}

#[test]
fn teardown_works_while_a_panic_unwinds() {
    let log = Log::default();
    let held = log.on_drop("future");
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let (tasks, _) = tasks();
        let bomb = OnDrop(|| panic!("a destructor panics"));
        tasks.spawn(async move {
            pending::<()>().await;
            drop((bomb, held));
        });
        settle(&tasks);
        panic!("as planned");
    }));
    assert_eq!(
        *panicked.unwrap_err().downcast::<&str>().unwrap(),
        "as planned"
    );
    log.expect(&["future"]);
}

#[test]
fn wakers_outlive_the_core_and_do_nothing() {
    let (tasks, kicks) = tasks();
    let handle = tasks.spawn(pending::<()>());
    let (here, there) = tasks.enter(|| (waker::of(&handle), waker::of(&handle)));
    drop(handle);
    drop(tasks);
    here.wake_by_ref();
    thread::spawn(move || {
        there.wake_by_ref();
        let clone = there.clone();
        there.wake();
        drop(clone);
    })
    .join()
    .unwrap();
    let clone = here.clone();
    clone.wake();
    assert!(!kicks.core_is_freed());
    drop(here);
    assert!(kicks.core_is_freed());
    assert_eq!(kicks.count(), 0);
}

#[test]
fn an_output_outlives_the_core_in_its_handle() {
    let (tasks, kicks) = tasks();
    let log = Log::default();
    let output = log.on_drop("output");
    let handle = tasks.spawn(async move { output });
    let read = tasks.spawn(async { 6 });
    settle(&tasks);
    drop(tasks);
    log.expect(&[]);
    drop(handle);
    log.expect(&["output"]);
    assert_eq!(futures_lite::future::block_on(read).unwrap(), 6);
    assert!(kicks.core_is_freed());
}

#[test]
fn a_core_torn_down_inside_another_puts_that_one_back() {
    let ((outer, _), (inner, inner_kicks)) = (tasks(), tasks());
    inner.spawn(pending::<()>());
    let after = block_on(&outer, async move {
        drop(inner);
        spawn(async { 8 }).await.unwrap()
    });
    assert_eq!(after, 8);
    assert!(inner_kicks.core_is_freed());
}

#[test]
fn teardown_within_a_poll_panics_and_ends_that_task_only() {
    let (tasks, _) = tasks();
    let tasks = Rc::new(tasks);
    let within = Rc::downgrade(&tasks);
    let handle = tasks.spawn(async move { within.upgrade().unwrap().teardown() });
    settle(&tasks);
    assert!(block_on(&tasks, handle).unwrap_err().is_panic());
    assert_eq!(
        block_on(&tasks, async { spawn(async { 2 }).await.unwrap() }),
        2
    );
}

#[test]
fn tasks_left_in_a_thread_local_are_torn_down_with_the_thread() {
    thread_local! {
        static LEFT: RefCell<Option<(super::Tasks, super::Kicks)>> = const { RefCell::new(None) };
    }
    let kicks = thread::spawn(|| {
        let (tasks, kicks) = tasks();
        let place = Rc::default();
        tasks.spawn(waker_into(&place));
        let held = Rc::clone(&place);
        tasks.spawn(async move {
            let _wakes = OnDrop(move || held.take().unwrap().wake());
            pending::<()>().await;
        });
        settle(&tasks);
        LEFT.set(Some((tasks, kicks.clone())));
        kicks
    })
    .join()
    .unwrap();
    assert!(kicks.core_is_freed());
}
