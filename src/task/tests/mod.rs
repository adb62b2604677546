//! Stories of an owner and other threads. With `--cfg loom` each is walked through every
//! interleaving up to its bound, without it run on real threads:
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test --release -p corering --lib task::
//! ```

mod outcomes;
#[cfg(not(loom))]
mod owner;
mod sleep;
mod stories;

use std::sync::{
    Arc as StdArc,
    atomic::{AtomicUsize as StdUsize, Ordering::Relaxed},
};

#[cfg(loom)]
use ::loom::{
    sync::{Condvar, Mutex},
    thread,
};
#[cfg(not(loom))]
use std::{
    sync::{Condvar, Mutex},
    thread,
};

pub(crate) use self::sleep::Sleep;
use super::{
    Kick, Tasks,
    loom::{Arc, AtomicUsize},
};

/// Walks through `story` under loom, preempting a thread at most `bound` times in an execution
/// (`LOOM_MAX_PREEMPTIONS` overrides it), or repeats it on real threads.
#[cfg(loom)]
pub(crate) fn check(name: &str, bound: Option<usize>, story: impl Fn() + Send + Sync + 'static) {
    let executions = StdArc::new(StdUsize::new(0));
    let mut model = ::loom::model::Builder::new();
    model.preemption_bound = model.preemption_bound.or(bound);
    model.max_branches = 10_000;
    let bound = model.preemption_bound;
    model.check({
        let executions = StdArc::clone(&executions);
        move || {
            executions.fetch_add(1, Relaxed);
            story();
            super::loom::clear_graves();
        }
    });
    eprintln!(
        "{name}: {} executions, preemption bound {bound:?}",
        executions.load(Relaxed)
    );
}

#[cfg(not(loom))]
pub(crate) fn check(_name: &str, _bound: Option<usize>, story: impl Fn() + Send + Sync + 'static) {
    for _ in 0..500 {
        story();
    }
}

/// What the kernel does for a core that sleeps: an eventfd that the ring waits on.
#[derive(Default)]
pub(super) struct EventFd {
    ready: Mutex<bool>,
    changed: Condvar,
    // Figures that are no part of the story, hence invisible to loom.
    kicks: StdUsize,
    parks: StdUsize,
    closed: StdUsize,
}

impl EventFd {
    /// What a kick writes, and what any other completion does to a core that sleeps.
    pub(super) fn write(&self) {
        *self.ready.lock().unwrap() = true;
        self.changed.notify_one();
    }

    /// Sleeps until something was written since the last sleep.
    pub(super) fn wait(&self) {
        let mut ready = self.ready.lock().unwrap();
        while !*ready {
            ready = self.changed.wait(ready).unwrap();
        }
        *ready = false;
    }
}

/// Writes to the eventfd and closes it when it is dropped.
struct Kicker(StdArc<EventFd>);

impl Kick for Kicker {
    fn kick(&self) {
        self.0.kicks.fetch_add(1, Relaxed);
        assert_eq!(
            self.0.closed.load(Relaxed),
            0,
            "kicked through a closed descriptor"
        );
        self.0.write();
    }
}

impl Drop for Kicker {
    fn drop(&mut self) {
        self.0.closed.fetch_add(1, Relaxed);
    }
}

/// One core that sleeps when it has nothing to do.
struct Host {
    tasks: Tasks,
    eventfd: StdArc<EventFd>,
}

impl Host {
    fn turn(&self) {
        self.tasks.enter(|| self.tasks.run_batch(|| {}));
    }

    fn park(&self) {
        if self.tasks.is_idle() && self.tasks.try_park() {
            self.eventfd.parks.fetch_add(1, Relaxed);
            self.eventfd.wait();
        }
    }

    fn run_until(&self, done: impl Fn() -> bool) {
        loop {
            self.turn();
            if done() {
                return;
            }
            self.park();
        }
    }

    fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.tasks
            .block_on(std::pin::pin!(future), || {}, || false, || self.park())
    }
}

/// Tells a story, and checks what must hold at the end of each: the eventfd is closed, so every
/// task was freed, since each keeps the core; and no kick was sent for nothing.
fn tell(story: impl FnOnce(Host) -> Vec<thread::JoinHandle<()>>) {
    let eventfd = StdArc::new(EventFd::default());
    let tasks = Tasks::new(Box::new(Kicker(StdArc::clone(&eventfd))));
    for thread in story(Host {
        tasks,
        eventfd: StdArc::clone(&eventfd),
    }) {
        thread.join().unwrap();
    }
    assert_eq!(eventfd.closed.load(Relaxed), 1, "tasks leaked");
    assert!(
        eventfd.kicks.load(Relaxed) <= eventfd.parks.load(Relaxed),
        "more kicks than parks"
    );
}

/// Flags that threads raise before they wake. Relaxed: the wake alone must make them visible.
#[derive(Clone)]
struct Signals(Arc<Vec<AtomicUsize>>);

impl Signals {
    fn new(n: usize) -> Self {
        Self(Arc::new((0..n).map(|_| AtomicUsize::new(0)).collect()))
    }

    fn raise(&self, i: usize) {
        self.0[i].store(1, Relaxed);
    }

    fn all(&self) -> bool {
        self.0.iter().all(|signal| signal.load(Relaxed) == 1)
    }
}
