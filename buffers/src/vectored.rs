//! Sets of buffers that go through one operation, in order: `readv`, `writev`, `sendmsg`.
//!
//! A set is a container of owned buffers. The container may move (its buffers' memory does not), so
//! arrays and tuples are fine here. The addresses are collected once per submission, into an
//! [`IoVecs`] that belongs to the operation, and the count that comes back is distributed by the
//! lengths in there: no buffer is asked twice.
#![allow(unsafe_code)]

use crate::{IoBuf, IoBufMut, IoVecs};

/// Buffers whose bytes the kernel may read, one after the other.
///
/// Implemented for `[B; N]`, `Vec<B>`, `Box<[B]>` of one type of buffer and for tuples of two to
/// four of different types.
///
/// # Safety
///
/// `each` passes on what [`IoBuf::parts`] of buffers that the set owns answers, or pairs for which
/// the same promises hold.
pub unsafe trait IoBufs: 'static {
    /// Calls `f` with the address and the initialised length of each buffer, in order.
    fn each(&self, f: &mut dyn FnMut(*const u8, usize));
}

/// Buffers that the kernel may fill, one after the other.
///
/// After a read each buffer's length is what came into it, 0 for those that nothing reached; so the
/// set holds the bytes that were read and no others, unless a buffer appends
/// ([`spare`](crate::IoBufExt::spare)) or its length is fixed.
///
/// # Safety
///
/// `each_mut` passes on what [`IoBufMut::parts_mut`] of buffers that the set owns answers, every
/// buffer once and in the order in which `set_init` deals out `shares`, or pairs for which the same
/// promises hold.
pub unsafe trait IoBufsMut: 'static {
    /// Calls `f` with the address and the size of the room of each buffer, in order.
    fn each_mut(&mut self, f: &mut dyn FnMut(*mut u8, usize));

    /// Gives each buffer its share of the bytes that were read, the first buffer first.
    ///
    /// # Safety
    ///
    /// `shares` is made from what `each_mut` last passed on, all of whose first bytes, as many as
    /// the share says, are initialised; the set has not been used in between.
    unsafe fn set_init(&mut self, shares: &mut Shares<'_>);
}

/// How many bytes of a read went into each buffer of a set, in order.
///
/// Made by [`IoVecs::shares`].
#[derive(Debug)]
pub struct Shares<'a> {
    vecs: &'a IoVecs,
    index: usize,
    left: usize,
}

impl<'a> Shares<'a> {
    pub(crate) fn new(vecs: &'a IoVecs, total: usize) -> Self {
        Shares {
            vecs,
            index: 0,
            left: total,
        }
    }

    /// The share of the next buffer; 0 for buffers behind those that were lent.
    pub fn take(&mut self) -> usize {
        let n = self.vecs.lent(self.index).min(self.left);
        self.index += 1;
        self.left -= n;
        n
    }
}

// SAFETY: passes on what the elements answer.
unsafe impl<B: IoBuf> IoBufs for Vec<B> {
    fn each(&self, f: &mut dyn FnMut(*const u8, usize)) {
        lend_all(self, f);
    }
}

// SAFETY: passes on what the elements answer, each once, in the order of the slice.
unsafe impl<B: IoBufMut> IoBufsMut for Vec<B> {
    fn each_mut(&mut self, f: &mut dyn FnMut(*mut u8, usize)) {
        lend_all_mut(self, f);
    }

    unsafe fn set_init(&mut self, shares: &mut Shares<'_>) {
        // SAFETY: the elements and their order are those of each_mut; the rest is the caller's.
        unsafe { set_init_all(self, shares) }
    }
}

// SAFETY: passes on what the elements answer.
unsafe impl<B: IoBuf> IoBufs for Box<[B]> {
    fn each(&self, f: &mut dyn FnMut(*const u8, usize)) {
        lend_all(self, f);
    }
}

// SAFETY: passes on what the elements answer, each once, in the order of the slice.
unsafe impl<B: IoBufMut> IoBufsMut for Box<[B]> {
    fn each_mut(&mut self, f: &mut dyn FnMut(*mut u8, usize)) {
        lend_all_mut(self, f);
    }

    unsafe fn set_init(&mut self, shares: &mut Shares<'_>) {
        // SAFETY: the elements and their order are those of each_mut; the rest is the caller's.
        unsafe { set_init_all(self, shares) }
    }
}

// SAFETY: passes on what the elements answer; their memory does not move with the array.
unsafe impl<B: IoBuf, const N: usize> IoBufs for [B; N] {
    fn each(&self, f: &mut dyn FnMut(*const u8, usize)) {
        lend_all(self, f);
    }
}

// SAFETY: passes on what the elements answer, each once, in the order of the array; their memory
// does not move with the array.
unsafe impl<B: IoBufMut, const N: usize> IoBufsMut for [B; N] {
    fn each_mut(&mut self, f: &mut dyn FnMut(*mut u8, usize)) {
        lend_all_mut(self, f);
    }

    unsafe fn set_init(&mut self, shares: &mut Shares<'_>) {
        // SAFETY: the elements and their order are those of each_mut; the rest is the caller's.
        unsafe { set_init_all(self, shares) }
    }
}

macro_rules! tuple {
    ($($B:ident $index:tt),+) => {
        // SAFETY: passes on what the elements answer; their memory does not move with the tuple.
        unsafe impl<$($B: IoBuf),+> IoBufs for ($($B,)+) {
            fn each(&self, f: &mut dyn FnMut(*const u8, usize)) {
                $(
                    let (ptr, len) = self.$index.parts();
                    f(ptr, len);
                )+
            }
        }

        // SAFETY: passes on what the elements answer, each once, in the order of the tuple; their
        // memory does not move with the tuple.
        unsafe impl<$($B: IoBufMut),+> IoBufsMut for ($($B,)+) {
            fn each_mut(&mut self, f: &mut dyn FnMut(*mut u8, usize)) {
                $(
                    let (ptr, room) = self.$index.parts_mut();
                    f(ptr, room);
                )+
            }

            unsafe fn set_init(&mut self, shares: &mut Shares<'_>) {
                // SAFETY: the elements and their order are those of each_mut, so each share is at
                // most the room that this element lent; the caller promises initialised bytes.
                unsafe {
                    $(self.$index.set_init(shares.take());)+
                }
            }
        }
    };
}

tuple!(A 0, B 1);
tuple!(A 0, B 1, C 2);
tuple!(A 0, B 1, C 2, D 3);

fn lend_all<B: IoBuf>(bufs: &[B], f: &mut dyn FnMut(*const u8, usize)) {
    for buf in bufs {
        let (ptr, len) = buf.parts();
        f(ptr, len);
    }
}

fn lend_all_mut<B: IoBufMut>(bufs: &mut [B], f: &mut dyn FnMut(*mut u8, usize)) {
    for buf in bufs {
        let (ptr, room) = buf.parts_mut();
        f(ptr, room);
    }
}

/// # Safety
///
/// As [`IoBufsMut::set_init`], for the buffers of `bufs` in order.
unsafe fn set_init_all<B: IoBufMut>(bufs: &mut [B], shares: &mut Shares<'_>) {
    for buf in bufs {
        // SAFETY: a share is at most the room that the buffer at this place lent, and the caller
        // promises that as many of its bytes are initialised.
        unsafe { buf.set_init(shares.take()) }
    }
}
