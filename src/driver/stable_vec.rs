//! A vector that grows, and whose entries do not move.

use std::hint::cold_path;

/// How many entries have their room from the start: more than most cores ever need. It is not
/// touched before it is needed.
const FIRST: usize = 4096;

/// How many there are in each further piece, and how many come at a time.
const CHUNK: usize = 64;

/// Entries are where they were made until all are dropped: what holds them has its whole room
/// before the first of them is pushed, and a `Vec` that has room moves nothing.
///
/// The first ones are found without a look into a table of pieces, which each operation would take
/// several times.
pub(super) struct StableVec<T> {
    first: Vec<T>,
    more: Vec<Vec<T>>,
}

impl<T> Default for StableVec<T> {
    fn default() -> StableVec<T> {
        StableVec {
            first: Vec::new(),
            more: Vec::new(),
        }
    }
}

impl<T> StableVec<T> {
    pub(super) fn len(&self) -> usize {
        self.first.len() + self.more.len() * CHUNK
    }

    /// Adds entries, each made of its index. Returns how many there are then.
    pub(super) fn grow(&mut self, make: impl Fn(usize) -> T) -> usize {
        let (before, after) = (self.len(), self.len() + CHUNK);
        let piece = if after <= FIRST {
            if before == 0 {
                self.first.reserve_exact(FIRST);
            }
            &mut self.first
        } else {
            self.more.push(Vec::with_capacity(CHUNK));
            self.more.last_mut().expect("just pushed")
        };
        for index in before..after {
            assert!(piece.len() < piece.capacity(), "it would move them");
            piece.push(make(index));
        }
        after
    }

    /// Whether there is such an entry, and [`at`](StableVec::at) finds it at once.
    #[inline]
    pub(super) fn is_near(&self, index: u32) -> bool {
        (index as usize) < self.first.len()
    }

    /// # Panics
    /// If there is no such entry.
    #[inline]
    pub(super) fn at(&mut self, index: u32) -> &mut T {
        let index = index as usize;
        if index >= self.first.len() {
            cold_path();
            return self.at_more(index);
        }
        &mut self.first[index]
    }

    #[inline(never)]
    fn at_more(&mut self, index: usize) -> &mut T {
        let index = index.checked_sub(FIRST).expect("no such entry");
        &mut self.more[index / CHUNK][index % CHUNK]
    }

    pub(super) fn get(&self, index: u32) -> Option<&T> {
        let index = index as usize;
        match index.checked_sub(FIRST) {
            None => self.first.get(index),
            Some(beyond) => self.more.get(beyond / CHUNK)?.get(beyond % CHUNK),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.first.iter().chain(self.more.iter().flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_do_not_move_while_there_are_more() {
        let mut entries = StableVec::default();
        let mut places = Vec::new();
        while entries.len() < FIRST + 3 * CHUNK {
            let first = entries.len();
            assert_eq!(entries.grow(|index| index), first + CHUNK);
            places.extend((first..first + CHUNK).map(|index| &raw const *entries.at(index as u32)));
        }
        for (index, place) in places.iter().enumerate() {
            let entry: *const usize = entries.at(index as u32);
            assert_eq!((entry, entries.get(index as u32)), (*place, Some(&index)));
        }
        assert!(entries.iter().copied().eq(0..places.len()));
        assert_eq!(entries.get(places.len() as u32), None);
    }

    #[test]
    #[should_panic(expected = "no such entry")]
    fn an_entry_that_is_not_there_is_not_given() {
        StableVec::<u8>::default().at(0);
    }
}
