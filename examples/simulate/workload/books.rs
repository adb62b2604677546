//! What both ends of each connection say of it, and the comparison.
//!
//! An end that goes away without warning leaves its entries as they are: they are written while
//! the bytes move, not when all is over.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

/// Of whom a connection is seen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Side {
    Client,
    Server,
}

/// What one end knows.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Half {
    /// Bytes that were sent for sure, and bytes that may have been.
    pub(crate) sent_least: u64,
    pub(crate) sent_most: u64,
    /// All of them were sent, and then the write side was shut down.
    pub(crate) shut: bool,
    /// The last of them were not waited for: an error of theirs would not be known.
    pub(crate) is_unsure: bool,
    pub(crate) received: u64,
    /// Received until the end of the stream.
    pub(crate) saw_end: bool,
    /// It has begun, and it has come to its own end.
    pub(crate) has_begun: bool,
    pub(crate) is_over: bool,
}

impl Half {
    /// Whether the end that it saw is the peer's. The kernel reports a reset once, to whoever asks
    /// first. Where that was a send that had begun, it is told the number of bytes sent instead,
    /// and a read sees an end that is none. A side that has closed its write side in order has
    /// nothing in flight that could be told.
    fn has_ended(&self) -> bool {
        self.saw_end && self.shut
    }
}

pub(crate) struct Connection {
    pub(crate) id: u64,
    /// The hosts of its client and its server.
    pub(crate) hosts: [usize; 2],
    halves: [Cell<Half>; 2],
    /// Why it may end otherwise than in order.
    excuse: Cell<Option<&'static str>>,
}

impl Connection {
    pub(crate) fn half(&self, side: Side) -> &Cell<Half> {
        &self.halves[side as usize]
    }

    pub(crate) fn note(&self, side: Side, change: impl FnOnce(&mut Half)) {
        let mut half = self.half(side).get();
        change(&mut half);
        self.half(side).set(half);
    }

    pub(crate) fn excuse(&self, why: &'static str) {
        self.excuse.set(self.excuse.get().or(Some(why)));
    }

    pub(crate) fn is_excused(&self) -> bool {
        self.excuse.get().is_some()
    }
}

#[derive(Default)]
pub(crate) struct Books {
    connections: RefCell<BTreeMap<u64, Rc<Connection>>>,
    /// Connects that did not come to be a connection for their caller.
    pub(crate) connects_ended: Cell<u64>,
    /// Accepted connections that have not said who they are.
    pub(crate) strangers: Cell<u64>,
    /// How often each host has fallen.
    falls: RefCell<BTreeMap<usize, u64>>,
}

impl Books {
    pub(crate) fn open(&self, id: u64, hosts: [usize; 2]) -> Rc<Connection> {
        let connection = Rc::new(Connection {
            id,
            hosts,
            halves: Default::default(),
            excuse: Cell::new(None),
        });
        let mut connections = self.connections.borrow_mut();
        connections.insert(id, Rc::clone(&connection));
        connection
    }

    pub(crate) fn find(&self, id: u64) -> Option<Rc<Connection>> {
        self.connections.borrow().get(&id).cloned()
    }

    /// A host was killed, with all that it had not told anybody yet.
    pub(crate) fn fallen(&self, host: usize, why: &'static str) {
        *self.falls.borrow_mut().entry(host).or_default() += 1;
        self.excuse(why, |connection| connection.hosts.contains(&host));
    }

    pub(crate) fn falls_of(&self, host: usize) -> u64 {
        self.falls.borrow().get(&host).copied().unwrap_or(0)
    }

    /// Excuses the connections that `which` names.
    pub(crate) fn excuse(&self, why: &'static str, which: impl Fn(&Connection) -> bool) {
        for connection in self.connections.borrow().values() {
            if which(connection) {
                connection.excuse(why);
            }
        }
    }

    /// What does not agree. `faults`: operations that have failed by themselves and resets, each
    /// of which may have hurt one connection.
    pub(crate) fn compare(&self, faults: u64) -> Result<(), String> {
        let (mut lost, mut hurt, mut last) = (self.connects_ended.get(), 0, String::new());
        for connection in self.connections.borrow().values() {
            let halves = [Side::Client, Side::Server].map(|side| connection.half(side).get());
            let excuse = connection.excuse.get();
            let told = |wrong: String| {
                let (id, [client, server]) = (connection.id, &halves);
                format!(
                    "connection {id:x}: {wrong}; client {client:?}, server {server:?}, \
                     excuse {excuse:?}"
                )
            };
            both(&halves, false).map_err(told)?;
            if excuse.is_none()
                && let Err(wrong) = both(&halves, true)
            {
                (hurt, last) = (hurt + 1, told(wrong));
            }
            lost += u64::from(!halves[1].has_begun);
        }
        if hurt > faults {
            return Err(format!(
                "{hurt} connections are hurt by {faults} faults: {last}"
            ));
        }
        let strangers = self.strangers.get();
        if strangers > lost.saturating_add(faults) && self.falls.borrow().is_empty() {
            return Err(format!(
                "{strangers} accepted connections are nobody's, {lost} were given up"
            ));
        }
        Ok(())
    }
}

fn both([client, server]: &[Half; 2], exact: bool) -> Result<(), String> {
    direction(client, server, exact)?;
    direction(server, client, exact)?;
    if exact && !server.has_begun {
        return Err("was never accepted".to_owned());
    }
    Ok(())
}

fn direction(from: &Half, to: &Half, exact: bool) -> Result<(), String> {
    let (least, most, received) = (from.sent_least, from.sent_most, to.received);
    if received > most {
        return Err(format!("{received} bytes came of {most}"));
    }
    // The end of the stream comes after all that was sent.
    let whole = from.shut && (exact || !from.is_unsure);
    if to.has_ended() && (received < least || whole && received != most) {
        return Err(format!("{received} bytes and the end came of {least}"));
    }
    let whole = from.is_over && to.is_over && from.shut && to.saw_end && received == most;
    if exact && !whole {
        return Err("did not end in order".to_owned());
    }
    Ok(())
}
