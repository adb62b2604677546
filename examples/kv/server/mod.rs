//! The server: what it is told, and what serves its connections on one core.
//!
//! | | |
//! |---|---|
//! | `request`, `words`, `integer` | from bytes to commands |
//! | `commands` | what they do |
//! | `store` | the keys of a core, and when they expire |
//! | `reply` | from results to bytes |
//! | `connection` | one client: reads, runs, writes |
//! | `remote`, `answers` | commands whose keys are on other cores |
//! | `port`, `metrics` | where it listens, and what it shows |
//! | `shard` | what a core has, and what it counts |

mod answers;
mod commands;
mod connection;
mod integer;
mod metrics;
mod port;
mod remote;
mod reply;
mod request;
mod session;
mod shard;
mod store;
mod words;

use std::io;
use std::net::Shutdown;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use corering::cores::Core;
use corering::net::{TcpListener, TcpStream};
use corering::task::JoinHandle;
use corering::time::{Instant, sleep};

pub(crate) use self::port::{listen, reserve};
use self::shard::{Shard, ShardRef};
pub(crate) use self::store::{Clock, Hashing};

/// What a server is told. All cores have the same.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) port: u16,
    pub(crate) cores: usize,
    /// Bytes of the longest argument.
    pub(crate) bulk_max: usize,
    /// Connections at the same time.
    pub(crate) clients_max: usize,
    /// Estimated bytes of all keys and values.
    pub(crate) memory_max: usize,
    pub(crate) hashing: Hashing,
    pub(crate) clock: Clock,
    /// Connections that there are. The one thing that cores share: it is touched when one comes
    /// and when it goes.
    pub(crate) clients: Arc<AtomicUsize>,
}

/// How often a core looks for keys that have expired.
const EXPIRE_EVERY: Duration = Duration::from_millis(100);

/// How often a stop looks whether all connections have ended.
const LOOK: Duration = Duration::from_millis(1);

/// What serves on one core.
#[derive(Debug)]
pub(crate) struct Server {
    core: Core,
    shard: ShardRef,
    tasks: Vec<JoinHandle<()>>,
}

impl Server {
    /// Serves connections on this core from now on, and has keys for the others.
    pub(crate) fn start(core: Core, config: &Config, listener: TcpListener) -> Server {
        let shard: ShardRef = Rc::new(Shard::new(config).into());
        shard::serve_here(&core, Some(Rc::clone(&shard)));
        let expiring = expire(Rc::clone(&shard));
        let accepting = accept(listener, core.clone(), Rc::clone(&shard));
        let tasks = vec![corering::spawn(expiring), corering::spawn(accepting)];
        Server { core, shard, tasks }
    }

    /// Answers whoever connects there with what all cores have counted.
    pub(crate) fn show_metrics(&mut self, listener: TcpListener) {
        let showing = metrics::serve(listener, self.core.clone());
        self.tasks.push(corering::spawn(showing));
    }

    /// Accepts nothing more, lets all connections end when they have answered what has come, and
    /// waits for them, at most for `limit`. The keys of this core are there as long as any core
    /// has connections.
    pub(crate) async fn stop(mut self, limit: Duration) -> io::Result<()> {
        let end = Instant::now() + limit;
        self.tasks.drain(..).for_each(|task| task.abort());
        for stream in self.streams() {
            // To the connection this is the end of what its client sends. One that has been reset
            // has ended already.
            let _ = stream.shutdown(Shutdown::Read).await;
        }
        let clients = Arc::clone(&self.shard.borrow().config.clients);
        while clients.load(Ordering::Relaxed) > 0 && Instant::now() < end {
            sleep(LOOK).await;
        }
        let left = end.saturating_duration_since(Instant::now());
        self.core.drain(left).await
    }

    fn streams(&self) -> Vec<Rc<TcpStream>> {
        let shard = self.shard.borrow();
        let streams = shard.clients.iter().map(|(_, client)| &client.stream);
        streams.map(Rc::clone).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        shard::serve_here(&self.core, None);
    }
}

async fn expire(shard: ShardRef) {
    let first = shard.borrow().store.first();
    loop {
        // A core that has no such key sleeps as long as nobody asks.
        while shard.borrow().store.expiring() == 0 {
            first.notified().await;
        }
        sleep(EXPIRE_EVERY).await;
        shard.borrow_mut().store.expire();
    }
}

async fn accept(listener: TcpListener, core: Core, shard: ShardRef) {
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            // What passes by itself (no descriptor left, say) does not come here.
            Err(error) => return eprintln!("no more connections: {error}"),
        };
        let guest = Guest::admit(&shard.borrow().config);
        let (core, shard) = (core.clone(), Rc::clone(&shard));
        corering::spawn(async move {
            let served = match &guest {
                Some(_) => connection::serve(stream, peer, &core, &shard).await,
                None => refuse(stream, &shard).await,
            };
            drop(guest);
            match served {
                // A client that goes away in the middle is nothing to report.
                Ok(()) => {}
                Err(error) if is_farewell(&error) => {}
                Err(error) => eprintln!("{peer}: {error}"),
            }
        });
    }
}

/// A connection that is counted.
struct Guest(Arc<AtomicUsize>);

impl Guest {
    /// `None` if there are as many as there may be.
    fn admit(config: &Config) -> Option<Guest> {
        // Counted before it is looked at, or two cores would let the last one in.
        let guest = Guest(Arc::clone(&config.clients));
        let others = config.clients.fetch_add(1, Ordering::Relaxed);
        (others < config.clients_max).then_some(guest)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn refuse(stream: TcpStream, shard: &ShardRef) -> io::Result<()> {
    shard.borrow_mut().counts.refused += 1;
    stream
        .write_all("-ERR max number of clients reached\r\n")
        .await
        .0
}

fn is_farewell(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset};
    matches!(error.kind(), BrokenPipe | ConnectionReset)
}
