//! Where an op lives while the kernel may touch it.
//!
//! An op moves into a slot when it is submitted and out of it after its *final* completion. In
//! between its address does not change, and dropping the future does not drop the op: the slot is
//! only marked as orphaned. That is the whole memory-safety argument of this crate.
//!
//! | state | who owns the payload | leaves it by |
//! |---|---|---|
//! | `Vacant` | nobody, it is uninitialised | [`Slots::reserve`] |
//! | `Filling` | us; the SQE is being written, user code may run | [`Slots::start`], [`Slots::unfill`] |
//! | `Waiting` | the kernel; a future waits | final completion → `Done`, [`Slots::abandon`] → `Orphaned` |
//! | `Multi` | the kernel, and we read it; items go to the op itself | final completion → `Vacant` |
//! | `Orphaned` | the kernel; nobody waits | final completion → `Vacant` |
//! | `Done` | us; the future has not looked yet | [`Slots::take`], [`Slots::abandon`] → `Vacant` |
//!
//! A slot's generation changes whenever it becomes vacant, so a late key never meets a new op.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::task::Waker;

use corering_buffers::Lease;

use crate::ring::Cqe;

/// Room for an op, bytes. A larger op boxes its cold part.
pub(crate) const OP_SIZE_MAX: usize = 88;
const CHUNK: usize = 64;
/// Slots of one core at most: the bits above an index tell cancels and messages from ops.
const SLOTS_MAX: usize = 1 << 30;

/// The untyped storage of an op.
#[repr(C, align(8))]
pub(super) struct Payload(MaybeUninit<[u8; OP_SIZE_MAX]>);

/// What the driver does with an op whose type it does not know.
pub(super) struct VTable {
    /// Gives one completion to a multishot op. `None` for a single-shot op.
    ///
    /// # Safety
    ///
    /// The payload holds an op of the type that this table was made for.
    pub(super) item: Option<unsafe fn(&Payload, Cqe, Option<Lease>) -> Item>,
    /// Moves the op out and ends it where nobody waits. Runs user code.
    ///
    /// # Safety
    ///
    /// As for `item`, and the kernel is done with the op.
    pub(super) finish: unsafe fn(Payload, Cqe),
}

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
    Filling,
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
    flags: u32,
    state: State,
    /// How often the kernel did not find the op that we cancelled.
    missed: u8,
    /// `Some` in state `Waiting` only. The cell is apart from the state so that a slot stays at
    /// two cache lines.
    waker: Option<Waker>,
    vtable: &'static VTable,
    payload: Payload,
}

const _: () = assert!(size_of::<Slot>() == 128);

/// Names one use of one slot. Travels through the kernel as `user_data`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    /// Names no slot.
    pub(super) const TAKEN: Key = Key {
        index: u32::MAX,
        generation: u32::MAX,
    };

    #[inline]
    pub(super) fn to_user_data(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    #[inline]
    pub(super) fn from_user_data(data: u64) -> Key {
        Key {
            index: data as u32,
            generation: (data >> 32) as u32,
        }
    }
}

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

/// All slots of one core. They are boxed in chunks, so that growing moves none of them.
#[derive(Default)]
pub(super) struct Slots {
    chunks: Vec<Box<[Slot; CHUNK]>>,
    vacant: Vec<u32>,
}

/// What a completion asks for. Runs user code, so never while the driver is borrowed.
pub(super) enum Effect {
    None,
    Wake(Waker),
    /// A multishot op that goes on has enough.
    Stop(Option<Waker>),
    Finish(Option<Waker>, Orphan),
}

/// An op that has completed and that nobody waits for.
pub(super) struct Orphan {
    vtable: &'static VTable,
    payload: Payload,
    cqe: Cqe,
}

impl Orphan {
    /// Ends the op: its result goes to its resource, or is dropped.
    pub(super) fn finish(self) {
        // SAFETY: only `Slots` makes an `Orphan`, out of a payload with its own table, after the
        // final completion or before the op was submitted.
        unsafe { (self.vtable.finish)(self.payload, self.cqe) }
    }
}

/// What is left of an op that nobody wants any more.
pub(super) enum Abandoned {
    /// The kernel still has it. The waker is dropped by the caller, outside of the driver.
    InFlight(Option<Waker>),
    Done(Orphan),
}

/// What a future finds when it asks for its op.
pub(super) enum Taken<T> {
    Done(T, Cqe),
    Pending,
    /// Pending, and the waker that is stored is not the caller's: see [`Slots::rewake`].
    OtherWaker,
}

static UNUSED: VTable = VTable {
    item: None,
    finish: |_, _| unreachable!("a vacant slot holds no op"),
};

impl Slots {
    /// Moves `op` to the address that it keeps until its final completion, in state `Filling`.
    #[inline]
    pub(super) fn reserve<T: 'static>(
        &mut self,
        op: T,
        vtable: &'static VTable,
    ) -> (Key, NonNull<T>) {
        const { assert!(size_of::<T>() <= OP_SIZE_MAX && align_of::<T>() <= 8) }
        let index = match self.vacant.pop() {
            Some(index) => index,
            None => self.grow(),
        };
        let slot = self.slot(index);
        debug_assert_eq!(slot.state, State::Vacant);
        slot.state = State::Filling;
        slot.vtable = vtable;
        let generation = slot.generation;
        (Key { index, generation }, slot.payload.write(op))
    }

    /// The SQE is on its way: from now on the kernel owns the payload.
    #[inline]
    pub(super) fn start(&mut self, key: Key, mode: Mode, waker: Option<Waker>) {
        let slot = self.slot_of(key);
        debug_assert_eq!(slot.state, State::Filling);
        slot.res = 0;
        slot.flags = 0;
        slot.missed = 0;
        slot.state = match mode {
            Mode::Waited => State::Waiting,
            Mode::Multi => State::Multi,
            Mode::Detached => State::Orphaned,
        };
        debug_assert!(slot.waker.is_none());
        slot.waker = waker;
    }

    /// Takes an op back that was not submitted.
    ///
    /// # Safety
    ///
    /// `key` must come from [`Slots::reserve`] with this very `T`.
    pub(super) unsafe fn unfill<T>(&mut self, key: Key) -> T {
        let slot = self.slot_of(key);
        assert_eq!(
            slot.state,
            State::Filling,
            "only an op that is being filled"
        );
        // SAFETY: `Filling` means that the payload holds the `T` that `reserve` wrote, and
        // `release` makes sure that it is read once.
        let op = unsafe { slot.payload.read::<T>() };
        self.release(key);
        op
    }

    /// Records a completion and says what is left to do once the driver is no longer borrowed.
    #[inline]
    pub(super) fn complete(&mut self, key: Key, cqe: Cqe, lease: Option<Lease>) -> Effect {
        let slot = self.slot_of(key);
        match slot.state {
            State::Waiting => {
                slot.keep(cqe);
                if cqe.is_more() {
                    return Effect::None;
                }
                slot.state = State::Done;
                match slot.waker.take() {
                    Some(waker) => Effect::Wake(waker),
                    None => Effect::None,
                }
            }
            State::Multi => self.item(key, cqe, lease),
            State::Orphaned => {
                slot.keep(cqe);
                if cqe.is_more() {
                    return Effect::None;
                }
                Effect::Finish(None, self.remove(key))
            }
            state => unreachable!("a completion for a slot in state {state:?}"),
        }
    }

    #[inline]
    fn item(&mut self, key: Key, cqe: Cqe, lease: Option<Lease>) -> Effect {
        let slot = self.slot_of(key);
        let item = slot.vtable.item.expect("a multishot op takes its items");
        // SAFETY: state `Multi`: the payload holds the op that the table was made for, and it is
        // only shared with the kernel.
        let Item { wake, stop } = unsafe { item(&slot.payload, cqe, lease) };
        if !cqe.is_more() {
            slot.keep(cqe);
            return Effect::Finish(wake, self.remove(key));
        }
        match wake {
            wake if stop => Effect::Stop(wake),
            Some(waker) => Effect::Wake(waker),
            None => Effect::None,
        }
    }

    /// Takes an op whose final completion has come.
    ///
    /// # Safety
    ///
    /// `key` must come from [`Slots::reserve`] with this very `T`.
    #[inline]
    pub(super) unsafe fn take<T>(&mut self, key: Key, waker: &Waker) -> Taken<T> {
        let slot = self.slot_of(key);
        match slot.state {
            State::Done => {
                // SAFETY: `Done` means that the payload holds the `T` that `reserve` wrote and the
                // kernel is finished with it; `release` makes sure that it is read once.
                let op = unsafe { slot.payload.read::<T>() };
                let cqe = slot.kept(key);
                self.release(key);
                Taken::Done(op, cqe)
            }
            State::Waiting => match &slot.waker {
                Some(stored) if stored.will_wake(waker) => Taken::Pending,
                _ => Taken::OtherWaker,
            },
            state => unreachable!("take of a slot in state {state:?}"),
        }
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

    /// Slots in use, whatever their state.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.chunks.len() * CHUNK - self.vacant.len()
    }

    fn count(&self, wanted: impl Fn(State) -> bool) -> usize {
        let slots = self.chunks.iter().flat_map(|chunk| chunk.iter());
        slots.filter(|slot| wanted(slot.state)).count()
    }

    fn live(&self, key: Key) -> Option<&Slot> {
        let slot = &self.chunks.get(key.index as usize / CHUNK)?[key.index as usize % CHUNK];
        (slot.generation == key.generation).then_some(slot)
    }

    fn remove(&mut self, key: Key) -> Orphan {
        let slot = self.slot_of(key);
        debug_assert!(slot.waker.is_none());
        let orphan = Orphan {
            vtable: slot.vtable,
            payload: std::mem::replace(&mut slot.payload, Payload(MaybeUninit::uninit())),
            cqe: slot.kept(key),
        };
        self.release(key);
        orphan
    }

    #[inline]
    fn release(&mut self, key: Key) {
        let slot = self.slot_of(key);
        slot.state = State::Vacant;
        slot.generation = slot.generation.wrapping_add(1);
        self.vacant.push(key.index);
    }

    #[inline]
    fn slot_of(&mut self, key: Key) -> &mut Slot {
        let slot = self.slot(key.index);
        assert!(slot.generation == key.generation, "a stale key");
        slot
    }

    #[inline]
    fn slot(&mut self, index: u32) -> &mut Slot {
        &mut self.chunks[index as usize / CHUNK][index as usize % CHUNK]
    }

    #[cold]
    fn grow(&mut self) -> u32 {
        let first = self.chunks.len() * CHUNK;
        assert!(
            first + CHUNK <= SLOTS_MAX,
            "too many ops in flight on one core"
        );
        let first = first as u32;
        self.chunks.push(Box::new(std::array::from_fn(|_| Slot {
            generation: 0,
            res: 0,
            flags: 0,
            state: State::Vacant,
            missed: 0,
            waker: None,
            vtable: &UNUSED,
            payload: Payload(MaybeUninit::uninit()),
        })));
        self.vacant.extend((first + 1..first + CHUNK as u32).rev());
        first
    }
}

impl Slot {
    /// A notification says only that the buffer is free: the result came before it.
    #[inline]
    fn keep(&mut self, cqe: Cqe) {
        if !cqe.is_notification() {
            self.res = cqe.res;
            self.flags = cqe.flags;
        }
    }

    #[inline]
    fn kept(&self, key: Key) -> Cqe {
        Cqe {
            user_data: key.to_user_data(),
            res: self.res,
            flags: self.flags,
        }
    }
}

impl Payload {
    /// # Safety
    ///
    /// The payload must hold a `T`.
    #[inline]
    pub(super) unsafe fn as_ref<T>(&self) -> &T {
        // SAFETY: the caller promises that a `T` is there.
        unsafe { &*self.0.as_ptr().cast() }
    }

    #[inline]
    fn write<T>(&mut self, value: T) -> NonNull<T> {
        let place = self.0.as_mut_ptr().cast::<T>();
        // SAFETY: `reserve` has checked at compile time that `T` fits in size and alignment.
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
