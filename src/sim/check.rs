//! Many seeds, and what to do with one that fails.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::env;
use std::fmt;
use std::future::Future;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::failure::Failure;
use super::host::Sim;
use super::quiet;
use super::run::{self, Ended};
use crate::ring::sim::Setup;
use crate::ring::sim::adversary::{Choice, Forced};
use crate::ring::sim::errnos::{On, is_possible};
use crate::ring::sim::faults::{Coverage, Faults};

/// The seed to run alone, with its trace.
pub(super) const SEED: &str = "CORERING_SIM_SEED";
/// The choices that count in it: numbers with commas.
pub(super) const KEEP: &str = "CORERING_SIM_KEEP";
/// How many seeds to run.
const SEEDS: &str = "CORERING_SIM_SEEDS";

/// What looking for a shorter schedule may cost.
const SHRINK_RUNS: u32 = 400;
const SHRINK_TIME: Duration = Duration::from_secs(20);
/// How often progress is told.
const PROGRESS: Duration = Duration::from_secs(2);

/// Runs `test` with 200 seeds, and panics with a report if one of them fails.
///
/// As [`Check::new`]`().`[`run`](Check::run)`(test)` with a panic for a failure.
///
/// # Panics
///
/// If a run fails: its test or a program panics, nothing can ever happen any more, an hour of
/// simulated time is not enough, or something is left over when all has ended.
///
/// # Examples
///
/// ```
/// use corering::net::{TcpListener, TcpStream};
/// use corering::sim;
///
/// sim::check(|sim| async move {
///     sim.host("server").run(|| async {
///         let listener = TcpListener::bind("0.0.0.0:7").await.unwrap();
///         while let Ok((stream, _)) = listener.accept().await {
///             while let Ok(Some(bytes)) = stream.recv().await {
///                 stream.write_all(bytes).await.0.unwrap();
///             }
///         }
///     });
///     let stream = loop {
///         // Refused until the server is up.
///         match TcpStream::connect("server:7").await {
///             Ok(stream) => break stream,
///             Err(_) => corering::time::sleep(std::time::Duration::from_millis(1)).await,
///         }
///     };
///     stream.write_all("hello").await.0.unwrap();
///     assert!(stream.recv().await.unwrap().is_some());
/// });
/// ```
pub fn check<F>(test: impl Fn(Sim) -> F)
where
    F: Future<Output = ()> + 'static,
{
    if let Err(failure) = Check::new().run(test) {
        panic!("{failure}");
    }
}

/// How a test is checked. [`check`] takes the defaults.
///
/// `CORERING_SIM_SEED=n` in the environment runs that seed alone and prints its trace;
/// `CORERING_SIM_SEEDS=n` sets how many seeds are run.
///
/// # Examples
///
/// ```
/// use corering::sim::{Check, Fault, Faults};
///
/// let faults = Faults::default().rate(Fault::Error, 0.01);
/// let report = Check::new().seeds(20).faults(faults).run(|sim| async move {
///     let _ = corering::fs::File::open("/missing").await;
///     assert!(sim.seed() < 20);
/// });
/// assert_eq!(report.unwrap().runs(), 20);
/// ```
#[derive(Clone, Debug)]
#[must_use = "it checks nothing until it runs"]
pub struct Check {
    first: u64,
    seeds: u64,
    alone: Option<u64>,
    faults: Faults,
    limit: Duration,
    forced: Option<Forced>,
    shrinks: bool,
    tells_progress: bool,
}

impl Default for Check {
    fn default() -> Check {
        Check::new()
    }
}

impl Check {
    /// 200 seeds from 0 on, [`Faults::default`], an hour of simulated time for each.
    pub fn new() -> Check {
        Check {
            first: 0,
            seeds: 200,
            alone: None,
            faults: Faults::default(),
            limit: Duration::from_secs(3600),
            forced: None,
            shrinks: true,
            tells_progress: false,
        }
    }

    /// How many seeds are run.
    pub fn seeds(mut self, seeds: u64) -> Check {
        self.seeds = seeds;
        self
    }

    /// The first of the seeds.
    pub fn first_seed(mut self, seed: u64) -> Check {
        self.first = seed;
        self
    }

    /// Runs this seed alone and prints its trace, as `CORERING_SIM_SEED` does.
    pub fn seed(mut self, seed: u64) -> Check {
        self.alone = Some(seed);
        self
    }

    /// What goes wrong, and how often.
    pub fn faults(mut self, faults: Faults) -> Check {
        self.faults = faults;
        self
    }

    /// How much simulated time one run may take.
    pub fn limit(mut self, limit: Duration) -> Check {
        self.limit = limit;
        self
    }

    /// Whether a failing schedule is made shorter, which takes up to 20 s. On by default.
    pub fn shrink(mut self, on: bool) -> Check {
        self.shrinks = on;
        self
    }

    /// Whether seeds per second are told on stderr, every two seconds.
    pub fn progress(mut self, on: bool) -> Check {
        self.tells_progress = on;
        self
    }

    /// Fails the `nth` operation (from 0) with opcode `op` on such an object with `errno`, in each
    /// run. [`Errnos`](crate::sim::Errnos) says which there are.
    ///
    /// # Panics
    ///
    /// If the operation cannot fail with that.
    pub fn force(mut self, op: u8, on: On, nth: u64, errno: i32) -> Check {
        let possible = is_possible(op, on, errno);
        assert!(possible, "opcode {op} on {on:?} never fails with {errno}");
        self.forced = Some(Forced { op, on, nth, errno });
        self
    }

    /// Runs `test` with each seed, until one fails.
    ///
    /// # Errors
    ///
    /// The first failing seed, with its trace and the command that runs it again.
    pub fn run<F>(&self, test: impl Fn(Sim) -> F) -> Result<Report, Box<Failure>>
    where
        F: Future<Output = ()> + 'static,
    {
        if let Some(seed) = number(SEED).or(self.alone) {
            return self.replay(seed, &test);
        }
        let seeds = number(SEEDS).unwrap_or(self.seeds);
        let begin = Instant::now();
        let mut told = begin;
        let mut report = Report::default();
        for seed in self.first..self.first.saturating_add(seeds) {
            let ended = self.once(seed, None, false, &test);
            report.add(&ended);
            if let Some(message) = ended.failure {
                report.elapsed = begin.elapsed();
                return Err(self.explain(seed, message, ended.digest, &test));
            }
            if self.tells_progress && told.elapsed() >= PROGRESS {
                told = Instant::now();
                report.elapsed = begin.elapsed();
                eprintln!("{report}");
            }
        }
        report.elapsed = begin.elapsed();
        Ok(report)
    }

    fn once<F>(
        &self,
        seed: u64,
        keep: Option<Rc<BTreeSet<u64>>>,
        is_recorded: bool,
        test: &impl Fn(Sim) -> F,
    ) -> Ended
    where
        F: Future<Output = ()> + 'static,
    {
        let setup = Setup {
            seed,
            faults: self.faults.clone(),
            keep,
            forced: self.forced,
            is_recorded,
        };
        run::run(setup, self.limit, |shared| test(Sim(shared)))
    }

    /// Runs one seed and prints what happens in it.
    fn replay<F>(&self, seed: u64, test: &impl Fn(Sim) -> F) -> Result<Report, Box<Failure>>
    where
        F: Future<Output = ()> + 'static,
    {
        let keep = env::var(KEEP).ok().map(|keep| Rc::new(numbers(&keep)));
        let ended = self.once(seed, keep.clone(), true, test);
        for line in &ended.lines {
            eprintln!("{line}");
        }
        let mut report = Report::default();
        report.add(&ended);
        match ended.failure {
            None => Ok(report),
            Some(message) => Err(Box::new(Failure {
                seed,
                message,
                digest: ended.digest,
                is_repeatable: true,
                keep: keep.map(|keep| keep.iter().copied().collect()),
                choices: ended.choices,
                lines: ended.lines,
            })),
        }
    }

    /// Runs a failing seed again for its trace, and looks for a shorter schedule.
    fn explain<F>(
        &self,
        seed: u64,
        message: String,
        digest: u64,
        test: &impl Fn(Sim) -> F,
    ) -> Box<Failure>
    where
        F: Future<Output = ()> + 'static,
    {
        let _quiet = quiet::Quiet::new();
        let mut last = self.once(seed, None, true, test);
        let is_repeatable = last.digest == digest && last.failure.is_some();
        let mut keep = None;
        if is_repeatable && self.shrinks {
            let shorter = self.shrunk(seed, &last.choices, test);
            let again = self.once(seed, Some(Rc::new(shorter.clone())), true, test);
            if again.failure.is_some() {
                last = again;
                keep = Some(shorter.into_iter().collect());
            }
        }
        Box::new(Failure {
            seed,
            message: last.failure.unwrap_or(message),
            digest,
            is_repeatable,
            keep,
            choices: last.choices,
            lines: last.lines,
        })
    }

    /// As few of the choices as it takes to fail: takes away those of one kind, then halves,
    /// quarters and so on.
    fn shrunk<F>(&self, seed: u64, choices: &[Choice], test: &impl Fn(Sim) -> F) -> BTreeSet<u64>
    where
        F: Future<Output = ()> + 'static,
    {
        let begin = Instant::now();
        let runs = Cell::new(0);
        let is_spent = || runs.get() > SHRINK_RUNS || begin.elapsed() > SHRINK_TIME;
        let fails = |chosen: &[u64]| {
            runs.set(runs.get() + 1);
            let keep = Rc::new(chosen.iter().copied().collect());
            !is_spent() && self.once(seed, Some(keep), false, test).failure.is_some()
        };
        let mut chosen: Vec<u64> = choices.iter().map(|choice| choice.number).collect();
        // Most are latencies and delays, and most of those matter little.
        let kinds: BTreeSet<&str> = choices.iter().map(|choice| choice.what).collect();
        for kind in kinds {
            let others = choices.iter().filter(|choice| choice.what != kind);
            let others: BTreeSet<u64> = others.map(|choice| choice.number).collect();
            let mut fewer = chosen.clone();
            fewer.retain(|number| others.contains(number));
            if fails(&fewer) {
                chosen = fewer;
            }
        }
        let mut size = chosen.len();
        while size > 0 {
            let mut at = 0;
            while at < chosen.len() && !is_spent() {
                let mut fewer = chosen.clone();
                fewer.drain(at..(at + size).min(chosen.len()));
                if fails(&fewer) {
                    chosen = fewer;
                } else {
                    at += size;
                }
            }
            size = if is_spent() { 0 } else { size / 2 };
        }
        chosen.into_iter().collect()
    }
}

fn number(variable: &str) -> Option<u64> {
    let value = env::var(variable).ok()?;
    let number = value.parse();
    Some(number.unwrap_or_else(|_| panic!("{variable}={value:?} is not a number")))
}

fn numbers(text: &str) -> BTreeSet<u64> {
    let parts = text.split(',').filter(|part| !part.is_empty());
    let number = |part: &str| {
        let number = part.trim().parse::<u64>();
        number.unwrap_or_else(|_| panic!("{KEEP}: {part:?} is not a number"))
    };
    parts.map(number).collect()
}

/// What a check has done.
///
/// Displays as one line: runs, operations, and both per second of real time.
#[derive(Clone, Debug, Default)]
pub struct Report {
    runs: u64,
    simulated: Duration,
    elapsed: Duration,
    coverage: Coverage,
    digest: u64,
}

impl Report {
    fn add(&mut self, ended: &Ended) {
        self.runs += 1;
        self.simulated += ended.simulated;
        self.coverage.merge(&ended.coverage);
        self.digest = self.digest.rotate_left(7) ^ ended.digest;
    }

    /// Seeds that were run.
    pub fn runs(&self) -> u64 {
        self.runs
    }

    /// Simulated time, of all runs together.
    pub fn simulated(&self) -> Duration {
        self.simulated
    }

    /// Real time.
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// Which faults happened to which operations.
    pub fn coverage(&self) -> &Coverage {
        &self.coverage
    }

    /// A digest of every submission and completion of all runs: two checks of the same seeds have
    /// the same, or the test is not deterministic.
    pub fn digest(&self) -> u64 {
        self.digest
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.elapsed.as_secs_f64().max(1e-9);
        let operations = self.coverage.operations();
        write!(
            f,
            "{} seeds, {} operations, {} faults in {:.1} s: {:.0} seeds/s, {:.0} operations/s, \
             {:.0} s of simulated time",
            self.runs,
            operations,
            self.coverage.faults(),
            seconds,
            self.runs as f64 / seconds,
            operations as f64 / seconds,
            self.simulated.as_secs_f64(),
        )
    }
}
