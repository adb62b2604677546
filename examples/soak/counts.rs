//! What both sides count, and the ledger in which they are compared.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

/// Faults that are kept word by word; the others are counted.
const FAULTS_MAX: usize = 20;

/// A number that any thread adds to.
#[derive(Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Default)]
pub(crate) struct Shared {
    /// Connections that both sides know of.
    pub(crate) connections: Count,
    pub(crate) accepted: Count,
    /// Connects that were ended before they were done.
    pub(crate) connects_ended: Count,
    /// Connections that ended before they said who they are: those of connects that were ended.
    pub(crate) strangers: Count,
    pub(crate) operations: Count,
    pub(crate) sent: Count,
    pub(crate) received: Count,
    /// Bytes that connections which were cut or reset have not delivered.
    pub(crate) cut_bytes: Count,
    pub(crate) dropped: Count,
    pub(crate) timeouts: Count,
    pub(crate) cancels: Count,
    /// Writes that were cancelled in the middle.
    pub(crate) torn: Count,
    pub(crate) half_closes: Count,
    pub(crate) cuts: Count,
    pub(crate) resets: Count,
    /// Conversations in which both sides saw the other's orderly end.
    pub(crate) whole: Count,
    pub(crate) files: Count,
    pub(crate) faults: Count,
    texts: Mutex<Vec<String>>,
    halves: Mutex<HashMap<u64, Half>>,
    /// Operations that the kernel has, of the server and of the clients.
    pub(crate) slots: [AtomicUsize; 2],
    pub(crate) clients_stop: AtomicBool,
    pub(crate) server_stops: AtomicBool,
}

/// What one side says of a connection that is over.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Half {
    /// Bytes that were sent for sure, and bytes that may have been.
    pub(crate) sent_least: u64,
    pub(crate) sent_most: u64,
    /// All of them were sent, and then the write side was shut down.
    pub(crate) shut: bool,
    pub(crate) received: u64,
    /// Received until the end of the stream.
    pub(crate) saw_end: bool,
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

impl Shared {
    pub(crate) fn fault(&self, text: impl Display) {
        self.faults.add(1);
        let mut texts = lock(&self.texts);
        if texts.len() < FAULTS_MAX {
            eprintln!("fault: {text}");
            texts.push(text.to_string());
        }
    }

    pub(crate) fn faults(&self) -> Vec<String> {
        lock(&self.texts).clone()
    }

    /// Enters one side's half. The second of the two is compared with the first.
    pub(crate) fn post(&self, id: u64, half: Half) {
        let other = {
            let mut halves = lock(&self.halves);
            let other = halves.remove(&id);
            if other.is_none() {
                halves.insert(id, half);
            }
            other
        };
        let Some(other) = other else {
            return;
        };
        self.compare(id, &half, &other);
        self.compare(id, &other, &half);
        let whole = |half: &Half| half.shut && half.has_ended();
        self.whole.add((whole(&half) && whole(&other)).into());
    }

    fn compare(&self, id: u64, from: &Half, to: &Half) {
        let (least, most, received) = (from.sent_least, from.sent_most, to.received);
        if received > most {
            self.fault(format!("{id:x}: {received} bytes came of {most}"));
        }
        // The end of the stream comes after all that was sent.
        if to.has_ended() && (received < least || (from.shut && received != most)) {
            let text = format!("{received} bytes and the end, of {least}");
            self.fault(format!("{id:x}: {text}: from {from:?} to {to:?}"));
        }
        self.sent.add(most);
        self.received.add(received);
        self.cut_bytes.add(most.saturating_sub(received));
    }

    /// Connections of which only one side has spoken.
    pub(crate) fn unmatched(&self) -> usize {
        lock(&self.halves).len()
    }

    pub(crate) fn slots(&self) -> u64 {
        let slots = self.slots.iter().map(|n| n.load(Ordering::Relaxed));
        slots.sum::<usize>() as u64
    }
}

/// A thread that has panicked is a fault of its own.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|broken| broken.into_inner())
}
