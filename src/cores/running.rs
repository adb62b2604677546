//! Cores that run, as whoever has started them sees them.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;
use std::time::{Duration, Instant};

use super::handle::Handle;
use super::mesh::Level;
use super::thread::Thread;
use crate::ring::Fd;
use crate::ring::sys::{self, OnSignal};
use crate::runtime::Leftover;
use crate::task::JoinError;

/// How a core has ended.
#[derive(Debug)]
#[non_exhaustive]
pub struct Ended<T> {
    /// Which one.
    pub core: usize,
    /// What its main returned, or its panic. One that was dropped by a stop
    /// [`is_cancelled`](JoinError::is_cancelled).
    pub output: Result<T, JoinError>,
    /// Tasks that had not ended when main had, and were dropped.
    pub aborted_tasks: usize,
    /// What the kernel had not let go of.
    pub leftover: Leftover,
}

/// Cores that were started, see [`Cores::start`](super::Cores::start).
///
/// # Dropping
///
/// Dropped, it drops what runs on the cores at once, and waits for their threads.
#[must_use = "dropped, it stops the cores"]
pub struct Running<T> {
    handle: Handle,
    bell: Arc<Bell>,
    threads: Vec<Thread<T>>,
    signals: bool,
    stop_limit: Duration,
}

impl<T> Running<T> {
    pub(super) fn new(
        handle: Handle,
        bell: Arc<Bell>,
        threads: Vec<Thread<T>>,
        signals: bool,
        stop_limit: Duration,
    ) -> Running<T> {
        Running {
            handle,
            bell,
            threads,
            signals,
            stop_limit,
        }
    }

    /// For other threads, to send work and to stop.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Waits until main has ended on every core, and tells how, in the order of the cores.
    ///
    /// `SIGINT` and `SIGTERM` are handled meanwhile, if that was not
    /// [declined](super::Cores::stop_on_signals): from here on, for the rest of the process's life,
    /// they do not end it any more.
    pub fn join(mut self) -> Vec<Ended<T>> {
        self.wait();
        let threads = std::mem::take(&mut self.threads);
        threads.into_iter().enumerate().map(ended).collect()
    }

    fn wait(&self) {
        let heard = |signal| OnSignal::write(signal, &self.bell.signals).ok();
        let handlers = if self.signals {
            [libc::SIGINT, libc::SIGTERM].map(heard)
        } else {
            [None, None]
        };
        let (mut signals, mut urgent) = (0, None);
        while self.bell.ended.load(Ordering::Acquire) < self.threads.len() {
            match signals {
                0 => {}
                1 => self.handle.stop(),
                _ => self.handle.stop_now(),
            }
            let level = self.handle.0.level();
            if level == Level::Stopping && urgent.is_none() {
                urgent = Some(Instant::now() + self.stop_limit);
            }
            let left = urgent.map(|at| at.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                self.handle.stop_now();
            }
            let patience = left.filter(|left| !left.is_zero());
            signals += self.bell.wait(patience);
        }
        drop(handlers);
    }
}

fn ended<T>((core, thread): (usize, Thread<T>)) -> Ended<T> {
    thread.0.join().unwrap_or_else(|panic| Ended {
        core,
        output: Err(JoinError::panic(panic)),
        aborted_tasks: 0,
        leftover: Leftover::default(),
    })
}

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        if !self.threads.is_empty() {
            self.handle.stop_now();
            for thread in self.threads.drain(..) {
                let _ = thread.0.join();
            }
        }
    }
}

impl<T> fmt::Debug for Running<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running")
            .field("cores", &self.threads.len())
            .finish_non_exhaustive()
    }
}

/// What wakes who waits for the cores: signals, and whatever else has changed.
pub(super) struct Bell {
    signals: Arc<Fd>,
    changed: Fd,
    ended: AtomicUsize,
}

/// Counts a core as ended when it is dropped.
pub(super) struct RingAtEnd(Arc<Bell>);

impl Bell {
    pub(super) fn new() -> io::Result<Bell> {
        Ok(Bell {
            signals: Arc::new(sys::eventfd()?),
            changed: sys::eventfd()?,
            ended: AtomicUsize::new(0),
        })
    }

    pub(super) fn ring_at_end(self: &Arc<Bell>) -> RingAtEnd {
        RingAtEnd(Arc::clone(self))
    }

    /// Blocks until something has happened, at most for `patience`. Returns how many signals came.
    fn wait(&self, patience: Option<Duration>) -> u64 {
        let [signals, _] = sys::wait_for_events([&self.signals, &self.changed], patience);
        signals
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Bell>) {
        self.changed.eventfd_write();
    }
}

impl Drop for RingAtEnd {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::Release);
        self.0.changed.eventfd_write();
    }
}
