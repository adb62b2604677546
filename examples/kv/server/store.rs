//! The keys of one core and their values.
//!
//! A key that has expired is gone for whoever asks, and removed when somebody asks or when
//! [`Store::expire`] comes by. Keys with a deadline are listed (by their hashes, each key knows its
//! place), so that one round looks at a bounded number of them and needs no other key.

mod value;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::mem;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use corering::sync::Notify;
use corering::time::Instant;
use hashbrown::HashTable;

pub(crate) use self::value::Value;

/// What a key costs besides its bytes and those of its value: an estimate.
const OVERHEAD: usize = 96;
/// Keys that one round of expiry looks at, at most.
const ROUND_MAX: usize = 4096;
/// A round ends when less than a quarter of so many keys had expired.
const SAMPLE: usize = 32;

/// Milliseconds since 1970, for deadlines. It does not jump, as the clock on the wall may.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
    start_ms: i64,
}

impl Clock {
    /// Begins at what the clock on the wall shows.
    pub(crate) fn start() -> Clock {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH);
        let start_ms = wall.map_or(0, |since| since.as_millis());
        Clock {
            start: Instant::now(),
            start_ms: i64::try_from(start_ms).unwrap_or(i64::MAX / 2),
        }
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.start_ms + i64::try_from(self.start.elapsed().as_millis()).unwrap_or(i64::MAX / 2)
    }
}

/// How keys are hashed: alike on all cores, and unlike in any other process.
#[derive(Clone, Debug)]
pub(crate) struct Hashing(ahash::RandomState);

impl Hashing {
    pub(crate) fn random() -> Hashing {
        let random = RandomState::new();
        Hashing::seeded([1, 2, 3, 4].map(|number: u64| random.hash_one(number)))
    }

    /// Alike in every process that says the same.
    pub(crate) fn seeded([a, b, c, d]: [u64; 4]) -> Hashing {
        Hashing(ahash::RandomState::with_seeds(a, b, c, d))
    }

    #[inline]
    pub(crate) fn hash(&self, key: &[u8]) -> u64 {
        let mut hasher = self.0.build_hasher();
        hasher.write(key);
        hasher.finish()
    }
}

/// A key with its hash.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) hash: u64,
}

#[derive(Debug)]
struct Entry {
    key: Box<[u8]>,
    value: Value,
    /// When it expires; [`NEVER`] if it does not.
    deadline_ms: i64,
    /// Where its hash is in the list, if it expires.
    listed: usize,
}

/// The deadline of a key that has none.
pub(crate) const NEVER: i64 = 0;

/// What becomes of a key's deadline when its value is set.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Deadline {
    Keep,
    Set(i64),
}

/// The keys of one core.
#[derive(Debug)]
pub(crate) struct Store {
    table: HashTable<Entry>,
    hashing: Hashing,
    /// The hashes of all keys that expire.
    expiring: Vec<u64>,
    /// Where the next round of expiry begins in it.
    cursor: usize,
    clock: Clock,
    /// Estimated bytes of all keys.
    used: usize,
    used_max: usize,
    expired: u64,
    /// Told when there is a key that expires, and there was none.
    first: Rc<Notify>,
}

impl Store {
    /// An empty store that calls itself full at `used_max` bytes.
    pub(crate) fn new(hashing: Hashing, clock: Clock, used_max: usize) -> Store {
        Store {
            table: HashTable::new(),
            hashing,
            expiring: Vec::new(),
            cursor: 0,
            clock,
            used: 0,
            used_max,
            expired: 0,
            first: Rc::default(),
        }
    }

    #[inline]
    pub(crate) fn key<'a>(&self, bytes: &'a [u8]) -> Key<'a> {
        let hash = self.hashing.hash(bytes);
        Key { bytes, hash }
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    /// Keys that are here, those included that have expired and that nobody has come across yet.
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    pub(crate) fn expiring(&self) -> usize {
        self.expiring.len()
    }

    /// Estimated bytes of all keys and values.
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    /// Keys that were removed since their time had come.
    pub(crate) fn expired(&self) -> u64 {
        self.expired
    }

    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.used >= self.used_max
    }

    /// The value, unless the key has expired.
    #[inline]
    pub(crate) fn value(&mut self, key: Key<'_>) -> Option<&Value> {
        self.live(key).map(|entry| &entry.value)
    }

    /// When the key expires, or [`NEVER`]; `None` if there is no such key.
    pub(crate) fn deadline(&mut self, key: Key<'_>) -> Option<i64> {
        self.live(key).map(|entry| entry.deadline_ms)
    }

    pub(crate) fn contains(&mut self, key: Key<'_>) -> bool {
        self.live(key).is_some()
    }

    /// Makes `bytes` the value of the key.
    #[inline]
    pub(crate) fn set(&mut self, key: Key<'_>, bytes: &[u8], deadline: Deadline) {
        let Some(entry) = self.live(key) else {
            return self.insert(key, bytes, deadline);
        };
        let (before, had) = (entry.value.len(), entry.deadline_ms);
        entry.value.set(bytes);
        self.used = self.used + bytes.len() - before;
        if let Deadline::Set(deadline_ms) = deadline
            && deadline_ms != had
        {
            self.set_deadline(key, deadline_ms);
        }
    }

    /// Lets `change` work on the value, which begins empty if there is no such key.
    pub(crate) fn update<R>(&mut self, key: Key<'_>, change: impl FnOnce(&mut Value) -> R) -> R {
        if !self.contains(key) {
            self.insert(key, b"", Deadline::Keep);
        }
        let entry = self.live(key).expect("it was there, or was put there");
        let before = entry.value.len();
        let result = change(&mut entry.value);
        let after = entry.value.len();
        self.used = self.used + after - before;
        result
    }

    /// Sets or, with [`NEVER`], takes away the deadline of a key that is there.
    pub(crate) fn set_deadline(&mut self, key: Key<'_>, deadline_ms: i64) {
        let listed = self.expiring.len();
        let Some(entry) = self
            .table
            .find_mut(key.hash, |entry| *entry.key == *key.bytes)
        else {
            return;
        };
        let had = mem::replace(&mut entry.deadline_ms, deadline_ms);
        match (had, deadline_ms) {
            (NEVER, NEVER) => {}
            (NEVER, _) => {
                entry.listed = listed;
                self.list(key.hash);
            }
            (_, NEVER) => {
                let listed = entry.listed;
                self.unlist(listed);
            }
            _ => {}
        }
    }

    /// Whether the key was there.
    pub(crate) fn remove(&mut self, key: Key<'_>) -> bool {
        // One that has expired was not.
        if !self.contains(key) {
            return false;
        }
        let found = self
            .table
            .find_entry(key.hash, |entry| *entry.key == *key.bytes);
        let Ok(found) = found else {
            return false;
        };
        let (entry, _) = found.remove();
        self.forget(&entry);
        true
    }

    /// Removes everything. What it was is returned, for it may take long to drop.
    pub(crate) fn clear(&mut self) -> impl Send + 'static {
        self.expiring = Vec::new();
        self.used = 0;
        mem::take(&mut self.table)
    }

    /// For [`expire`](Store::expire): told when there is a key that expires, and there was none.
    pub(crate) fn first(&self) -> Rc<Notify> {
        Rc::clone(&self.first)
    }

    /// Removes keys that have expired: as many as it comes across while there are many among those
    /// that it looks at, and never more than 4,096.
    pub(crate) fn expire(&mut self) {
        let now_ms = self.now_ms();
        let mut looked_at = 0;
        while looked_at < ROUND_MAX && !self.expiring.is_empty() {
            let sample = SAMPLE.min(self.expiring.len());
            let gone = (0..sample).filter(|_| self.expire_next(now_ms)).count();
            looked_at += sample;
            if gone * 4 < sample {
                break;
            }
        }
    }

    /// Looks at the key at the cursor; whether it has expired.
    fn expire_next(&mut self, now_ms: i64) -> bool {
        if self.cursor >= self.expiring.len() {
            self.cursor = 0;
        }
        let at = self.cursor;
        let Some(&hash) = self.expiring.get(at) else {
            return false;
        };
        let listed = |entry: &Entry| entry.deadline_ms != NEVER && entry.listed == at;
        let Ok(found) = self.table.find_entry(hash, listed) else {
            unreachable!("what is listed is in the table");
        };
        if now_ms <= found.get().deadline_ms {
            self.cursor += 1;
            return false;
        }
        let (entry, _) = found.remove();
        self.forget(&entry);
        self.expired += 1;
        true
    }

    /// The entry of the key. One that has expired is removed.
    #[inline]
    fn live(&mut self, key: Key<'_>) -> Option<&mut Entry> {
        let same = |entry: &Entry| *entry.key == *key.bytes;
        let bucket = self.table.find_bucket_index(key.hash, same)?;
        let deadline_ms = self.table.get_bucket(bucket)?.deadline_ms;
        if deadline_ms != NEVER && self.clock.now_ms() > deadline_ms {
            self.remove_expired(bucket);
            return None;
        }
        self.table.get_bucket_mut(bucket)
    }

    #[cold]
    fn remove_expired(&mut self, bucket: usize) {
        if let Ok(found) = self.table.get_bucket_entry(bucket) {
            let (entry, _) = found.remove();
            self.forget(&entry);
            self.expired += 1;
        }
    }

    #[cold]
    fn insert(&mut self, key: Key<'_>, bytes: &[u8], deadline: Deadline) {
        let deadline_ms = match deadline {
            Deadline::Keep => NEVER,
            Deadline::Set(deadline_ms) => deadline_ms,
        };
        let entry = Entry {
            key: key.bytes.into(),
            value: Value::new(bytes),
            deadline_ms,
            listed: self.expiring.len(),
        };
        self.used += cost(&entry);
        if deadline_ms != NEVER {
            self.list(key.hash);
        }
        self.table
            .insert_unique(key.hash, entry, |entry| self.hashing.hash(&entry.key));
    }

    /// Accounts for an entry that is no longer in the table.
    fn forget(&mut self, entry: &Entry) {
        self.used -= cost(entry);
        if entry.deadline_ms != NEVER {
            self.unlist(entry.listed);
        }
    }

    /// Adds a place to the list.
    fn list(&mut self, hash: u64) {
        if self.expiring.is_empty() {
            self.first.notify_one();
        }
        self.expiring.push(hash);
    }

    /// Takes a place off the list. The last in it moves there, and its key is told.
    fn unlist(&mut self, place: usize) {
        self.expiring.swap_remove(place);
        let was = self.expiring.len();
        if let Some(&hash) = self.expiring.get(place) {
            let moved = |entry: &Entry| entry.deadline_ms != NEVER && entry.listed == was;
            let moved = self.table.find_mut(hash, moved);
            moved.expect("what is listed is in the table").listed = place;
        }
    }
}

fn cost(entry: &Entry) -> usize {
    entry.key.len() + entry.value.len() + OVERHEAD
}
