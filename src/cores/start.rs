//! Starting the same service on several cores.

use std::fmt;
use std::future::Future;
use std::io;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::mpsc;
use std::task::Waker;
use std::thread;
use std::time::Duration;

use super::core::Core;
use super::handle::Handle;
use super::mesh::Mesh;
use super::running::{Bell, Running};
use super::thread::{Place, Seat, Thread};
use super::topology;
use crate::ring::affinity;
use crate::runtime::Builder;

/// Messages that one core may have on their way to another.
const CAPACITY: usize = 256;
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// The cores that a service is to run on: one thread, pinned to its CPU, with a runtime each.
///
/// # Examples
///
/// A server on every CPU; the kernel spreads connections over the listeners:
///
/// ```no_run
/// use std::time::Duration;
/// use corering::net::TcpSocket;
///
/// # async fn serve(stream: corering::net::TcpStream) {}
/// fn main() -> std::io::Result<()> {
///     corering::Cores::all()?.run(|core| async move {
///         let address = "127.0.0.1:7000".parse().expect("an address");
///         let listener = TcpSocket::new_v4()?.reuse_port()?.bind(address)?.listen(1024)?;
///         // Until Ctrl-C, or SIGTERM.
///         while let Some((stream, _)) = listener.accept_until(core.stopping()).await? {
///             corering::spawn(serve(stream));
///         }
///         drop(listener);
///         core.drain(Duration::from_secs(10)).await
///     })
/// }
/// ```
#[derive(Clone)]
#[must_use = "cores do nothing until they are started"]
pub struct Cores {
    places: Vec<Place>,
    capacity: usize,
    signals: bool,
    stop_limit: Duration,
    configure: Arc<dyn Fn(Builder) -> Builder + Send + Sync>,
}

impl Cores {
    /// One for each CPU of the affinity mask, but no more than the control group's CPU quota has
    /// time for, rounded down, and at least one.
    ///
    /// # Errors
    ///
    /// Those of [`cpus`](super::cpus).
    pub fn all() -> io::Result<Cores> {
        Ok(Cores::at(topology::usable()?))
    }

    /// `count` cores. Beyond the number of [`all`](Self::all) several share a CPU, and none of them
    /// spins before it sleeps.
    ///
    /// # Errors
    ///
    /// Those of [`cpus`](super::cpus); `InvalidInput` for 0.
    pub fn count(count: usize) -> io::Result<Cores> {
        let cpus = topology::usable()?;
        let mut cores = Cores::at(cpus.iter().copied().cycle().take(count).collect());
        if count == 0 {
            return Err(invalid("a service runs on one core at least".to_owned()));
        }
        cores.mark_shared();
        Ok(cores)
    }

    /// One on each of these CPUs, in this order. One that is named twice gets two.
    ///
    /// # Errors
    ///
    /// Those of [`cpus`](super::cpus); `InvalidInput` if there is none, or one that this thread may
    /// not use.
    pub fn on(cpus: impl IntoIterator<Item = usize>) -> io::Result<Cores> {
        let allowed = affinity::affinity()?;
        let cpus: Vec<usize> = cpus.into_iter().collect();
        if let Some(cpu) = cpus.iter().find(|cpu| !allowed.contains(cpu)) {
            return Err(invalid(format!(
                "CPU {cpu} is not in this thread's affinity mask, which has {allowed:?}: name one \
                 of these, or start the process with a wider mask (taskset, cpuset)"
            )));
        }
        if cpus.is_empty() {
            return Err(invalid("a service runs on one core at least".to_owned()));
        }
        let mut cores = Cores::at(cpus);
        cores.mark_shared();
        Ok(cores)
    }

    fn at(cpus: Vec<usize>) -> Cores {
        let place = |cpu| Place {
            cpu: Some(cpu),
            is_shared: false,
        };
        Cores {
            places: cpus.into_iter().map(place).collect(),
            capacity: CAPACITY,
            signals: true,
            stop_limit: STOP_LIMIT,
            configure: Arc::new(|builder| builder),
        }
    }

    /// With two cores on one CPU none can spin, or one would keep the other from running.
    fn mark_shared(&mut self) {
        let mut cpus: Vec<_> = self.places.iter().map(|place| place.cpu).collect();
        cpus.sort_unstable();
        let is_shared = cpus.windows(2).any(|pair| pair[0] == pair[1]);
        for place in &mut self.places {
            place.is_shared = is_shared;
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// False: there is always one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Whether each thread is pinned to its CPU, as it is by default.
    pub fn pinned(mut self, pinned: bool) -> Cores {
        if !pinned {
            for place in &mut self.places {
                place.cpu = None;
            }
        }
        self
    }

    /// How many messages one core may have on their way to another, and all other threads together
    /// to one; at least 1. Who sends more waits. 256 by default.
    pub fn queue_capacity(mut self, messages: usize) -> Cores {
        self.capacity = messages.max(1);
        self
    }

    /// Whether `SIGINT` and `SIGTERM` begin a stop, and a second one drops what is left at once. So
    /// by default, while the cores are waited for: in [`run`](Self::run) and [`Running::join`].
    pub fn stop_on_signals(mut self, stop: bool) -> Cores {
        self.signals = stop;
        self
    }

    /// How long a stop may take before what still runs is dropped. 30 s by default.
    pub fn stop_limit(mut self, limit: Duration) -> Cores {
        self.stop_limit = limit;
        self
    }

    /// Settings of every core's runtime.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// use corering::runtime::Spin;
    ///
    /// let cores = corering::Cores::all()?.configure(|runtime| runtime.spin(Spin::Never));
    /// # Ok(())
    /// # }
    /// ```
    pub fn configure(
        mut self,
        configure: impl Fn(Builder) -> Builder + Send + Sync + 'static,
    ) -> Cores {
        self.configure = Arc::new(configure);
        self
    }

    /// Runs `main` on every core and waits until it has ended everywhere. What its cores have
    /// spawned and not waited for is dropped then.
    ///
    /// # Errors
    ///
    /// Those of [`start`](Self::start); those that mains returned, in one text that names their
    /// cores; `TimedOut` if a main was dropped because a stop took longer than its limit, or by a
    /// second signal.
    ///
    /// # Panics
    ///
    /// If a main did, with its panic, when all others have ended: they are told to stop.
    pub fn run<M, F>(self, main: M) -> io::Result<()>
    where
        M: Fn(Core) -> F + Send + Sync + 'static,
        F: Future<Output = io::Result<()>> + 'static,
    {
        let mut errors = Vec::new();
        for ended in self.start(main)?.join() {
            let index = ended.core;
            match ended.output {
                Ok(Ok(())) => {}
                Ok(Err(error)) => errors.push((index, error)),
                Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
                Err(_) => {
                    let text = "was dropped before it had ended: the stop took too long";
                    errors.push((index, io::Error::new(io::ErrorKind::TimedOut, text)));
                }
            }
        }
        let Some(kind) = errors.first().map(|(_, error)| error.kind()) else {
            return Ok(());
        };
        let texts: Vec<String> = errors
            .iter()
            .map(|(index, error)| format!("core {index}: {error}"))
            .collect();
        Err(io::Error::new(kind, texts.join("; ")))
    }

    /// Starts `main` on every core, and comes back when all of them have begun.
    ///
    /// # Errors
    ///
    /// Those of [`Builder::build`], with the number of the core. None has run anything then.
    pub fn start<M, F>(self, main: M) -> io::Result<Running<F::Output>>
    where
        M: Fn(Core) -> F + Send + Sync + 'static,
        F: Future<Output: Send> + 'static,
    {
        let bell = Arc::new(Bell::new()?);
        let supervisor = Some(Waker::from(Arc::clone(&bell)));
        let mesh = Mesh::new(self.places.len(), self.capacity, supervisor);
        let main = Arc::new(main);
        let mut threads = Vec::new();
        let mut starts = Vec::new();
        for (index, place) in self.places.iter().enumerate() {
            let (go, started) = mpsc::channel();
            let (ready, is_ready) = mpsc::channel();
            let seat = Seat {
                index,
                place: *place,
                mesh: mesh.clone(),
                bell: Arc::clone(&bell),
                configure: Arc::clone(&self.configure),
            };
            let main = Arc::clone(&main);
            let body = move || seat.run(&ready, &started, &*main);
            let thread = thread::Builder::new().name(format!("corering-{index}"));
            // What a thread touches first, its stack and its heap, comes from where it begins.
            let visit = place.cpu.map(affinity::visit);
            threads.push(Thread(thread.spawn(body)?));
            drop(visit);
            // One after the other, so that the first error is the first core's.
            let built = is_ready.recv().unwrap_or_else(|_| Err(vanished()));
            built
                .map_err(|error| io::Error::new(error.kind(), format!("core {index}: {error}")))?;
            starts.push(go);
        }
        for go in starts {
            // One that has vanished tells so when it is joined.
            let _ = go.send(());
        }
        Ok(Running::new(
            Handle(mesh),
            bell,
            threads,
            self.signals,
            self.stop_limit,
        ))
    }
}

impl fmt::Debug for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cores")
            .field("places", &self.places)
            .field("queue_capacity", &self.capacity)
            .field("stop_on_signals", &self.signals)
            .field("stop_limit", &self.stop_limit)
            .finish_non_exhaustive()
    }
}

fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

fn vanished() -> io::Error {
    io::Error::other("its thread has ended before it began")
}
