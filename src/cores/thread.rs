//! The thread of one core, from its start to its end.

use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll};
use std::thread::JoinHandle;

use pin_project_lite::pin_project;

use super::core::{Core, Local};
use super::mailman::Mailman;
use super::mesh::{Level, SharedMesh};
use super::running::{Bell, Ended};
use crate::ring::affinity;
use crate::runtime::{self, Builder, Runtime, Spin};
use crate::task::{self, JoinError, yield_now};

/// Worker threads of the kernel for each core's files.
const FILES: u32 = 4;
/// And for what may wait for ever, of all cores together, and of each at least. Rings of several
/// threads cannot share them, whatever their flags say: each thread has its own.
const OTHERS_OF_ALL: u32 = 64;
const OTHERS_MIN: u32 = 8;

/// Where a core's thread runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// `None`: where the scheduler wants.
    pub(super) cpu: Option<usize>,
    /// Two of the cores have the same CPU.
    pub(super) is_shared: bool,
}

pub(super) struct Thread<T>(pub(super) JoinHandle<Ended<T>>);

/// All that a thread needs to be a core.
pub(super) struct Seat {
    pub(super) index: usize,
    pub(super) place: Place,
    pub(super) mesh: SharedMesh,
    pub(super) bell: Arc<Bell>,
    pub(super) configure: Arc<dyn Fn(Builder) -> Builder + Send + Sync>,
}

impl Seat {
    /// Builds the core, tells so, and runs `main` when it is told to.
    pub(super) fn run<F>(
        self,
        ready: &mpsc::Sender<io::Result<()>>,
        started: &mpsc::Receiver<()>,
        main: &dyn Fn(Core) -> F,
    ) -> Ended<F::Output>
    where
        F: Future + 'static,
    {
        // Last of all, whatever happens here.
        let _rings = self.bell.ring_at_end();
        let never = Ended {
            core: self.index,
            output: Err(JoinError::cancelled()),
            aborted_tasks: 0,
            leftover: runtime::Leftover::default(),
        };
        let (runtime, local) = match self.build() {
            Ok(built) => built,
            Err(error) => {
                let _ = ready.send(Err(error));
                return never;
            }
        };
        // Nobody wants it any more: another core could not be built.
        if ready.send(Ok(())).is_err() || started.recv().is_err() {
            return never;
        }
        let core = Core(Rc::clone(&local));
        let run = || runtime.block_on(Main::new(main(core), Rc::clone(&local)));
        let output = match catch_unwind(AssertUnwindSafe(run)) {
            Ok(Some(output)) => Ok(output),
            Ok(None) => Err(JoinError::cancelled()),
            Err(panic) => {
                // A service that has lost a core is no service.
                self.mesh.stop(Level::Stopping);
                Err(JoinError::panic(panic))
            }
        };
        // The mailman is none of them.
        let aborted_tasks = runtime.stats().tasks.saturating_sub(1);
        Ended {
            core: self.index,
            output,
            aborted_tasks,
            leftover: runtime.end(),
        }
    }

    /// On the thread's own CPU from the start, so that its memory comes from that CPU's node.
    fn build(&self) -> io::Result<(Runtime, Rc<Local>)> {
        if let Some(cpu) = self.place.cpu {
            affinity::pin(cpu)
                .map_err(|error| io::Error::new(error.kind(), format!("CPU {cpu}: {error}")))?;
        }
        let others = (OTHERS_OF_ALL / self.mesh.len() as u32).max(OTHERS_MIN);
        let mut builder = Builder::new().kernel_workers(FILES, others);
        if self.place.is_shared {
            builder = builder.spin(Spin::Never);
        }
        let runtime = (self.configure)(builder).build()?;
        let entered = runtime.block_on(move_in(&self.mesh, self.index, self.place.cpu));
        let (local, _mailman) =
            entered.ok_or_else(|| io::Error::other("a runtime without a core"))?;
        Ok((runtime, local))
    }
}

/// Makes the current runtime a core of several. When this is done the core gets messages. `None`:
/// there is no runtime.
pub(super) async fn move_in(
    mesh: &SharedMesh,
    index: usize,
    cpu: Option<usize>,
) -> Option<(Rc<Local>, task::JoinHandle<()>)> {
    let make = |messages| Rc::new(Local::new(mesh, index, cpu, messages));
    let local = runtime::attach(make)?;
    let mailman = task::spawn(Mailman::new(Rc::clone(&local)));
    // It registers in its first poll.
    yield_now().await;
    Some((local, mailman))
}

pin_project! {
    /// A core's main future, which the most urgent kind of stop drops.
    pub(super) struct Main<F> {
        #[pin]
        main: F,
        stop: Stop,
    }
}

/// A place among those who wait for the stop.
struct Stop {
    local: Rc<Local>,
    place: Option<usize>,
}

impl<F> Main<F> {
    pub(super) fn new(main: F, local: Rc<Local>) -> Main<F> {
        let stop = Stop { local, place: None };
        Main { main, stop }
    }
}

/// `None`: it was dropped by the stop.
impl<F: Future> Future for Main<F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if this.stop.local.mesh.level() == Level::Now {
            return Poll::Ready(None);
        }
        this.stop.local.stop.register(&mut this.stop.place, cx);
        this.main.poll(cx).map(Some)
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        self.local.stop.leave(&mut self.place);
    }
}
