//! `block_on`: a future that borrows from its caller.

use std::{
    cell::{Cell, RefCell},
    future::{pending, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use super::{Log, block_on, settle, tasks};
use crate::task::{Tasks, spawn, yield_now};

#[test]
fn the_main_future_may_borrow_and_so_may_its_output() {
    let (tasks, _) = tasks();
    let text = String::from("here");
    let mut seen = 0;
    let output = block_on(&tasks, async {
        seen += 1;
        yield_now().await;
        seen += 1;
        text.as_str()
    });
    assert_eq!((output, seen), ("here", 2));
}

/// A task that is always ready, and says "other" at each poll.
fn spawn_ready(tasks: &Tasks, log: &Log) {
    let log = log.clone();
    drop(tasks.spawn(async move {
        loop {
            log.say("other");
            yield_now().await;
        }
    }));
}

#[test]
fn other_tasks_run_meanwhile_and_stay_afterwards() {
    let (tasks, _) = tasks();
    let log = Log::default();
    spawn_ready(&tasks, &log);
    block_on(&tasks, async { log.say("main") });
    assert_eq!(tasks.len(), 1);
    block_on(&tasks, async { log.say("main") });
    log.expect(&["other", "main", "other", "main"]);
}

#[test]
fn a_turn_comes_after_every_batch_but_the_last() {
    let (tasks, _) = tasks();
    let log = Log::default();
    let main = pin!(async {
        log.say("poll");
        yield_now().await;
        log.say("poll");
    });
    tasks.block_on(main, || log.say("budget"), || false, || log.say("turn"));
    log.expect(&["budget", "poll", "turn", "budget", "poll"]);
}

#[test]
fn where_nothing_is_ready_no_batch_follows() {
    let (tasks, _) = tasks();
    let waker = RefCell::new(None);
    let mut polls = 0;
    let main = pin!(poll_fn(|cx: &mut Context<'_>| {
        polls += 1;
        waker.replace(Some(cx.waker().clone()));
        match polls {
            3 => Poll::Ready(()),
            _ => Poll::Pending,
        }
    }));
    let wake = || waker.take().unwrap().wake();
    tasks.block_on(main, || {}, || panic!("asked for another batch"), wake);
    assert_eq!(polls, 3);
}

#[test]
fn batches_follow_each_other_as_long_as_they_may() {
    let (tasks, _) = tasks();
    let log = Log::default();
    spawn_ready(&tasks, &log);
    let main = pin!(async {
        for _ in 0..3 {
            log.say("main");
            yield_now().await;
        }
    });
    let mut looks = 0;
    let again = || {
        looks += 1;
        matches!(looks, 1 | 3)
    };
    tasks.block_on(main, || {}, again, || log.say("turn"));
    let batch = ["other", "main"];
    let expected = [&batch[..], &batch, &["turn"], &batch, &["other"]];
    log.expect(&expected.concat());
    // Not after the last batch, although there is another.
    assert_eq!(looks, 3);
}

#[test]
fn a_panic_of_the_main_future_goes_on_in_the_caller_and_leaves_the_core_usable() {
    let (tasks, _) = tasks();
    let main = AssertUnwindSafe(|| block_on(&tasks, async { panic!("in main") }));
    let payload = catch_unwind(main).unwrap_err();
    assert_eq!(*payload.downcast::<&str>().unwrap(), "in main");
    assert!(!Tasks::current_exists());
    assert_eq!(
        block_on(&tasks, async { spawn(async { 4 }).await.unwrap() }),
        4
    );
    assert_eq!(tasks.len(), 0);
}

#[test]
fn a_panic_of_the_turn_ends_the_main_task_before_its_future_is_gone() {
    let (tasks, kicks) = tasks();
    let waker = Rc::new(Cell::new(None::<Waker>));
    let log = Log::default();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let held = log.on_drop("future");
        let main = pin!(async {
            let _held = held;
            poll_fn(|context| {
                waker.set(Some(context.waker().clone()));
                context.waker().wake_by_ref();
                Poll::<()>::Pending
            })
            .await;
        });
        tasks.block_on(main, || {}, || false, || panic!("in turn"));
    }));
    assert!(panicked.is_err());
    log.expect(&["future"]);
    // Its waker is still good for nothing, here and elsewhere.
    let waker = waker.take().unwrap();
    let other = waker.clone();
    std::thread::spawn(move || other.wake()).join().unwrap();
    tasks.enter(|| waker.wake_by_ref());
    settle(&tasks);
    assert_eq!(tasks.len(), 0);
    tasks.enter(|| drop(waker));
    drop(tasks);
    assert!(kicks.core_is_freed());
}

#[test]
fn block_on_within_a_task_panics_and_says_what_to_do() {
    let ((outer, _), (inner, _)) = (tasks(), tasks());
    let handle = outer.spawn(async move { block_on(&inner, async {}) });
    settle(&outer);
    let text = block_on(&outer, handle).unwrap_err().to_string();
    assert!(
        text.contains("inside a corering runtime") && text.contains(".await"),
        "{text}"
    );
    assert!(!Tasks::current_exists());
}

#[test]
fn a_teardown_in_the_turn_ends_the_main_future_with_a_panic() {
    let (tasks, _) = tasks();
    let main = AssertUnwindSafe(|| {
        tasks.block_on(pin!(pending::<()>()), || {}, || false, || tasks.teardown());
    });
    let payload = catch_unwind(main).unwrap_err();
    assert!(
        payload
            .downcast_ref::<String>()
            .unwrap()
            .contains("cancelled")
    );
}

#[test]
fn a_main_future_woken_from_another_thread_goes_on() {
    let (tasks, kicks) = tasks();
    let mut thread = None;
    let done = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let main = pin!(poll_fn(|context| {
        if done.load(super::Relaxed) {
            return Poll::Ready(());
        }
        let (waker, done) = (context.waker().clone(), std::sync::Arc::clone(&done));
        thread.get_or_insert_with(|| {
            std::thread::spawn(move || {
                done.store(true, super::Relaxed);
                waker.wake();
            })
        });
        Poll::Pending
    }));
    tasks.block_on(main, || {}, || false, std::thread::yield_now);
    thread.unwrap().join().unwrap();
    assert_eq!(kicks.count(), 0);
}
