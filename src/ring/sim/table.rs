//! A slab whose keys never mean a later entry.

use slab::Slab;

/// Names one entry for ever.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Id {
    index: u32,
    serial: u32,
}

impl Id {
    pub(super) const MIN: Id = Id {
        index: 0,
        serial: 0,
    };
    pub(super) const MAX: Id = Id {
        index: u32::MAX,
        serial: u32::MAX,
    };

    /// The smaller, the older.
    pub(super) fn age(&self) -> u32 {
        self.serial
    }
}

#[derive(Debug)]
pub(super) struct Table<T> {
    entries: Slab<(u32, T)>,
    next: u32,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Table {
            entries: Slab::new(),
            next: 0,
        }
    }
}

impl<T> Table<T> {
    pub(super) fn with_capacity(capacity: usize) -> Table<T> {
        Table {
            entries: Slab::with_capacity(capacity),
            next: 0,
        }
    }

    pub(super) fn insert(&mut self, value: T) -> Id {
        let serial = self.next;
        self.next = self.next.wrapping_add(1);
        let index = self.entries.insert((serial, value)) as u32;
        Id { index, serial }
    }

    pub(super) fn find(&self, id: Id) -> Option<&T> {
        let entry = self.entries.get(id.index as usize);
        entry
            .filter(|entry| entry.0 == id.serial)
            .map(|entry| &entry.1)
    }

    pub(super) fn find_mut(&mut self, id: Id) -> Option<&mut T> {
        let entry = self.entries.get_mut(id.index as usize);
        entry
            .filter(|entry| entry.0 == id.serial)
            .map(|entry| &mut entry.1)
    }

    pub(super) fn remove(&mut self, id: Id) -> Option<T> {
        self.find(id)?;
        Some(self.entries.remove(id.index as usize).1)
    }

    /// In the order of their places, which is the same in each run.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Id, &T)> {
        self.entries.iter().map(|(index, (serial, value))| {
            let id = Id {
                index: index as u32,
                serial: *serial,
            };
            (id, value)
        })
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}
