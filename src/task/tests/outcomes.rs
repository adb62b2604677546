//! Abort, panic, join and teardown, while other threads hold wakers of the task.

use std::{
    cell::Cell,
    future::poll_fn,
    panic::resume_unwind,
    pin::pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use super::{Host, Signals, check, tell, thread};
use crate::task::{spawn, waker};

/// Counts how often it was dropped, and wakes, clones and spawns meanwhile.
struct Busy {
    drops: Rc<Cell<usize>>,
    waker: Option<Waker>,
}

impl Busy {
    fn poll(&mut self, context: &Context<'_>, signals: &Signals) -> Poll<()> {
        self.waker = Some(context.waker().clone());
        if signals.all() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.drops.set(self.drops.get() + 1);
        if let Some(waker) = self.waker.take() {
            waker.wake_by_ref();
            drop(waker.clone());
            waker.wake();
        }
    }
}

fn busy(signals: &Signals, drops: &Rc<Cell<usize>>) -> impl Future<Output = ()> + 'static {
    let signals = signals.clone();
    let mut busy = Busy {
        drops: Rc::clone(drops),
        waker: None,
    };
    poll_fn(move |context| busy.poll(context, &signals))
}

/// The owner aborts a task while a thread makes it ready and wakes it.
fn abort(entered: bool) {
    tell(|host: Host| {
        let (signals, drops) = (Signals::new(1), Rc::default());
        let handle = host.tasks.spawn(busy(&signals, &drops));
        let waker = waker::of(&handle);
        let thread = thread::spawn(move || {
            signals.raise(0);
            waker.wake();
        });
        host.turn();
        if entered {
            host.tasks.enter(|| handle.abort());
        } else {
            handle.abort();
        }
        host.run_until(|| handle.is_finished());
        assert_eq!(drops.get(), 1);
        assert!(
            host.block_on(handle)
                .map_or_else(|error| error.is_cancelled(), |()| true)
        );
        vec![thread]
    });
}

/// A task that was aborted, or is complete, is left to threads that still wake and drop it.
fn abort_and_leave() {
    tell(|host| {
        let (signals, drops) = (Signals::new(1), Rc::default());
        let handle = host.tasks.spawn(busy(&signals, &drops));
        host.turn();
        let (a, b) = host
            .tasks
            .enter(|| (waker::of(&handle), waker::of(&handle)));
        let threads = vec![
            thread::spawn(move || a.wake()),
            thread::spawn(move || drop(b.clone())),
        ];
        host.tasks.enter(|| handle.abort());
        host.turn();
        assert_eq!(drops.get(), 1);
        assert!(host.block_on(handle).unwrap_err().is_cancelled());
        threads
    });
}

/// A task panics while two threads hold wakers of it, of which one woke it.
fn panics() {
    tell(|host| {
        let signals = Signals::new(1);
        let raised = signals.clone();
        let handle = host.tasks.spawn(poll_fn(move |_| {
            if raised.all() {
                // Not `panic!`: its hook would print in every execution.
                resume_unwind(Box::new("as told"));
            }
            Poll::<()>::Pending
        }));
        let (a, b) = host
            .tasks
            .enter(|| (waker::of(&handle), waker::of(&handle)));
        let threads = vec![
            thread::spawn(move || {
                signals.raise(0);
                a.wake_by_ref();
                a.wake();
            }),
            thread::spawn(move || drop(b.clone())),
        ];
        host.run_until(|| handle.is_finished());
        let payload = host.block_on(handle).unwrap_err().into_panic();
        assert_eq!(payload.downcast_ref(), Some(&"as told"));
        threads
    });
}

/// The main future waits for a task that a thread wakes.
fn join() {
    tell(|host| {
        let signals = Signals::new(1);
        let raised = signals.clone();
        let handle = host.tasks.spawn(poll_fn(move |_| {
            if raised.all() {
                Poll::Ready(7)
            } else {
                Poll::Pending
            }
        }));
        let waker = waker::of(&handle);
        let thread = thread::spawn(move || {
            signals.raise(0);
            waker.wake();
        });
        assert_eq!(host.block_on(handle).unwrap(), 7);
        vec![thread]
    });
}

/// Wakers of a main future, which lived on the stack, are used when it is gone.
fn main_is_outlived() {
    tell(|host| {
        let signals = Signals::new(1);
        let mut threads = vec![];
        {
            let mut main = pin!(poll_fn(|context| {
                if threads.is_empty() {
                    let (waker, signals) = (context.waker().clone(), signals.clone());
                    threads.push(thread::spawn(move || {
                        signals.raise(0);
                        waker.wake_by_ref();
                        waker.wake();
                    }));
                }
                if signals.all() {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            }));
            host.block_on(main.as_mut());
        }
        host.block_on(async {});
        threads
    });
}

/// The core goes while two threads wake a task whose destructor wakes, clones and drops too.
fn teardown() {
    tell(|host| {
        let (signals, drops) = (Signals::new(2), Rc::default());
        let handle = host.tasks.spawn(busy(&signals, &drops));
        host.turn();
        let (a, b) = host
            .tasks
            .enter(|| (waker::of(&handle), waker::of(&handle)));
        let threads = vec![
            thread::spawn(move || a.wake()),
            thread::spawn(move || b.wake()),
        ];
        drop(host);
        assert_eq!(drops.get(), 1);
        assert!(handle.is_finished());
        threads
    });
}

/// The core goes with an abort on its way to it, next to a wake.
fn teardown_after_abort() {
    tell(|host| {
        let (signals, drops) = (Signals::new(2), Rc::default());
        let handle = host.tasks.spawn(busy(&signals, &drops));
        host.turn();
        let waker = waker::of(&handle);
        let thread = thread::spawn(move || waker.wake());
        handle.abort();
        drop(handle);
        drop(host);
        assert_eq!(drops.get(), 1);
        vec![thread]
    });
}

/// Tasks that other threads woke are spawned, joined and torn down next to each other.
fn mixed() {
    tell(|host| {
        let signals = Signals::new(1);
        let raised = signals.clone();
        let woken = host.tasks.spawn(poll_fn(move |_| {
            if raised.all() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        }));
        let waker = waker::of(&woken);
        let thread = thread::spawn(move || {
            signals.raise(0);
            waker.wake();
        });
        host.block_on(async move {
            let joins = spawn(woken);
            let aborted = spawn(std::future::pending::<()>());
            aborted.abort();
            assert!(joins.await.unwrap().is_ok());
            assert!(aborted.await.unwrap_err().is_cancelled());
        });
        vec![thread]
    });
}

#[test]
fn an_abort_and_a_wake_end_the_task_once() {
    check("abort_entered", None, || abort(true));
}

#[test]
fn an_abort_from_outside_goes_the_way_of_a_wake() {
    check("abort_outside", None, || abort(false));
}

#[test]
fn wakers_may_outlive_an_aborted_task() {
    check("abort_and_leave", Some(3), abort_and_leave);
}

#[test]
fn wakers_may_outlive_a_task_that_panicked() {
    check("panics", Some(2), panics);
}

#[test]
fn a_task_woken_elsewhere_is_joined() {
    check("join", None, join);
}

#[test]
fn wakers_may_outlive_a_main_future() {
    check("main_is_outlived", Some(5), main_is_outlived);
}

#[test]
fn wakes_from_all_sides_may_meet_teardown() {
    check("teardown", Some(4), teardown);
}

#[test]
fn an_abort_may_meet_teardown() {
    check("teardown_after_abort", None, teardown_after_abort);
}

#[test]
fn joins_and_aborts_go_on_beside_a_wake() {
    check("mixed", None, mixed);
}
