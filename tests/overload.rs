//! More than a service can take: half-open requests by the thousand, and ten times as many
//! connections as it may have. Each test is a process of its own, and prints its figures.

#[path = "../examples/slow_loris/attack.rs"]
mod attack;
mod common;
#[path = "../examples/slow_loris/measure.rs"]
mod measure;
#[path = "../examples/slow_loris/serve.rs"]
mod serve;

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream as StdStream};
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use common::{allow_descriptors, alone, echo, localhost, thread_cpu, until};
use corering::net::{ConnectionLimit, TcpListener, TcpStream};
use corering::runtime::stats;
use corering::task::JoinSet;
use corering::time::{sleep, timeout};
use corering::{Runtime, spawn};

#[test]
fn half_open_requests_take_nothing_from_honest_clients() {
    alone(|| {
        const ATTACKERS: usize = 1000;
        if !allow_descriptors(3 * ATTACKERS) {
            println!("skipped: too few descriptors are allowed");
            return;
        }
        let plan = measure::Plan {
            attackers: ATTACKERS,
            honest: 20,
            each: Duration::from_secs(3),
            limit: 2 * ATTACKERS,
            deadlines: serve::deadlines(),
        };
        let mut figures = attacked(&plan);
        for _ in 1..ATTEMPTS {
            if figures.ratio() >= 0.8 && figures.timed_out >= ATTACKERS as u64 * 9 / 10 {
                break;
            }
            figures = attacked(&plan);
        }
        assert!(figures.open >= ATTACKERS * 9 / 10, "there was no attack");
        assert!(figures.timed_out >= ATTACKERS as u64 * 9 / 10);
        assert!(figures.ratio() >= 0.8, "too few are served");
        let [before, _, end] = figures.resident;
        assert!(end < before + 64 * 1024 * ATTACKERS as u64, "memory grows");
    });
}

/// What honest clients get without an attack, and beside one.
fn attacked(plan: &measure::Plan) -> measure::Figures {
    let attackers = plan.attackers;
    let figures = measure::measure(plan, |address| {
        let (end, ended) = mpsc::channel::<()>();
        thread::spawn(move || {
            Runtime::new().expect("a runtime").block_on(async {
                spawn(attack::attack(address, attackers));
                while ended.try_recv() != Err(mpsc::TryRecvError::Disconnected) {
                    sleep(Duration::from_millis(10)).await;
                }
            });
        });
        Ok(end)
    });
    let figures = figures.expect("it is measured");
    println!("cells: {figures:?}\n{figures}");
    figures
}

const LIMIT: usize = 40;

/// The cheapest of several rounds: what else the machine does only makes them dearer.
#[derive(Clone, Copy, Debug)]
struct Phase {
    /// Answers of all rounds.
    answers: u64,
    /// CPU of the server for each, µs.
    cpu_us: f64,
    /// Its calls of the kernel in a time in which nobody asks anything.
    idle_enters: u64,
    /// Its CPU time in that time.
    idle_cpu: Duration,
}

const ROUNDS: u32 = 4;
const ROUND: Duration = Duration::from_millis(400);
/// So often is it measured again where it seems to cost more: the machine may do something else.
const ATTEMPTS: usize = 5;

impl Phase {
    /// Whether it costs what another costs.
    fn is_as_cheap_as(&self, other: &Phase) -> bool {
        // The server looks every 5 ms whether it is asked something, and at nothing else.
        let most_enters = other.idle_enters * 3 / 2 + 20;
        self.answers * 2 >= other.answers
            && self.cpu_us <= 1.5 * other.cpu_us
            && self.idle_enters <= most_enters
            && self.idle_cpu < ROUND / 2
    }
}

/// Asks for a while, and has the server say what that has cost.
async fn phase(admitted: &[TcpStream], now: impl Fn() -> Answer) -> Phase {
    let (mut answers, mut cpu_us) = (0, f64::INFINITY);
    for _ in 0..ROUNDS {
        let (before, _) = now();
        let answered = ask(admitted, ROUND).await;
        let cpu = now().0 - before;
        answers += answered;
        cpu_us = cpu_us.min(cpu.as_secs_f64() * 1e6 / answered as f64);
    }
    let before = now();
    sleep(ROUND).await;
    let after = now();
    Phase {
        answers,
        cpu_us,
        idle_enters: after.1 - before.1,
        idle_cpu: after.0 - before.0,
    }
}

/// Clients that have a connection and ask at a rate that does not depend on the server's.
async fn ask(clients: &[TcpStream], each: Duration) -> u64 {
    let answers = Rc::new(Cell::new(0));
    let end = Instant::now() + each;
    let all = clients.iter().map(|stream| {
        let answers = Rc::clone(&answers);
        async move {
            while Instant::now() < end {
                stream.write_all("ping").await.0.expect("it is admitted");
                let reply = timeout(Duration::from_secs(20), stream.recv()).await;
                let reply = reply.expect("an answer").expect("no error");
                assert_eq!(reply.as_deref(), Some(&b"ping"[..]));
                answers.set(answers.get() + 1);
                sleep(Duration::from_millis(5)).await;
            }
        }
    });
    futures_util::future::join_all(all).await;
    answers.get()
}

/// What the server thread says when it is asked: its CPU time and its enters.
type Answer = (Duration, u64);

/// A server with a limit, on a thread of its own.
fn serve_within(limit: ConnectionLimit) -> (SocketAddr, mpsc::Sender<mpsc::Sender<Answer>>) {
    let (tell, told) = mpsc::channel();
    let (ask, asked) = mpsc::channel::<mpsc::Sender<Answer>>();
    thread::spawn(move || {
        let runtime = Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let listener = TcpListener::bind(localhost()).await.expect("a listener");
            tell.send(listener.local_addr().expect("its address"))
                .unwrap();
            spawn(async move {
                loop {
                    let (stream, _, permit) = listener.accept_within(&limit).await.unwrap();
                    spawn(async move {
                        let _permit = permit;
                        let _ = echo(stream).await;
                    });
                }
            });
            loop {
                sleep(Duration::from_millis(5)).await;
                match asked.try_recv() {
                    Ok(reply) => {
                        let enters = stats().expect("inside a runtime").enters;
                        reply.send((thread_cpu(), enters)).unwrap();
                    }
                    Err(mpsc::TryRecvError::Empty) => {}
                    Err(mpsc::TryRecvError::Disconnected) => return,
                }
            }
        });
    });
    (told.recv().expect("an address"), ask)
}

#[test]
fn ten_times_the_limit_costs_no_cpu_and_no_error() {
    alone(|| {
        if !allow_descriptors(40 * LIMIT) {
            println!("skipped: too few descriptors are allowed");
            return;
        }
        let limit = ConnectionLimit::new(LIMIT);
        let (address, server) = serve_within(limit.clone());
        let now = || {
            let (reply, answer) = mpsc::channel();
            server.send(reply).unwrap();
            answer.recv().expect("the server is there")
        };
        let clients = Runtime::new().unwrap();
        clients.block_on(async {
            let admitted = connections(address, LIMIT).await;
            until("all are admitted", || limit.in_use() == LIMIT).await;
            ask(&admitted, ROUND).await;
            let at_limit = phase(&admitted, now).await;
            let waiting = (LIMIT..10 * LIMIT).map(|_| {
                let mut client = StdStream::connect(address).expect("room in the backlog");
                client.write_all(b"late").unwrap();
                client
            });
            let waiting: Vec<_> = waiting.collect();
            println!("cells: at the limit {at_limit:?}");
            // Who waits for a permit, or for a connection, sleeps.
            assert!(at_limit.idle_cpu < ROUND / 2, "{at_limit:?}");
            let mut as_cheap = false;
            for _ in 0..ATTEMPTS {
                let beyond = phase(&admitted, now).await;
                println!("cells: ten times it {beyond:?}");
                as_cheap |= beyond.is_as_cheap_as(&at_limit);
                if as_cheap {
                    break;
                }
            }
            assert_eq!(limit.in_use(), LIMIT);
            assert!(as_cheap, "those that wait cost those that are served");

            // The others are served when those are gone: none was dropped or reset.
            drop(admitted);
            let served = thread::spawn(move || waiting.into_iter().for_each(is_answered));
            until("all have been served", || served.is_finished()).await;
            served.join().unwrap();
        });
    });
}

async fn connections(address: SocketAddr, count: usize) -> Vec<TcpStream> {
    let mut connecting = JoinSet::new();
    for _ in 0..count {
        connecting.spawn(async move { TcpStream::connect(address).await.unwrap() });
    }
    let mut connected = Vec::new();
    while let Some(client) = connecting.join_next().await {
        connected.push(client.unwrap());
    }
    connected
}

fn is_answered(mut client: StdStream) {
    let mut reply = [0; 4];
    client.read_exact(&mut reply).expect("an answer");
    assert_eq!(&reply, b"late");
}
