//! One run: its books, what is random in it, and how its programs end.

use std::cell::{Cell, RefCell};
use std::fmt::Display;
use std::future::{Future, poll_fn};
use std::io;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use corering::runtime::stats;
use corering::sim::{Fault, Host, Sim};
use corering::spawn;
use corering::task::JoinHandle;
use corering::time::{Instant, sleep};

use super::books::{Books, Connection};
use super::random::Random;

/// How long what was let go may take to end: a stream that was dropped lingers for 10 s.
const PATIENCE: Duration = Duration::from_secs(75);

/// How a run is. Each has its own, so that what many of one kind would hide shows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    /// One operation in so many is ended early; 0: none.
    pub(crate) ends: u64,
    /// Connections of each client.
    pub(crate) connections: u64,
    /// Bytes of a direction, and of one write and read, at most. Powers of two.
    pub(crate) total: u64,
    pub(crate) piece: u64,
    /// One connection in so many is cut; 0: none.
    pub(crate) cuts: u64,
}

impl Style {
    fn random(random: &mut Random) -> Style {
        let total = random.pick(&[1 << 10, 1 << 13, 1 << 15, 1 << 16]);
        Style {
            ends: random.pick(&[0, 2, 4, 12, 40]),
            connections: 1 + random.below(4),
            total,
            piece: random.pick(&[total / 16, total / 4, total]),
            cuts: random.pick(&[0, 2, 5]),
        }
    }
}

pub(crate) struct Scene {
    pub(crate) sim: Sim,
    pub(crate) books: Books,
    pub(crate) style: Style,
    /// Servers are to end.
    pub(crate) stops: Cell<bool>,
    /// Descriptors may run out, and a disk may be full.
    pub(crate) is_scarce: Cell<bool>,
    pub(crate) is_full: Cell<bool>,
    violation: RefCell<Option<String>>,
    /// Of the test itself, which waits for programs.
    waker: RefCell<Option<Waker>>,
    numbers: Cell<u64>,
}

/// What an error means.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Failure {
    /// The operation was ended, and has done nothing.
    Ended,
    /// The connection is over.
    Gone,
}

impl Scene {
    pub(crate) fn new(sim: Sim) -> (Rc<Scene>, Random) {
        let mut random = Random::new(sim.seed());
        let scene = Scene {
            sim,
            books: Books::default(),
            style: Style::random(&mut random),
            stops: Cell::new(false),
            is_scarce: Cell::new(false),
            is_full: Cell::new(false),
            violation: RefCell::default(),
            waker: RefCell::default(),
            numbers: Cell::new(0),
        };
        (Rc::new(scene), random)
    }

    /// A number that nobody else in the run has.
    pub(crate) fn number(&self) -> u64 {
        self.numbers.set(self.numbers.get() + 1);
        self.numbers.get()
    }

    /// Remembers what must not be. The first one ends the run.
    pub(crate) fn violation(&self, text: impl Display) {
        let mut violation = self.violation.borrow_mut();
        if violation.is_none() {
            *violation = Some(text.to_string());
            drop(violation);
            self.wake();
        }
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Whether nothing has gone wrong so far that a program is told of.
    pub(crate) fn is_quiet(&self) -> bool {
        self.faults() == 0
    }

    fn faults(&self) -> u64 {
        let told = [Fault::Error, Fault::DiskError, Fault::Reset];
        told.map(|fault| self.sim.happened(fault)).iter().sum()
    }

    /// What an error of an operation on a connection means. `asked`: it was to be ended.
    pub(crate) fn failed(
        &self,
        what: &str,
        error: &io::Error,
        asked: bool,
        connection: Option<&Connection>,
    ) -> Failure {
        let is_excused = connection.is_some_and(Connection::is_excused) || !self.is_quiet();
        match (error.raw_os_error(), error.kind()) {
            (Some(libc::ECANCELED), _) | (None, io::ErrorKind::TimedOut) if asked => {
                return Failure::Ended;
            }
            (Some(libc::ECANCELED), _) | (None, _) => self.violation(format!("{what}: {error}")),
            (Some(libc::EMFILE), _) if self.is_scarce.get() => {}
            (Some(libc::ENOSPC), _) if self.is_full.get() => {}
            _ if is_excused => {}
            _ => {
                let id = connection.map_or(0, |connection| connection.id);
                self.violation(format!(
                    "{what}: {error} without a cause (connection {id:x})"
                ));
            }
        }
        Failure::Gone
    }

    /// Runs `program` on a host, on one of its cores or on several.
    ///
    /// It must leave nothing behind when it ends, unless it is killed.
    pub(crate) fn start<F>(
        self: &Rc<Self>,
        host: &Host,
        cores: usize,
        program: impl Fn(Rc<Core>) -> F + 'static,
    ) -> Running
    where
        F: Future<Output = ()> + 'static,
    {
        let running = Running {
            host: host.clone(),
            cores,
            left: Rc::new(Cell::new(cores)),
        };
        let (scene, machine) = (Rc::clone(self), running.clone());
        let program = Rc::new(program);
        host.run_on_cores(cores, move |number| {
            let core = Rc::new(Core {
                scene: Rc::clone(&scene),
                number,
                cores,
                host: machine.host.clone(),
                busy: Cell::new(0),
            });
            let done = Done(Rc::clone(&scene), machine.clone());
            let program = Rc::clone(&program);
            async move {
                let _done = done;
                program(Rc::clone(&core)).await;
                core.is_empty_soon().await;
            }
        });
        running
    }

    /// Waits until programs have ended, also those that were killed.
    pub(crate) async fn ended(&self, programs: &[Running]) {
        poll_fn(|cx| {
            self.waker.replace(Some(cx.waker().clone()));
            let over = programs.iter().all(|program| program.left.get() == 0);
            match over || self.violation.borrow().is_some() {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
        self.check();
    }

    /// Panics if something was not as it must be.
    pub(crate) fn check(&self) {
        if let Some(text) = self.violation.take() {
            panic!("{text}");
        }
    }

    /// Compares the books, when all programs have ended.
    pub(crate) fn conclude(&self) {
        self.check();
        if let Err(text) = self.books.compare(self.faults()) {
            panic!("{text}");
        }
    }
}

/// The programs of a host.
#[derive(Clone)]
pub(crate) struct Running {
    pub(crate) host: Host,
    cores: usize,
    left: Rc<Cell<usize>>,
}

impl Running {
    /// Starts them again, after they were killed.
    pub(crate) fn restart(&self) {
        self.left.set(self.left.get() + self.cores);
        self.host.restart();
    }
}

/// Counts a program as ended, whether it has come to its end or was killed.
struct Done(Rc<Scene>, Running);

impl Drop for Done {
    fn drop(&mut self) {
        let left = &self.1.left;
        left.set(left.get() - 1);
        self.0.wake();
    }
}

/// A core that runs a program.
pub(crate) struct Core {
    pub(crate) scene: Rc<Scene>,
    pub(crate) number: usize,
    cores: usize,
    pub(crate) host: Host,
    /// Tasks that its end waits for.
    busy: Cell<usize>,
}

impl Core {
    /// Spawns a task that the end of the program waits for.
    pub(crate) fn spawn(
        self: &Rc<Self>,
        future: impl Future<Output = ()> + 'static,
    ) -> JoinHandle<()> {
        let busy = Busy::new(self);
        spawn(async move {
            let _busy = busy;
            future.await;
        })
    }

    /// Whether no other core of the host runs the same program.
    pub(crate) fn is_alone(&self) -> bool {
        self.cores == 1
    }

    /// The number of any core that runs the program.
    pub(crate) fn some_core(&self, random: &mut Random) -> usize {
        random.below(self.cores as u64) as usize
    }

    pub(crate) async fn is_free(&self) {
        let mut pause = Duration::from_millis(1);
        while self.busy.get() > 0 {
            sleep(pause).await;
            pause = (2 * pause).min(Duration::from_secs(1));
        }
    }

    /// What was let go ends by itself, and nothing is left of it.
    async fn is_empty_soon(&self) {
        self.is_free().await;
        let start = Instant::now();
        let mut pause = Duration::from_millis(1);
        // One is for the wake-ups of others, or what was cancelled last while there is none.
        let is_busy = || {
            let open = self.is_alone() && self.host.open_descriptors() > 2;
            stats().is_some_and(|stats| stats.in_flight > 1 || open)
        };
        while is_busy() && start.elapsed() < PATIENCE {
            sleep(pause).await;
            pause = (2 * pause).min(Duration::from_secs(1));
        }
        let Some(stats) = stats() else { return };
        let empty = stats.in_flight <= 1
            && stats.orphans == stats.in_flight
            && (stats.tasks, stats.timers) == (1, 0)
            && stats.buffers_free == stats.buffers;
        if !empty {
            self.scene.violation(format!("not empty: {stats:?}"));
        }
        // Its ring and its eventfd. Other cores may not be that far yet.
        let open = self.host.open_descriptors();
        if self.is_alone() && open != 2 {
            let text = format!("{}: {open} descriptors are open", self.host.name());
            self.scene.violation(text);
        }
    }
}

/// A task that the end of a program waits for, also one that panics.
struct Busy(Rc<Core>);

impl Busy {
    fn new(core: &Rc<Core>) -> Busy {
        core.busy.set(core.busy.get() + 1);
        Busy(Rc::clone(core))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.set(self.0.busy.get() - 1);
        if std::thread::panicking() {
            self.0.scene.violation("a task has panicked");
        }
    }
}
