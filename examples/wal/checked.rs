//! The service on a simulated machine whose power fails: no record that was acknowledged is lost
//! or changed, none is there that was never appended, and none twice.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::panic;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use corering::net::TcpStream;
use corering::sim::{Check, Fault, Faults, Sim};
use corering::time::{sleep, timeout};

use crate::json_lines;
use crate::log::Options;
use crate::server::{Reply, Request, serve};

const CLIENTS: usize = 3;
const REQUESTS: usize = 20;
/// Few, so that the log is shortened often.
pub(crate) const RETAINED: usize = 8;
/// Nobody tells a client that its server has lost power.
const PATIENCE: Duration = Duration::from_secs(1);

/// With faults that the service itself is told of: disks that fail, connections that are reset.
pub(crate) fn check() -> Check {
    let faults = Faults::default()
        .rate(Fault::Error, 0.002)
        .rate(Fault::DiskError, 0.002);
    let faults = faults.rate(Fault::Reset, 0.01);
    Check::new().faults(faults).limit(Duration::from_secs(60))
}

/// One run: clients append while the machine fails and comes back.
pub(crate) async fn test(sim: Sim, options: Options) {
    let machine = sim.host("log");
    machine.run(move || serve("0.0.0.0:7000", Path::new("/data"), options));
    let known = Rc::new(RefCell::new(Known::default()));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|name| corering::spawn(client(sim.clone(), name, Rc::clone(&known))))
        .collect();
    while !clients.iter().all(|client| client.is_finished()) {
        sleep(Duration::from_micros(sim.random(20_000))).await;
        match sim.random(3) {
            0 => machine.crash(),
            1 => machine.kill(),
            _ => {}
        }
        sleep(Duration::from_micros(sim.random(20_000))).await;
        if !machine.is_running() {
            machine.restart();
        }
    }
    for client in clients {
        if let Err(panicked) = client.await {
            panic::resume_unwind(panicked.into_panic());
        }
    }
    // Nothing fails any more: the log is there again, takes a record, and has all of them.
    sim.calm();
    machine.restart();
    let mut tries = 0;
    while !append(&sim, format!("last.{tries}"), &known).await {
        tries += 1;
    }
    machine.crash();
    machine.restart();
    while !read(&known).await {}
}

/// Appends records, and reads all of them now and then.
async fn client(sim: Sim, name: usize, known: Rc<RefCell<Known>>) {
    for n in 0..REQUESTS {
        if sim.chance(0.2) {
            read(&known).await;
        } else {
            // Longer than a sector now and then, so that it can be torn.
            let padding = "x".repeat(sim.random(1500) as usize);
            append(&sim, format!("{name}.{n} {padding}"), &known).await;
        }
    }
}

/// Whether there was an answer. If not, the record may be there or not, and it is not sent again:
/// it must not be there twice.
async fn append(sim: &Sim, record: String, known: &RefCell<Known>) -> bool {
    known.borrow_mut().begun.insert(record.clone());
    let Some(Reply::Appended(number)) = ask(&Request::Append(record.clone())).await else {
        return false;
    };
    sim.note(format_args!(
        "{} is acknowledged as {number}",
        brief(&record)
    ));
    known.borrow_mut().learn(number, &record);
    true
}

/// Whether there was an answer.
async fn read(known: &RefCell<Known>) -> bool {
    let before = known.borrow().clone();
    let Some(Reply::Records(first, records)) = ask(&Request::Records).await else {
        return false;
    };
    known.borrow_mut().compare(&before, first, &records);
    true
}

/// A connection for each request; `None` if there is no answer.
async fn ask(request: &Request) -> Option<Reply> {
    let asking = async {
        let stream = TcpStream::connect("log:7000").await?;
        json_lines::send(&stream, request).await?;
        json_lines::receive(&stream).await
    };
    match timeout(PATIENCE, asking).await {
        Ok(Ok(reply)) => reply,
        _ => {
            sleep(Duration::from_millis(2)).await;
            None
        }
    }
}

/// What the log has to hold: the oracle.
#[derive(Clone, Default)]
struct Known {
    /// Every record that was sent, so that it may be there.
    begun: BTreeSet<String>,
    /// Records that were acknowledged, or read: they are there for good.
    durable: BTreeMap<u64, String>,
}

impl Known {
    fn learn(&mut self, number: u64, record: &str) {
        let before = self
            .durable
            .entry(number)
            .or_insert_with(|| record.to_owned());
        assert_eq!(
            brief(before),
            brief(record),
            "number {number} is given twice"
        );
    }

    /// `before`: what was known when the records were asked for.
    fn compare(&mut self, before: &Known, first: u64, records: &[String]) {
        let end = first + records.len() as u64;
        if let Some((last, record)) = before.durable.last_key_value() {
            let record = brief(record);
            assert!(
                *last < end,
                "lost: {last} ({record}) of a log that ends at {end}"
            );
        }
        assert!(
            first == 0 || records.len() >= RETAINED,
            "too few are retained"
        );
        let mut seen = BTreeSet::new();
        for (number, record) in (first..).zip(records) {
            assert!(self.begun.contains(record), "nobody sent {}", brief(record));
            assert!(seen.insert(record), "{} is there twice", brief(record));
            self.learn(number, record);
        }
    }
}

fn brief(record: &str) -> &str {
    record.split(' ').next().unwrap_or(record)
}
