//! Groups of tasks, values that tasks have of their own, and their names.

mod common;

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use corering::runtime::stats;
use corering::sync::Notify;
use corering::task::{self, JoinSet, Priority, yield_now};
use corering::time::{sleep, timeout};
use corering::{Runtime, spawn};

use common::run;

const MS: Duration = Duration::from_millis(1);

#[test]
fn tasks_are_joined_in_the_order_in_which_they_end() {
    run(async {
        let mut set = JoinSet::new();
        for length in [30, 10, 20] {
            set.spawn(async move {
                sleep(length * MS).await;
                length
            });
        }
        assert_eq!(set.len(), 3);
        for length in [10, 20, 30] {
            assert_eq!(set.join_next().await.unwrap().unwrap(), length);
        }
        assert!(set.join_next().await.is_none() && set.is_empty());
    });
}

#[test]
fn a_thousand_tasks_are_joined_once_each_whatever_ends_them() {
    run(async {
        let mut set = JoinSet::new();
        for number in 0..1000 {
            set.spawn(async move {
                for _ in 0..number % 7 {
                    yield_now().await;
                }
                assert!(number % 10 != 0, "as it is meant to");
                number
            });
        }
        let mut seen = vec![false; 1000];
        let mut panics = 0;
        while let Some(outcome) = set.join_next().await {
            match outcome {
                Ok(number) => assert!(!std::mem::replace(&mut seen[number], true)),
                Err(error) => panics += u32::from(error.is_panic()),
            }
        }
        let ended = seen.iter().filter(|seen| **seen).count();
        assert_eq!((ended, panics), (900, 100));
    });
}

#[test]
fn a_dropped_join_next_has_joined_nothing() {
    run(async {
        let mut set = JoinSet::new();
        let go = Rc::new(Notify::new());
        let same = Rc::clone(&go);
        set.spawn(async move { same.notified().await });
        assert!(timeout(MS, set.join_next()).await.is_err());
        go.notify_one();
        yield_now().await;
        yield_now().await;
        assert_eq!(set.len(), 1);
        assert!(set.try_join_next().is_some_and(|outcome| outcome.is_ok()));
        assert!(set.try_join_next().is_none());
    });
}

#[test]
fn a_dropped_set_aborts_its_tasks_and_a_detached_one_lets_them_run() {
    run(async {
        let before = stats().unwrap().tasks;
        let mut set = JoinSet::new();
        set.spawn(pending::<()>());
        drop(set);
        yield_now().await;
        assert_eq!(stats().unwrap().tasks, before);

        let done = Rc::new(Cell::new(0));
        let mut set = JoinSet::new();
        for _ in 0..2 {
            let done = Rc::clone(&done);
            set.spawn(async move {
                yield_now().await;
                done.set(done.get() + 1);
            });
        }
        set.detach_all();
        let same = Rc::clone(&done);
        set.spawn(async move { same.set(same.get() + 10) });
        assert!(set.join_next().await.unwrap().is_ok());
        assert!(set.join_next().await.is_none());
        yield_now().await;
        yield_now().await;
        assert_eq!(done.get(), 12);
        // What has ended since then is not mistaken for a task of the set.
        set.spawn(pending());
        set.spawn(async {});
        let next = timeout(1000 * MS, set.join_next()).await;
        assert!(next.unwrap().unwrap().is_ok());
    });
}

#[test]
fn a_shutdown_ends_all_tasks() {
    run(async {
        let mut set = JoinSet::new();
        let alive = Rc::new(());
        for _ in 0..10 {
            let alive = Rc::clone(&alive);
            set.spawn(async move {
                let _alive = alive;
                pending::<()>().await;
            });
        }
        yield_now().await;
        set.abort_all();
        let first = set.join_next().await.unwrap();
        assert!(first.unwrap_err().is_cancelled());
        set.shutdown().await;
        assert!(set.is_empty());
        assert_eq!(Rc::strong_count(&alive), 1);
    });
}

#[test]
fn a_set_may_outlive_its_runtime() {
    let set = RefCell::new(JoinSet::new());
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async { set.borrow_mut().spawn(pending::<()>()) });
    drop(runtime);
    let outcome = set.borrow_mut().try_join_next().unwrap();
    assert!(outcome.unwrap_err().is_cancelled());
}

#[test]
#[should_panic(expected = "out of luck")]
fn join_all_goes_on_with_the_panic_of_a_task() {
    run(async {
        let mut set = JoinSet::new();
        set.spawn(async { 1 });
        set.spawn(async { panic!("out of luck") });
        set.join_all().await;
    });
}

static USER: task::Local<RefCell<String>> = task::Local::new();
static NUMBER: task::Local<u32> = task::Local::new();
static OTHER: task::Local<u32> = task::Local::new();

/// Says when it is dropped, which takes a turn of the core.
struct Ends(Rc<Cell<u32>>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

/// Never ends by itself.
async fn endless(ends: Ends) -> Result<u32, &'static str> {
    let _ends = ends;
    pending().await
}

#[test]
fn the_first_error_ends_the_other_tasks_and_waits_for_them() {
    run(async {
        let ended = Rc::new(Cell::new(0));
        let mut set = JoinSet::new();
        for _ in 0..100 {
            set.spawn(endless(Ends(Rc::clone(&ended))));
        }
        set.spawn(async { Ok(1) });
        set.spawn(async {
            sleep(MS).await;
            Err("out of luck")
        });
        assert_eq!(set.try_join_all().await, Err("out of luck"));
        assert_eq!(ended.get(), 100);

        let mut set = JoinSet::new();
        for number in 0..3 {
            set.spawn(async move { Ok::<_, ()>(number) });
        }
        assert_eq!(set.try_join_all().await, Ok(vec![0, 1, 2]));
    });
}

#[test]
fn a_panic_ends_the_other_tasks_before_it_goes_on() {
    let ended = Rc::new(Cell::new(0));
    for joins_all in [true, false] {
        ended.set(0);
        let joined = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            run(async {
                let mut set = JoinSet::new();
                set.spawn(endless(Ends(Rc::clone(&ended))));
                set.spawn(async { panic!("as it is meant to") });
                if joins_all {
                    drop(set.join_all().await);
                } else {
                    drop(set.try_join_all().await);
                }
            });
        }));
        let payload = joined.unwrap_err();
        assert_eq!(*payload.downcast::<&str>().unwrap(), "as it is meant to");
        assert_eq!(ended.get(), 1);
    }
}

#[test]
fn the_tasks_of_a_set_have_names_and_classes_too() {
    run(async {
        let mut set = JoinSet::new();
        let named = task::Builder::new().priority(Priority::Latency);
        set.spawn(async { "normal".to_string() });
        set.spawn_with(named.name("sensor"), async {
            task::current_name().unwrap().as_str().to_string()
        });
        assert_eq!(set.join_all().await, ["sensor", "normal"]);
    });
}

#[test]
fn each_task_has_its_own_value_across_awaits() {
    run(async {
        let tasks: Vec<_> = (0..10)
            .map(|number| {
                spawn(NUMBER.scope(number, async move {
                    for _ in 0..5 {
                        yield_now().await;
                        assert_eq!(NUMBER.with(|value| *value), number);
                        assert!(OTHER.try_with(|_| ()).is_err());
                    }
                }))
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert!(NUMBER.try_with(|_| ()).is_err(), "nothing is left");
    });
}

#[test]
fn scopes_nest_and_a_spawned_task_has_no_value() {
    run(async {
        let inner = OTHER.scope(3, async {
            yield_now().await;
            NUMBER.with(|number| OTHER.with(|other| number + other))
        });
        let all = NUMBER.scope(1, async {
            let spawned = spawn(async { NUMBER.try_with(|_| ()).is_err() });
            assert!(spawned.await.unwrap());
            assert_eq!(NUMBER.sync_scope(7, || NUMBER.with(|value| *value)), 7);
            let sum = NUMBER.scope(2, inner).await;
            (sum, NUMBER.with(|value| *value))
        });
        assert_eq!(all.await, (5, 1));
    });
}

/// Looks the value up as it is dropped.
struct Looks(Rc<Cell<u32>>);

impl Drop for Looks {
    fn drop(&mut self) {
        self.0.set(NUMBER.with(|value| *value));
    }
}

#[test]
fn a_future_has_its_value_while_it_is_dropped() {
    run(async {
        let seen = Rc::new(Cell::new(0));
        let looks = Looks(Rc::clone(&seen));
        let task = spawn(NUMBER.scope(9, async move {
            let _looks = looks;
            pending::<()>().await;
        }));
        yield_now().await;
        task.abort();
        assert!(task.await.is_err());
        assert_eq!(seen.get(), 9);
    });
}

#[test]
fn a_panic_leaves_no_value_behind() {
    run(async {
        let panics = spawn(NUMBER.scope(1, async { panic!("as it is meant to") }));
        assert!(panics.await.unwrap_err().is_panic());
        assert!(NUMBER.try_with(|_| ()).is_err());
        let user = USER.scope(RefCell::default(), async {
            USER.with(|user| user.borrow_mut().push('a'));
            yield_now().await;
            USER.with(|user| user.take())
        });
        assert_eq!(user.await, "a");
    });
}

#[test]
#[should_panic(expected = "outside of every scope")]
fn a_value_that_is_not_there_is_a_panic() {
    NUMBER.with(|_| ());
}

#[test]
fn a_task_knows_its_name_and_where_it_was_spawned() {
    run(async {
        assert!(task::current_name().is_none());
        let line = line!() + 1;
        let named = task::Builder::new().name("first").spawn(async {
            let nameless = spawn(async { task::current_name().is_none() });
            assert!(nameless.await.unwrap());
            task::current_name().unwrap()
        });
        let other = task::Builder::new().name(format!("number {}", 2));
        let other = other.spawn(async {
            yield_now().await;
            task::current_name().unwrap().as_str().to_owned()
        });
        let name = named.await.unwrap();
        assert_eq!(name.as_str(), "first");
        assert_eq!(name.location().file(), file!());
        assert_eq!(name.location().line(), line);
        assert_eq!(other.await.unwrap(), "number 2");
        let nameless = task::Builder::new().spawn(async { task::current_name() });
        assert!(nameless.await.unwrap().is_none());
        assert!(task::current_name().is_none());
    });
}
