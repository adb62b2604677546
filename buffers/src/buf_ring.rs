//! Bookkeeping of a provided-buffer ring: which bytes are the kernel's, and which a lease's.
//!
//! The kernel takes a buffer out of the ring at its head whenever data has come, and its completion
//! says which one and how many bytes. Each such range becomes a [`Lease`]. In a *plain* ring one
//! completion uses a buffer up; in an *incremental* one (`IOU_PBUF_RING_INC`) the kernel goes on
//! behind the last bytes until the buffer is full. Registering, and the memory, are the caller's.
//!
//! # Invariants
//!
//! `state` of a buffer is `HELD`, or not, plus the number of its leases; `offset` is how many of
//! its bytes completions have brought.
//!
//! | state | whose | offset |
//! |---|---|---|
//! | `HELD` | an entry of the ring names it, from `offset` on | 0, or more if incremental |
//! | `HELD` + n | n leases own ranges in front of `offset`, the kernel the rest | > 0 |
//! | n | the leases'; the kernel has used it up | > 0 |
//! | 0 | nobody's: not provided yet, or returned after `close` | – |
//!
//! An entry is written exactly when `state` falls to 0 (and `offset` is reset with it), so the ring
//! never names a byte that a lease can read, and never two entries the same buffer; with no more
//! buffers than entries it cannot overflow. Every lease holds an `Rc` of the ring, so the memory
//! stays until the last of them is gone.
//!
//! Whether an incremental buffer is used up is decided by its bytes as well as by the flag:
//! kernels before 7.1 leave `IORING_CQE_F_BUF_MORE` out on some reads, and at end of file, of a
//! buffer that they keep (liburing #1545, #1553). To believe them would write a second entry, and
//! the kernel would overwrite bytes that a lease still shows.
#![allow(unsafe_code)]

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::ptr::{self, NonNull};
use std::rc::Rc;
use std::sync::atomic::{AtomicU16, Ordering};

use crate::Lease;

/// The kernel may still write into the buffer, from `offset` on.
const HELD: u32 = 1 << 31;

/// `struct io_uring_buf`: one entry of the ring.
#[repr(C)]
struct Entry {
    addr: u64,
    len: u32,
    bid: u16,
    /// In the first entry this is the tail of the ring, elsewhere nothing.
    resv: u16,
}

const _: () = assert!(size_of::<Entry>() == 16);
const _: () = assert!(std::mem::offset_of!(Entry, resv) == 14);

/// The memory of a [`BufRing`].
pub struct RingMemory {
    /// The ring: 16 zero bytes for each entry, page-aligned as the kernel demands.
    pub ring: NonNull<u8>,
    /// The buffers: `bufs * buf_size` initialised bytes (fresh pages are zero).
    pub data: NonNull<u8>,
    /// What frees both when it is dropped.
    pub keep: Box<dyn Any>,
}

impl fmt::Debug for RingMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RingMemory")
            .field("ring", &self.ring)
            .field("data", &self.data)
            .finish_non_exhaustive()
    }
}

/// The shape of a [`BufRing`].
///
/// # Examples
///
/// ```
/// use corering_buffers::RingConfig;
///
/// let plain = RingConfig::new(1024, 4096).bufs(256); // May grow to 1024 buffers.
/// let incremental = RingConfig::new(128, 64 * 1024).incremental(true);
/// assert_eq!((plain.bufs, incremental.bufs), (256, 128));
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RingConfig {
    /// Entries of the ring: a power of two, at most 32,768. No more buffers than that.
    pub entries: u16,
    /// Buffers provided at the start.
    pub bufs: u16,
    /// Bytes of each buffer, at most 1 GiB.
    pub buf_size: u32,
    /// Whether the kernel fills buffers bit by bit. Since 6.12.
    pub incremental: bool,
}

impl RingConfig {
    /// A plain ring of `entries` buffers of `buf_size` bytes.
    pub fn new(entries: u16, buf_size: u32) -> RingConfig {
        RingConfig {
            entries,
            bufs: entries,
            buf_size,
            incremental: false,
        }
    }

    /// Starts with `bufs` buffers only.
    pub fn bufs(self, bufs: u16) -> RingConfig {
        RingConfig { bufs, ..self }
    }

    /// Lets the kernel fill buffers bit by bit, if `yes`.
    pub fn incremental(self, yes: bool) -> RingConfig {
        RingConfig {
            incremental: yes,
            ..self
        }
    }
}

/// The provided buffers of one core: gives out [`Lease`]s of what the kernel filled, and writes
/// buffers back into the ring when the last lease of each is gone.
///
/// Makes no system call. `!Send`: the ring's tail has one writer.
pub struct BufRing {
    ring: NonNull<Entry>,
    mask: u16,
    incremental: bool,
    closed: Cell<bool>,
    returned: Cell<bool>,
    tail: Cell<u16>,
    bufs: Cell<u16>,
    buf_size: u32,
    available: Cell<u32>,
    low: Cell<u32>,
    slots: Box<[Slot]>,
    memory: RefCell<Vec<Box<dyn Any>>>,
}

struct Slot {
    base: Cell<*mut u8>,
    offset: Cell<u32>,
    state: Cell<u32>,
}

impl BufRing {
    /// A ring over `memory`, with `config.bufs` buffers written into it. Register it then.
    ///
    /// # Safety
    ///
    /// * `memory` is what [`RingMemory`] says: `ring` points to zeroed room for `config.entries`
    ///   entries, `data` to initialised bytes for `config.bufs` buffers. Both may be read and
    ///   written through these pointers until `memory.keep` is dropped, and only the kernel, for
    ///   requests that use this ring, does so besides.
    /// * While the kernel may take buffers from the ring or write into one, somebody keeps an `Rc`
    ///   of it: until the ring is unregistered, and every request that took a buffer is complete.
    ///
    /// # Panics
    ///
    /// If `entries` is not a power of two, `bufs` exceeds `entries`, or `buf_size` is 0 or more
    /// than 1 GiB.
    pub unsafe fn new(memory: RingMemory, config: RingConfig) -> Rc<BufRing> {
        let RingConfig {
            entries,
            bufs,
            buf_size,
            incremental,
        } = config;
        assert!(entries.is_power_of_two(), "a ring of {entries} entries");
        assert!(
            (1..=1 << 30).contains(&buf_size),
            "buffers of {buf_size} bytes"
        );
        let vacant = || Slot {
            base: Cell::new(ptr::null_mut()),
            offset: Cell::new(0),
            state: Cell::new(0),
        };
        let ring = BufRing {
            ring: memory.ring.cast(),
            mask: entries - 1,
            incremental,
            closed: Cell::new(false),
            returned: Cell::new(false),
            tail: Cell::new(0),
            bufs: Cell::new(0),
            buf_size,
            available: Cell::new(0),
            low: Cell::new(0),
            slots: (0..entries).map(|_| vacant()).collect(),
            memory: RefCell::default(),
        };
        assert!(ring.ring.is_aligned(), "the ring is not aligned");
        // SAFETY: the caller promises as much for `data` and `keep`.
        unsafe { ring.grow(memory.data, memory.keep, bufs) };
        ring.returned.set(false);
        Rc::new(ring)
    }

    /// Adds `n` buffers, which lie one after the other from `data`.
    ///
    /// # Safety
    ///
    /// As [`BufRing::new`] demands of the buffers, for `n` buffers from `data`, until `keep` is
    /// dropped, which happens with the ring.
    ///
    /// # Panics
    ///
    /// If there would be more buffers than [`entries`](BufRing::entries).
    pub unsafe fn grow(&self, data: NonNull<u8>, keep: Box<dyn Any>, n: u16) {
        let old = self.bufs.get();
        assert!(
            n <= self.entries() - old,
            "{old} + {n} buffers in {} entries",
            self.entries()
        );
        self.memory.borrow_mut().push(keep);
        self.bufs.set(old + n);
        self.low.set(u32::from(old + n).div_ceil(4));
        for (index, bid) in (old..old + n).enumerate() {
            let slot = &self.slots[usize::from(bid)];
            // SAFETY: the caller promises room for n buffers from data, and index < n.
            let base = unsafe { data.add(index * self.buf_size as usize) };
            slot.base.set(base.as_ptr());
            self.publish(bid);
        }
    }

    /// Takes over the `len` bytes that a completion says are in buffer `bid`.
    ///
    /// `kept_by_kernel` is the completion's `IORING_CQE_F_BUF_MORE`; a plain ring ignores it. The
    /// completions of a ring are passed on in their order.
    ///
    /// # Safety
    ///
    /// The three values are those of one completion with `IORING_CQE_F_BUFFER` of a request that
    /// used this ring, not passed on before; `len` is its result.
    ///
    /// # Panics
    ///
    /// If the kernel cannot have meant this: it was not given buffer `bid`, or there is less room
    /// in it. Also if `len` is 0: that completion goes to [`give_back`](BufRing::give_back).
    #[inline]
    pub unsafe fn lease(self: &Rc<Self>, bid: u16, len: usize, kept_by_kernel: bool) -> Lease {
        let slot = &self.slots[usize::from(bid)];
        let (offset, state) = (slot.offset.get(), slot.state.get());
        // A length of 0 wraps to more than any room. It is refused so that completions make no more
        // leases of a buffer than it has bytes, and the count stays below HELD.
        let fits = len.wrapping_sub(1) < (self.buf_size - offset) as usize;
        if state & HELD == 0 || !fits {
            self.refuse(bid, len);
        }
        // Neither is truncated or overflows: len is at most the room, offset + len the size.
        let len = len as u32;
        let end = offset + len;
        slot.offset.set(end);
        slot.state
            .set(self.after_use(state + 1, end, kept_by_kernel));
        // SAFETY: HELD says that base points to buf_size bytes; offset is less.
        let ptr = unsafe { NonNull::new_unchecked(slot.base.get().add(offset as usize)) };
        // SAFETY: the kernel wrote the bytes (at worst they are the zeros of fresh pages), goes on
        // behind them only, and they are counted in `state` until the lease releases them.
        unsafe { Lease::of_ring(Rc::clone(self), ptr, len, bid) }
    }

    /// Takes a completion that names a buffer but brought no bytes: an error, or the end of file.
    ///
    /// # Safety
    ///
    /// As [`lease`](BufRing::lease), with a result of 0 or less.
    ///
    /// # Panics
    ///
    /// If the kernel was not given buffer `bid`.
    pub unsafe fn give_back(&self, bid: u16, kept_by_kernel: bool) {
        let slot = &self.slots[usize::from(bid)];
        if slot.state.get() & HELD == 0 {
            self.refuse(bid, 0);
        }
        let state = self.after_use(slot.state.get(), slot.offset.get(), kept_by_kernel);
        slot.state.set(state);
        if state == 0 {
            self.publish(bid);
        }
    }

    /// The state of a buffer of which the kernel has used `end` bytes: `HELD` if it goes on.
    #[inline]
    fn after_use(&self, state: u32, end: u32, kept_by_kernel: bool) -> u32 {
        if self.incremental && (kept_by_kernel || end < self.buf_size) {
            return state;
        }
        debug_assert!(self.closed.get() || self.available.get() > 0);
        // After the end there is none.
        self.available.set(self.available.get().saturating_sub(1));
        state & !HELD
    }

    /// One more lease of a buffer that has one: it was split or cloned.
    ///
    /// # Panics
    ///
    /// If there are 2³⁰ of them: only who forgets clones gets there.
    #[inline]
    pub(crate) fn retain(&self, bid: u16) {
        let state = &self.slots[usize::from(bid)].state;
        debug_assert!(state.get() & !HELD > 0, "buffer {bid} has no lease");
        // Completions add less than 2^30 more, one for each byte that is left: HELD is not reached.
        assert!(state.get() & !HELD < 1 << 30, "too many leases");
        state.set(state.get() + 1);
    }

    /// One lease of the buffer less. If it was the last, the buffer is to be published.
    #[inline]
    #[must_use]
    pub(crate) fn release(&self, bid: u16) -> bool {
        let slot = &self.slots[usize::from(bid)];
        debug_assert!(slot.state.get() & !HELD > 0, "buffer {bid} has no lease");
        let state = slot.state.get() - 1;
        slot.state.set(state);
        state == 0
    }

    /// Writes a buffer that is nobody's into the ring.
    #[inline]
    pub(crate) fn publish(&self, bid: u16) {
        if self.closed.get() {
            return;
        }
        let slot = &self.slots[usize::from(bid)];
        debug_assert_eq!(slot.state.get(), 0, "buffer {bid} is in use");
        slot.state.set(HELD);
        slot.offset.set(0);
        let tail = self.tail.get();
        // SAFETY: the mask keeps the index below the number of entries. At most `bufs` <= entries
        // buffers are HELD, so the kernel is done with what stood here and does not read it until
        // the tail says so. Field by field: `resv` of the first entry is that tail.
        unsafe {
            let entry = self.ring.as_ptr().add(usize::from(tail & self.mask));
            (&raw mut (*entry).addr).write(slot.base.get().expose_provenance() as u64);
            (&raw mut (*entry).len).write(self.buf_size);
            (&raw mut (*entry).bid).write(bid);
        }
        let tail = tail.wrapping_add(1);
        self.tail.set(tail);
        // SAFETY: aligned, within the first entry, and accessed atomically by all but `new`'s
        // caller, who zeroed it.
        let shared = unsafe { AtomicU16::from_ptr(&raw mut (*self.ring.as_ptr()).resv) };
        // Release: the kernel, which loads it with acquire, sees the entry that it announces.
        shared.store(tail, Ordering::Release);
        self.available.set(self.available.get() + 1);
        self.returned.set(true);
    }

    #[cold]
    #[inline(never)]
    fn refuse(&self, bid: u16, len: usize) -> ! {
        let slot = &self.slots[usize::from(bid)];
        let held = slot.state.get() & HELD != 0;
        let room = self.buf_size - slot.offset.get();
        panic!("a completion of {len} bytes in buffer {bid}: held {held}, room {room}");
    }

    /// Stops writing buffers into the ring. Called when the kernel's side is unregistered.
    ///
    /// Leases stay readable and the memory stays until the last of them is gone. Completions that
    /// were posted before are still passed on.
    pub fn close(&self) {
        self.closed.set(true);
        self.available.set(0);
        self.returned.set(false);
    }

    /// The address of the ring, as `IORING_REGISTER_PBUF_RING` takes it.
    pub fn ring_address(&self) -> u64 {
        self.ring.as_ptr().expose_provenance() as u64
    }

    /// Entries of the ring: how many buffers it may grow to.
    pub fn entries(&self) -> u16 {
        self.mask + 1
    }

    /// Whether the kernel fills buffers bit by bit.
    #[inline]
    pub fn is_incremental(&self) -> bool {
        self.incremental
    }

    /// The size of each buffer, in bytes.
    pub fn buf_size(&self) -> u32 {
        self.buf_size
    }

    /// How many buffers there are, the kernel's and the leased ones.
    pub fn capacity(&self) -> u32 {
        u32::from(self.bufs.get())
    }

    /// How many buffers the kernel can take data into; 0 after [`close`](BufRing::close).
    #[inline]
    pub fn available(&self) -> u32 {
        self.available.get()
    }

    /// Whether less than a quarter of the buffers is [`available`](BufRing::available).
    #[inline]
    pub fn is_low(&self) -> bool {
        self.available() < self.low.get()
    }

    /// How many leases are out. Counts them over all buffers: for statistics, not for each turn.
    pub fn leased(&self) -> u32 {
        let counts = self.slots.iter().map(|slot| slot.state.get() & !HELD);
        counts.fold(0, u32::saturating_add)
    }

    /// Whether a buffer was written into the ring since this was last asked: receives that found
    /// it empty can be armed again.
    #[inline]
    pub fn take_returned(&self) -> bool {
        self.returned.replace(false)
    }
}

impl fmt::Debug for BufRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufRing")
            .field("entries", &self.entries())
            .field("capacity", &self.capacity())
            .field("available", &self.available())
            .field("leased", &self.leased())
            .field("buf_size", &self.buf_size)
            .field("incremental", &self.incremental)
            .finish_non_exhaustive()
    }
}
