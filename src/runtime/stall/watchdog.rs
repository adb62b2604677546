//! The thread that looks at all cores of the process.
//!
//! It is started when the first runtime wants to be watched, and stays. It looks every half of the
//! shortest limit. When all cores have been in no poll for a while it *dozes*, and whichever core
//! has something to do again calls it: a load and a branch for each core that was idle, and a
//! system call for the first of them.
//!
//! The announcement of a doze and a core that begins to run may cross without a fence. So it is
//! announced one look ahead: by the next, what the cores have written since is visible, or they
//! have read the announcement. A core that slipped through nevertheless is noticed when the doze is
//! over.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::line::Lines;
use super::suspicion::{Doing, Seen, Suspicion, Verdict};
use super::{OnStall, Stall};
use crate::ring::Thread;
use crate::task::{Sample, Watch};

/// Looks at which all cores were idle, before a doze is announced.
const QUIET: u32 = 8;
/// The longest doze.
const DOZE: Duration = Duration::from_secs(10);
/// The shortest time between two looks.
const TICK_MIN: Duration = Duration::from_millis(1);
/// The longest, which is not longer than a stall should go unnoticed after it was short.
const TICK_MAX: Duration = Duration::from_secs(1);
/// A look that is late by this much, and by as much as a tick, was kept from the processor.
const LATE: Duration = Duration::from_millis(4);

static DOZES: AtomicBool = AtomicBool::new(false);
static CORES: Mutex<Vec<Core>> = Mutex::new(Vec::new());
static THREAD: OnceLock<Option<thread::Thread>> = OnceLock::new();

/// One core that is looked at.
struct Core {
    watch: Watch,
    thread: Thread,
    limit: Duration,
    on_stall: Option<OnStall>,
    stalls: Arc<AtomicU64>,
    /// The last look.
    number: u64,
    sample: Option<Sample>,
    suspicion: Suspicion,
    /// What was told of the stall that goes on.
    begun: Option<Stall>,
    lines: Lines,
}

/// Has its core looked at until it is dropped.
#[derive(Debug)]
pub(in crate::runtime) struct Watched(Arc<AtomicU64>);

impl Watched {
    /// Stalls so far.
    pub(in crate::runtime) fn stalls(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let mut cores = CORES.lock().unwrap_or_else(PoisonError::into_inner);
        cores.retain(|core| !Arc::ptr_eq(&core.stalls, &self.0));
    }
}

/// Has the calling thread's core looked at. Without a thread to do it, nobody is told of stalls.
pub(in crate::runtime) fn watch(
    watch: Watch,
    limit: Duration,
    on_stall: Option<OnStall>,
) -> Watched {
    let stalls = Arc::new(AtomicU64::new(0));
    let core = Core {
        number: watch.pulse().number(),
        watch,
        thread: Thread::current(),
        limit,
        on_stall,
        stalls: Arc::clone(&stalls),
        sample: None,
        suspicion: Suspicion::new(limit),
        begun: None,
        lines: Lines::default(),
    };
    let mut cores = CORES.lock().unwrap_or_else(PoisonError::into_inner);
    cores.push(core);
    drop(cores);
    THREAD.get_or_init(|| {
        let thread = thread::Builder::new().name("corering-watch".into());
        let started = thread.spawn(run);
        started.ok().map(|handle| handle.thread().clone())
    });
    look_again();
    Watched(stalls)
}

/// Calls the watchdog if it dozes: a core has something to do.
#[inline]
pub(in crate::runtime) fn look_again() {
    if DOZES.load(Ordering::Relaxed) {
        wake();
    }
}

#[cold]
fn wake() {
    if DOZES.swap(false, Ordering::Relaxed)
        && let Some(Some(thread)) = THREAD.get()
    {
        thread.unpark();
    }
}

fn run() {
    crate::ring::block_signals();
    let start = Instant::now();
    let mut quiet = 0;
    let mut is_late = false;
    loop {
        let round = look_at_all(start.elapsed(), is_late);
        round.reports.into_iter().for_each(Report::deliver);
        quiet = if round.is_busy { 0 } else { quiet + 1 };
        let begun = Instant::now();
        let announced = quiet >= QUIET;
        DOZES.store(announced, Ordering::Relaxed);
        let dozes = quiet > QUIET;
        thread::park_timeout(if dozes { DOZE } else { round.tick });
        if announced && !DOZES.load(Ordering::Relaxed) {
            quiet = 0;
        }
        is_late = !dozes && begun.elapsed() > 2 * round.tick + LATE;
    }
}

struct Round {
    is_busy: bool,
    /// When to look again.
    tick: Duration,
    reports: Vec<Report>,
}

fn look_at_all(now: Duration, is_late: bool) -> Round {
    let mut round = Round {
        is_busy: false,
        tick: TICK_MAX,
        reports: Vec::new(),
    };
    // Held for the time of the looks: a core that ends waits for it, and is not looked at any more.
    let mut cores = CORES.lock().unwrap_or_else(PoisonError::into_inner);
    for core in cores.iter_mut() {
        round.tick = round.tick.min(core.limit / 2).max(TICK_MIN);
        round.is_busy |= core.look(now, is_late, &mut round.reports);
    }
    round
}

impl Core {
    /// Looks; whether the core has done something since the last look.
    fn look(&mut self, now: Duration, is_late: bool, reports: &mut Vec<Report>) -> bool {
        let pulse = self.watch.pulse();
        let number = pulse.number();
        let sample = pulse.sample();
        let seen = match (&sample, &self.sample) {
            (None, _) => Seen::Outside,
            (Some(now), Some(before)) if now.is_same(before) => Seen::Same,
            (Some(_), _) => Seen::Another,
        };
        let is_busy = number != self.number || sample.is_some();
        let stall = match self.suspicion.look(seen, now, is_late, &self.thread) {
            Some(Verdict::Begun(held)) => sample.map(|sample| self.begin(&sample, held)),
            Some(Verdict::Over(held)) => self.begun.take().map(|begun| Stall {
                held,
                is_over: true,
                ..begun
            }),
            None => None,
        };
        if let Some(stall) = stall {
            reports.extend(self.report(stall, now));
        }
        (self.number, self.sample) = (number, sample);
        is_busy
    }

    fn begin(&mut self, sample: &Sample, held: Duration) -> Stall {
        self.stalls.fetch_add(1, Ordering::Relaxed);
        let stall = Stall {
            location: sample.location(),
            future: sample.future(),
            name: self.watch.pulse().name_of(sample),
            held,
            is_over: false,
            is_blocked: self.thread.is_asleep(),
            thread: self.thread.id(),
        };
        self.begun.insert(stall).clone()
    }

    fn report(&mut self, stall: Stall, now: Duration) -> Option<Report> {
        match &self.on_stall {
            Some(on_stall) => Some(Report::Call(on_stall.clone(), stall)),
            None => self.lines.line(&stall, now).map(Report::Line),
        }
    }
}

impl Doing for Thread {
    fn cpu_time(&self) -> Duration {
        Thread::cpu_time(*self)
    }

    fn is_asleep(&self) -> bool {
        Thread::is_asleep(*self)
    }
}

/// What is to be said when no lock is held.
enum Report {
    Call(OnStall, Stall),
    Line(String),
}

impl Report {
    fn deliver(self) {
        match self {
            Report::Line(line) => eprintln!("{line}"),
            // A panic has been printed by the hook, and must not leave the cores unwatched.
            Report::Call(on_stall, stall) => {
                let _ = catch_unwind(AssertUnwindSafe(|| (on_stall.0)(&stall)));
            }
        }
    }
}
