//! The loop: run ready tasks, submit and reap, sleep.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::builder::Counted;
use super::leftover::Leftover;
use super::spin::{Found, Spin, Spinner};
use super::stall::{self, OnStall, Watched};
use super::stats::{Messages, Stats};
use crate::driver::{Driver, MESSAGE, budget, provide_buffers};
use crate::op;
use crate::ring::{self, Clock, Door, Fd, Kick, Kicker, Ring, Unavailable, Wait};
use crate::task::blocking::{self, Limits};
use crate::task::{self, Tasks};
use crate::time::Timers;

/// The smallest ring that is worth having.
const ENTRIES_MIN: u32 = 32;
/// Locked memory of a runtime that has ended comes back within this time.
const PATIENCE: Duration = Duration::from_millis(500);

pub(super) struct Settings {
    pub(super) spin: Spin,
    pub(super) spin_limit: Duration,
    pub(super) teardown_limit: Duration,
    pub(super) stall_limit: Duration,
    pub(super) on_stall: Option<OnStall>,
    pub(super) blocking: Limits,
    /// `None`: what costs less.
    pub(super) kick: Option<Kick>,
}

/// One core.
pub(super) struct Core {
    /// Dropped first: whoever looks at the core keeps a part of it.
    watched: Option<Watched>,
    tasks: Tasks,
    driver: Rc<Driver>,
    timers: Rc<Timers>,
    pool: RefCell<Option<blocking::Pool>>,
    eventfd: Arc<Fd>,
    kicker: Arc<Kicker>,
    /// Whether the kernel waits for a kick.
    armed: Rc<Cell<bool>>,
    spinner: Spinner,
    teardown_limit: Duration,
    turns: Cell<u64>,
    spun_ns: Cell<u64>,
    parked_ns: Cell<u64>,
    /// Whatever stands above the runtime.
    attached: RefCell<Option<Rc<dyn Any>>>,
    messages: Rc<Messages>,
    _counted: Counted,
}

/// Ends the core's sleep from another thread.
struct Kicks(Arc<Kicker>);

impl task::Kick for Kicks {
    fn kick(&self) {
        self.0.kick();
    }
}

impl Core {
    pub(super) fn new(
        door: &Door,
        config: &ring::Config,
        settings: Settings,
        counted: Counted,
    ) -> io::Result<Rc<Core>> {
        let (driver, clock, kick) = build_driver(door, config, settings.kick)?;
        let eventfd = Arc::new(driver.with_ring(Ring::eventfd)?);
        let messenger = match kick {
            Kick::Eventfd => None,
            Kick::MsgRing => driver.with_ring(|ring| Ok(ring.duplicate()))?,
        };
        let kicker = Arc::new(Kicker::new(Arc::clone(&eventfd), messenger, MESSAGE));
        let timers = Timers::new(clock);
        let is_simulated = driver.with_ring(|ring| Ok(ring.is_simulated()))?;
        let pool = blocking::Pool::new(Limits {
            inline: is_simulated,
            ..settings.blocking
        });
        let tasks = Tasks::new(Box::new(Kicks(Arc::clone(&kicker))));
        // Virtual time stands still while a task runs, so nobody can be held up there.
        let is_watched = !is_simulated && !settings.stall_limit.is_zero();
        let watched = is_watched
            .then(|| stall::watch(tasks.watch(), settings.stall_limit, settings.on_stall));
        Ok(Rc::new(Core {
            watched,
            tasks,
            driver,
            timers,
            pool: RefCell::new(Some(pool)),
            eventfd,
            kicker,
            armed: Rc::new(Cell::new(false)),
            spinner: Spinner::new(settings.spin, settings.spin_limit),
            teardown_limit: settings.teardown_limit,
            turns: Cell::new(0),
            spun_ns: Cell::new(0),
            parked_ns: Cell::new(0),
            attached: RefCell::new(None),
            messages: Rc::default(),
            _counted: counted,
        }))
    }

    #[track_caller]
    pub(super) fn block_on<F: Future>(&self, future: Pin<&mut F>) -> F::Output {
        assert!(
            !Tasks::current_exists(),
            "block_on was called inside a corering runtime: .await the future there, spawn it as a \
             task, or call block_on from another thread",
        );
        let _driver = self.driver.enter_current();
        let _timers = self.timers.enter();
        let _pool = self.pool.borrow().as_ref().map(blocking::Pool::enter);
        stall::look_again();
        let again = || self.is_at_rest();
        self.tasks
            .block_on(future, budget::refill, again, || self.turn())
    }

    /// One turn and one batch of tasks, for whoever turns the core by hand, and more of them as
    /// long as `again` says so.
    #[cfg(feature = "sim")]
    pub(super) fn step_while(&self, mut again: impl FnMut() -> bool) {
        let _driver = self.driver.enter_current();
        let _timers = self.timers.enter();
        let _pool = self.pool.borrow().as_ref().map(blocking::Pool::enter);
        self.tasks.enter(|| {
            loop {
                self.turn();
                self.tasks.run_batch(budget::refill);
                if !again() {
                    break;
                }
            }
        });
    }

    #[cfg(feature = "sim")]
    pub(super) fn enter_tasks<T>(&self, f: impl FnOnce() -> T) -> T {
        self.tasks.enter(f)
    }

    #[cfg(feature = "sim")]
    pub(super) fn is_idle(&self) -> bool {
        self.tasks.is_idle() && !self.tasks.has_foreign()
    }

    #[cfg(feature = "sim")]
    pub(super) fn driver(&self) -> &Driver {
        &self.driver
    }

    /// Whether there is nothing to do between two batches of tasks that wait for each other only.
    /// If so, that was a turn.
    #[inline]
    fn is_at_rest(&self) -> bool {
        if !self.timers.is_empty() || !self.driver.is_at_rest() {
            return false;
        }
        self.turns.set(self.turns.get() + 1);
        true
    }

    /// Everything between two batches of tasks.
    ///
    /// Not inlined: together with the batch it needs more registers than there are.
    #[inline(never)]
    fn turn(&self) {
        let turns = self.turns.get() + 1;
        self.turns.set(turns);
        if !self.timers.is_empty() {
            self.fire_timers();
        }
        self.driver.tend_buffers(self.tasks.is_idle());
        if self.driver.next_linger_ns().is_some() {
            self.driver.expire(self.driver.now_ns());
        }
        if !self.tasks.is_idle() {
            if self.driver.needs_enter() {
                self.enter(Wait::No);
            }
        } else {
            if !self.spin() {
                self.park();
            }
            stall::look_again();
        }
        let completions = self.driver.reap(task::wake_own);
        self.spinner.turned(turns, completions);
    }

    fn fire_timers(&self) {
        let now = self.driver.now_ns();
        self.timers.fire(now, |waker| waker.wake());
    }

    /// Looks for work in user space for a while, if that pays. True if there is some.
    fn spin(&self) -> bool {
        let limit = self.spinner.limit_ns(self.driver.sqes());
        if limit == 0 {
            return false;
        }
        if self.driver.has_staged() {
            self.enter(Wait::No);
            if self.driver.has_staged() {
                // The next slice; before it, whoever has become ready.
                return true;
            }
        }
        let found = self.finds_work() || self.spin_for(limit);
        if self.driver.needs_enter() {
            self.enter(Wait::No);
        }
        found
    }

    fn spin_for(&self, limit_ns: u64) -> bool {
        let start = self.driver.now_ns();
        let mut end = start + limit_ns;
        if let Some(deadline) = self.next_deadline_ns() {
            end = end.min(deadline);
        }
        let mut found = false;
        let mut now = start;
        while !found && now < end {
            // The clock costs as much as some looks at the queues.
            for _ in 0..8 {
                found = self.finds_work();
                if found {
                    break;
                }
                std::hint::spin_loop();
            }
            now = self.driver.now_ns();
        }
        self.spun_ns.set(self.spun_ns.get() + (now - start));
        let what = if !found {
            Found::Nothing
        } else if self.tasks.has_foreign() {
            Found::Wake
        } else {
            Found::Completion
        };
        self.spinner.spun(what, now - start);
        found
    }

    #[inline]
    fn finds_work(&self) -> bool {
        self.driver.has_completions() || self.tasks.has_foreign()
    }

    /// Submits what is staged and sleeps until something completes, a timer is due, or another
    /// thread wakes a task.
    fn park(&self) {
        self.arm_kick();
        let start = self.driver.now_ns();
        let wait = match self.next_deadline_ns() {
            Some(deadline) => match deadline.saturating_sub(start) {
                0 => Wait::No,
                ns => Wait::For(Duration::from_nanos(ns)),
            },
            None => Wait::Forever,
        };
        // Announced last: whoever wakes a task from here on ends the sleep.
        let wait = if self.tasks.try_park() {
            wait
        } else {
            Wait::No
        };
        self.enter(wait);
        let now = self.driver.now_ns();
        self.parked_ns.set(self.parked_ns.get() + (now - start));
    }

    pub(super) fn next_deadline_ns(&self) -> Option<u64> {
        let timer = match self.timers.is_empty() {
            true => None,
            false => self.timers.next_deadline_ns(),
        };
        let linger = self.driver.next_linger_ns();
        match (timer, linger) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Has the kernel wait for a kick, if it does not yet. Where kicks are messages that is so from
    /// the first sleep on, for those that it does not take.
    fn arm_kick(&self) {
        if !self.armed.replace(true) {
            let eventfd = Arc::clone(&self.eventfd);
            let armed = Rc::clone(&self.armed);
            let count = 0;
            self.driver.submit_detached(op::Kick {
                eventfd,
                armed,
                count,
            });
        }
    }

    fn enter(&self, wait: Wait) {
        if let Err(e) = self.driver.enter(wait) {
            // Only a ring that is broken says so: no op can ever complete again.
            panic!("io_uring_enter failed: {e}");
        }
    }

    pub(super) fn attach(&self, what: Rc<dyn Any>) {
        let before = self.attached.replace(Some(what));
        drop(before);
    }

    pub(super) fn messages(&self) -> Rc<Messages> {
        Rc::clone(&self.messages)
    }

    pub(super) fn attached(&self) -> Option<Rc<dyn Any>> {
        self.attached.borrow().clone()
    }

    pub(super) fn stats(&self) -> Stats {
        let counts = self.driver.counts();
        let (buffers_free, buffers) = self.driver.count_buffers();
        let (wakes_sent, kicks) = self.tasks.wakes();
        Stats {
            turns: self.turns.get(),
            enters: counts.enters,
            sqes: counts.sqes,
            cqes: counts.cqes,
            polls: self.tasks.polls(),
            stalls: self.watched.as_ref().map_or(0, Watched::stalls),
            cancels: counts.cancels,
            enobufs: counts.enobufs,
            overflows: counts.overflows.into(),
            tasks: self.tasks.len(),
            in_flight: counts.in_flight,
            orphans: counts.orphans,
            timers: self.timers.len(),
            buffers_free,
            buffers,
            kick: self.kicker.way(),
            messages_sent: self.messages.sent.get(),
            messages_received: self.messages.received.get(),
            wakes_sent,
            wakes_saved: wakes_sent - kicks,
            spun: Duration::from_nanos(self.spun_ns.get()),
            parked: Duration::from_nanos(self.parked_ns.get()),
        }
    }

    /// Drops all tasks, ends all ops, and gives the ring back. Says what did not end in time.
    pub(super) fn shut_down(&self, limit: Duration) -> Leftover {
        let _driver = self.driver.enter_current();
        let _timers = self.timers.enter();
        // First, so that what the tasks' destructors submit is refused and not forgotten.
        self.driver.close();
        self.tasks.teardown();
        // Nobody has to be woken any more, and wakers that are still there must not keep the ring.
        self.kicker.let_go();
        let pool = self.pool.take();
        let blocking_calls = pool.as_ref().map_or(0, blocking::Pool::running);
        drop(pool);
        Leftover {
            operations: self.driver.shut_down(limit),
            blocking_calls,
        }
    }

    pub(super) fn teardown_limit(&self) -> Duration {
        self.teardown_limit
    }

    /// The same, when nobody asks what was left.
    pub(super) fn drop_down(&self) {
        let limit = self.teardown_limit;
        let left = self.shut_down(limit).operations;
        if left > 0 {
            eprintln!(
                "corering: {left} operations did not end within {limit:?} of the runtime's end (a \
                 hung file system?); their memory is leaked, since the kernel may still use it"
            );
        }
    }
}

/// A driver on a ring with buffers. These take locked memory too: where the ring has left too
/// little, some may come back from runtimes that have just ended. If not, a smaller ring has to do.
fn build_driver(
    door: &Door,
    config: &ring::Config,
    kick: Option<Kick>,
) -> io::Result<(Rc<Driver>, Clock, Kick)> {
    let mut config = config.clone();
    let start = Instant::now();
    loop {
        let mut ring = Ring::open(door, &config)?;
        let error = match provide_buffers(&mut ring) {
            Ok(buffers) => {
                let clock = ring.clock();
                let kick = kick.unwrap_or_else(|| ring::kick::cheaper(&mut ring, MESSAGE));
                return Ok((Driver::new(ring, buffers), clock, kick));
            }
            Err(error) => error,
        };
        drop(ring);
        if error.raw_os_error() != Some(libc::ENOMEM) {
            return Err(error);
        } else if start.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(10));
        } else if config.entries > ENTRIES_MIN {
            config.entries = (config.entries / 2).max(ENTRIES_MIN);
            config.cq_entries = (config.cq_entries / 2).max(ENTRIES_MIN);
        } else {
            return Err(Unavailable::new("io_uring_register", &error, &config).into());
        }
    }
}
