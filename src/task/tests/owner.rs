//! What one thread sees of its tasks: order, outcomes, the main future, teardown.

mod classes;
mod joining;
mod main_future;
mod pulse;
mod running;
mod teardown;

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Wake, Waker},
};

use crate::task::{Kick, Tasks};

/// Counts the kicks, and tells when the core was freed.
#[derive(Clone, Default)]
struct Kicks(Arc<AtomicUsize>);

impl Kicks {
    fn count(&self) -> usize {
        self.0.load(Relaxed)
    }

    /// Whether nobody uses the core any more.
    fn core_is_freed(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }
}

impl Kick for Kicks {
    fn kick(&self) {
        self.0.fetch_add(1, Relaxed);
    }
}

fn tasks() -> (Tasks, Kicks) {
    let kicks = Kicks::default();
    (Tasks::new(Box::new(kicks.clone())), kicks)
}

/// Runs batches until nothing is ready, at most 100.
fn settle(tasks: &Tasks) {
    for _ in 0..100 {
        tasks.enter(|| tasks.run_batch(|| {}));
        if tasks.is_idle() && !tasks.has_foreign() {
            return;
        }
    }
    panic!("tasks do not come to rest");
}

fn block_on<F: Future>(tasks: &Tasks, future: F) -> F::Output {
    let mut turns = 0;
    tasks.block_on(
        std::pin::pin!(future),
        || {},
        || false,
        || {
            turns += 1;
            assert!(turns < 1_000, "the main future does not end");
        },
    )
}

/// What happened, in order.
#[derive(Clone, Default)]
struct Log(Rc<RefCell<Vec<&'static str>>>);

impl Log {
    fn say(&self, what: &'static str) {
        self.0.borrow_mut().push(what);
    }

    #[track_caller]
    fn expect(&self, what: &[&str]) {
        assert_eq!(*self.0.borrow(), what);
    }

    /// A value that speaks up when it is dropped.
    fn on_drop(&self, what: &'static str) -> OnDrop<impl FnMut() + use<>> {
        let log = self.clone();
        OnDrop(move || log.say(what))
    }
}

/// Runs its function when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// A waker of nobody's that counts.
#[derive(Default)]
struct Counter(AtomicUsize);

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

fn counter() -> (Arc<Counter>, Waker) {
    let counter = Arc::new(Counter::default());
    (Arc::clone(&counter), counter.into())
}

/// A waker of nobody's that panics when it is woken.
struct Bomb;

impl Wake for Bomb {
    fn wake(self: Arc<Self>) {
        panic!("a waker panics");
    }
}

/// Something to panic with that panics when it is dropped, too.
struct BadPayload;

impl Drop for BadPayload {
    fn drop(&mut self) {
        panic!("a payload panics");
    }
}

/// Takes the waker of the task that polls it, and is pending.
fn waker_into(place: &Rc<Cell<Option<Waker>>>) -> impl Future<Output = ()> + 'static {
    let place = Rc::clone(place);
    std::future::poll_fn(move |context| {
        place.set(Some(context.waker().clone()));
        std::task::Poll::Pending
    })
}
