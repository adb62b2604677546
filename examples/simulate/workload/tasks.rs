//! Tasks, timers and wakes.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::convert::identity;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use corering::runtime::nop;
use corering::signal::ctrl_c;
use corering::sim::Sim;
use corering::spawn;
use corering::task::{spawn_blocking, yield_now};
use corering::time::{Instant, interval, sleep, timeout};
use futures_lite::future::poll_once;
use futures_util::future::join_all;

use super::fate::{Fate, Fated};
use super::random::Random;
use super::scene::{Core, Scene};

const LONGEST: Duration = Duration::from_millis(64);
/// A timer is late by at most a granule, and by what the core does in between.
const LATE_MAX: Duration = Duration::from_millis(3);
/// An interrupt is seen within this time.
const INTERRUPTED_MAX: Duration = Duration::from_millis(5);
const DEPTH: u64 = 3;
/// Messages from core to core.
const MESSAGES: u64 = 16;

type Work = Pin<Box<dyn Future<Output = u64>>>;

pub(crate) async fn run(sim: Sim) {
    let (scene, mut random) = Scene::new(sim);
    let host = scene.sim.host("cores");
    let (seed, cores) = (random.next(), 1 + random.below(2) as usize);
    let mailbox = Rc::new(Mailbox::default());
    let running = scene.start(&host, cores, move |core| {
        let mailbox = Rc::clone(&mailbox);
        async move {
            let random = Random::new(seed ^ core.number as u64);
            let (sum, expected) = tree(&core, random, DEPTH);
            match core.number {
                0 if !core.is_alone() => mailbox.fill().await,
                0 => {}
                _ => mailbox.empty(&core.scene).await,
            }
            let sum = sum.await;
            if sum != expected {
                let text = format!("tasks came to {sum}, not {expected}");
                core.scene.violation(text);
            }
        }
    });
    scene.ended(&[running]).await;
    scene.conclude();
}

/// A task with others below it: its work, and the sum that must come of it.
fn tree(core: &Rc<Core>, mut random: Random, depth: u64) -> (Work, u64) {
    let own = random.below(1000);
    let (mut expected, mut below) = (own, Vec::new());
    for _ in 0..if depth > 0 { random.below(4) } else { 0 } {
        let (work, value) = tree(core, random.fork(), depth - 1);
        expected += value;
        below.push(work);
    }
    let core = Rc::clone(core);
    let work = async move {
        let mut sum = own;
        let tasks: Vec<_> = below.into_iter().map(spawn).collect();
        for task in tasks {
            act(&core, &mut random).await;
            match task.await {
                Ok(value) => sum += value,
                Err(error) => core.scene.violation(format!("a task: {error}")),
            }
        }
        act(&core, &mut random).await;
        sum
    };
    (Box::pin(work), expected)
}

/// Does something that takes time.
async fn act(core: &Core, random: &mut Random) {
    let scene = &*core.scene;
    match random.below(10) {
        0 | 1 => pause(scene, random).await,
        2 => times_out(scene, random).await,
        3 => ticks(scene, random).await,
        4 => aborts(scene, random).await,
        5 => {
            let answer = spawn_blocking(|| 42).await;
            if !matches!(answer, Ok(42)) {
                scene.violation("a blocking call has no answer");
            }
        }
        6 => no_op(scene, random).await,
        7 => is_interrupted(core, random).await,
        8 => is_told(core, random).await,
        _ => yield_now().await,
    }
}

async fn pause(scene: &Scene, random: &mut Random) {
    let (time, start) = (random.time(LONGEST), Instant::now());
    match random.one_in(3) {
        true => sleep(time).exact().await,
        false => sleep(time).await,
    }
    is_in_time(scene, "a sleep", start, time);
}

fn is_in_time(scene: &Scene, what: &str, start: Instant, time: Duration) {
    let took = start.elapsed();
    if took < time || took > time + LATE_MAX {
        scene.violation(format!("{what} of {time:?} took {took:?}"));
    }
}

async fn times_out(scene: &Scene, random: &mut Random) {
    let (time, start) = (random.time(LONGEST), Instant::now());
    let (never, other) = (std::future::pending::<()>(), random.time(LONGEST));
    if random.one_in(2) {
        let early = timeout(time, never).await;
        if early.is_ok() {
            scene.violation("what never ends has ended");
        }
        is_in_time(scene, "a timeout", start, time);
    } else {
        let _whichever = timeout(time, sleep(other)).await;
        is_in_time(scene, "a timeout", start, time.min(other));
    }
}

async fn ticks(scene: &Scene, random: &mut Random) {
    let period = random.time(LONGEST / 4);
    let mut ticks = interval(period);
    let start = ticks.tick().await;
    for n in 1..=1 + random.below(3) as u32 {
        let at = ticks.tick().await;
        if at.duration_since(start) < period * n {
            scene.violation(format!("tick {n} of {period:?} comes early"));
        }
    }
}

/// A task that is aborted is dropped, and no later than its handle says so.
async fn aborts(scene: &Scene, random: &mut Random) {
    let dropped = Rc::new(Cell::new(false));
    let flag = Flag(Rc::clone(&dropped));
    let time = random.time(LONGEST);
    let task = spawn(async move {
        let _flag = flag;
        sleep(time).await;
    });
    if random.one_in(2) {
        sleep(random.time(LONGEST)).await;
    }
    task.abort();
    let ended = task.await;
    let fine = ended.is_ok() || ended.is_err_and(|error| error.is_cancelled());
    if !fine || !dropped.get() {
        scene.violation("an aborted task is not over");
    }
}

struct Flag(Rc<Cell<bool>>);

impl Drop for Flag {
    fn drop(&mut self) {
        self.0.set(true);
    }
}

/// Some at once: one alone could not be overtaken by another.
async fn no_op(scene: &Scene, random: &mut Random) {
    let fates = [(); 4].map(|()| Fate::random(random, scene.style.ends));
    let one = async |fate: Fate| {
        if let Fated::Done(Err(error)) = fate.of(nop(), identity).await {
            scene.failed("nop", &error, fate.may_end_it(), None);
        }
    };
    join_all(fates.map(one)).await;
}

/// Messages to other cores, or to this one: they come there and mean nothing.
async fn is_told(core: &Core, random: &mut Random) {
    let messages = (0..1 + random.below(4)).map(|_| core.host.message(core.some_core(random)));
    let messages: Vec<_> = messages.collect();
    let mut telling = pin!(join_all(messages));
    let told = match random.one_in(core.scene.style.ends) {
        true => poll_once(telling).await,
        false => Some((&mut telling).await),
    };
    for told in told.into_iter().flatten() {
        if let Err(error) = told {
            core.scene.failed("message", &error, false, None);
        }
    }
}

/// Everybody who waits for it on the host sees an interrupt, also that of another.
async fn is_interrupted(core: &Core, random: &mut Random) {
    let scene = &core.scene;
    let mut waiting = pin!(ctrl_c());
    let mut seen = poll_once(&mut waiting).await;
    match random.below(4) {
        0 => return,
        1 => seen = seen.or(timeout(random.time(LONGEST), &mut waiting).await.ok()),
        _ => {}
    }
    if seen.is_none() {
        core.host.interrupt();
        seen = timeout(INTERRUPTED_MAX, waiting).await.ok();
    }
    match seen {
        Some(Ok(())) => {}
        Some(Err(error)) => {
            scene.failed("ctrl_c", &error, false, None);
        }
        None => scene.violation("an interrupt was not seen"),
    }
}

/// From one core to another, with as much room as one message.
#[derive(Default)]
struct Mailbox {
    messages: RefCell<VecDeque<u64>>,
    wakers: RefCell<Vec<Waker>>,
}

impl Mailbox {
    async fn fill(&self) {
        for message in 0..MESSAGES {
            self.wait(|messages| messages.is_empty()).await;
            self.messages.borrow_mut().push_back(message);
            self.wake();
        }
    }

    async fn empty(&self, scene: &Scene) {
        for expected in 0..MESSAGES {
            self.wait(|messages| !messages.is_empty()).await;
            let message = self.messages.borrow_mut().pop_front();
            if message != Some(expected) {
                scene.violation(format!("message {message:?} came, not {expected}"));
            }
            self.wake();
        }
    }

    async fn wait(&self, ready: impl Fn(&VecDeque<u64>) -> bool) {
        poll_fn(|cx| {
            if ready(&self.messages.borrow()) {
                return Poll::Ready(());
            }
            self.wakers.borrow_mut().push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn wake(&self) {
        for waker in self.wakers.take() {
            waker.wake();
        }
    }
}
