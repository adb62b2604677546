//! What a test holds of its simulation.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::ops::Range;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use super::run::{Program, Shared};
use crate::cores::{self, Simulated};
use crate::ring::sim::faults::Fault;
use crate::ring::sim::kernel::HostId;
use crate::runtime::tell;

/// The host of the test, which is made first.
const TEST: HostId = 0;

/// A running simulation, in the hands of its test.
#[derive(Clone)]
pub struct Sim(pub(super) Rc<Shared>);

impl Sim {
    /// The seed of this run.
    pub fn seed(&self) -> u64 {
        self.0.seed
    }

    /// The host called `name`, made when it is first asked for. The test itself runs on `"test"`.
    ///
    /// Programs reach it by its name: `TcpStream::connect("db:80")`.
    ///
    /// # Panics
    ///
    /// Beyond 64 hosts.
    pub fn host(&self, name: &str) -> Host {
        Host {
            shared: Rc::clone(&self.0),
            id: self.0.host(name),
        }
    }

    /// A random number below `n`, chosen by the seed. 0 if `n` is 0.
    pub fn random(&self, n: u64) -> u64 {
        if n == 0 { 0 } else { self.0.random() % n }
    }

    /// Whether something that happens with a probability of `p` happens now, chosen by the seed.
    pub fn chance(&self, p: f64) -> bool {
        (self.0.random() >> 11) as f64 / ((1_u64 << 53) as f64) < p
    }

    /// Writes a line into the trace of the run: what the test does and learns, between what the
    /// kernel does. Costs nothing while no trace is kept.
    pub fn note(&self, text: impl fmt::Display) {
        let mut kernel = self.0.world.kernel.borrow_mut();
        kernel.note(TEST, || format!("** {text}"));
    }

    /// How often `fault` has happened in this run so far. Without [`Fault::Error`],
    /// [`Fault::DiskError`] and [`Fault::Reset`] nothing that a program is told is the simulation's
    /// doing.
    pub fn happened(&self, fault: Fault) -> u64 {
        self.0.world.kernel.borrow().happened(fault)
    }

    /// Cuts the network between two hosts, in both directions. Connections stay, and time out after
    /// about a minute.
    pub fn partition(&self, a: &Host, b: &Host) {
        self.cut_one_way(a, b);
        self.cut_one_way(b, a);
    }

    /// Has nothing arrive at `to` that `from` sends.
    pub fn cut_one_way(&self, from: &Host, to: &Host) {
        let mut kernel = self.0.world.kernel.borrow_mut();
        kernel.links.cut.insert((from.id, to.id));
    }

    /// Mends the network between two hosts.
    pub fn heal(&self, a: &Host, b: &Host) {
        let mut kernel = self.0.world.kernel.borrow_mut();
        kernel.links.cut.remove(&(a.id, b.id));
        kernel.links.cut.remove(&(b.id, a.id));
    }

    /// Mends the whole network.
    pub fn heal_all(&self) {
        self.0.world.kernel.borrow_mut().links.cut.clear();
    }

    /// How long it takes from one host to another. 50 to 500 µs by default; on one host it is
    /// always 10 to 20 µs.
    pub fn set_latency(&self, range: Range<Duration>) {
        let ns = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let mut kernel = self.0.world.kernel.borrow_mut();
        kernel.links.latency_ns = ns(range.start)..ns(range.end);
    }

    /// No more faults from now on, and the network is whole: for asking whether the service
    /// recovers.
    pub fn calm(&self) {
        self.heal_all();
        self.0.world.kernel.borrow_mut().calm();
    }
}

impl fmt::Debug for Sim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sim")
            .field("seed", &self.seed())
            .finish_non_exhaustive()
    }
}

/// A simulated machine: an address, descriptors, a disk, and what runs on it.
#[derive(Clone)]
pub struct Host {
    shared: Rc<Shared>,
    id: HostId,
}

impl Host {
    /// Its name, which programs can connect to.
    pub fn name(&self) -> String {
        self.shared.name(self.id)
    }

    /// Its address.
    pub fn ip(&self) -> IpAddr {
        self.shared.world.kernel.borrow().hosts[self.id].ip
    }

    /// Starts a program on one core. What ran here before ends as in [`kill`](Host::kill).
    ///
    /// The function is called again for each [`restart`](Host::restart). A panic of its future ends
    /// the run as a failure. What else it returns, an error for instance, is noted in the trace: a
    /// program may end, and the test restarts it as a supervisor would.
    pub fn run<F>(&self, program: impl Fn() -> F + 'static)
    where
        F: Future<Output: fmt::Debug> + 'static,
    {
        self.run_on_cores(1, move |_| program());
    }

    /// Starts a program on each of `cores` cores, which share the host's descriptors and its disk
    /// and nothing else. It is told its core's number, from 0.
    pub fn run_on_cores<F>(&self, cores: usize, program: impl Fn(usize) -> F + 'static)
    where
        F: Future<Output: fmt::Debug> + 'static,
    {
        let program = Rc::new(program);
        self.start(cores, move || Rc::clone(&program));
    }

    /// Has `start` give the program of each start.
    fn start<P, F>(&self, cores: usize, start: impl Fn() -> Rc<P> + 'static)
    where
        P: Fn(usize) -> F + 'static,
        F: Future<Output: fmt::Debug> + 'static,
    {
        let (world, id) = (Rc::clone(&self.shared.world), self.id);
        let start = move || {
            let (world, program) = (Rc::clone(&world), start());
            let noting = move |core| -> Pin<Box<dyn Future<Output = ()>>> {
                let (world, program) = (Rc::clone(&world), program(core));
                Box::pin(async move {
                    let output = program.await;
                    let mut kernel = world.kernel.borrow_mut();
                    kernel.note(id, || format!("program ended: {output:?}"));
                })
            };
            Rc::new(noting) as Program
        };
        self.shared.set_program(self.id, cores, Rc::new(start));
    }

    /// Starts `main` on each of `cores` cores, as [`Cores::run`](crate::Cores::run) does on those
    /// of a machine: they send each other work, and stop together. [`interrupt`](Host::interrupt)
    /// begins a stop, and a second one drops what is left.
    ///
    /// The queues between them have room for 1, 8 or 256 messages: the seed decides.
    ///
    /// # Examples
    ///
    /// ```
    /// use corering::sim;
    ///
    /// sim::check(|sim| async move {
    ///     let host = sim.host("service");
    ///     host.run_cores(2, |core| async move {
    ///         let other = 1 - core.index();
    ///         let sum = core.spawn_on(other, || async { 40 + 2 });
    ///         assert_eq!(sum.await.unwrap(), 42);
    ///         core.stopping().await;
    ///     });
    ///     corering::time::sleep(std::time::Duration::from_secs(1)).await;
    ///     host.interrupt();
    ///     while host.is_running() {
    ///         corering::time::sleep(std::time::Duration::from_millis(1)).await;
    ///     }
    /// });
    /// ```
    pub fn run_cores<F>(&self, cores: usize, main: impl Fn(cores::Core) -> F + 'static)
    where
        F: Future<Output: fmt::Debug> + 'static,
    {
        let capacity = {
            let kernel = self.shared.world.kernel.borrow();
            [1, 8, 256][kernel.setup_choice(0x9e54, 3) as usize]
        };
        let main = Rc::new(main);
        self.start(cores, move || {
            let (mesh, main) = (Simulated::new(cores, capacity), Rc::clone(&main));
            Rc::new(move |index| {
                let (mesh, main) = (mesh.clone(), Rc::clone(&main));
                async move { mesh.run(index, |core| main(core)).await }
            })
        });
    }

    /// Whether its program has not ended.
    pub fn is_running(&self) -> bool {
        self.shared.is_running(self.id)
    }

    /// Interrupts its program as Ctrl-C does: [`ctrl_c`](crate::signal::ctrl_c) resolves wherever
    /// it is waited for. A program that has never waited for it is ended, as by
    /// [`kill`](Host::kill).
    ///
    /// # Examples
    ///
    /// ```
    /// use corering::sim;
    ///
    /// sim::check(|sim| async move {
    ///     let host = sim.host("service");
    ///     host.run(|| async {
    ///         corering::signal::ctrl_c().await?;
    ///         corering::fs::write("/state", "left in order").await.0
    ///     });
    ///     corering::time::sleep(std::time::Duration::from_secs(1)).await;
    ///     host.interrupt();
    ///     while host.is_running() {
    ///         corering::time::sleep(std::time::Duration::from_millis(1)).await;
    ///     }
    ///     host.run(|| async {
    ///         let state = corering::fs::read("/state").await.unwrap();
    ///         assert_eq!(state, b"left in order");
    ///     });
    /// });
    /// ```
    pub fn interrupt(&self) {
        if !self.shared.world.interrupt(self.id) {
            self.kill();
        }
    }

    /// Ends its program as `SIGKILL` does: no destructor has an effect, the kernel closes the
    /// descriptors, and the disk keeps what was written.
    pub fn kill(&self) {
        self.shared.fell(self.id, false);
    }

    /// Cuts its power: nothing is said to anybody. Of what was not synced, its disk keeps any part:
    /// files as well as names.
    pub fn crash(&self) {
        self.shared.fell(self.id, true);
    }

    /// Starts its program again.
    pub fn restart(&self) {
        self.shared.restart(self.id);
    }

    /// Puts an empty message on the ring of one of its cores, from the core that calls this: what
    /// `IORING_OP_MSG_RING` does. It ends the wait of that core, and means nothing else to it.
    ///
    /// # Errors
    ///
    /// `NotFound`: no program runs on a core with this number. `EBADF`: the caller runs on another
    /// host.
    ///
    /// # Cancellation
    ///
    /// Dropping the future may have sent the message or not.
    ///
    /// # Examples
    ///
    /// ```
    /// corering::sim::check(|sim| async move {
    ///     let host = sim.host("service");
    ///     let other = host.clone();
    ///     host.run_on_cores(2, move |core| {
    ///         let host = other.clone();
    ///         async move { host.message(1 - core).await.unwrap() }
    ///     });
    ///     corering::time::sleep(std::time::Duration::from_millis(1)).await;
    /// });
    /// ```
    pub async fn message(&self, core: usize) -> io::Result<()> {
        let ring = self.shared.ring_of(self.id, core)?;
        tell(ring).await
    }

    /// How many descriptors its programs have open. A runtime by itself has two.
    pub fn open_descriptors(&self) -> usize {
        self.shared.world.open_descriptors(self.id)
    }

    /// Limits the bytes in its files; beyond it writes fail with `ENOSPC`. No limit by default.
    pub fn set_disk_capacity(&self, bytes: u64) {
        self.shared.world.set_disk_capacity(self.id, bytes);
    }

    /// Limits its open descriptors, as `RLIMIT_NOFILE`. 1,024 by default.
    pub fn set_nofile(&self, limit: usize) {
        let limit = limit.min(u16::MAX.into());
        self.shared.world.kernel.borrow_mut().hosts[self.id].nofile = limit;
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("name", &self.name()).finish()
    }
}
