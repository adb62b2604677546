//! The counter on three simulated hosts that fail, and a network that comes apart: an increment
//! that was acknowledged is never lost, none is counted twice, and a term has one primary.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::panic;
use std::rc::Rc;
use std::time::Duration;

use corering::sim::{Check, Fault, Faults, Host, Sim};
use corering::time::{sleep, timeout};

use crate::node::{Config, Reply, Request, ask, serve};

const NODES: [&str; 3] = ["a", "b", "c"];
const CLIENTS: u64 = 3;
const REQUESTS: u64 = 8;
const ROUNDS: usize = 40;
/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_millis(200);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    pub(crate) copies: usize,
    pub(crate) votes_are_durable: bool,
}

/// With faults that the service itself is told of: disks that fail, connections that are reset.
pub(crate) fn check() -> Check {
    let faults = Faults::default()
        .rate(Fault::Error, 0.002)
        .rate(Fault::DiskError, 0.002);
    let faults = faults.rate(Fault::Reset, 0.01);
    Check::new().faults(faults).limit(Duration::from_secs(300))
}

/// One run: clients increment while hosts and network fail. When that ends, all must be answered.
pub(crate) async fn test(sim: Sim, options: Options) {
    let hosts = NODES.map(|name| sim.host(name));
    for (node, host) in hosts.iter().enumerate() {
        let config = Config {
            node,
            addresses: NODES.map(|name| format!("{name}:7100")).into(),
            directory: "/".into(),
            copies: options.copies,
            votes_are_durable: options.votes_are_durable,
        };
        host.run(move || serve(config.clone()));
    }
    let known = Rc::new(RefCell::new(Known::default()));
    // Runs differ in pace: some bugs show under a crowd of requests, some where there are few.
    let pause = 100_000 >> sim.random(8);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|name| corering::spawn(client(sim.clone(), name, pause, Rc::clone(&known))))
        .collect();
    for _ in 0..ROUNDS {
        sleep(Duration::from_micros(sim.random(pause))).await;
        trouble(&sim, &hosts);
    }
    sim.calm();
    while !clients.iter().all(|client| client.is_finished()) {
        // Again and again: one may still end for a fault of before.
        for host in hosts.iter().filter(|host| !host.is_running()) {
            host.restart();
        }
        sleep(Duration::from_millis(10)).await;
    }
    for client in clients {
        if let Err(panicked) = client.await {
            panic::resume_unwind(panicked.into_panic());
        }
    }
    let counted: Vec<u64> = known.borrow().values.iter().copied().collect();
    let all: Vec<u64> = (1..=CLIENTS * REQUESTS).collect();
    assert_eq!(counted, all, "requests were counted twice");
}

fn trouble(sim: &Sim, hosts: &[Host]) {
    let host = || &hosts[sim.random(hosts.len() as u64) as usize];
    match sim.random(8) {
        0 => sim.partition(host(), host()),
        1 => sim.cut_one_way(host(), host()),
        2 | 3 => sim.heal_all(),
        4 => host().crash(),
        5 => host().kill(),
        _ => {}
    }
    let down = hosts.iter().filter(|host| !host.is_running());
    for host in down.filter(|_| sim.chance(0.5)) {
        host.restart();
    }
}

/// Increments, and asks one node after the other until it is told a value.
async fn client(sim: Sim, client: u64, pause: u64, known: Rc<RefCell<Known>>) {
    let mut node = client as usize;
    for n in 1..=REQUESTS {
        sleep(Duration::from_micros(sim.random(pause))).await;
        let before = known.borrow().values.last().copied().unwrap_or(0);
        loop {
            let address = format!("{}:7100", NODES[node]);
            let request = Request::Increment { client, n };
            match timeout(PATIENCE, ask(&address, &request)).await {
                Ok(Ok(Reply::Counted { term, value })) => {
                    let name = NODES[node];
                    sim.note(format_args!(
                        "{client}.{n}: {value}, says {name} in term {term}"
                    ));
                    known.borrow_mut().counted(before, name, term, value);
                    break;
                }
                Ok(Ok(Reply::Elsewhere(other))) => node = other,
                _ => node = (node + 1) % NODES.len(),
            }
            sleep(Duration::from_micros(sim.random(20_000))).await;
        }
    }
}

/// What clients were told: the oracle.
#[derive(Default)]
struct Known {
    values: BTreeSet<u64>,
    /// Who has acknowledged in which term.
    primaries: BTreeMap<u64, &'static str>,
}

impl Known {
    /// `before`: the highest value that was acknowledged when the request was first made.
    fn counted(&mut self, before: u64, node: &'static str, term: u64, value: u64) {
        let primary = *self.primaries.entry(term).or_insert(node);
        assert_eq!(primary, node, "term {term} has two primaries");
        assert!(value > before, "lost: after {before} comes {value}");
        assert!(self.values.insert(value), "lost: two requests gave {value}");
    }
}
