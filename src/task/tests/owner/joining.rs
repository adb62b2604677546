//! Handles: outputs, panics, abort, detaching.

use std::{
    cell::{Cell, RefCell},
    future::{pending, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind, panic_any},
    pin::{Pin, pin},
    rc::Rc,
    sync::atomic::Ordering::Relaxed,
    task::{Context, Poll},
};

use super::{BadPayload, Log, OnDrop, block_on, counter, settle, tasks};
use crate::task::{JoinError, JoinHandle, Tasks, spawn, yield_now};

#[test]
fn the_handle_yields_the_output_and_knows_when_it_is_there() {
    let (tasks, _) = tasks();
    let handle = tasks.spawn(async {
        yield_now().await;
        String::from("done")
    });
    assert!(!handle.is_finished());
    settle(&tasks);
    assert!(handle.is_finished());
    assert_eq!(format!("{handle:?}"), "JoinHandle { finished: true }");
    assert_eq!(block_on(&tasks, handle).unwrap(), "done");
}

#[test]
fn dropping_the_handle_lets_the_task_run_on_and_drops_its_output() {
    let (tasks, kicks) = tasks();
    let log = Log::default();
    let (output, ran) = (log.on_drop("output"), log.clone());
    drop(tasks.spawn(async move {
        yield_now().await;
        ran.say("ran");
        output
    }));
    settle(&tasks);
    log.expect(&["ran", "output"]);
    drop(tasks);
    assert!(kicks.core_is_freed());
}

#[test]
fn a_handle_dropped_late_drops_the_output() {
    let (tasks, _) = tasks();
    let log = Log::default();
    let output = log.on_drop("output");
    let handle = tasks.spawn(async move { output });
    settle(&tasks);
    log.expect(&[]);
    tasks.enter(|| drop(handle));
    log.expect(&["output"]);
}

#[test]
fn an_output_that_panics_when_nobody_joins_does_not_take_the_core_down() {
    let (tasks, kicks) = tasks();
    drop(tasks.spawn(async { OnDrop(|| panic!("an output panics")) }));
    drop(tasks.spawn(async { OnDrop(|| panic_any(BadPayload)) }));
    let other = tasks.spawn(async { 1 });
    settle(&tasks);
    assert_eq!(block_on(&tasks, other).unwrap(), 1);
    drop(tasks);
    assert!(kicks.core_is_freed());
}

#[test]
fn a_panic_is_the_handles_and_drops_the_future() {
    let (tasks, _) = tasks();
    let log = Log::default();
    let held = log.on_drop("future");
    let handle: JoinHandle<()> = tasks.spawn(async move {
        yield_now().await;
        let (_held, place) = (&held, 7);
        panic!("at {place}")
    });
    settle(&tasks);
    log.expect(&["future"]);
    let error = block_on(&tasks, handle).unwrap_err();
    assert!(error.is_panic() && !error.is_cancelled() && !error.is_refused());
    assert_eq!(error.to_string(), "the task panicked: at 7");
    assert_eq!(*error.into_panic().downcast::<String>().unwrap(), "at 7");
}

#[test]
fn a_payload_that_panics_does_not_take_the_core_down() {
    let (tasks, kicks) = tasks();
    drop(tasks.spawn(async { panic_any(BadPayload) }));
    let handle = tasks.spawn(async { panic_any(BadPayload) });
    settle(&tasks);
    let error = block_on(&tasks, handle).unwrap_err();
    assert_eq!(error.to_string(), "the task panicked");
    std::mem::forget(error.into_panic());
    drop(tasks);
    assert!(kicks.core_is_freed());
}

#[test]
fn a_future_that_panics_when_it_is_dropped_is_reported_as_a_panic() {
    let (tasks, _) = tasks();
    // Ready, with a future that has something left to drop.
    let bomb = OnDrop(|| panic!("a destructor panics"));
    let ready = tasks.spawn(poll_fn(move |_| {
        let _held = &bomb;
        Poll::Ready(())
    }));
    let bomb = OnDrop(|| panic!("a destructor panics"));
    let aborted = tasks.spawn(async move {
        pending::<()>().await;
        drop(bomb);
    });
    settle(&tasks);
    tasks.enter(|| aborted.abort());
    settle(&tasks);
    for handle in [ready, aborted] {
        let error = block_on(&tasks, handle).unwrap_err();
        assert_eq!(error.to_string(), "the task panicked: a destructor panics");
    }
    assert_eq!(tasks.len(), 0);
}

#[test]
fn abort_drops_the_future_on_its_turn_and_never_in_the_caller() {
    let (tasks, _) = tasks();
    let log = Log::default();
    let (held, ran) = (log.on_drop("future"), log.clone());
    let handle = tasks.spawn(async move {
        let _held = held;
        loop {
            ran.say("polled");
            pending::<()>().await;
        }
    });
    settle(&tasks);
    tasks.enter(|| {
        handle.abort();
        handle.abort();
    });
    log.expect(&["polled"]);
    assert!(!handle.is_finished());
    settle(&tasks);
    log.expect(&["polled", "future"]);
    assert!(handle.is_finished());
    handle.abort();
    assert!(block_on(&tasks, handle).unwrap_err().is_cancelled());
    assert_eq!(tasks.len(), 0);
}

#[test]
fn a_task_that_is_aborted_before_its_first_poll_is_never_polled() {
    let (tasks, _) = tasks();
    let log = Log::default();
    let ran = log.clone();
    let handle = tasks.spawn(async move { ran.say("polled") });
    handle.abort();
    assert_eq!(tasks.enter(|| tasks.run_batch(|| {})), 0);
    log.expect(&[]);
    let error = block_on(&tasks, handle).unwrap_err();
    assert_eq!(error.to_string(), "the task was cancelled");
    assert!(error.try_into_panic().unwrap_err().is_cancelled());
}

#[test]
fn aborting_a_finished_task_leaves_its_output() {
    let (tasks, _) = tasks();
    let handle = tasks.spawn(async { 9 });
    settle(&tasks);
    tasks.enter(|| handle.abort());
    settle(&tasks);
    assert_eq!(block_on(&tasks, handle).unwrap(), 9);
}

/// Spawns a task that is given its own handle.
fn spawn_with_handle<F: Future<Output = u8> + 'static>(
    tasks: &Tasks,
    body: impl FnOnce(Rc<RefCell<Option<JoinHandle<u8>>>>) -> F,
) -> Rc<RefCell<Option<JoinHandle<u8>>>> {
    let place = Rc::default();
    let handle = tasks.spawn(body(Rc::clone(&place)));
    *place.borrow_mut() = Some(handle);
    place
}

#[test]
fn a_task_may_abort_itself_and_keeps_its_output_if_that_was_its_last_poll() {
    let (tasks, _) = tasks();
    let ends = spawn_with_handle(&tasks, |me| async move {
        me.borrow().as_ref().unwrap().abort();
        1
    });
    let waits = spawn_with_handle(&tasks, |me| async move {
        me.borrow().as_ref().unwrap().abort();
        pending::<()>().await;
        2
    });
    settle(&tasks);
    let (ends, waits) = (ends.take().unwrap(), waits.take().unwrap());
    assert_eq!(block_on(&tasks, ends).unwrap(), 1);
    assert!(block_on(&tasks, waits).unwrap_err().is_cancelled());
}

#[test]
fn a_task_may_drop_or_abort_its_handle_while_its_future_is_dropped() {
    let (tasks, kicks) = tasks();
    for drops in [false, true] {
        let me = spawn_with_handle(&tasks, |me| async move {
            let _held = OnDrop(move || {
                if let Some(handle) = me.borrow().as_ref() {
                    handle.abort();
                    assert!(!handle.is_finished());
                }
                if drops {
                    drop(me.take());
                }
            });
            pending::<()>().await;
            3
        });
        settle(&tasks);
        tasks.enter(|| me.borrow().as_ref().unwrap().abort());
        settle(&tasks);
        if let Some(handle) = me.take() {
            assert!(block_on(&tasks, handle).unwrap_err().is_cancelled());
        } else {
            assert!(drops);
        }
    }
    drop(tasks);
    assert!(kicks.core_is_freed());
}

#[test]
fn a_handle_wakes_the_last_waker_that_polled_it() {
    let (tasks, _) = tasks();
    let ((first, first_waker), (last, last_waker)) = (counter(), counter());
    let mut handle = tasks.spawn(yield_now());
    for waker in [&first_waker, &last_waker, &last_waker] {
        assert!(
            Pin::new(&mut handle)
                .poll(&mut Context::from_waker(waker))
                .is_pending()
        );
    }
    assert_eq!(
        std::sync::Arc::strong_count(&first),
        2,
        "the old waker was kept"
    );
    settle(&tasks);
    assert_eq!((first.0.load(Relaxed), last.0.load(Relaxed)), (0, 1));
    let polled = Pin::new(&mut handle).poll(&mut Context::from_waker(&last_waker));
    assert!(matches!(polled, Poll::Ready(Ok(()))));
    let again = AssertUnwindSafe(|| {
        Pin::new(&mut handle)
            .poll(&mut Context::from_waker(&last_waker))
            .is_ready()
    });
    assert!(catch_unwind(again).is_err(), "ready twice");
}

#[test]
fn a_task_that_waits_for_itself_is_freed_with_its_core() {
    let (tasks, kicks) = tasks();
    spawn_with_handle(&tasks, |me| async move {
        poll_fn(|context| {
            let mut me = me.borrow_mut();
            pin!(me.as_mut().unwrap()).poll(context)
        })
        .await
        .unwrap()
    });
    settle(&tasks);
    assert_eq!(tasks.len(), 1);
    drop(tasks);
    assert!(kicks.core_is_freed());
}

#[test]
fn tasks_join_tasks() {
    let (tasks, _) = tasks();
    let sum = block_on(&tasks, async {
        let parts: Vec<_> = (0..10u32)
            .map(|i| {
                spawn(async move {
                    yield_now().await;
                    spawn(async move { i }).await.unwrap()
                })
            })
            .collect();
        let mut sum = 0;
        for part in parts {
            sum += part.await.unwrap();
        }
        sum
    });
    assert_eq!(sum, 45);
}

#[test]
fn a_refused_task_says_why_and_counts_as_cancelled() {
    let error = JoinError::refused("the pool's queue is full");
    assert!(error.is_refused() && error.is_cancelled() && !error.is_panic());
    assert_eq!(
        error.to_string(),
        "the task was refused: the pool's queue is full"
    );
    let error = catch_unwind(|| error.into_panic()).unwrap_err();
    assert!(
        error
            .downcast_ref::<String>()
            .unwrap()
            .contains("pool's queue")
    );
}

#[test]
fn errors_cross_threads_and_handles_do_not() {
    fn crosses<T: Send + Sync + std::error::Error + 'static>() {}
    crosses::<JoinError>();

    // Compiles only while `JoinHandle` is not `Send`: otherwise both impls would fit.
    trait Fits<A> {
        fn once() {}
    }
    struct Sent;
    impl<T> Fits<()> for T {}
    impl<T: Send> Fits<Sent> for T {}
    <JoinHandle<()> as Fits<_>>::once();
    <Tasks as Fits<_>>::once();
}

#[test]
fn a_task_of_a_small_future_takes_little_memory() {
    // Header and the error in place of an output: what every idle connection pays.
    let done = Rc::new(Cell::new(false));
    assert!(crate::task::cell::size_of_task(&async move { done.set(true) }) <= 128);
    // As the documentation has it.
    let large = [0_u64; 100];
    let future = async move { assert_eq!(large[0], 0) };
    let size = size_of_val(&future).next_multiple_of(8);
    assert_eq!(crate::task::cell::size_of_task(&future), 88 + size);
}
