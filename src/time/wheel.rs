//! A hierarchical timer wheel: deadlines in ticks, insert and cancel O(1).
//!
//! # Where an entry is
//!
//! Level `l` has 64 slots of `64^l` ticks each. With `now` the tick up to which everything was
//! fired, an armed entry is on the level of the highest base-64 digit in which its deadline differs
//! from `now`, in the slot of that digit. So:
//!
//! * everything on a level is earlier than everything on the levels above it;
//! * the slots in use on a level are later than `now`'s own digit there (level 0: or equal to it,
//!   and then due), so the earliest is the lowest bit set in the level's map;
//! * when `now` reaches the start of a slot, its entries move down, each at most once per level.
//!
//! What differs from `now` above the seven digits is on the one slot of level 7, which moves down
//! when `now` enters its next round of `64^7` ticks (51 days of microseconds). A deadline is there
//! because it is far away, or because a round ends between now and then.
//!
//! # Who owns an entry
//!
//! An entry belongs to the one holder of its [`Key`], which cannot be copied: it stays, armed or
//! fired, until that holder removes it. Thus no key outlives its entry, and none can meet another.
//! `armed` is false exactly when the entry is in no slot, and then it has no waker.
//!
//! No waker is cloned, woken or dropped in here: they go in and out by value.

use std::task::Waker;

use slab::Slab;

/// Levels of 64 slots each; the level above them has one slot for all that is beyond.
const LEVELS: usize = 7;
const FAR: usize = LEVELS * SLOTS;
const SLOTS: usize = 1 << DIGIT;
/// Bits that one level tells apart.
const DIGIT: usize = 6;
const NIL: u32 = u32::MAX;
/// The most entries, armed or fired, of one wheel.
pub(super) const ENTRIES_MAX: usize = 1 << 22;
/// How many entries of a slot are looked at for the exact deadline before its start will do.
const LOOK_MAX: usize = 8;

/// The right to one entry of one wheel.
#[derive(Debug)]
pub(super) struct Key(u32);

pub(super) struct Wheel {
    now: u64,
    entries: Slab<Entry>,
    armed: usize,
    /// First entry of each slot: slot `s` of level `l` is at `64 * l + s`, the far one last.
    heads: [u32; FAR + 1],
    /// One bit per slot that is not empty.
    used: [u64; LEVELS + 1],
}

struct Entry {
    /// Due when `now` reaches this tick.
    when: u64,
    /// Neighbours in the slot; meaningless unless armed.
    prev: u32,
    next: u32,
    slot: u16,
    armed: bool,
    waker: Option<Waker>,
}

/// As an entry begins; its deadline, waker and place are filled in at once.
const BLANK: Entry = Entry {
    when: 0,
    prev: NIL,
    next: NIL,
    slot: 0,
    armed: true,
    waker: None,
};

impl Wheel {
    pub(super) fn new(now: u64) -> Wheel {
        Wheel {
            now,
            entries: Slab::new(),
            armed: 0,
            heads: [NIL; FAR + 1],
            used: [0; LEVELS + 1],
        }
    }

    /// The tick up to which everything was fired.
    #[inline]
    pub(super) fn now(&self) -> u64 {
        self.now
    }

    /// Entries that wait for their tick.
    #[inline]
    pub(super) fn armed(&self) -> usize {
        self.armed
    }

    /// Entries, armed or fired, that somebody holds the key of.
    #[cfg(test)]
    pub(super) fn entries(&self) -> usize {
        self.entries.len()
    }

    /// Arms an entry that is due at `when`, or at the next tick if that has passed.
    ///
    /// # Errors
    ///
    /// The waker, if there are [`ENTRIES_MAX`] entries.
    #[inline]
    pub(super) fn insert(&mut self, when: u64, waker: Waker) -> Result<Key, Waker> {
        const { assert!(ENTRIES_MAX < NIL as usize, "an entry's index fits") };
        if self.entries.len() >= ENTRIES_MAX {
            return Err(waker);
        }
        let when = when.max(self.now + 1);
        let vacant = self.entries.vacant_entry();
        let index = vacant.key() as u32;
        // Filled in place: a copy of an entry made of small stores would wait for each of them.
        let entry = vacant.insert(BLANK);
        entry.when = when;
        entry.waker = Some(waker);
        self.link(index, when);
        self.armed += 1;
        Ok(Key(index))
    }

    /// Frees the entry. Gives back the waker if it has not fired.
    #[inline]
    pub(super) fn remove(&mut self, key: &Key) -> Option<Waker> {
        let entry = self.entries.remove(key.0 as usize);
        if entry.armed {
            self.armed -= 1;
            self.unlink(entry.slot, entry.prev, entry.next);
        }
        entry.waker
    }

    /// Moves an armed entry to `when`, its waker with it; false if it has fired.
    pub(super) fn rearm(&mut self, key: &Key, when: u64) -> bool {
        let when = when.max(self.now + 1);
        let entry = &mut self.entries[key.0 as usize];
        if !entry.armed {
            return false;
        }
        entry.when = when;
        let (slot, prev, next) = (entry.slot, entry.prev, entry.next);
        self.unlink(slot, prev, next);
        self.link(key.0, when);
        true
    }

    /// The waker of an armed entry; none if it has fired.
    #[inline]
    pub(super) fn waker_mut(&mut self, key: &Key) -> Option<&mut Waker> {
        self.entries[key.0 as usize].waker.as_mut()
    }

    /// Takes the waker of an entry that is due at `to` or before, the earliest first. With none
    /// left, `now` is `to`.
    pub(super) fn pop_due(&mut self, to: u64) -> Option<Waker> {
        loop {
            match self.first() {
                Some((slot, tick)) if tick <= to => {
                    self.now = tick;
                    if slot < SLOTS {
                        return self.disarm(self.heads[slot]);
                    }
                    self.move_down(slot);
                }
                _ => {
                    self.now = self.now.max(to);
                    return None;
                }
            }
        }
    }

    /// The tick by which [`pop_due`](Self::pop_due) has something to do.
    ///
    /// This is the earliest deadline where that is cheap to know, so that a lone long sleep costs
    /// one wake-up. In a crowded slot it is the slot's start, which is at most one wake-up for each
    /// level and slot.
    pub(super) fn next(&self) -> Option<u64> {
        let (slot, tick) = self.first()?;
        if slot < SLOTS {
            return Some(tick);
        }
        let (mut index, mut earliest) = (self.heads[slot], u64::MAX);
        for _ in 0..LOOK_MAX {
            let entry = &self.entries[index as usize];
            earliest = earliest.min(entry.when);
            index = entry.next;
            if index == NIL {
                return Some(earliest);
            }
        }
        Some(tick)
    }

    /// The earliest slot in use and the tick at which it begins.
    #[inline]
    fn first(&self) -> Option<(usize, u64)> {
        let level = self.used.iter().position(|used| *used != 0)?;
        let shift = DIGIT * level;
        if level == LEVELS {
            return Some((FAR, ((self.now >> shift) + 1) << shift));
        }
        let digit = self.used[level].trailing_zeros();
        let round = (self.now >> shift) & !(SLOTS as u64 - 1);
        Some((
            level * SLOTS + digit as usize,
            (round | u64::from(digit)) << shift,
        ))
    }

    /// Moves what is in a slot, whose start is `now`, to lower levels.
    fn move_down(&mut self, slot: usize) {
        let mut index = self.heads[slot];
        self.clear(slot);
        while index != NIL {
            let entry = &self.entries[index as usize];
            let (next, when) = (entry.next, entry.when);
            self.link(index, when);
            index = next;
        }
    }

    fn disarm(&mut self, index: u32) -> Option<Waker> {
        let entry = &mut self.entries[index as usize];
        entry.armed = false;
        let waker = entry.waker.take();
        let (slot, prev, next) = (entry.slot, entry.prev, entry.next);
        self.armed -= 1;
        self.unlink(slot, prev, next);
        waker
    }

    /// Puts an entry that is in no slot first into the one of `when`.
    #[inline]
    fn link(&mut self, index: u32, when: u64) {
        let slot = self.slot_of(when);
        let next = std::mem::replace(&mut self.heads[slot], index);
        self.used[slot / SLOTS] |= 1 << (slot % SLOTS);
        let entry = &mut self.entries[index as usize];
        entry.prev = NIL;
        entry.next = next;
        entry.slot = slot as u16;
        if next != NIL {
            self.entries[next as usize].prev = index;
        }
    }

    #[inline]
    fn slot_of(&self, when: u64) -> usize {
        let differing = (when ^ self.now) | 1;
        let level = differing.ilog2() as usize / DIGIT;
        if level >= LEVELS {
            return FAR;
        }
        level * SLOTS + (when >> (DIGIT * level)) as usize % SLOTS
    }

    /// Closes the gap that an entry of `slot` between `prev` and `next` leaves.
    #[inline]
    fn unlink(&mut self, slot: u16, prev: u32, next: u32) {
        if next != NIL {
            self.entries[next as usize].prev = prev;
        }
        if prev != NIL {
            self.entries[prev as usize].next = next;
            return;
        }
        if next == NIL {
            self.clear(slot as usize);
        } else {
            self.heads[slot as usize] = next;
        }
    }

    #[inline]
    fn clear(&mut self, slot: usize) {
        self.heads[slot] = NIL;
        self.used[slot / SLOTS] &= !(1 << (slot % SLOTS));
    }
}

#[cfg(test)]
mod tests;
