//! The memory of provided buffers, kept for the next world.
//!
//! To map it, to touch each page for the first time and to unmap it is a fifth of a short run. What
//! a core gives back is used again by a later world only. In its own nobody has it, so that all
//! that the simulated kernel does there comes too late, and [`assert_lent`] says so. One world in
//! 32 has fresh mappings, which are unmapped when they are given back: there the processor finds
//! everybody else who comes too late.

use std::cell::{Cell, RefCell};
use std::ptr::NonNull;

use crate::ring::pages::Pages;

const FRESH_ONE_IN: u64 = 32;
/// Mappings that are kept, at most.
const KEPT_MAX: usize = 256;

/// The start of a mapping, and its length.
type Mapping = (NonNull<u8>, usize);

#[derive(Default)]
struct Pool {
    is_open: bool,
    /// Nobody's.
    ready: Vec<Mapping>,
    /// Made or taken by the current world.
    lent: Vec<Mapping>,
    /// Nobody's from the next world on.
    returned: Vec<Mapping>,
}

thread_local! {
    static POOL: RefCell<Pool> = RefCell::default();
    /// Looked at before each access to lent memory.
    static HAS_RETURNED: Cell<bool> = const { Cell::new(false) };
}

/// A world begins.
pub(super) fn open(seed: u64) {
    close();
    let is_open = seed % FRESH_ONE_IN != FRESH_ONE_IN - 1;
    POOL.with_borrow_mut(|pool| pool.is_open = is_open);
}

/// A world has ended: what it gave back is nobody's, and what it did not is not ours any more.
pub(super) fn close() {
    let superfluous = POOL.try_with(|pool| {
        let pool = &mut *pool.borrow_mut();
        pool.is_open = false;
        pool.lent.clear();
        pool.ready.append(&mut pool.returned);
        let kept = pool.ready.len().min(KEPT_MAX);
        pool.ready.split_off(kept)
    });
    let _ = HAS_RETURNED.try_with(|has| has.set(false));
    for (start, len) in superfluous.into_iter().flatten() {
        drop(Pages::again(start, len));
    }
}

/// Pages of an earlier world, with its bytes, if there are any of this length.
pub(in crate::ring) fn take(len: usize) -> Option<Pages> {
    let (start, len) = POOL.with_borrow_mut(|pool| {
        let fits = pool.ready.iter().rposition(|mapping| mapping.1 == len);
        let at = fits.filter(|_| pool.is_open)?;
        let mapping = pool.ready.swap_remove(at);
        pool.lent.push(mapping);
        Some(mapping)
    })?;
    Some(Pages::again(start, len))
}

/// Pages that were just mapped are to come back here, if a world wants that. True if so.
pub(in crate::ring) fn adopt(start: NonNull<u8>, len: usize) -> bool {
    POOL.with_borrow_mut(|pool| {
        if pool.is_open {
            pool.lent.push((start, len));
        }
        pool.is_open
    })
}

/// Whether this mapping is one of the world's.
pub(in crate::ring) fn has(start: NonNull<u8>) -> bool {
    let has = POOL.try_with(|pool| {
        let lent = &pool.borrow().lent;
        lent.iter().any(|mapping| mapping.0 == start)
    });
    has.unwrap_or(false)
}

/// Keeps a mapping that its owner is done with. False: he is to unmap it.
pub(in crate::ring) fn keep(start: NonNull<u8>) -> bool {
    let kept = POOL.try_with(|pool| {
        let pool = &mut *pool.borrow_mut();
        let at = pool.lent.iter().position(|mapping| mapping.0 == start);
        at.map(|at| pool.returned.push(pool.lent.swap_remove(at)))
            .is_some()
    });
    let kept = kept.unwrap_or(false);
    if kept {
        HAS_RETURNED.set(true);
    }
    kept
}

/// What the kernel reads or writes was not given back.
///
/// # Panics
///
/// If it was.
#[inline]
pub(super) fn assert_lent(address: u64, len: usize) {
    if HAS_RETURNED.get() {
        assert_not_returned(address, len);
    }
}

#[cold]
fn assert_not_returned(address: u64, len: usize) {
    let (from, to) = (address as usize, address as usize + len);
    let is_late = POOL.with_borrow(|pool| {
        let overlaps = |(start, len): &Mapping| {
            let start = start.addr().get();
            from < start + len && start < to
        };
        pool.returned.iter().any(overlaps)
    });
    assert!(!is_late, "the kernel uses buffers that it has not any more");
}

impl Drop for Pool {
    fn drop(&mut self) {
        // The thread ends, and this is not to be found any more: they are unmapped.
        for (start, len) in self.ready.drain(..).chain(self.returned.drain(..)) {
            drop(Pages::again(start, len));
        }
    }
}
