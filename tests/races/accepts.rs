//! Accepts raced against their end, while connections come.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::net::{SocketAddr, TcpStream as StdStream};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use corering::net::{TcpListener, TcpStream};
use corering::spawn;
use corering::task::spawn_blocking;
use futures_lite::future::poll_once;
use socket2::SockRef;

use super::common::{Random, localhost};
use super::{Way, cancels_wanted, race, run};

/// More than a listener queues, and less than its backlog holds: a connect does not block.
const WAITING_MAX: u64 = 300;
const ACCEPTORS: u32 = 4;
/// Connections that the server keeps open.
const OPEN_MAX: usize = 100;

/// How often a connection from each address was made.
type Addresses = HashMap<SocketAddr, u64>;

/// What was accepted so far.
#[derive(Default)]
struct Accepted {
    addresses: RefCell<Addresses>,
    count: Cell<u64>,
    cancels: Cell<u64>,
    /// The last ones: a connect that is reset before it returns would be an error.
    open: RefCell<VecDeque<TcpStream>>,
}

impl Accepted {
    fn take(&self, (stream, peer): (TcpStream, SocketAddr)) {
        *self.addresses.borrow_mut().entry(peer).or_default() += 1;
        self.count.set(self.count.get() + 1);
        // A reset, or its port would be kept for a minute.
        let now = Some(Duration::ZERO);
        SockRef::from(&stream)
            .set_linger(now)
            .expect("an open socket");
        let mut open = self.open.borrow_mut();
        open.push_back(stream);
        if open.len() > OPEN_MAX {
            open.pop_front();
        }
    }

    /// One accept that may be ended before.
    async fn accept(&self, listener: &TcpListener, random: &mut Random, happens: impl FnMut()) {
        let (way, polls) = (Way::random(random), 1 + random.below(3));
        match race(listener.accept(), way, happens, polls).await {
            Some(connection) => self.take(connection.expect("an error has ended it")),
            None => self.cancels.set(self.cancels.get() + 1),
        }
    }

    /// Accepts what is left of `connected` connections, and nothing else.
    async fn rest(&self, listener: &TcpListener, connected: &Addresses) {
        let all = connected.values().sum();
        while self.count.get() < all {
            self.take(listener.accept().await.expect("a connection"));
        }
        assert!(poll_once(listener.accept()).await.is_none(), "one too many");
        assert!(*self.addresses.borrow() == *connected, "by address");
    }

    fn report(&self, how: &str) -> String {
        let (cancels, count) = (self.cancels.get(), self.count.get());
        format!("accepts {how}: {cancels} ended before, {count} connections came, 0 lost")
    }
}

/// Clients, by their addresses.
#[derive(Default)]
struct Clients {
    addresses: Addresses,
    open: Vec<StdStream>,
}

impl Clients {
    fn connect(&mut self, address: SocketAddr) {
        let client = StdStream::connect(address).expect("room in the backlog");
        let own = client.local_addr().expect("its address");
        *self.addresses.entry(own).or_default() += 1;
        self.open.push(client);
        // The server has reset the oldest of them long ago.
        if self.open.len() as u64 > 2 * WAITING_MAX {
            self.open.drain(..WAITING_MAX as usize);
        }
    }
}

/// How many connections come at once: now and then more than a listener queues.
fn burst(random: &mut Random) -> usize {
    match random.below(50) {
        0 => 1 + random.below(100),
        _ => 1,
    }
}

#[test]
fn accepts_raced_on_one_thread_lose_no_connection() {
    run(async {
        let listener = TcpListener::bind(localhost()).await.expect("a listener");
        let address = listener.local_addr().expect("its address");
        let accepted = Accepted::default();
        let (mut random, mut moments) = (Random::new(1), Random::new(2));
        let (mut clients, mut made) = (Clients::default(), 0);
        while accepted.cancels.get() < cancels_wanted() {
            let waiting = made - accepted.count.get();
            let connect = || {
                if waiting < WAITING_MAX && moments.below(8) == 0 {
                    for _ in 0..burst(&mut moments) {
                        clients.connect(address);
                        made += 1;
                    }
                }
            };
            accepted.accept(&listener, &mut random, connect).await;
        }
        accepted.rest(&listener, &clients.addresses).await;
        accepted.report("on one thread")
    });
}

#[test]
fn accepts_raced_with_connecting_threads_lose_no_connection() {
    run(async {
        let listener = Rc::new(TcpListener::bind(localhost()).await.expect("a listener"));
        let address = listener.local_addr().expect("its address");
        let accepted = Rc::new(Accepted::default());
        let enough = Arc::new(AtomicBool::new(false));
        let taken = Arc::new(AtomicU64::new(0));
        let connecting = {
            let (enough, taken) = (Arc::clone(&enough), Arc::clone(&taken));
            spawn_blocking(move || connect_at_random(address, &enough, &taken))
        };
        // Several wait in line, so that leaving it is raced, too.
        let tasks: Vec<_> = (0..ACCEPTORS)
            .map(|number| {
                let (listener, accepted) = (Rc::clone(&listener), Rc::clone(&accepted));
                let taken = Arc::clone(&taken);
                spawn(async move {
                    let mut random = Random::new(number + 1);
                    while accepted.cancels.get() < cancels_wanted() {
                        accepted.accept(&listener, &mut random, || {}).await;
                        taken.store(accepted.count.get(), Ordering::Relaxed);
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await
                .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        }
        enough.store(true, Ordering::Relaxed);
        let clients = connecting.await.expect("the clients");
        accepted.rest(&listener, &clients.addresses).await;
        accepted.report("and a connecting thread")
    });
}

/// Connects until it is enough.
fn connect_at_random(address: SocketAddr, enough: &AtomicBool, taken: &AtomicU64) -> Clients {
    let mut random = Random::new(7);
    let (mut clients, mut made) = (Clients::default(), 0);
    while !enough.load(Ordering::Relaxed) {
        if made - taken.load(Ordering::Relaxed).min(made) < WAITING_MAX {
            for _ in 0..burst(&mut random) {
                clients.connect(address);
                made += 1;
            }
        }
        thread::sleep(Duration::from_micros(random.below(120) as u64));
    }
    clients
}
