//! Services of several cores in a simulation: their messages, and how they stop.

use std::future::pending;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use corering::cores::Core;
use corering::sim::{self, Sim};
use corering::spawn;
use corering::task::{JoinSet, yield_now};
use corering::time::{sleep, timeout};

const CORES: usize = 3;
/// Longer than anything here takes unless it hangs.
const LONG: Duration = Duration::from_secs(60);
const MILLI: Duration = Duration::from_millis(1);

/// Many seeds, none of which is made smaller: that takes long with so many tasks.
fn check<F: Future<Output = ()> + 'static>(test: impl Fn(Sim) -> F) {
    if let Err(failure) = sim::Check::new().seeds(300).shrink(false).run(test) {
        panic!("{failure}");
    }
}

/// What became of each message, by all cores of a host together.
#[derive(Default)]
struct Fates {
    next: AtomicU64,
    /// Message by message: how often it was run, and what its sender was told.
    all: Mutex<Vec<(u32, Option<bool>)>>,
}

impl Fates {
    fn send(&self) -> usize {
        self.all.lock().unwrap().push((0, None));
        self.next.fetch_add(1, Ordering::Relaxed) as usize
    }

    fn run(&self, message: usize) {
        self.all.lock().unwrap()[message].0 += 1;
    }

    fn told(&self, message: usize, done: bool) {
        let before = self.all.lock().unwrap()[message].1.replace(done);
        assert_eq!(before, None);
    }

    /// Nothing was run twice, and what is said to be done was.
    fn check(&self, all_are_told: bool) -> usize {
        let all = self.all.lock().unwrap();
        for (message, &(runs, told)) in all.iter().enumerate() {
            assert!(runs <= 1, "message {message} ran {runs} times");
            assert!(
                told != Some(true) || runs == 1,
                "message {message} was not run"
            );
            assert!(
                told.is_some() || !all_are_told,
                "message {message} is not answered"
            );
        }
        all.len()
    }
}

/// Sends `count` messages to cores that `sim` chooses, several at a time.
async fn send(sim: Sim, core: Core, fates: Arc<Fates>, count: u64) {
    let mut sending = JoinSet::new();
    for _ in 0..count {
        let to = sim.random(core.count() as u64) as usize;
        let pause = sim.random(3);
        let (message, theirs) = (fates.send(), Arc::clone(&fates));
        let sent = core.spawn_on(to, move || async move {
            for _ in 0..pause {
                yield_now().await;
            }
            theirs.run(message);
            (message, Core::current().expect("a core").index())
        });
        let fates = Arc::clone(&fates);
        sending.spawn(async move {
            let done = timeout(LONG, sent).await.expect("an answer");
            fates.told(message, done.is_ok());
            assert!(done.is_err() || done.is_ok_and(|ran| ran == (message, to)));
        });
        if sim.chance(0.2) {
            sending.join_next().await.expect("one is there").unwrap();
        }
        if sim.chance(0.1) {
            sleep(MILLI * sim.random(4) as u32).await;
        }
    }
    sending.join_all().await;
}

async fn ends(host: &sim::Host) {
    let wait = async {
        while host.is_running() {
            sleep(MILLI).await;
        }
    };
    timeout(LONG * 3, wait).await.expect("the host ends");
}

#[test]
fn every_message_between_cores_runs_once_and_is_answered() {
    check(|sim| async move {
        let host = sim.host("service");
        let (fates, done) = (Arc::new(Fates::default()), Arc::new(AtomicU64::new(0)));
        let (theirs, all_done, of) = (Arc::clone(&fates), Arc::clone(&done), sim.clone());
        host.run_cores(CORES, move |core| {
            let (fates, sim, done) = (Arc::clone(&theirs), of.clone(), Arc::clone(&all_done));
            async move {
                send(sim, core.clone(), fates, 40).await;
                if done.fetch_add(1, Ordering::Relaxed) + 1 == CORES as u64 {
                    core.stop();
                }
                core.stopping().await;
                core.drain(LONG).await.expect("nothing is left");
            }
        });
        ends(&host).await;
        assert_eq!(done.load(Ordering::Relaxed), CORES as u64);
        let sent = fates.check(true);
        assert_eq!(sent, 40 * CORES);
        let all = fates.all.lock().unwrap();
        assert!(
            all.iter()
                .all(|(runs, told)| *runs == 1 && *told == Some(true))
        );
    });
}

#[test]
fn a_stop_amid_messages_answers_each_and_a_second_one_drops_them() {
    check(|sim| async move {
        let host = sim.host("service");
        let fates = Arc::new(Fates::default());
        let (theirs, of) = (Arc::clone(&fates), sim.clone());
        host.run_cores(CORES, move |core| {
            let (fates, sim) = (Arc::clone(&theirs), of.clone());
            async move {
                let mut round = 0;
                while !core.is_stopping() {
                    spawn(send(sim.clone(), core.clone(), Arc::clone(&fates), 5));
                    sleep(MILLI).await;
                    round += 1;
                    assert!(round < 100_000, "the stop is not seen");
                }
                // Others may still send to this core: it goes when its own work is done.
                core.drain(LONG).await.expect("nothing is left");
            }
        });
        sleep(MILLI * sim.random(30) as u32).await;
        host.interrupt();
        let is_urgent = sim.chance(0.3);
        if is_urgent {
            sleep(MILLI * sim.random(3) as u32).await;
            host.interrupt();
        }
        ends(&host).await;
        fates.check(!is_urgent);
    });
}

#[test]
fn every_core_is_told_of_a_stop() {
    check(|sim| async move {
        let host = sim.host("service");
        let told = Arc::new(AtomicU64::new(0));
        host.run_cores(CORES, move |core| {
            let told = Arc::clone(&told);
            async move {
                core.stopping().await;
                told.fetch_add(1, Ordering::Relaxed);
                // One that ends tells the others, too: none does before all are told.
                while told.load(Ordering::Relaxed) < CORES as u64 {
                    sleep(MILLI).await;
                }
            }
        });
        sleep(MILLI * 5).await;
        host.interrupt();
        ends(&host).await;
    });
}

#[test]
fn what_heeds_no_stop_is_dropped_by_a_second_one() {
    check(|sim| async move {
        let host = sim.host("service");
        host.run_cores(CORES, |core| async move {
            let next = (core.index() + 1) % core.count();
            let _endless = core.spawn_on(next, pending::<()>);
            pending::<()>().await;
        });
        sleep(MILLI * 5).await;
        host.interrupt();
        sleep(MILLI * 50).await;
        assert!(host.is_running());
        host.interrupt();
        ends(&host).await;
    });
}

#[test]
fn cores_that_lose_power_amid_messages_start_anew() {
    check(|sim| async move {
        let host = sim.host("service");
        let fates = Arc::new(Fates::default());
        let (theirs, of) = (Arc::clone(&fates), sim.clone());
        host.run_cores(CORES, move |core| {
            let (fates, sim) = (Arc::clone(&theirs), of.clone());
            async move {
                send(sim, core.clone(), fates, 20).await;
                core.stopping().await;
            }
        });
        for _ in 0..3 {
            sleep(MILLI * sim.random(10) as u32).await;
            if sim.chance(0.5) {
                host.crash();
            } else {
                host.kill();
            }
            host.restart();
        }
        sleep(MILLI * 100).await;
        host.interrupt();
        ends(&host).await;
        assert!(fates.check(false) >= 20 * CORES);
    });
}
