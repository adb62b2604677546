//! An op whose type is not known: its memory, and what can be done with it.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::rc::Rc;
use std::task::Waker;

use corering_buffers::BufRing;

use crate::ring::{Cqe, RawSqe};

/// Room for an op, bytes. A larger op boxes its cold part.
pub(super) const OP_SIZE_MAX: usize = 88;

/// Holds an op, or nothing: the slot's state says which.
#[repr(C, align(8))]
pub(super) struct Payload(MaybeUninit<[u8; OP_SIZE_MAX]>);

impl Payload {
    pub(super) const fn vacant() -> Payload {
        Payload(MaybeUninit::uninit())
    }

    /// # Safety
    ///
    /// The payload must hold a `T`.
    #[inline]
    pub(super) unsafe fn as_ref<T>(&self) -> &T {
        // SAFETY: the caller promises that a `T` is there.
        unsafe { &*self.0.as_ptr().cast() }
    }

    #[inline]
    pub(super) fn write<T>(&mut self, value: T) -> NonNull<T> {
        let place = self.0.as_mut_ptr().cast::<T>();
        // SAFETY: `insert` has checked at compile time that `T` fits in size and alignment.
        unsafe { place.write(value) };
        NonNull::new(place).expect("a slot is not at address zero")
    }

    /// # Safety
    ///
    /// The payload must hold a `T`, which is moved out.
    #[inline]
    pub(super) unsafe fn read<T>(&self) -> T {
        // SAFETY: the caller promises that a `T` is there.
        unsafe { self.0.as_ptr().cast::<T>().read() }
    }
}

/// Gives one completion to a multishot op: who is to be woken, and in the flag whether the op has
/// enough. An [`Item`](super::Item) would go through memory.
///
/// # Safety
///
/// The payload holds an op of the type that this function was made for.
pub(super) type ItemFn = unsafe fn(&Payload, &Cqe, &Rc<BufRing>, &mut bool) -> Option<Waker>;

/// What the driver does with an op whose type it does not know.
pub(super) struct VTable {
    /// [`no_item`] for a single-shot op.
    pub(super) item: ItemFn,
    /// Describes a single-shot op once more, with this `user_data`. Runs user code.
    ///
    /// # Safety
    ///
    /// As for [`ItemFn`], the payload is at its place in the slot, and the kernel has not got it.
    pub(super) refill: Option<unsafe fn(NonNull<Payload>, u64) -> RawSqe>,
    /// Moves the op out and ends it where nobody waits. Runs user code.
    ///
    /// # Safety
    ///
    /// As for [`ItemFn`], and the kernel is done with the op.
    pub(super) finish: unsafe fn(Payload, Cqe),
}

/// # Safety
///
/// See [`ItemFn`].
pub(super) unsafe fn no_item(_: &Payload, _: &Cqe, _: &Rc<BufRing>, _: &mut bool) -> Option<Waker> {
    unreachable!("only a multishot op has items")
}

/// The table of a vacant slot.
pub(super) static UNUSED: VTable = VTable {
    item: no_item,
    refill: None,
    finish: |_, _| unreachable!("a vacant slot holds no op"),
};

/// An op that has completed and that nobody waits for.
pub(super) struct Orphan {
    pub(super) vtable: &'static VTable,
    pub(super) payload: Payload,
    pub(super) cqe: Cqe,
}

impl Orphan {
    /// Ends the op: its result goes to its resource, or is dropped.
    pub(super) fn finish(self) {
        // SAFETY: only `Slots` makes an `Orphan`, out of a payload with its own table, after the
        // final completion or before the op was submitted.
        unsafe { (self.vtable.finish)(self.payload, self.cqe) }
    }
}

/// An op that is to be described and pushed once more.
pub(super) struct Refill {
    pub(super) refill: unsafe fn(NonNull<Payload>, u64) -> RawSqe,
    pub(super) place: NonNull<Payload>,
    pub(super) user_data: u64,
}

impl Refill {
    /// The new SQE. Runs user code, which may panic.
    pub(super) fn sqe(self) -> RawSqe {
        // SAFETY: only `Slots::refill` makes one, of an op in its slot that has completed; the slot
        // does not move, and keeps the op until another final completion.
        unsafe { (self.refill)(self.place, self.user_data) }
    }
}
