//! Ops that complete many times.
#![allow(unsafe_code)]

use std::io;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::rc::Rc;
use std::task::Waker;

use corering_buffers::{BufRing, Lease, RingConfig, RingMemory};

use super::erased::{Payload, VTable};
use super::slot::{Item, Mode};
use super::{Driver, Key};
use crate::ring::{Cqe, Pages, Ring, Sqe};

/// One multishot operation. Each completion goes straight to the resource that the op belongs to:
/// there is no queue of completions.
///
/// `fill` and `item` take `&self`, because the kernel keeps the op while items are taken.
///
/// # Safety
///
/// As for [`Op`](super::Op).
pub(crate) unsafe trait MultiOp: Sized + 'static {
    /// Describes the op to the kernel. Called once, at the op's final address.
    fn fill<'op>(&'op self, sqe: &mut Sqe<'op>);

    /// The provided buffers that `fill` has named, if they are not the core's for streams.
    fn buffers<'a>(&'a self, streams: &'a Rc<BufRing>) -> &'a Rc<BufRing> {
        streams
    }

    /// Takes one completion, the last one too. `lease` takes the provided buffer that came with
    /// it: an op that names some calls it each time, or the buffer is lost. It is asked for when
    /// there is a place for it, since what is handed on is copied. The driver is borrowed: no user
    /// code may run here.
    fn item(&self, cqe: Cqe, lease: impl FnOnce() -> Option<Lease>) -> Item;

    /// The kernel has ended the op with `cqe`, whose item was taken already.
    fn ended(self, cqe: Cqe);
}

struct Table<T>(PhantomData<T>);

impl<T: MultiOp> Table<T> {
    const TABLE: VTable = VTable {
        item: item::<T>,
        refill: None,
        finish: finish::<T>,
    };
}

/// # Safety
///
/// See [`ItemFn`](super::erased::ItemFn).
unsafe fn item<T: MultiOp>(
    payload: &Payload,
    cqe: &Cqe,
    buffers: &Rc<BufRing>,
    stop: &mut bool,
) -> Option<Waker> {
    // SAFETY: the caller promises that the payload holds a `T`.
    let op = unsafe { payload.as_ref::<T>() };
    let item = op.item(*cqe, || lease(op.buffers(buffers), *cqe));
    *stop |= item.stop;
    item.wake
}

/// # Safety
///
/// See [`VTable::finish`].
unsafe fn finish<T: MultiOp>(payload: Payload, cqe: Cqe) {
    // SAFETY: the caller promises that the payload holds a `T` and that nobody else reads it.
    unsafe { payload.read::<T>() }.ended(cqe);
}

impl Driver {
    /// Submits a multishot op. It belongs to its resource, which keeps the key to cancel it.
    pub(crate) fn arm<T: MultiOp>(&self, op: T) -> Result<Key, (T, Cqe)> {
        self.start(|| op, &Table::<T>::TABLE, Mode::Multi, None, fill::<T>)
            .map_err(|(make, cqe)| (make(), cqe))
    }
}

fn fill<'op, T: MultiOp>(op: &'op mut T, sqe: &mut Sqe<'op>) {
    op.fill(sqe);
}

/// The provided buffer that came with a completion. Every completion passes here once, whether
/// anybody waits for it or not, so that no buffer is lost.
#[inline]
pub(super) fn lease(buffers: &Rc<BufRing>, cqe: Cqe) -> Option<Lease> {
    let buffer = cqe.buffer()?;
    let kept = cqe.buffer_is_kept();
    // SAFETY: the kernel reports a buffer of the group that the op has named, with the bytes it has
    // just written there; this completion was taken from the ring once.
    unsafe {
        match usize::try_from(cqe.res) {
            Ok(len) if len > 0 => Some(buffers.lease(buffer, len, kept)),
            _ => {
                buffers.give_back(buffer, kept);
                None
            }
        }
    }
}

/// The group of the core's provided buffers for streams.
pub(crate) const BUFFER_GROUP: u16 = 0;
/// The group of the core's provided buffers for datagrams.
pub(crate) const DATAGRAM_GROUP: u16 = 1;

/// How many buffers there are, and how large they are.
struct Shape {
    /// The number at the start, and of each growth. Few: the kernel uses them in turn, and what was
    /// used last is to be in the cache still when it is used again.
    step: u16,
    /// The number at most.
    max: u16,
    /// Bytes of each.
    size: u32,
    incremental: bool,
    /// Most of each buffer is never touched.
    is_sparse: bool,
}

/// Incremental buffers: the kernel fills each bit by bit, so their size need not fit the messages.
const INCREMENTAL: Shape = Shape {
    step: 16,
    max: 256,
    size: 64 * 1024,
    incremental: true,
    is_sparse: false,
};
/// Plain buffers: one for each receive, however short.
const PLAIN: Shape = Shape {
    step: 256,
    max: 1024,
    size: 4 * 1024,
    incremental: false,
    is_sparse: false,
};
/// Buffers for datagrams: one for each, so that the largest that a Unix socket sends by default
/// (208 KiB) has room with its header; of those that stay short only the first page is ever there.
/// Never incremental: kernels before 7.1 end a receive of messages with `EFAULT` when the tail of a
/// buffer is shorter than a header (liburing #1433). The size is an odd number of cache lines:
/// the headers of buffers that are a power of two apart would all compete for the same ones.
const DATAGRAMS: Shape = Shape {
    step: 64,
    max: 128,
    size: 256 * 1024 + 17 * 64,
    incremental: false,
    is_sparse: true,
};

/// Maps the core's receive buffers and registers them with `ring` as [`BUFFER_GROUP`].
///
/// # Errors
///
/// `ENOMEM`: no memory, or no locked memory for the ring's own pages (2 KiB, 16 KiB for a plain
/// ring).
pub(crate) fn provide_buffers(ring: &mut Ring) -> io::Result<Rc<BufRing>> {
    let incremental = ring.features().incremental;
    let shape = if incremental { &INCREMENTAL } else { &PLAIN };
    shape.provide(ring, BUFFER_GROUP)
}

/// Maps the core's buffers for datagrams and registers them as [`DATAGRAM_GROUP`].
///
/// # Errors
///
/// As [`provide_buffers`]. The ring's own pages are 2 KiB.
#[cold]
pub(super) fn provide_datagrams(ring: &mut Ring) -> io::Result<Rc<BufRing>> {
    DATAGRAMS.provide(ring, DATAGRAM_GROUP)
}

/// Gives the streams' ring, which runs low, more buffers. False at its limit, and without memory.
#[cold]
pub(super) fn grow(buffers: &BufRing) -> bool {
    let incremental = buffers.is_incremental();
    let shape = if incremental { &INCREMENTAL } else { &PLAIN };
    shape.grow(buffers)
}

/// The same for the datagrams' ring.
#[cold]
pub(super) fn grow_datagrams(buffers: &BufRing) -> bool {
    DATAGRAMS.grow(buffers)
}

impl Shape {
    fn provide(&self, ring: &mut Ring, group: u16) -> io::Result<Rc<BufRing>> {
        let descriptors = Pages::new(usize::from(self.max) * 16)?;
        let data = self.pages()?;
        let memory = RingMemory {
            ring: start_of(&descriptors),
            data: start_of(&data),
            keep: Box::new((descriptors, data)),
        };
        let config = RingConfig::new(self.max, self.size)
            .bufs(self.step)
            .incremental(self.incremental);
        // SAFETY: the pages are nobody else's, as long as the configuration says, and kept until
        // `keep` is dropped. The driver keeps the ring until it has unregistered it and every op
        // has ended; if that fails it leaks it.
        let buffers = unsafe { BufRing::new(memory, config) };
        let address = buffers.ring_address();
        // SAFETY: the address is that of `descriptors`, see above.
        unsafe { ring.register_buf_ring(address, self.max, group, self.incremental)? };
        Ok(buffers)
    }

    fn grow(&self, buffers: &BufRing) -> bool {
        if buffers.capacity() + u32::from(self.step) > u32::from(self.max) {
            return false;
        }
        let Ok(data) = self.pages() else {
            return false;
        };
        // SAFETY: the pages are nobody else's and long enough, and live as long as the ring.
        unsafe { buffers.grow(start_of(&data), Box::new(data), self.step) };
        true
    }

    /// Room for one step.
    fn pages(&self) -> io::Result<Pages> {
        let pages = Pages::scratch(usize::from(self.step) * self.size as usize)?;
        if self.is_sparse {
            pages.keep_sparse();
        }
        Ok(pages)
    }
}

fn start_of(pages: &Pages) -> NonNull<u8> {
    NonNull::new(pages.as_ptr()).expect("a mapping is not at address zero")
}
