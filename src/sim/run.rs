//! One run: the hosts of a simulation, and who of them goes next.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::os::fd::RawFd;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::check::SEED;
use crate::ring::sim::adversary::{Choice, mix};
use crate::ring::sim::faults::{Coverage, Fault};
use crate::ring::sim::kernel::HostId;
use crate::ring::sim::{Place, Setup, World};
use crate::runtime::{Builder, Next, Runtime};
use crate::task::JoinHandle;

/// A run that takes more steps than this goes round in circles.
const STEPS_MAX: u64 = 20_000_000;
/// How long the end of a runtime may take.
const TEARDOWN: Duration = Duration::from_secs(60);

pub(super) type Program = Rc<dyn Fn(usize) -> Pin<Box<dyn Future<Output = ()>>>>;
/// Gives the program of one start: what its cores share is made anew.
pub(super) type Start = Rc<dyn Fn() -> Program>;

/// What the handles of a run share.
pub(super) struct Shared {
    pub(super) world: Rc<World>,
    pub(super) seed: u64,
    hosts: RefCell<Vec<HostState>>,
    /// Those of all hosts, in the order of these.
    cores: RefCell<Vec<Rc<Core>>>,
    orders: RefCell<VecDeque<Order>>,
    randoms: Cell<u64>,
    /// Room for the cores that may go next, by their places.
    ready: RefCell<Vec<usize>>,
    steps: Cell<u64>,
}

struct HostState {
    id: HostId,
    name: String,
    /// What to run again after a restart: the cores, and the program.
    program: Option<(usize, Start)>,
    cores: Vec<Rc<Core>>,
}

struct Core {
    host: HostId,
    runtime: Runtime,
    program: RefCell<Option<JoinHandle<()>>>,
    /// What it waits for, as it was when it was last asked. Nothing but a step changes that, and
    /// what comes to its ring or to its tasks.
    waits: Cell<Option<Next>>,
    stirred: Rc<Cell<bool>>,
}

impl Core {
    fn new(
        host: HostId,
        runtime: Runtime,
        program: Option<JoinHandle<()>>,
    ) -> Result<Rc<Core>, String> {
        let stirred = runtime.stirred().map_err(|e| e.to_string())?;
        Ok(Rc::new(Core {
            host,
            runtime,
            program: RefCell::new(program),
            waits: Cell::new(None),
            stirred,
        }))
    }

    #[inline]
    fn next_step(&self, now_ns: u64) -> Next {
        if self.runtime.has_ready_tasks() {
            return Next::Now;
        }
        let known = match self.stirred.get() {
            true => None,
            false => self.waits.get(),
        };
        match known.unwrap_or_else(|| self.look_again()) {
            Next::At(at) if at <= now_ns => Next::Now,
            next => next,
        }
    }

    fn look_again(&self) -> Next {
        self.stirred.set(false);
        let next = self.runtime.next_step();
        self.waits.set(Some(next));
        next
    }

    fn step_while(&self, mut again: impl FnMut() -> bool) {
        self.waits.set(None);
        self.runtime.step_while(|| {
            let steps = again();
            if steps {
                self.waits.set(None);
            }
            steps
        });
    }

    fn is_over(&self) -> bool {
        let program = self.program.borrow();
        program.as_ref().is_some_and(JoinHandle::is_finished)
    }
}

/// What a program has asked for, to be done when no core is being stepped.
enum Order {
    Start(HostId),
    TearDown(HostId),
}

/// How a run ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// What went wrong, if anything did.
    pub(super) failure: Option<String>,
    pub(super) digest: u64,
    pub(super) coverage: Coverage,
    pub(super) simulated: Duration,
    pub(super) choices: Vec<Choice>,
    pub(super) lines: VecDeque<String>,
}

/// Runs `test` once, on a world of its own.
pub(super) fn run<F>(setup: Setup, limit: Duration, test: impl FnOnce(Rc<Shared>) -> F) -> Ended
where
    F: Future<Output = ()> + 'static,
{
    let seed = setup.seed;
    let world = World::new(setup);
    let shared = Rc::new(Shared {
        world: Rc::clone(&world),
        seed,
        hosts: RefCell::default(),
        cores: RefCell::default(),
        orders: RefCell::default(),
        randoms: Cell::new(0),
        ready: RefCell::default(),
        steps: Cell::new(0),
    });
    let begin = world.now_ns();
    let driven = catch_unwind(AssertUnwindSafe(|| shared.drive(limit, test)));
    let mut failure = driven.unwrap_or_else(|panic| escaped(seed, panic)).err();
    // What ends now only because the run does tells nobody why it has failed.
    let lines = world.kernel.borrow_mut().trace.take_lines();
    shared.end();
    if failure.is_none() {
        failure = world.leftovers();
    }
    let simulated = Duration::from_nanos(world.now_ns() - begin);
    world.leave();
    let mut kernel = world.kernel.borrow_mut();
    Ended {
        failure,
        digest: kernel.trace.digest(),
        coverage: kernel.take_coverage(),
        simulated,
        choices: kernel.adversary.chosen.take().unwrap_or_default(),
        lines,
    }
}

/// A panic of no task, but of the runtime itself: nothing can be said of a run that goes on after
/// that, but which one it is.
fn escaped(seed: u64, panic: Box<dyn Any + Send>) -> ! {
    eprintln!("seed {seed} fails: a panic outside of every task ({SEED}={seed} runs it again)");
    resume_unwind(panic)
}

impl Shared {
    pub(super) fn host(&self, name: &str) -> HostId {
        let known = self
            .hosts
            .borrow()
            .iter()
            .find(|host| host.name == name)
            .map(|host| host.id);
        known.unwrap_or_else(|| {
            let id = self.world.add_host(name);
            self.hosts.borrow_mut().push(HostState {
                id,
                name: name.to_owned(),
                program: None,
                cores: Vec::new(),
            });
            id
        })
    }

    pub(super) fn name(&self, host: HostId) -> String {
        self.hosts.borrow()[host].name.clone()
    }

    pub(super) fn set_program(&self, host: HostId, cores: usize, program: Start) {
        self.hosts.borrow_mut()[host].program = Some((cores, program));
        self.orders.borrow_mut().push_back(Order::Start(host));
    }

    pub(super) fn fell(&self, host: HostId, power: bool) {
        self.world.fell(host, power);
        self.orders.borrow_mut().push_back(Order::TearDown(host));
    }

    pub(super) fn restart(&self, host: HostId) {
        self.orders.borrow_mut().push_back(Order::Start(host));
    }

    /// The number of the ring of a host's core.
    pub(super) fn ring_of(&self, host: HostId, core: usize) -> io::Result<RawFd> {
        let hosts = self.hosts.borrow();
        let core = hosts[host].cores.get(core);
        let core = core.ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, "no program runs on such a core")
        })?;
        core.runtime.ring_number()
    }

    /// As it will be when the orders are obeyed: whoever has just pulled a plug may ask.
    pub(super) fn is_running(&self, host: HostId) -> bool {
        for order in self.orders.borrow().iter().rev() {
            match *order {
                Order::Start(of) if of == host => return true,
                Order::TearDown(of) if of == host => return false,
                Order::Start(_) | Order::TearDown(_) => {}
            }
        }
        let hosts = self.hosts.borrow();
        let cores = &hosts[host].cores;
        cores.iter().any(|core| {
            let program = core.program.borrow();
            program
                .as_ref()
                .is_some_and(|program| !program.is_finished())
        })
    }

    /// The next random number for a program, the same in each run of the seed.
    pub(super) fn random(&self) -> u64 {
        let n = self.randoms.get();
        self.randoms.set(n + 1);
        mix(self.seed ^ 0x7e57, n)
    }

    fn drive<F>(
        self: &Rc<Self>,
        limit: Duration,
        test: impl FnOnce(Rc<Shared>) -> F,
    ) -> Result<(), String>
    where
        F: Future<Output = ()> + 'static,
    {
        let host = self.host("test");
        let main = self.new_runtime(host)?;
        let mut handle = main.start(test(Rc::clone(self)));
        let core = Core::new(host, main, None)?;
        self.hosts.borrow_mut()[host].cores.push(core);
        self.list_cores();
        self.world.set_stepped(true);
        let end = self.world.now_ns() + u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
        let mut next = None;
        loop {
            self.obey()?;
            if handle.is_finished() {
                return outcome(&mut handle, "test");
            }
            let core = match next.take() {
                Some(core) => core,
                None => self.next_core(end)?,
            };
            let mut chosen = Ok(None);
            // To leave a core and to come back to it costs more than most steps.
            core.step_while(|| {
                chosen = Ok(None);
                if self.has_orders() || handle.is_finished() || core.is_over() {
                    return false;
                }
                chosen = self.next_core(end).map(Some);
                matches!(&chosen, Ok(Some(next)) if Rc::ptr_eq(next, &core))
            });
            self.look_after(&core)?;
            next = chosen?;
        }
    }

    /// The core that steps next, when time has gone on to where one has something to do.
    fn next_core(&self, end: u64) -> Result<Rc<Core>, String> {
        let cores = self.cores.borrow();
        loop {
            self.steps.set(self.steps.get() + 1);
            if self.steps.get() > STEPS_MAX {
                return Err(format!("the run has not ended after {STEPS_MAX} steps"));
            }
            let mut ready = self.ready.borrow_mut();
            let next_ns = ready_cores(&cores, self.world.now_ns(), &mut ready);
            let mut kernel = self.world.kernel.borrow_mut();
            if ready.is_empty() && kernel.core_is_hit(Fault::Interrupted) {
                ready.extend(0..cores.len());
            }
            if !ready.is_empty() {
                let chosen = kernel.adversary.below("which core", ready.len() as u64);
                return Ok(Rc::clone(&cores[ready[chosen as usize]]));
            }
            let at = match (next_ns, kernel.next_event_ns()) {
                (Some(a), Some(b)) => a.min(b),
                (a, b) => a.or(b).ok_or_else(deadlock)?,
            };
            if at > end {
                return Err("the test has not ended within its limit of simulated time".to_owned());
            }
            drop(kernel);
            self.world.advance(at);
        }
    }

    /// To be called when a host has other cores than before.
    fn list_cores(&self) {
        let hosts = self.hosts.borrow();
        let cores = hosts.iter().flat_map(|host| &host.cores).cloned();
        self.cores.replace(cores.collect());
    }

    fn has_orders(&self) -> bool {
        !self.orders.borrow().is_empty()
    }

    fn obey(self: &Rc<Self>) -> Result<(), String> {
        loop {
            let order = self.orders.borrow_mut().pop_front();
            match order {
                None => return Ok(()),
                Some(Order::TearDown(host)) => self.tear_down(host),
                Some(Order::Start(host)) => self.start(host)?,
            }
        }
    }

    fn start(self: &Rc<Self>, host: HostId) -> Result<(), String> {
        self.tear_down(host);
        self.world.raise(host);
        let program = self.hosts.borrow()[host].program.clone();
        let Some((cores, start)) = program else {
            return Ok(());
        };
        let program = start();
        for index in 0..cores {
            let runtime = self.new_runtime(host)?;
            let program = Rc::clone(&program);
            let handle = runtime.start(async move { program(index).await });
            let core = Core::new(host, runtime, Some(handle))?;
            self.hosts.borrow_mut()[host].cores.push(core);
            self.list_cores();
        }
        Ok(())
    }

    fn new_runtime(&self, host: HostId) -> Result<Runtime, String> {
        let place = Place {
            world: Rc::clone(&self.world),
            host,
        };
        // Small queues, so that they run full.
        let sizes = {
            let kernel = self.world.kernel.borrow();
            [256, 32, 8][kernel.setup_choice(0x512e, 3) as usize]
        };
        let builder = Builder::new().ring_entries(sizes).place(place);
        let runtime = builder.teardown_limit(TEARDOWN).build();
        runtime.map_err(|e| e.to_string())
    }

    /// Ends the runtimes of a host.
    fn tear_down(&self, host: HostId) {
        let cores = std::mem::take(&mut self.hosts.borrow_mut()[host].cores);
        self.list_cores();
        let stepped = self.world.set_stepped(false);
        drop(cores);
        self.world.set_stepped(stepped);
    }

    fn end(&self) {
        let hosts = self.hosts.borrow().len();
        for host in 0..hosts {
            self.tear_down(host);
            self.hosts.borrow_mut()[host].program = None;
        }
    }

    /// Reports a program that has panicked: in a step of its own core.
    fn look_after(&self, core: &Core) -> Result<(), String> {
        if !core.is_over() {
            return Ok(());
        }
        match core.program.take() {
            Some(mut program) => outcome(&mut program, &self.name(core.host)),
            None => Ok(()),
        }
    }
}

/// Lists the cores that have something to do now. When the first of the others has, if it knows.
fn ready_cores(cores: &[Rc<Core>], now_ns: u64, ready: &mut Vec<usize>) -> Option<u64> {
    let mut next_ns: Option<u64> = None;
    ready.clear();
    for (place, core) in cores.iter().enumerate() {
        match core.next_step(now_ns) {
            Next::Now => ready.push(place),
            Next::At(at) => next_ns = Some(next_ns.map_or(at, |next| next.min(at))),
            Next::Later => {}
        }
    }
    next_ns
}

fn deadlock() -> String {
    "deadlock: every task waits, nothing is in flight and no timer is set".to_owned()
}

/// What a finished task has to say.
fn outcome(handle: &mut JoinHandle<()>, host: &str) -> Result<(), String> {
    let mut cx = Context::from_waker(Waker::noop());
    match Pin::new(handle).poll(&mut cx) {
        Poll::Ready(Err(error)) => Err(format!("host {host:?}: {error}")),
        Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
    }
}
