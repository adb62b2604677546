//! A thread with a runtime, which must be as empty at its end as it was at its beginning.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use corering::runtime::stats;
use corering::time::sleep;
use corering::{Runtime, spawn};

use crate::counts::Shared;

/// How long connections may take to end: those that were dropped linger for 10 s.
const PATIENCE: Duration = Duration::from_secs(75);

pub(crate) struct Core {
    pub(crate) seed: u64,
    pub(crate) shared: Arc<Shared>,
    /// Connections that are being served.
    busy: Cell<usize>,
}

impl Core {
    /// Runs what `work` makes on a runtime of its own; `number` says whose it is.
    pub(crate) fn start<F: Future<Output = io::Result<()>> + 'static>(
        number: usize,
        seed: u64,
        shared: &Arc<Shared>,
        work: impl FnOnce(Rc<Core>) -> F + Send + 'static,
    ) -> JoinHandle<()> {
        let shared = Arc::clone(shared);
        thread::spawn(move || {
            let core = Rc::new(Core {
                seed,
                shared,
                busy: Cell::new(0),
            });
            if let Err(error) = core.run(number, work(Rc::clone(&core))) {
                core.shared.fault(error);
            }
        })
    }

    /// Spawns a task that the end of this core waits for.
    pub(crate) fn spawn(self: &Rc<Self>, future: impl Future<Output = ()> + 'static) {
        let core = Rc::clone(self);
        core.busy.set(core.busy.get() + 1);
        spawn(async move {
            let _done = Done(core);
            future.await;
        });
    }

    fn run(
        self: &Rc<Self>,
        number: usize,
        work: impl Future<Output = io::Result<()>> + 'static,
    ) -> io::Result<()> {
        let runtime = Runtime::new()?;
        runtime.block_on(async {
            let shared = Arc::clone(&self.shared);
            let ticker = spawn(async move {
                loop {
                    let slots = stats().map_or(0, |stats| stats.in_flight);
                    shared.slots[number].store(slots, Ordering::Relaxed);
                    sleep(Duration::from_millis(100)).await;
                }
            });
            let done = spawn(work).await.map_err(io::Error::other)?;
            let start = Instant::now();
            let in_flight = || stats().map_or(0, |stats| stats.in_flight);
            // One is for the wake-ups of other threads.
            while (self.busy.get() > 0 || in_flight() > 1) && start.elapsed() < PATIENCE {
                sleep(Duration::from_millis(10)).await;
            }
            ticker.abort();
            let _ = ticker.await;
            done
        })?;
        let stats = runtime.stats();
        let empty = stats.in_flight <= 1
            && (stats.tasks, stats.timers) == (0, 0)
            && stats.buffers_free == stats.buffers;
        if !empty {
            self.shared.fault(format!("not empty: {stats:?}"));
        }
        let left = runtime.shutdown(Duration::from_secs(5));
        if left.operations > 0 {
            self.shared.fault(left);
        }
        self.shared.slots[number].store(0, Ordering::Relaxed);
        Ok(())
    }
}

/// Also for a task that panics.
struct Done(Rc<Core>);

impl Drop for Done {
    fn drop(&mut self) {
        self.0.busy.set(self.0.busy.get() - 1);
        if thread::panicking() {
            self.0.shared.fault("a task has panicked");
        }
    }
}
