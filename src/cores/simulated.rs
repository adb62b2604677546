//! Cores of a simulated host: all on one thread, and stepped by hand.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::core::Core;
use super::mesh::{Level, Mesh, SharedMesh};
use super::thread::{Main, move_in};
use crate::signal;

/// The cores of one start of a host.
#[derive(Clone)]
pub(crate) struct Simulated(SharedMesh);

impl Simulated {
    pub(crate) fn new(cores: usize, capacity: usize) -> Simulated {
        Simulated(Mesh::new(cores, capacity, None))
    }

    /// Runs `main` as the core `index`, on the runtime that runs this. `None`: a stop dropped it.
    pub(crate) async fn run<F: Future>(
        self,
        index: usize,
        main: impl FnOnce(Core) -> F,
    ) -> Option<F::Output> {
        let (local, mailman) = move_in(&self.0, index, None).await?;
        let main = Main::new(main(Core(Rc::clone(&local))), local);
        let signals: Pin<Box<dyn Future<Output = ()>>> = match index {
            0 => Box::pin(heed_signals(self.0)),
            _ => Box::pin(std::future::pending()),
        };
        let output = Beside { main, signals }.await;
        // As a thread's runtime, which ends with main.
        mailman.abort();
        output
    }
}

/// What the supervisor's thread does elsewhere.
async fn heed_signals(mesh: SharedMesh) {
    for level in [Level::Stopping, Level::Now] {
        if signal::ctrl_c().await.is_err() {
            return;
        }
        mesh.stop(level);
    }
}

pin_project! {
    /// Main, and next to it, in the same task, what waits for signals.
    struct Beside<F> {
        #[pin]
        main: Main<F>,
        signals: Pin<Box<dyn Future<Output = ()>>>,
    }
}

impl<F: Future> Future for Beside<F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        // A future that is done is not polled again: then there is nothing left to heed.
        if this.signals.as_mut().poll(cx).is_ready() {
            *this.signals = Box::pin(std::future::pending());
        }
        this.main.poll(cx)
    }
}
