//! What a core says of the poll that it is in, for a thread that watches it.
//!
//! The core writes three words before each poll and one after a batch, without an order between
//! threads that would cost something; whoever watches reads them some milliseconds apart. What it
//! finds twice, with the same number of the poll, is of that poll: see [`Pulse::sample`]. Both
//! pointers are to statics, so they may be followed however late they are read. The task's memory
//! is never looked at: it may be gone by then.
#![allow(unsafe_code)]

use std::{
    panic::Location,
    ptr::{self, null_mut},
    sync::{
        Mutex,
        // Not loom's: they take part in no decision of the owner's or of wakers, and would have
        // each model try their interleavings.
        atomic::{
            AtomicPtr, AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
            fence,
        },
    },
};

use super::{builder::Name, cell::VTable};

/// One poll in `Pulse::number`. Above 2⁵² of them, the futures that were dropped instead of polled.
const POLL: u64 = 1;
const DROP: u64 = 1 << 52;

const WRAPPERS: [&str; 5] = [
    "core::pin::Pin<&mut ",
    "corering::task::builder::Named<",
    "corering::task::join_set::Member<",
    "corering::cores::spawn_on::Work<",
    "corering::cores::thread::Main<",
];

/// Written by the core, read by whoever watches it, which is too seldom to be in each other's way.
#[derive(Debug)]
pub(crate) struct Pulse {
    /// The number of the last poll, and of the last drop of an aborted future, above it.
    number: AtomicU64,
    /// Where the task that is polled was spawned; null between two batches. Always to a static.
    location: AtomicPtr<Location<'static>>,
    /// The functions of the same task. Null or to a static.
    vtable: AtomicPtr<VTable>,
    /// The name of the task of the poll with this number, if it has one.
    name: Mutex<Option<(u64, Name)>>,
}

/// A poll that was seen.
#[derive(Clone, Copy)]
pub(crate) struct Sample {
    number: u64,
    location: &'static Location<'static>,
    vtable: &'static VTable,
}

impl Pulse {
    pub(super) fn new() -> Self {
        Self {
            number: AtomicU64::new(0),
            location: AtomicPtr::new(null_mut()),
            vtable: AtomicPtr::new(null_mut()),
            name: Mutex::new(None),
        }
    }

    /// Says that the task is polled from now on. The core's own thread only.
    #[inline(always)]
    pub(super) fn begin(&self, location: &'static Location<'static>, vtable: &'static VTable) {
        self.begin_next(location, vtable, POLL);
    }

    /// The same, if its future is not polled but dropped.
    pub(super) fn begin_drop(&self, location: &'static Location<'static>, vtable: &'static VTable) {
        self.begin_next(location, vtable, DROP);
    }

    #[inline(always)]
    fn begin_next(&self, location: &'static Location<'static>, vtable: &'static VTable, step: u64) {
        self.location
            .store(ptr::from_ref(location).cast_mut(), Relaxed);
        self.vtable.store(ptr::from_ref(vtable).cast_mut(), Relaxed);
        // One thread writes, so this is no race. Release: whoever sees the number sees the rest.
        let number = self.number.load(Relaxed).wrapping_add(step);
        self.number.store(number, Release);
    }

    /// Says that nothing is polled from now on. The core's own thread only.
    #[inline(always)]
    pub(super) fn end(&self) {
        self.location.store(null_mut(), Relaxed);
    }

    /// Says what the task is called that is polled now. The core's own thread only.
    pub(super) fn name(&self, name: &Name) {
        // Whoever watches holds this for a moment at most, but may be kept from the processor in
        // it: better no name than a core that waits.
        if let Ok(mut known) = self.name.try_lock() {
            *known = Some((self.number(), name.clone()));
        }
    }

    /// Polls made so far, with the one that goes on.
    #[inline]
    pub(crate) fn polls(&self) -> u64 {
        self.number() % DROP
    }

    /// Changes with each poll and each drop.
    #[inline]
    pub(crate) fn number(&self) -> u64 {
        self.number.load(Relaxed)
    }

    /// Polls made since the number was `before`.
    #[inline]
    pub(super) fn polls_since(&self, before: u64) -> u64 {
        self.number().wrapping_sub(before) % DROP
    }

    /// The poll that the core is in; `None` if it is in none, or begins one just now.
    ///
    /// One sample alone may have the number of one poll with the task of the next, if the core is
    /// just about to begin that. Two that are [the same](Sample::is_same) are of one poll if the
    /// core's thread has done more between them than to begin one: if it was kept from the
    /// processor just there, it has not.
    pub(crate) fn sample(&self) -> Option<Sample> {
        let number = self.number.load(Acquire);
        let location = self.location.load(Relaxed);
        let vtable = self.vtable.load(Relaxed);
        fence(Acquire);
        let in_between = self.number.load(Relaxed) != number;
        if in_between || location.is_null() || vtable.is_null() {
            return None;
        }
        // SAFETY: not null, so `begin` stored them, which made them of `&'static`.
        let (location, vtable) = unsafe { (&*location, &*vtable) };
        Some(Sample {
            number,
            location,
            vtable,
        })
    }

    /// The name of the task of that poll, if it has one. Never waits for the core.
    pub(crate) fn name_of(&self, sample: &Sample) -> Option<Name> {
        let known = self.name.try_lock().ok()?;
        let (number, name) = known.as_ref()?;
        (*number == sample.number).then(|| name.clone())
    }
}

impl Sample {
    #[cfg(test)]
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn is_same(&self, other: &Sample) -> bool {
        self.number == other.number
            && ptr::eq(self.location, other.location)
            && ptr::eq(self.vtable, other.vtable)
    }

    pub(crate) fn location(&self) -> &'static Location<'static> {
        self.location
    }

    /// What the task's future is called, without what the task, a set or `block_on` puts around it.
    pub(crate) fn future(&self) -> &'static str {
        let mut name = (self.vtable.name)();
        while let Some(inner) = WRAPPERS
            .iter()
            .find_map(|wrapper| name.strip_prefix(wrapper))
        {
            name = inner.strip_suffix('>').unwrap_or(inner);
        }
        name
    }
}
