//! What one core has: its keys, its connections and its counts.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use corering::cores::Core;
use corering::net::TcpStream;
use corering::time::Instant;
use slab::Slab;

use super::Config;
use super::store::Store;

pub(crate) type ShardRef = Rc<RefCell<Shard>>;

thread_local! {
    /// What the cores on this thread have, by their indices: one core, but in a simulation all.
    static HERE: RefCell<Vec<Option<ShardRef>>> = const { RefCell::new(Vec::new()) };
}

/// What the core has that this is called on; `None` before it serves, and after.
pub(crate) fn here() -> Option<ShardRef> {
    let index = Core::current()?.index();
    HERE.with_borrow(|shards| shards.get(index).cloned().flatten())
}

/// Makes a shard the one that is found [`here`], or none.
pub(crate) fn serve_here(core: &Core, shard: Option<ShardRef>) {
    HERE.with_borrow_mut(|shards| {
        let len = shards.len().max(core.count());
        shards.resize(len, None);
        shards[core.index()] = shard;
    });
}

/// What one core has.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) store: Store,
    pub(crate) clients: Slab<Client>,
    pub(crate) counts: Counts,
    pub(crate) config: Config,
    pub(crate) started: Instant,
}

/// A connection, as the others see it.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) id: u64,
    pub(crate) name: Vec<u8>,
    pub(crate) peer: SocketAddr,
    pub(crate) since: Instant,
    pub(crate) stream: Rc<TcpStream>,
}

/// What has happened on a core since it started.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) commands: u64,
    pub(crate) hits: u64,
    pub(crate) misses: u64,
    pub(crate) connections: u64,
    pub(crate) refused: u64,
    pub(crate) malformed: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
}

impl Shard {
    /// Without keys or connections.
    pub(crate) fn new(config: &Config) -> Shard {
        let share = config.memory_max / config.cores;
        let store = Store::new(config.hashing.clone(), config.clock, share);
        Shard {
            store,
            clients: Slab::new(),
            counts: Counts::default(),
            config: config.clone(),
            started: Instant::now(),
        }
    }

    /// All that is counted, with the names that Redis has for it.
    pub(crate) fn metrics(&self) -> [(Metric, u64); 13] {
        let counts = &self.counts;
        [
            (Metric::now("connected_clients"), self.clients.len() as u64),
            (Metric::now("used_memory"), self.store.used() as u64),
            (Metric::now("keys"), self.store.len() as u64),
            (Metric::now("expires"), self.store.expiring() as u64),
            (
                Metric::total("total_connections_received"),
                counts.connections,
            ),
            (Metric::total("total_commands_processed"), counts.commands),
            (Metric::total("total_net_input_bytes"), counts.bytes_in),
            (Metric::total("total_net_output_bytes"), counts.bytes_out),
            (Metric::total("rejected_connections"), counts.refused),
            (Metric::total("protocol_errors"), counts.malformed),
            (Metric::total("keyspace_hits"), counts.hits),
            (Metric::total("keyspace_misses"), counts.misses),
            (Metric::total("expired_keys"), self.store.expired()),
        ]
    }
}

/// Something that is counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Metric {
    pub(crate) name: &'static str,
    /// Whether it only grows.
    pub(crate) is_total: bool,
}

impl Metric {
    pub(crate) fn now(name: &'static str) -> Metric {
        Metric {
            name,
            is_total: false,
        }
    }

    pub(crate) fn total(name: &'static str) -> Metric {
        Metric {
            name,
            is_total: true,
        }
    }
}
