//! Waking and counting from several threads, parking, and a core that goes first.

use std::{
    cell::Cell,
    future::{pending, poll_fn, ready},
    rc::Rc,
    sync::Arc as StdArc,
    task::{Poll, Waker},
};

use super::{Arc, EventFd, Host, Mutex, Signals, check, tell, thread};
use crate::task::{JoinHandle, Priority, waker};

#[derive(Clone, Copy)]
enum How {
    ByRef,
    ByValue,
    Clone,
}
use How::{ByRef, ByValue, Clone as Cloned};

/// Ready when all signals were seen.
fn all(signals: &Signals) -> impl Future<Output = ()> + 'static {
    let signals = signals.clone();
    poll_fn(move |_| {
        if signals.all() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
}

/// A waker in place of the handle.
fn detach<T>(handle: JoinHandle<T>) -> Waker {
    waker::of(&handle)
}

/// One thread for each of `how` raises a signal and wakes the same task; the core parks in between.
fn wakes(how: &'static [How]) {
    tell(|host: Host| {
        let signals = Signals::new(how.len());
        let handle = host.tasks.spawn(all(&signals));
        let threads = host.tasks.enter(|| {
            let threads = how.iter().copied().enumerate().map(|(i, how)| {
                let (waker, signals) = (waker::of(&handle), signals.clone());
                thread::spawn(move || {
                    signals.raise(i);
                    match how {
                        ByRef => waker.wake_by_ref(),
                        ByValue => waker.wake(),
                        Cloned => {
                            let clone = waker.clone();
                            drop(waker);
                            clone.wake();
                        }
                    }
                })
            });
            threads.collect()
        });
        host.run_until(|| handle.is_finished());
        threads
    });
}

/// One thread wakes the same task twice: the second wake may queue it anew.
fn twice() {
    tell(|host| {
        let signals = Signals::new(2);
        let handle = host.tasks.spawn(all(&signals));
        let waker = waker::of(&handle);
        let thread = thread::spawn(move || {
            for i in 0..2 {
                signals.raise(i);
                waker.wake_by_ref();
            }
        });
        host.run_until(|| handle.is_finished());
        vec![thread]
    });
}

/// Two tasks, each woken by a thread of its own: chains in the queue, with the core parked.
fn several() {
    tell(|host| {
        let left = Rc::new(Cell::new(2));
        let threads = (0..2).map(|_| {
            let signals = Signals::new(1);
            let (woken, left) = (all(&signals), Rc::clone(&left));
            let waker = detach(host.tasks.spawn(async move {
                woken.await;
                left.set(left.get() - 1);
            }));
            thread::spawn(move || {
                signals.raise(0);
                waker.wake();
            })
        });
        let threads = threads.collect();
        host.run_until(|| left.get() == 0);
        threads
    });
}

/// As `several`, with tasks that stand behind gates while the core parks or not.
fn classed() {
    tell(|host| {
        let left = Rc::new(Cell::new(2));
        let classes = [Priority::Bulk, Priority::Latency];
        let threads = classes.map(|class| {
            let signals = Signals::new(1);
            let (woken, left) = (all(&signals), Rc::clone(&left));
            let waker = detach(host.tasks.spawn_of(class, async move {
                woken.await;
                left.set(left.get() - 1);
            }));
            thread::spawn(move || {
                signals.raise(0);
                waker.wake();
            })
        });
        host.run_until(|| left.get() == 0);
        threads.into()
    });
}

/// Two threads clone and drop wakers of a task that completes at once.
fn counts() {
    tell(|host| {
        let waker = detach(host.tasks.spawn(ready(())));
        let (a, b) = host.tasks.enter(|| (waker.clone(), waker.clone()));
        let threads = vec![
            thread::spawn(move || {
                let c = a.clone();
                drop(a);
                drop(c);
            }),
            thread::spawn(move || drop(b)),
        ];
        host.turn();
        host.tasks.enter(|| drop(waker));
        host.turn();
        threads
    });
}

/// The owner drops all that it counts while another thread keeps a clone that it counted itself.
fn last_is_foreign(wake: bool) {
    tell(|host| {
        let waker = detach(host.tasks.spawn(ready(())));
        host.turn();
        let back = Arc::new((Mutex::new(None::<Waker>), EventFd::default()));
        let to = Arc::clone(&back);
        let thread = thread::spawn(move || {
            let mine = waker.clone();
            *to.0.lock().unwrap() = Some(waker);
            to.1.write();
            if wake { mine.wake() } else { drop(mine) }
        });
        back.1.wait();
        let returned = back.0.lock().unwrap().take();
        host.tasks.enter(|| drop(returned));
        host.turn();
        vec![thread]
    });
}

/// A completion ends the sleep while a waker is between its push and its kick.
fn completion_ends_the_sleep() {
    tell(|host| {
        let signals = Signals::new(1);
        let handle = host.tasks.spawn(all(&signals));
        let waker = waker::of(&handle);
        let ring = StdArc::clone(&host.eventfd);
        let threads = vec![
            thread::spawn(move || {
                signals.raise(0);
                waker.wake();
            }),
            thread::spawn(move || ring.write()),
        ];
        host.run_until(|| handle.is_finished());
        drop(handle);
        threads
    });
}

/// The core goes while two threads hold wakers of a pending task, or of one that is complete.
fn outlive(complete: bool, wake: bool) {
    tell(|host| {
        let waker = if complete {
            detach(host.tasks.spawn(ready(())))
        } else {
            detach(host.tasks.spawn(pending::<()>()))
        };
        let (a, b) = host.tasks.enter(|| (waker.clone(), waker));
        let threads = vec![
            thread::spawn(move || if wake { a.wake() } else { drop(a) }),
            thread::spawn(move || {
                b.wake_by_ref();
                drop(b);
            }),
        ];
        host.turn();
        threads
    });
}

/// A waker is used and dropped on the owner's thread when the core is gone.
fn outlive_on_owner() {
    tell(|host| {
        let waker = detach(host.tasks.spawn(pending::<()>()));
        let other = host.tasks.enter(|| waker.clone());
        let thread = thread::spawn(move || other.wake());
        host.turn();
        drop(host);
        waker.wake_by_ref();
        drop(waker);
        vec![thread]
    });
}

#[test]
fn one_wake_by_reference_is_not_lost() {
    check("one_wake_by_reference", Some(5), || wakes(&[ByRef]));
}

#[test]
fn one_wake_by_value_is_not_lost() {
    check("one_wake_by_value", None, || wakes(&[ByValue]));
}

#[test]
fn one_wake_of_a_clone_is_not_lost() {
    check("one_wake_of_a_clone", None, || wakes(&[Cloned]));
}

#[test]
fn two_wakes_by_reference_are_not_lost() {
    check("two_wakes_by_reference", Some(2), || wakes(&[ByRef, ByRef]));
}

#[test]
fn two_wakes_by_value_are_not_lost() {
    check("two_wakes_by_value", Some(3), || wakes(&[ByValue, ByValue]));
}

#[test]
fn wakes_by_value_and_of_a_clone_are_not_lost() {
    check("two_wakes_mixed", Some(2), || wakes(&[ByValue, Cloned]));
}

#[test]
fn three_wakes_are_not_lost() {
    check("three_wakes", Some(1), || wakes(&[ByRef, ByValue, Cloned]));
}

#[test]
fn a_second_wake_queues_the_task_anew() {
    check("twice", Some(3), twice);
}

#[test]
fn two_tasks_are_woken_side_by_side() {
    check("several", Some(3), several);
}

#[test]
fn a_task_behind_a_gate_is_woken_as_any_other() {
    check("classed", Some(3), classed);
}

#[test]
fn clones_and_drops_free_the_task_once() {
    check("counts", Some(3), counts);
}

#[test]
fn the_last_reference_may_be_dropped_elsewhere() {
    check("last_is_foreign_drop", None, || last_is_foreign(false));
}

#[test]
fn the_last_reference_may_be_a_wake_elsewhere() {
    check("last_is_foreign_wake", None, || last_is_foreign(true));
}

#[test]
fn a_kick_may_come_after_a_completion_ended_the_sleep() {
    check(
        "completion_ends_the_sleep",
        Some(3),
        completion_ends_the_sleep,
    );
}

#[test]
fn wakes_may_outlive_the_core_of_a_pending_task() {
    check("outlive_pending_wake", Some(3), || outlive(false, true));
}

#[test]
fn drops_may_outlive_the_core_of_a_pending_task() {
    check("outlive_pending_drop", Some(3), || outlive(false, false));
}

#[test]
fn wakes_may_outlive_the_core_of_a_complete_task() {
    check("outlive_complete_wake", Some(3), || outlive(true, true));
}

#[test]
fn drops_may_outlive_the_core_of_a_complete_task() {
    check("outlive_complete_drop", Some(3), || outlive(true, false));
}

#[test]
fn a_waker_may_be_used_on_its_thread_when_the_core_is_gone() {
    check("outlive_on_owner", None, outlive_on_owner);
}
