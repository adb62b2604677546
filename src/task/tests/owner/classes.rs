//! Classes: who goes first, shares, and tasks that end behind a gate.

use std::{
    cell::{Cell, RefCell},
    future::pending,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    task::Waker,
    thread,
};

use super::{Log, OnDrop, block_on, settle, tasks, waker_into};
use crate::task::{JoinHandle, Priority, Tasks, spawn, waker, yield_now};

const ALL: [Priority; 3] = [Priority::Bulk, Priority::Normal, Priority::Latency];

fn batch(tasks: &Tasks) -> usize {
    tasks.enter(|| tasks.run_batch(|| {}))
}

/// Polls of tasks that are always ready, each with its number, in order.
#[derive(Clone, Default)]
struct Polls(Rc<RefCell<Vec<(Priority, usize)>>>);

impl Polls {
    fn spawn(&self, tasks: &Tasks, class: Priority, count: usize) {
        for number in 0..count {
            let polls = self.clone();
            drop(tasks.spawn_of(class, async move {
                loop {
                    polls.0.borrow_mut().push((class, number));
                    yield_now().await;
                }
            }));
        }
    }

    /// The numbers of one class, which are forgotten with all others.
    fn take(&self, class: Priority) -> Vec<usize> {
        let mut polls = self.0.take();
        polls.retain(|(of, _)| *of == class);
        polls.into_iter().map(|(_, number)| number).collect()
    }

    fn classes(&self) -> Vec<Priority> {
        self.0.borrow().iter().map(|(class, _)| *class).collect()
    }
}

#[test]
fn a_batch_runs_latency_then_normal_then_the_share_of_bulk() {
    let (tasks, _) = tasks();
    let polls = Polls::default();
    for class in ALL {
        polls.spawn(&tasks, class, 10);
    }
    for _ in 0..20 {
        assert_eq!(batch(&tasks), 23);
        let mut expected = vec![Priority::Latency; 10];
        expected.extend([Priority::Normal; 10]);
        // One for each seven of twenty others.
        expected.extend([Priority::Bulk; 3]);
        assert_eq!(polls.classes(), expected);
        polls.take(Priority::Bulk);
    }
}

#[test]
fn each_of_the_batches_that_follow_each_other_has_its_shares() {
    let (tasks, _) = tasks();
    let polls = Polls::default();
    for class in ALL {
        polls.spawn(&tasks, class, 10);
    }
    let mut left = 19;
    let again = || {
        left -= 1;
        left >= 0
    };
    assert_eq!(
        tasks.enter(|| tasks.run_batches(|| {}, again)),
        20 * (10 + 10 + 3)
    );
}

#[test]
fn within_a_class_it_is_first_come_first_served() {
    let (tasks, _) = tasks();
    let polls = Polls::default();
    for class in ALL {
        polls.spawn(&tasks, class, 5);
    }
    // Two of the class `Bulk` a batch.
    for _ in 0..10 {
        batch(&tasks);
    }
    assert_eq!(polls.take(Priority::Bulk), [0, 1, 2, 3, 4].repeat(4));
    batch(&tasks);
    assert_eq!(polls.take(Priority::Latency), [0, 1, 2, 3, 4]);
    batch(&tasks);
    assert_eq!(polls.take(Priority::Normal), [0, 1, 2, 3, 4]);
}

#[test]
fn at_least_one_poll_in_eight_is_for_bulk_however_many_others_are_ready() {
    for others in [1, 6, 7, 8, 50, 1_000] {
        let (tasks, _) = tasks();
        let polls = Polls::default();
        polls.spawn(&tasks, Priority::Latency, others / 2);
        polls.spawn(&tasks, Priority::Normal, others - others / 2);
        polls.spawn(&tasks, Priority::Bulk, 500);
        for _ in 0..5 {
            let all = batch(&tasks);
            let bulk = polls.take(Priority::Bulk).len();
            assert!(bulk * 8 >= all, "{bulk} of {all}");
            assert!(bulk <= others.div_ceil(7), "{bulk} beside {others}");
        }
    }
}

#[test]
fn without_others_a_batch_runs_eight_of_bulk_and_the_core_is_not_idle() {
    let (tasks, _) = tasks();
    let polls = Polls::default();
    polls.spawn(&tasks, Priority::Bulk, 1_000);
    for turn in 0..125 {
        assert!(!tasks.is_idle());
        assert_eq!(batch(&tasks), 8);
        let numbers: Vec<_> = (turn * 8..turn * 8 + 8).collect();
        assert_eq!(polls.take(Priority::Bulk), numbers);
    }
}

#[test]
fn who_is_woken_waits_for_eight_of_a_thousand_bulk_tasks_at_most() {
    for class in [Priority::Latency, Priority::Normal] {
        let (tasks, _) = tasks();
        let polls = Polls::default();
        polls.spawn(&tasks, Priority::Bulk, 1_000);
        let place = Rc::default();
        let waits = tasks.spawn_of(class, waker_into(&place));
        batch(&tasks);
        let waker: Waker = place.take().expect("polled in the first batch");
        tasks.spawn_of(Priority::Bulk, async move { waker.wake() });
        while place.take().is_none() {
            polls.take(Priority::Bulk);
            batch(&tasks);
        }
        // Those of the batch in which it ran come after it.
        assert_eq!(polls.take(Priority::Bulk).len(), 1);
        waits.abort();
    }
}

#[test]
fn a_batch_runs_a_task_once_whatever_its_class() {
    let (tasks, _) = tasks();
    let polls = Polls::default();
    polls.spawn(&tasks, Priority::Latency, 2);
    polls.spawn(&tasks, Priority::Bulk, 3);
    for _ in 0..10 {
        assert_eq!(batch(&tasks), 3);
        polls.take(Priority::Bulk);
    }
    let (others, _) = super::tasks();
    polls.spawn(&others, Priority::Bulk, 3);
    for _ in 0..10 {
        assert_eq!(batch(&others), 3, "though eight might run");
    }
}

#[test]
fn a_task_keeps_its_class_when_another_thread_wakes_it() {
    let (tasks, kicks) = tasks();
    let log = Log::default();
    let handles: Vec<JoinHandle<()>> = [("bulk", 0), ("normal", 1), ("latency", 2)]
        .into_iter()
        .map(|(name, class)| {
            let log = log.clone();
            tasks.spawn_of(ALL[class], async move {
                loop {
                    let mut first = true;
                    std::future::poll_fn(|_| match std::mem::replace(&mut first, false) {
                        true => std::task::Poll::Pending,
                        false => std::task::Poll::Ready(()),
                    })
                    .await;
                    log.say(name);
                }
            })
        })
        .collect();
    settle(&tasks);
    for round in 1..=3 {
        assert!(tasks.try_park());
        let wakers: Vec<_> = handles.iter().map(waker::of).collect();
        let woken = thread::spawn(move || wakers.into_iter().for_each(Waker::wake));
        woken.join().expect("it does not panic");
        assert_eq!(kicks.count(), round);
        assert_eq!(batch(&tasks), 3);
        log.expect(&["latency", "normal", "bulk"].repeat(round));
        assert!(tasks.is_idle());
    }
}

#[test]
fn what_a_bulk_task_spawns_is_normal() {
    let (tasks, _) = tasks();
    let polls = Polls::default();
    polls.spawn(&tasks, Priority::Bulk, 100);
    let log = Log::default();
    let child = log.clone();
    let parent = tasks.spawn_of(Priority::Bulk, async move {
        spawn(async move { child.say("child") }).await.unwrap();
    });
    // The parent is the 101st, and eight are run in a batch.
    for _ in 0..13 {
        log.expect(&[]);
        batch(&tasks);
    }
    batch(&tasks);
    log.expect(&["child"]);
    drop(parent);
}

#[test]
fn an_aborted_task_of_any_class_ends_in_its_turn() {
    let (tasks, kicks) = tasks();
    let dropped = Rc::new(Cell::new(0));
    let handles: Vec<_> = (0..30)
        .map(|number| {
            let dropped = Rc::clone(&dropped);
            let guard = OnDrop(move || dropped.set(dropped.get() + 1));
            tasks.spawn_of(ALL[number % 3], async move {
                let _guard = guard;
                pending::<()>().await;
            })
        })
        .collect();
    settle(&tasks);
    handles.iter().for_each(JoinHandle::abort);
    assert_eq!(batch(&tasks), 0, "nothing was polled");
    assert_eq!(dropped.get(), 20 + 8);
    settle(&tasks);
    assert_eq!((dropped.get(), tasks.len()), (30, 0));
    for handle in handles {
        assert!(block_on(&tasks, handle).unwrap_err().is_cancelled());
    }
    drop(tasks);
    assert!(kicks.core_is_freed());
}

#[test]
fn the_end_of_a_core_drops_what_stands_behind_a_gate() {
    let (tasks, kicks) = tasks();
    let dropped = Rc::new(Cell::new(0));
    for number in 0..60 {
        let dropped = Rc::clone(&dropped);
        let guard = OnDrop(move || dropped.set(dropped.get() + 1));
        drop(tasks.spawn_of(ALL[number % 3], async move {
            let _guard = guard;
            loop {
                yield_now().await;
            }
        }));
    }
    batch(&tasks);
    drop(tasks);
    assert_eq!(dropped.get(), 60);
    assert!(kicks.core_is_freed());
}

#[test]
fn a_panic_between_two_polls_leaves_every_class_in_place() {
    let (tasks, _) = tasks();
    let polls = Polls::default();
    for class in ALL {
        polls.spawn(&tasks, class, 4);
    }
    for at in [1, 2, 3, 1, 2, 3] {
        let mut made = 0;
        let ended = catch_unwind(AssertUnwindSafe(|| {
            tasks.enter(|| {
                tasks.run_batch(|| {
                    made += 1;
                    assert!(made < at, "as planned");
                })
            })
        }));
        assert!(ended.is_err());
    }
    // Each panic cost one task its place in the queue, as it was neither run nor put back.
    polls.take(Priority::Bulk);
    for _ in 0..40 {
        batch(&tasks);
    }
    let mut seen: Vec<_> = polls.0.take();
    seen.sort_unstable_by_key(|(class, number)| (class.flags(), *number));
    seen.dedup();
    assert_eq!(seen.len(), 12 - 6);
}
