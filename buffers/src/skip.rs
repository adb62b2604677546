//! Sets of buffers, looked at and without their first bytes: for who writes on after a part.
#![allow(unsafe_code)]

use std::slice;

use crate::IoBufs;

/// What every [`IoBufs`] can do.
pub trait IoBufsExt: IoBufs + Sized {
    /// Calls `f` with the bytes of each buffer, in order.
    ///
    /// # Examples
    ///
    /// ```
    /// use corering_buffers::IoBufsExt;
    ///
    /// let mut all = Vec::new();
    /// ("head ", b"body".to_vec()).each_slice(|bytes| all.extend_from_slice(bytes));
    /// assert_eq!(all, b"head body");
    /// ```
    fn each_slice(&self, mut f: impl FnMut(&[u8])) {
        // SAFETY: IoBufs passes on what IoBuf promises: `len` initialised bytes from `ptr`, which
        // stay as they are while the set is borrowed.
        self.each(&mut |ptr, len| f(unsafe { slice::from_raw_parts(ptr, len) }));
    }

    /// The number of bytes in all buffers together.
    fn bytes_init(&self) -> usize {
        let mut total: usize = 0;
        self.each(&mut |_, len| total = total.saturating_add(len));
        total
    }

    /// The same buffers without their first `n` bytes: what is left of a set of which so many were
    /// written.
    ///
    /// # Examples
    ///
    /// ```
    /// use corering_buffers::IoBufsExt;
    ///
    /// let rest = ["ab", "cd"].skip(3);
    /// assert_eq!(rest.bytes_init(), 1);
    /// assert_eq!(rest.into_inner(), ["ab", "cd"]);
    /// ```
    fn skip(self, n: usize) -> Skip<Self> {
        Skip { bufs: self, n }
    }
}

impl<B: IoBufs> IoBufsExt for B {}

/// A set of buffers without its first bytes, made by [`IoBufsExt::skip`].
#[derive(Debug)]
pub struct Skip<B> {
    bufs: B,
    n: usize,
}

impl<B> Skip<B> {
    /// The whole set.
    pub fn into_inner(self) -> B {
        self.bufs
    }
}

// SAFETY: each pair is the end of one that `bufs` passes on, clamped to its length, so what holds
// for the whole holds for it; the buffers that are skipped are left out.
unsafe impl<B: IoBufs> IoBufs for Skip<B> {
    fn each(&self, f: &mut dyn FnMut(*const u8, usize)) {
        let mut left = self.n;
        self.bufs.each(&mut |ptr, len| {
            let skipped = left.min(len);
            left -= skipped;
            if skipped < len {
                // SAFETY: skipped is less than len, and `bufs` promises len bytes from ptr.
                f(unsafe { ptr.add(skipped) }, len - skipped);
            }
        });
    }
}
