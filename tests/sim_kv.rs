//! The example `kv` on simulated hosts with several cores: every reply against a model, with short
//! counts, late and reordered completions and resets, and a stop that leaves nothing unanswered.

#[path = "sim_kv/client.rs"]
mod client;
#[path = "sim_kv/model.rs"]
mod model;
#[expect(
    dead_code,
    unused_imports,
    reason = "no metrics are shown, and no port is reserved"
)]
#[path = "../examples/kv/server/mod.rs"]
mod server;

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use corering::sim::{self, Fault, Faults, Host, Sim};
use corering::spawn;
use corering::time::{sleep, timeout};

use client::{Client, work};
use server::{Clock, Config, Hashing, Server, listen};

const PORT: u16 = 6379;
const CLIENTS: u64 = 3;
const MILLI: Duration = Duration::from_millis(1);
/// Longer than anything here takes unless it hangs.
const LONG: Duration = Duration::from_secs(120);
/// How long a stop waits for connections.
const DRAIN: Duration = Duration::from_secs(60);

/// A server on one to three cores, and how many of them have stopped in good order.
struct Service {
    host: Host,
    cores: usize,
    stopped: Arc<AtomicUsize>,
}

impl Service {
    fn start(sim: &Sim) -> Service {
        let cores = 1 + sim.random(3) as usize;
        let config = Config {
            port: PORT,
            cores,
            bulk_max: 1 << 20,
            clients_max: 100,
            memory_max: 1 << 30,
            hashing: Hashing::seeded([0; 4].map(|_| sim.random(u64::MAX))),
            clock: Clock::start(),
            clients: Arc::default(),
        };
        let (host, stopped) = (sim.host("kv"), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&stopped);
        host.run_cores(cores, move |core| {
            let (config, stopped) = (config.clone(), Arc::clone(&counted));
            async move {
                let listener = listen(([0; 4], PORT).into())?;
                let server = Server::start(core.clone(), &config, listener);
                core.stopping().await;
                server.stop(DRAIN).await?;
                stopped.fetch_add(1, Ordering::Relaxed);
                std::io::Result::Ok(())
            }
        });
        Service {
            host,
            cores,
            stopped,
        }
    }

    fn address(&self) -> SocketAddr {
        (self.host.ip(), PORT).into()
    }

    /// Waits for the end of a stop.
    async fn ends(&self) {
        let wait = async {
            while self.host.is_running() {
                sleep(MILLI).await;
            }
        };
        timeout(LONG, wait).await.expect("the host ends");
        let stopped = self.stopped.load(Ordering::Relaxed);
        assert_eq!(stopped, self.cores, "a core had something left");
    }
}

/// Many seeds, none of which is made smaller: that takes long with so many commands.
fn check<F: Future<Output = ()> + 'static>(faults: Faults, test: impl Fn(Sim) -> F) {
    let check = sim::Check::new().seeds(200).faults(faults).shrink(false);
    if let Err(failure) = check.run(test) {
        panic!("{failure}");
    }
}

#[test]
fn every_reply_is_right_and_none_is_wrong_after_a_reset() {
    let (asked, resets) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counts = (Arc::clone(&asked), Arc::clone(&resets));
    check(Faults::default().rate(Fault::Reset, 0.01), move |sim| {
        let (asked, resets) = (Arc::clone(&counts.0), Arc::clone(&counts.1));
        async move {
            let service = Service::start(&sim);
            let address = service.address();
            let clients: Vec<_> = (0..CLIENTS)
                .map(|id| spawn(work(sim.clone(), id, address, Rc::default())))
                .collect();
            for client in clients {
                let work = timeout(LONG, client).await.expect("in time").unwrap();
                asked.fetch_add(work.answered, Ordering::Relaxed);
                resets.fetch_add(work.resets, Ordering::Relaxed);
            }
            service.host.interrupt();
            service.ends().await;
        }
    });
    let (asked, resets) = (
        asked.load(Ordering::Relaxed),
        resets.load(Ordering::Relaxed),
    );
    println!("{asked} commands, {resets} resets");
    assert!(asked > 10_000 && resets > 40);
}

#[test]
fn what_has_come_before_a_stop_is_answered() {
    check(Faults::default(), |sim| async move {
        let service = Service::start(&sim);
        let mut clients = Vec::new();
        for id in 0..CLIENTS {
            let client = Client::connect(&sim, service.address(), format!("{id}:"));
            clients.push(client.await.expect("nothing is reset"));
        }
        sim.calm();
        let mut sent = Vec::new();
        for client in &mut clients {
            sent.push(client.send(1 + sim.random(40)).await);
        }
        // It takes half a millisecond at most to get there.
        sleep(MILLI).await;
        service.host.interrupt();
        for (client, sent) in clients.into_iter().zip(sent) {
            let replies = timeout(LONG, client.replies(&sent)).await.expect("in time");
            assert_eq!(replies, (sent.len(), None), "something is not answered");
            timeout(LONG, client.ended()).await.expect("in time");
        }
        service.ends().await;
    });
}

#[test]
fn a_stop_amid_commands_answers_with_whole_replies_and_ends() {
    check(Faults::default(), |sim| async move {
        let service = Service::start(&sim);
        let (address, stopping) = (service.address(), Rc::new(Cell::new(false)));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|id| spawn(work(sim.clone(), id, address, Rc::clone(&stopping))))
            .collect();
        sleep(Duration::from_micros(sim.random(20_000))).await;
        stopping.set(true);
        service.host.interrupt();
        for client in clients {
            timeout(LONG, client).await.expect("in time").unwrap();
        }
        service.ends().await;
    });
}
