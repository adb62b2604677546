//! Where an op lives while the kernel may touch it.
//!
//! An op moves into a slot when it is submitted and out of it after its *final* completion. In
//! between its address does not change, and dropping the future does not drop the op: the slot is
//! only marked as orphaned. That is the whole memory-safety argument of this crate.
//!
//! | state | who owns the payload | leaves it by |
//! |---|---|---|
//! | `Vacant` | nobody, it is uninitialised | [`Slots::insert`] |
//! | `Waiting` | the kernel; a future waits | final completion → `Done`, [`Slots::abandon`] → `Orphaned` |
//! | `Multi` | the kernel, and we read it; items go to the op itself | final completion → `Vacant` |
//! | `Orphaned` | the kernel; nobody waits | final completion → `Vacant` |
//! | `Done` | us; the future has not looked yet | [`Done::take`], [`Slots::abandon`] → `Vacant` |
//!
//! Between [`Slots::insert`] and the push of its SQE an op is ours, although its state says the
//! kernel's: its SQE is being filled, which may run user code, and [`Slots::unfill`] takes it back
//! if that panics.
//!
//! A slot's generation changes whenever it becomes vacant, so a late key never meets a new op.
#![allow(unsafe_code)]

use std::hint::cold_path;
use std::mem;
use std::ptr::NonNull;
use std::rc::Rc;
use std::task::Waker;

use corering_buffers::BufRing;

use super::erased::{OP_SIZE_MAX, Orphan, Payload, Refill, UNUSED, VTable};
use super::key::Key;
use super::multi::lease;
use super::stable_vec::StableVec;
use super::{CANCEL, MESSAGE};
use crate::ring::Cqe;

/// The kernel cancels an operation by itself when a signal keeps it from starting a worker for it.
/// Such an op is submitted again, this often.
const REPEATS_MAX: u8 = 64;
/// Slots of one core at most: the bits above an index tell cancels and messages from ops.
const SLOTS_MAX: usize = 1 << 30;
/// The end of the list of vacant slots. No index.
const NONE: u32 = u32::MAX;

/// What a multishot op asks for after one completion.
#[derive(Debug, Default)]
pub(crate) struct Item {
    /// Who waits for it.
    pub(crate) wake: Option<Waker>,
    /// Whether the op has enough and is to be cancelled.
    pub(crate) stop: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
enum State {
    Vacant,
    Waiting,
    Multi,
    Orphaned,
    Done,
}

#[repr(C, align(64))]
struct Slot {
    generation: u32,
    /// The result of a single-shot op, kept from its first completion (`SEND_ZC` has two).
    res: i32,
    /// Of the result. In a vacant slot: the next one that is vacant, or [`NONE`].
    flags: u32,
    state: State,
    /// How often the kernel did not find the op that we cancelled.
    missed: u8,
    /// Whether we have asked for its cancellation.
    cancelled: bool,
    /// How often it was submitted again.
    repeats: u8,
    /// `Some` in state `Waiting` only. The cell is apart from the state so that a slot stays at
    /// two cache lines.
    waker: Option<Waker>,
    vtable: &'static VTable,
    payload: Payload,
}

const _: () = assert!(size_of::<Slot>() == 128);

/// How an op is waited for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Mode {
    /// A future holds its key.
    Waited,
    /// Its completions go to the op itself.
    Multi,
    /// Nobody waits; it ends in `finish`.
    Detached,
}

/// All slots of one core, none of which moves when there are more.
pub(super) struct Slots {
    slots: StableVec<Slot>,
    /// The slot that was vacated last, which is in the cache still. The others follow from it.
    vacant: u32,
}

impl Default for Slots {
    fn default() -> Slots {
        Slots {
            slots: StableVec::default(),
            vacant: NONE,
        }
    }
}

/// What a completion asks for. Runs user code, so never while the driver is borrowed.
pub(super) enum Effect {
    Wake(Waker),
    /// A multishot op that goes on has enough.
    Stop(Option<Waker>),
    /// Nobody waits for the op's end: [`Slots::remove`] it and let it finish.
    Ended(Option<Waker>),
    /// The kernel has not run the op, although nobody asked it to cancel it: [`Slots::refill`].
    Again,
    /// It is no op's: what a cancel or a message says.
    Answer,
}

/// What is left of an op that nobody wants any more.
pub(super) enum Abandoned {
    /// The kernel still has it. The waker is dropped by the caller, outside of the driver.
    InFlight(Option<Waker>),
    Done(Orphan),
}

/// Why there is nothing to take yet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Progress {
    Pending,
    /// Pending, and the waker that is stored is not the caller's: see [`Slots::rewake`].
    OtherWaker,
}

/// An op that has ended, still in its slot.
pub(super) struct Done<'a> {
    slot: &'a mut Slot,
    vacant: &'a mut u32,
    index: u32,
}

impl Done<'_> {
    #[inline]
    pub(super) fn cqe(&self) -> Cqe {
        self.slot.kept()
    }

    /// Moves the op out.
    ///
    /// # Safety
    ///
    /// The key that led here must come from [`Slots::insert`] with this very `T`.
    #[inline]
    pub(super) unsafe fn take<T>(self) -> T {
        self.slot.vacate(self.index, self.vacant);
        // SAFETY: state `Done` meant that the payload holds the `T` that `insert` wrote and that
        // the kernel is finished with it; `vacate` has made sure that it is read once.
        unsafe { self.slot.payload.read::<T>() }
    }
}

impl Slots {
    /// Makes an op at the address that it keeps until its final completion. Its SQE is to be filled
    /// and pushed next. `make` only moves: the driver is borrowed, and it must not panic.
    #[inline(always)]
    pub(super) fn insert<T: 'static>(
        &mut self,
        make: impl FnOnce() -> T,
        vtable: &'static VTable,
        mode: Mode,
        waker: Option<Waker>,
    ) -> (Key, NonNull<T>) {
        const { assert!(size_of::<T>() <= OP_SIZE_MAX && align_of::<T>() <= 8) }
        if self.vacant == NONE {
            self.grow();
        }
        let index = self.vacant;
        let slot = self.slots.at(index);
        self.vacant = slot.flags;
        debug_assert!(slot.state == State::Vacant && slot.waker.is_none());
        slot.state = match mode {
            Mode::Waited => State::Waiting,
            Mode::Multi => State::Multi,
            Mode::Detached => State::Orphaned,
        };
        slot.missed = 0;
        slot.cancelled = false;
        slot.repeats = 0;
        // Whoever leaves `Waiting` takes the waker, so there is none to drop.
        mem::forget(mem::replace(&mut slot.waker, waker));
        slot.vtable = vtable;
        let generation = slot.generation;
        (Key { index, generation }, slot.payload.write(make()))
    }

    /// Takes an op back whose SQE was not pushed, with its waker.
    ///
    /// # Safety
    ///
    /// `key` must come from [`Slots::insert`] with this very `T`, and no SQE was pushed for it.
    #[cold]
    pub(super) unsafe fn unfill<T>(&mut self, key: Key) -> (T, Option<Waker>) {
        let slot = self.slot_of(key);
        let waker = slot.waker.take();
        // SAFETY: the payload holds the `T` that `insert` wrote, the kernel knows nothing of it,
        // and `release` makes sure that it is read once.
        let op = unsafe { slot.payload.read::<T>() };
        self.release(key);
        (op, waker)
    }

    /// Whether a completion is that of no op, but of a cancel or a message. The bits that say so
    /// put it far beyond the slots, so one comparison does for almost all.
    #[inline]
    pub(super) fn is_answer(&self, user_data: u64) -> bool {
        if self.slots.is_near(Key::from_user_data(user_data).index) {
            return false;
        }
        cold_path();
        user_data & (CANCEL | MESSAGE) != 0
    }

    /// Records a completion and says what is left to do once the driver is no longer borrowed.
    /// `own` takes wakers that run no user code, and gives the others back.
    #[inline]
    pub(super) fn complete(
        &mut self,
        key: Key,
        cqe: &Cqe,
        buffers: &Rc<BufRing>,
        own: impl FnOnce(Waker) -> Result<(), Waker>,
    ) -> Option<Effect> {
        let slot = self.slot_of(key);
        let waker = match slot.state {
            // The flags are those of a completion that is the first, the last, and its op's result.
            State::Waiting if cqe.res >= 0 && cqe.is_whole() => {
                slot.keep(*cqe);
                slot.state = State::Done;
                slot.waker.take()
            }
            State::Multi => {
                let item = slot.item(cqe, buffers);
                if item.stop {
                    return Some(slot.end_item(*cqe, item));
                }
                if !cqe.is_more() {
                    cold_path();
                    return Some(slot.end_item(*cqe, item));
                }
                item.wake
            }
            _ => return slot.complete_slowly(*cqe, buffers),
        };
        own(waker?).err().map(Effect::Wake)
    }

    /// The op if its final completion has come, for a future that would wait with `waker`.
    #[inline]
    pub(super) fn done(&mut self, key: Key, waker: &Waker) -> Result<Done<'_>, Progress> {
        let slot = self.slots.at(key.index);
        assert!(slot.generation == key.generation, "a stale key");
        if slot.state != State::Done {
            return Err(slot.progress(waker));
        }
        Ok(Done {
            slot,
            vacant: &mut self.vacant,
            index: key.index,
        })
    }

    /// Replaces the waker of an op that is waited for. The old one is dropped by the caller.
    pub(super) fn rewake(&mut self, key: Key, waker: Waker) -> Option<Waker> {
        let slot = self.slot_of(key);
        match slot.state {
            State::Waiting => slot.waker.replace(waker),
            _ => Some(waker),
        }
    }

    /// Gives up interest in an op.
    pub(super) fn abandon(&mut self, key: Key) -> Abandoned {
        let slot = self.slot_of(key);
        match slot.state {
            State::Waiting => {
                slot.state = State::Orphaned;
                Abandoned::InFlight(slot.waker.take())
            }
            State::Done => Abandoned::Done(self.remove(key)),
            state => unreachable!("abandon of a slot in state {state:?}"),
        }
    }

    /// Whether the kernel still has this op.
    pub(super) fn is_in_flight(&self, key: Key) -> bool {
        self.live(key).is_some_and(|slot| {
            matches!(slot.state, State::Waiting | State::Multi | State::Orphaned)
        })
    }

    /// Notes that the kernel is asked to cancel an op. False if it was before, or has ended.
    pub(super) fn begin_cancel(&mut self, key: Key) -> bool {
        self.is_in_flight(key) && !self.set_cancelled(key)
    }

    /// Notes that an op is not to be repeated. Whether that was known.
    pub(super) fn set_cancelled(&mut self, key: Key) -> bool {
        mem::replace(&mut self.slot_of(key).cancelled, true)
    }

    /// What it takes to submit an op once more.
    pub(super) fn refill(&mut self, key: Key) -> Refill {
        let slot = self.slot_of(key);
        assert!(matches!(slot.state, State::Waiting | State::Orphaned));
        Refill {
            refill: slot.vtable.refill.expect("a single-shot op"),
            place: NonNull::from(&mut slot.payload),
            user_data: key.to_user_data(),
        }
    }

    /// Counts a cancel that did not find its op; says how often that has happened to it.
    pub(super) fn missed(&mut self, key: Key) -> u8 {
        let slot = self.slot_of(key);
        slot.missed = slot.missed.saturating_add(1);
        slot.missed
    }

    /// Ops that the kernel has.
    pub(super) fn in_flight(&self) -> usize {
        self.count(|state| matches!(state, State::Waiting | State::Multi | State::Orphaned))
    }

    /// Ops that nobody waits for.
    pub(super) fn orphans(&self) -> usize {
        self.count(|state| state == State::Orphaned)
    }

    fn count(&self, wanted: impl Fn(State) -> bool) -> usize {
        self.slots.iter().filter(|slot| wanted(slot.state)).count()
    }

    fn live(&self, key: Key) -> Option<&Slot> {
        let slot = self.slots.get(key.index)?;
        (slot.generation == key.generation).then_some(slot)
    }

    /// Takes out an op that has ended and that nobody waits for.
    pub(super) fn remove(&mut self, key: Key) -> Orphan {
        let slot = self.slot_of(key);
        assert!(slot.state == State::Done, "removed before its completion");
        let orphan = Orphan {
            vtable: slot.vtable,
            payload: mem::replace(&mut slot.payload, Payload::vacant()),
            cqe: slot.kept(),
        };
        self.release(key);
        orphan
    }

    #[inline]
    fn release(&mut self, key: Key) {
        let slot = self.slots.at(key.index);
        assert!(slot.generation == key.generation, "a stale key");
        slot.vacate(key.index, &mut self.vacant);
    }

    #[inline]
    fn slot_of(&mut self, key: Key) -> &mut Slot {
        let slot = self.slots.at(key.index);
        assert!(slot.generation == key.generation, "a stale key");
        slot
    }

    #[cold]
    fn grow(&mut self) {
        let first = self.slots.len();
        let end = self.slots.grow(|index| Slot::vacant(index as u32 + 1));
        assert!(end <= SLOTS_MAX, "too many ops in flight on one core");
        self.slots.at(end as u32 - 1).flags = NONE;
        self.vacant = first as u32;
    }
}

impl Slot {
    /// One that was never used.
    fn vacant(next: u32) -> Slot {
        Slot {
            generation: 0,
            res: 0,
            flags: next,
            state: State::Vacant,
            missed: 0,
            cancelled: false,
            repeats: 0,
            waker: None,
            vtable: &UNUSED,
            payload: Payload::vacant(),
        }
    }

    /// A notification says only that the buffer is free: the result came before it.
    #[inline]
    fn keep(&mut self, cqe: Cqe) {
        if !cqe.is_notification() {
            self.res = cqe.res;
            self.flags = cqe.flags;
        }
    }

    #[inline]
    fn kept(&self) -> Cqe {
        Cqe {
            user_data: 0,
            res: self.res,
            flags: self.flags,
        }
    }

    #[inline]
    fn vacate(&mut self, index: u32, vacant: &mut u32) {
        self.flags = mem::replace(vacant, index);
        self.state = State::Vacant;
        self.generation = self.generation.wrapping_add(1);
    }

    #[inline]
    fn progress(&self, waker: &Waker) -> Progress {
        match (self.state, &self.waker) {
            (State::Waiting, Some(stored)) if stored.will_wake(waker) => Progress::Pending,
            (State::Waiting, _) => Progress::OtherWaker,
            (state, _) => unreachable!("an op that is waited for, in state {state:?}"),
        }
    }

    #[inline]
    fn item(&self, cqe: &Cqe, buffers: &Rc<BufRing>) -> Item {
        let mut stop = false;
        // SAFETY: state `Multi`: the payload holds the op that the table was made for, and it is
        // only shared with the kernel.
        let wake = unsafe { (self.vtable.item)(&self.payload, cqe, buffers, &mut stop) };
        Item { wake, stop }
    }

    /// A multishot op has ended, or is to be.
    #[cold]
    fn end_item(&mut self, cqe: Cqe, item: Item) -> Effect {
        if cqe.is_more() {
            return Effect::Stop(item.wake);
        }
        self.keep(cqe);
        self.state = State::Done;
        Effect::Ended(item.wake)
    }

    /// What is not a single completion that somebody waits for.
    #[cold]
    fn complete_slowly(&mut self, mut cqe: Cqe, buffers: &Rc<BufRing>) -> Option<Effect> {
        // Only a multishot op takes provided buffers; one that came all the same goes back.
        drop(lease(buffers, cqe));
        if self.cancelled && is_interruption(cqe.res) {
            cqe.res = -libc::ECANCELED;
        }
        // One that is not the last leaves the memory with the kernel.
        let given_up = cqe.res == -libc::ECANCELED && !cqe.is_more();
        if given_up && !self.cancelled && self.repeats < REPEATS_MAX {
            self.repeats += 1;
            return Some(Effect::Again);
        }
        self.keep(cqe);
        match self.state {
            State::Waiting | State::Orphaned if cqe.is_more() => None,
            State::Waiting => {
                self.state = State::Done;
                self.waker.take().map(Effect::Wake)
            }
            State::Orphaned => {
                self.state = State::Done;
                Some(Effect::Ended(None))
            }
            state => unreachable!("a completion for a slot in state {state:?}"),
        }
    }
}

/// Whether a worker thread of the kernel's was interrupted before it had done anything, which is
/// how a cancel ends it. Some operations say so by numbers that are the kernel's own (`ERESTARTSYS`
/// and those after it), which no system call returns.
fn is_interruption(res: i32) -> bool {
    matches!(-res, libc::EINTR | 512..=514 | 516)
}
