//! Order of running, wakes, parking.

use std::{
    cell::Cell,
    future::{pending, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    task::{Poll, Waker},
    thread,
};

use super::{Bomb, Log, block_on, counter, settle, tasks, waker_into};
use crate::task::{Tasks, clone_here, clone_own, spawn, wake_own, waker, yield_now};

#[test]
fn tasks_run_in_the_order_they_were_spawned() {
    let (tasks, _) = tasks();
    let log = Log::default();
    for name in ["a", "b", "c"] {
        let log = log.clone();
        tasks.spawn(async move { log.say(name) });
    }
    assert_eq!(tasks.len(), 3);
    settle(&tasks);
    log.expect(&["a", "b", "c"]);
    assert_eq!((tasks.len(), tasks.polls()), (0, 3));
}

#[test]
fn yield_now_goes_to_the_back_of_the_queue() {
    let (tasks, _) = tasks();
    let log = Log::default();
    for (first, second) in [("a1", "a2"), ("b1", "b2")] {
        let log = log.clone();
        tasks.spawn(async move {
            log.say(first);
            yield_now().await;
            log.say(second);
        });
    }
    settle(&tasks);
    log.expect(&["a1", "b1", "a2", "b2"]);
}

#[test]
fn a_batch_polls_each_ready_task_once_even_if_it_wakes_itself_or_others() {
    let (tasks, _) = tasks();
    for _ in 0..3 {
        tasks.spawn(async {
            loop {
                spawn(pending::<()>());
                yield_now().await;
            }
        });
    }
    let mut announced = 0;
    let polled = tasks.enter(|| tasks.run_batch(|| announced += 1));
    assert_eq!((polled, announced), (3, 3));
    assert_eq!(tasks.enter(|| tasks.run_batch(|| {})), 6);
    assert!(!tasks.is_idle());
}

#[test]
fn a_panic_between_two_polls_leaves_the_rest_of_the_batch_in_place() {
    let (tasks, _) = tasks();
    let log = Log::default();
    for name in ["a", "b", "c"] {
        let log = log.clone();
        tasks.spawn(async move {
            log.say(name);
            yield_now().await;
            log.say(name);
        });
    }
    let mut polls = 0;
    let ended = catch_unwind(AssertUnwindSafe(|| {
        tasks.enter(|| {
            tasks.run_batch(|| {
                polls += 1;
                assert!(polls < 2, "as planned");
            })
        })
    }));
    assert!(ended.is_err());
    assert!(!Tasks::current_exists());
    settle(&tasks);
    // The task at which it happened was taken out of the queue and not polled.
    log.expect(&["a", "c", "a", "c"]);
}

#[test]
fn wakes_of_a_scheduled_task_add_nothing() {
    let (tasks, _) = tasks();
    let place = Rc::default();
    tasks.spawn(waker_into(&place));
    settle(&tasks);
    let waker = place.take().unwrap();
    tasks.enter(|| {
        waker.wake_by_ref();
        let clone = waker.clone();
        clone.wake();
        waker.wake_by_ref();
    });
    assert_eq!(tasks.enter(|| tasks.run_batch(|| {})), 1);
    assert!(tasks.is_idle());
    place.take();
}

#[test]
fn a_wake_during_the_poll_runs_the_task_again() {
    let (tasks, _) = tasks();
    let mut polls = 0;
    let handle = tasks.spawn(poll_fn(move |context| {
        polls += 1;
        context.waker().wake_by_ref();
        if polls == 3 {
            Poll::Ready(polls)
        } else {
            Poll::Pending
        }
    }));
    assert_eq!(block_on(&tasks, handle).unwrap(), 3);
}

#[test]
fn wake_own_takes_wakers_of_this_core_and_no_others() {
    let ((here, _), (there, kicks)) = (tasks(), tasks());
    let (mine, other) = (here.spawn(pending::<()>()), there.spawn(pending::<()>()));
    settle(&here);
    settle(&there);
    assert!(there.try_park());
    here.enter(|| {
        assert!(wake_own(waker::of(&mine)).is_ok());
        assert!(wake_own(Waker::noop().clone()).is_err());
        let (counter, foreign) = counter();
        let foreign = wake_own(foreign).unwrap_err();
        assert_eq!(counter.0.load(super::Relaxed), 0);
        foreign.wake();
        assert_eq!(counter.0.load(super::Relaxed), 1);
        let returned = wake_own(waker::of(&other)).unwrap_err();
        assert_eq!(kicks.count(), 0);
        returned.wake();
    });
    assert!(wake_own(waker::of(&mine)).is_err(), "nothing is entered");
    assert!(!here.is_idle());
    assert_eq!(kicks.count(), 1);
    assert!(there.has_foreign() && there.is_idle());
    assert_eq!(there.enter(|| there.run_batch(|| {})), 1);
}

#[test]
fn clone_own_clones_wakers_of_this_core_and_no_others() {
    let ((here, _), (there, _)) = (tasks(), tasks());
    let (mine, other) = (here.spawn(pending::<()>()), there.spawn(pending::<()>()));
    settle(&here);
    settle(&there);
    let (of_mine, of_other) = (waker::of(&mine), waker::of(&other));
    here.enter(|| {
        let clone = clone_own(&of_mine).expect("entered");
        assert!(clone.will_wake(&of_mine));
        clone.wake();
        assert!(clone_own(&of_other).is_none());
        assert!(clone_own(Waker::noop()).is_none());
        assert!(clone_here(&of_other).will_wake(&of_other));
    });
    assert!(clone_own(&of_mine).is_none(), "nothing is entered");
    assert_eq!(here.enter(|| here.run_batch(|| {})), 1);
    assert!(there.is_idle());
}

#[test]
fn a_wake_from_another_thread_kicks_a_parked_core_once() {
    let (tasks, kicks) = tasks();
    let handles: Vec<_> = (0..2).map(|_| tasks.spawn(pending::<()>())).collect();
    settle(&tasks);
    let wake_both = || {
        let wakers: Vec<_> = handles.iter().map(waker::of).collect();
        thread::spawn(move || wakers.into_iter().for_each(Waker::wake))
            .join()
            .unwrap();
    };
    wake_both();
    assert_eq!(kicks.count(), 0, "it was not parked");
    assert!(!tasks.try_park(), "something is there");
    assert!(tasks.has_foreign());
    settle(&tasks);
    assert!(tasks.try_park());
    assert!(!tasks.has_foreign());
    wake_both();
    assert_eq!(kicks.count(), 1);
    assert_eq!(tasks.enter(|| tasks.run_batch(|| {})), 2);
}

#[test]
fn a_batch_takes_back_the_announcement_of_a_park() {
    let (tasks, kicks) = tasks();
    let handle = tasks.spawn(pending::<()>());
    settle(&tasks);
    assert!(tasks.try_park());
    settle(&tasks);
    waker::of(&handle).wake();
    assert_eq!(kicks.count(), 0);
    settle(&tasks);
}

#[test]
fn tasks_of_two_cores_on_one_thread_keep_apart() {
    let ((a, _), (b, _)) = (tasks(), tasks());
    let on_b = b.enter(|| {
        let outer = a.enter(|| spawn(async { 1 }));
        drop(outer);
        spawn(async { 2 })
    });
    assert_eq!((a.len(), b.len()), (1, 1));
    // A task of `a` waits for one of `b`: the wake goes from core to core.
    let waits = a.spawn(on_b);
    settle(&a);
    assert!(!waits.is_finished());
    settle(&b);
    assert!(a.has_foreign());
    assert_eq!(block_on(&a, waits).unwrap().unwrap(), 2);
}

#[test]
fn enter_puts_back_what_was_current_also_after_a_panic() {
    let ((a, _), (b, _)) = (tasks(), tasks());
    a.enter(|| {
        let panicked = catch_unwind(AssertUnwindSafe(|| b.enter(|| panic!("as planned"))));
        assert!(panicked.is_err());
        drop(spawn(async {}));
    });
    assert_eq!((a.len(), b.len()), (1, 0));
    assert!(!Tasks::current_exists());
}

#[test]
fn spawn_outside_of_a_runtime_says_where_to_call_it() {
    let payload = catch_unwind(|| drop(spawn(async {}))).unwrap_err();
    let text = *payload.downcast::<&str>().unwrap();
    assert!(text.contains("outside of a corering runtime"), "{text}");
    assert!(text.contains("block_on"), "{text}");
}

#[test]
fn a_batch_within_a_poll_panics_and_ends_that_task_only() {
    let (tasks, _) = tasks();
    let tasks = Rc::new(tasks);
    let within = Rc::downgrade(&tasks);
    let handle = tasks.spawn(async move { within.upgrade().unwrap().run_batch(|| {}) });
    let other = tasks.spawn(async { 5 });
    settle(&tasks);
    assert!(
        block_on(&tasks, handle)
            .unwrap_err()
            .to_string()
            .contains("from within")
    );
    assert_eq!(block_on(&tasks, other).unwrap(), 5);
}

#[test]
fn a_waker_that_panics_ends_neither_the_task_nor_the_core() {
    let (tasks, _) = tasks();
    let mut handle = tasks.spawn(async { 3 });
    let bomb = Waker::from(std::sync::Arc::new(Bomb));
    let polled = tasks
        .enter(|| std::pin::Pin::new(&mut handle).poll(&mut std::task::Context::from_waker(&bomb)));
    assert!(polled.is_pending());
    settle(&tasks);
    assert_eq!(block_on(&tasks, handle).unwrap(), 3);
}

#[test]
fn many_tasks_are_listed_and_leave_in_any_order() {
    let (tasks, kicks) = tasks();
    let done = Rc::new(Cell::new(0));
    let mut handles: Vec<_> = (0..1_000)
        .map(|i| {
            let done = Rc::clone(&done);
            tasks.spawn(async move {
                for _ in 0..i % 7 {
                    yield_now().await;
                }
                done.set(done.get() + 1);
            })
        })
        .collect();
    for i in (0..1_000).rev().filter(|i| i % 3 == 0) {
        drop(handles.swap_remove(i));
        tasks.enter(|| tasks.run_batch(|| {}));
    }
    settle(&tasks);
    assert_eq!((done.get(), tasks.len()), (1_000, 0));
    drop(tasks);
    assert!(!kicks.core_is_freed());
    drop(handles);
    assert!(kicks.core_is_freed());
}
