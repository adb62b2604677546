//! How a runtime is made.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::core::{Core, Settings};
use super::spin::{self, Spin};
use super::stall::{self, OnStall, Stall};
use super::{Runtime, cgroup};
use crate::ring;
use crate::task::blocking::Limits;

/// Runtimes of this process that are there now.
static RUNTIMES: AtomicUsize = AtomicUsize::new(0);

/// One runtime, counted until it is dropped.
#[derive(Debug)]
pub(super) struct Counted(());

impl Counted {
    fn new() -> Counted {
        RUNTIMES.fetch_add(1, Ordering::Relaxed);
        Counted(())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        RUNTIMES.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Makes a [`Runtime`].
///
/// # Examples
///
/// ```
/// use corering::runtime::{Builder, Spin};
///
/// # fn main() -> std::io::Result<()> {
/// let runtime = Builder::new().ring_entries(512).spin(Spin::Never).build()?;
/// runtime.block_on(async {});
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it builds"]
pub struct Builder {
    entries: u32,
    cq_entries: Option<u32>,
    spin: Option<Spin>,
    spin_limit: Duration,
    teardown_limit: Duration,
    stall_limit: Duration,
    on_stall: Option<OnStall>,
    blocking: Limits,
    workers: ring::Workers,
    kick: Option<ring::Kick>,
    door: ring::Door,
}

impl Default for Builder {
    fn default() -> Self {
        Builder::new()
    }
}

impl Builder {
    /// The defaults, which the methods name.
    pub fn new() -> Builder {
        Builder {
            entries: 256,
            cq_entries: None,
            spin: None,
            spin_limit: spin::LIMIT,
            teardown_limit: Duration::from_secs(5),
            stall_limit: stall::LIMIT,
            on_stall: None,
            blocking: Limits::default(),
            workers: ring::Workers::DEFAULT,
            kick: None,
            door: ring::Door::default(),
        }
    }

    /// Entries of the submission queue, rounded up to a power of two. It bounds one batch, not what
    /// is in flight. 256 by default; less if there is not enough locked memory.
    pub fn ring_entries(mut self, entries: u32) -> Self {
        self.entries = entries;
        self
    }

    /// Entries of the completion queue. Completions beyond it are kept by the kernel, at the cost
    /// of an allocation each, and multishot receives end and are armed again. Eight times the
    /// submission queue by default.
    pub fn completion_entries(mut self, entries: u32) -> Self {
        self.cq_entries = Some(entries);
        self
    }

    /// Whether to look for completions in user space before sleeping. [`Spin::Adaptive`] by
    /// default; [`Spin::Never`] under a control group's CPU quota, and where the process may use
    /// fewer processors than it has runtimes.
    pub fn spin(mut self, spin: Spin) -> Self {
        self.spin = Some(spin);
        self
    }

    /// How long to spin at most. 50 µs by default; [`Spin::Adaptive`] makes full use of it only for
    /// wakes by other cores.
    pub fn spin_limit(mut self, limit: Duration) -> Self {
        self.spin_limit = limit;
        self
    }

    /// How long dropping the runtime waits for the kernel to end its ops before it leaks their
    /// memory. 5 s by default.
    pub fn teardown_limit(mut self, limit: Duration) -> Self {
        self.teardown_limit = limit;
        self
    }

    /// How long a task may hold the core in one poll before that is reported, at least 2 ms; zero:
    /// nobody looks. 16 ms by default.
    ///
    /// One thread of the process, `corering-watch`, looks at all cores every half of the shortest
    /// limit, and not at all while they sleep. So a report may come as late as twice the limit, and
    /// a task that holds the core for less than one and a half may go unnoticed. A core that sleeps
    /// and one that runs many short tasks are never reported, and time in which the system had no
    /// processor for the core's thread does not count. In a simulation nobody looks: time stands
    /// still there while a task runs.
    ///
    /// By default a report is a line on stderr when the limit is reached, and one when the core has
    /// gone on, for one stall of a core in a second at most; the next line says how many were left
    /// out. [`Stats::stalls`](super::Stats::stalls) counts all.
    pub fn stall_limit(mut self, limit: Duration) -> Self {
        self.stall_limit = limit;
        self
    }

    /// Has `report` called instead of writing to stderr: once when a task has held the core for the
    /// limit, and once when the core has gone on. All are reported, of each core at most one in the
    /// time of its limit.
    ///
    /// It is called on the thread that looks at all cores: none is looked at until it returns.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::mpsc;
    /// use std::time::Duration;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (tell, told) = mpsc::channel();
    /// let runtime = corering::runtime::Builder::new()
    ///     .on_stall(move |stall| drop(tell.send(stall.clone())))
    ///     .build()?;
    /// let task = runtime.block_on(async {
    ///     corering::spawn(async { std::thread::sleep(Duration::from_millis(500)) }).await
    /// });
    /// task.expect("it does not panic");
    /// let stall = told.recv().expect("the task was reported");
    /// assert!(stall.held() >= Duration::from_millis(16));
    /// assert!(stall.is_blocked());
    /// println!("{stall}"); // with the place of `corering::spawn`, and more
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_stall(mut self, report: impl Fn(&Stall) + Send + Sync + 'static) -> Self {
        self.on_stall = Some(OnStall::new(report));
        self
    }

    /// How many threads [`spawn_blocking`](crate::task::spawn_blocking) and name lookups may have,
    /// at least 1. They are started when they are needed. 64 by default.
    pub fn max_blocking_threads(mut self, threads: usize) -> Self {
        self.blocking.threads_max = threads;
        self
    }

    /// How long a thread of the blocking pool waits for its next job before it leaves. 10 s by
    /// default.
    pub fn thread_keep_alive(mut self, limit: Duration) -> Self {
        self.blocking.idle_max = limit;
        self
    }

    /// How many worker threads the kernel may have for what it cannot do at once: `files` for work
    /// on files, `others` for what may wait for ever. At least 1 each. 4 and 64 by default; of
    /// several [`Cores`](crate::Cores) each has 4 and its part of 64, but no less than 8.
    ///
    /// # Source
    ///
    /// [`io_uring_register_iowq_max_workers(3)`](https://man7.org/linux/man-pages/man3/io_uring_register_iowq_max_workers.3.html)
    pub fn kernel_workers(mut self, files: u32, others: u32) -> Self {
        self.workers = ring::Workers { files, others };
        self
    }

    /// How other threads end the core's sleep. By default what costs less on this machine, which
    /// the first runtime of a process finds out in some 100 µs; in a simulation always
    /// [`Kick::Eventfd`](super::Kick::Eventfd). [`Stats::kick`](super::Stats::kick) says which.
    ///
    /// # Examples
    ///
    /// ```
    /// use corering::runtime::{Builder, Kick};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let runtime = Builder::new().kick(Kick::Eventfd).build()?;
    /// assert_eq!(runtime.stats().kick, Kick::Eventfd);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Source
    ///
    /// [`eventfd(2)`](https://man7.org/linux/man-pages/man2/eventfd.2.html),
    /// [`io_uring_register_sync_msg(3)`](https://man7.org/linux/man-pages/man3/io_uring_register_sync_msg.3.html)
    pub fn kick(mut self, kick: ring::Kick) -> Self {
        self.kick = Some(kick);
        self
    }

    /// Has the runtime run on a host of a simulated world.
    #[cfg(feature = "sim")]
    pub(crate) fn place(mut self, place: ring::sim::Place) -> Self {
        self.spin = Some(Spin::Never);
        self.kick = Some(ring::Kick::Eventfd);
        self.door = ring::Door::Simulated(place);
        self
    }

    /// Builds the runtime, for the calling thread.
    ///
    /// # Errors
    ///
    /// An [`Unavailable`](super::Unavailable) that names the cause and what to do about it:
    /// `PermissionDenied` (a sysctl or a seccomp filter forbids io_uring), `Unsupported` (the
    /// kernel is older than 6.1, or has no io_uring), `OutOfMemory` (the limit of locked memory);
    /// otherwise `EMFILE` or `ENFILE`.
    ///
    /// # Kernel
    ///
    /// Linux 6.1 or later.
    pub fn build(&self) -> io::Result<Runtime> {
        let counted = Counted::new();
        let config = ring::Config {
            entries: self.entries,
            cq_entries: self.cq_entries.unwrap_or(self.entries.saturating_mul(8)),
            workers: self.workers,
        };
        let settings = Settings {
            spin: self.spin.unwrap_or_else(default_spin),
            spin_limit: self.spin_limit,
            teardown_limit: self.teardown_limit,
            stall_limit: self.stall_limit,
            on_stall: self.on_stall.clone(),
            blocking: self.blocking.clone(),
            kick: self.kick,
        };
        let core = Core::new(&self.door, &config, settings, counted)?;
        Ok(Runtime { core, ended: false })
    }
}

fn default_spin() -> Spin {
    let runtimes = RUNTIMES.load(Ordering::Relaxed);
    if cgroup::processors() < runtimes || cgroup::has_cpu_quota() {
        Spin::Never
    } else {
        Spin::Adaptive
    }
}
