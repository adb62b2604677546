//! Channels and locks, between tasks that give up and tasks that are aborted.

use std::cell::Cell;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use corering::sim::Sim;
use corering::sync::{Barrier, Mutex, RwLock, Semaphore, broadcast, mpsc};
use corering::task::{JoinHandle, JoinSet, yield_now};
use corering::time::{sleep, timeout};

use super::random::Random;
use super::scene::Scene;

/// How long somebody holds what others wait for, and waits for what others hold, at most.
const LONGEST: Duration = Duration::from_millis(2);
const ROUNDS: u64 = 12;

pub(crate) async fn run(sim: Sim) {
    let (scene, mut random) = Scene::new(sim);
    let host = scene.sim.host("core");
    let seed = random.next();
    let running = scene.start(&host, 1, move |core| async move {
        let (scene, mut random) = (&core.scene, Random::new(seed));
        let mut parts = JoinSet::new();
        parts.spawn(numbers(Rc::clone(scene), random.fork()));
        parts.spawn(locks(Rc::clone(scene), random.fork()));
        parts.spawn(permits(Rc::clone(scene), random.fork()));
        parts.spawn(news(Rc::clone(scene), random.fork()));
        parts.spawn(rounds(Rc::clone(scene), random.fork()));
        parts.join_all().await;
    });
    scene.ended(&[running]).await;
    scene.conclude();
}

/// How long somebody waits: as long as it takes, or not.
fn patience(random: &mut Random) -> Duration {
    match random.one_in(2) {
        true => Duration::MAX,
        false => random.time(LONGEST),
    }
}

async fn pause(random: &mut Random) {
    match random.below(3) {
        0 => yield_now().await,
        1 => sleep(random.time(LONGEST)).await,
        _ => {}
    }
}

/// Each number that was sent is received once, those of one sender in order.
async fn numbers(scene: Rc<Scene>, mut random: Random) {
    let senders = 1 + random.below(4);
    let (sender, mut receiver) = mpsc::channel(1 + random.below(5) as usize);
    let mut sending = JoinSet::new();
    for who in 0..senders {
        sending.spawn(send(sender.clone(), who, random.fork()));
    }
    drop(sender);
    let mut next = vec![0; senders as usize];
    loop {
        pause(&mut random).await;
        let Ok(received) = timeout(patience(&mut random), receiver.recv()).await else {
            continue;
        };
        let Some((who, number)) = received else { break };
        let expected = &mut next[who as usize];
        if number != *expected {
            scene.violation(format!("{number} of sender {who}, not {expected}"));
        }
        *expected += 1;
    }
    sending.join_all().await;
    if next.iter().any(|&next| next != ROUNDS) {
        scene.violation(format!("of {ROUNDS} numbers of each sender came {next:?}"));
    }
}

async fn send(sender: mpsc::Sender<(u64, u64)>, who: u64, mut random: Random) {
    let mut number = 0;
    while number < ROUNDS {
        pause(&mut random).await;
        let reserved = timeout(patience(&mut random), sender.reserve()).await;
        if let Ok(Ok(permit)) = reserved {
            pause(&mut random).await;
            // A permit that is let go is somebody else's.
            if !random.one_in(5) {
                permit.send((who, number));
                number += 1;
            }
        }
    }
}

/// Set while somebody is where only one may be.
struct Inside<'a>(&'a Cell<u64>);

impl<'a> Inside<'a> {
    fn new(scene: &Scene, inside: &'a Cell<u64>, allowed: u64) -> Inside<'a> {
        inside.set(inside.get() + 1);
        if inside.get() > allowed {
            scene.violation(format!("{} are where {allowed} may be", inside.get()));
        }
        Inside(inside)
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// Tasks, some of which are aborted wherever they are.
async fn some_aborted(tasks: Vec<JoinHandle<()>>, scene: &Scene, random: &mut Random) {
    for task in &tasks {
        if random.one_in(4) {
            sleep(random.time(LONGEST)).await;
            task.abort();
        }
    }
    for task in tasks {
        if let Err(error) = task.await
            && !error.is_cancelled()
        {
            scene.violation(format!("a task: {error}"));
        }
    }
}

/// One holds the lock at a time, a writer is alone, and both are free in the end.
async fn locks(scene: Rc<Scene>, mut random: Random) {
    let mutex = Rc::new((Mutex::new(()), Cell::new(0)));
    let shared = Rc::new((RwLock::new(()), Cell::new(0)));
    let mut tasks = Vec::new();
    for _ in 0..2 + random.below(6) {
        let (scene, mut random) = (Rc::clone(&scene), random.fork());
        let (mutex, shared) = (Rc::clone(&mutex), Rc::clone(&shared));
        tasks.push(corering::spawn(async move {
            for _ in 0..ROUNDS {
                if let Ok(_guard) = timeout(patience(&mut random), mutex.0.lock()).await {
                    let _inside = Inside::new(&scene, &mutex.1, 1);
                    pause(&mut random).await;
                }
                if random.one_in(3) {
                    let _guard = shared.0.write().await;
                    let _inside = Inside::new(&scene, &shared.1, 1);
                    pause(&mut random).await;
                } else if let Ok(_guard) = timeout(patience(&mut random), shared.0.read()).await {
                    let before = shared.1.get();
                    pause(&mut random).await;
                    if before + shared.1.get() > 0 {
                        scene.violation("a reader is there with a writer");
                    }
                }
            }
        }));
    }
    some_aborted(tasks, &scene, &mut random).await;
    if mutex.0.try_lock().is_err() || shared.0.try_write().is_err() {
        scene.violation("a lock is held by nobody");
    }
}

/// No more are inside than there are permits, and all permits come back.
async fn permits(scene: Rc<Scene>, mut random: Random) {
    let all = 1 + random.below(4);
    let semaphore = Rc::new((Semaphore::new(all as usize), Cell::new(0)));
    let mut tasks = Vec::new();
    for _ in 0..2 + random.below(6) {
        let (scene, mut random) = (Rc::clone(&scene), random.fork());
        let semaphore = Rc::clone(&semaphore);
        tasks.push(corering::spawn(async move {
            for _ in 0..ROUNDS {
                let wanted = 1 + random.below(all);
                let acquired = semaphore.0.acquire_many(wanted as u32);
                let Ok(permit) = timeout(patience(&mut random), acquired).await else {
                    continue;
                };
                let _permit = permit.expect("it is never closed");
                let _inside: Vec<Inside<'_>> = (0..wanted)
                    .map(|_| Inside::new(&scene, &semaphore.1, all))
                    .collect();
                pause(&mut random).await;
            }
        }));
    }
    some_aborted(tasks, &scene, &mut random).await;
    let back = semaphore.0.available_permits() as u64;
    if back != all {
        scene.violation(format!("{back} of {all} permits have come back"));
    }
}

/// Who listens to news gets all of it, in order, or is told how much was missed.
async fn news(scene: Rc<Scene>, mut random: Random) {
    let (sender, _) = broadcast::channel(1 + random.below(8) as usize);
    let mut listeners = Vec::new();
    for _ in 0..random.below(4) {
        let (scene, mut random) = (Rc::clone(&scene), random.fork());
        let mut receiver = sender.subscribe();
        listeners.push(corering::spawn(async move {
            let mut next = 0;
            loop {
                pause(&mut random).await;
                let received = timeout(patience(&mut random), receiver.recv()).await;
                match received {
                    Ok(Ok(number)) if number == next => next += 1,
                    Ok(Ok(number)) => scene.violation(format!("news {number}, not {next}")),
                    Ok(Err(broadcast::RecvError::Lagged(missed))) => next += missed,
                    Ok(Err(broadcast::RecvError::Closed)) => break,
                    Err(_) => {}
                }
            }
            if next != ROUNDS {
                scene.violation(format!("{next} news of {ROUNDS}"));
            }
        }));
    }
    for number in 0..ROUNDS {
        pause(&mut random).await;
        let _nobody_listens = sender.send(number);
    }
    drop(sender);
    for listener in listeners {
        if let Err(error) = listener.await {
            scene.violation(format!("a listener: {error}"));
        }
    }
}

/// Nobody is a round ahead of the others.
async fn rounds(scene: Rc<Scene>, mut random: Random) {
    let runners = 2 + random.below(3);
    let barrier = Rc::new(Barrier::new(runners as usize));
    let done: Rc<Vec<Cell<u64>>> = Rc::new((0..runners).map(|_| Cell::new(0)).collect());
    let mut running = JoinSet::new();
    for who in 0..runners as usize {
        let (scene, mut random) = (Rc::clone(&scene), random.fork());
        let (barrier, done) = (Rc::clone(&barrier), Rc::clone(&done));
        running.spawn(async move {
            for round in 1..=ROUNDS {
                pause(&mut random).await;
                done[who].set(round);
                barrier.wait().await;
                let others: Range<u64> = round..round + 2;
                if !done.iter().all(|done| others.contains(&done.get())) {
                    scene.violation(format!("in round {round} others are at {done:?}"));
                }
            }
        });
    }
    running.join_all().await;
}
