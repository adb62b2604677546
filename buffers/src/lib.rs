//! Owned buffers that may be lent to the kernel: traits, implementations, pools and the bookkeeping
//! of provided-buffer rings. No system calls, no runtime.
//!
//! # Why owned
//!
//! With io_uring the kernel reads or writes a buffer *after* the call that submitted it has
//! returned, and a future can be dropped or forgotten at any time. A `&mut [u8]` would then be
//! written by nobody-knows-when. So an operation takes its buffer by value, keeps it until the
//! kernel's final completion, and gives it back with the result, in success and in error:
//!
//! ```
//! use corering_buffers::{BufResult, Fill, IoBufMut};
//!
//! /// Stands for a socket that has `data` to read.
//! async fn read<B: IoBufMut>(data: &[u8], mut buf: B) -> BufResult<usize, B> {
//!     let mut read = Fill::new(&mut buf);
//!     read.put(data);
//!     (Ok(read.finish()), buf)
//! }
//!
//! # fn main() -> std::io::Result<()> {
//! # use std::task::{Context, Poll, Waker};
//! # let program = async {
//! let buf = Vec::with_capacity(4096);
//! let (result, buf) = read(b"hello", buf).await;
//! assert_eq!(result?, 5);
//! assert_eq!(buf, b"hello"); // The length is what came.
//! # std::io::Result::Ok(())
//! # };
//! # match std::pin::pin!(program).poll(&mut Context::from_waker(Waker::noop())) {
//! #     Poll::Ready(result) => result,
//! #     Poll::Pending => unreachable!(),
//! # }
//! # }
//! ```
//!
//! # Which buffers
//!
//! | type | written from ([`IoBuf`]) | read into ([`IoBufMut`]) |
//! |---|---|---|
//! | `Vec<u8>`, [`BytesMut`] | its length | its capacity |
//! | `Box<[u8]>`, `Box<[u8; N]>` | all of it | all of it, length fixed |
//! | `String`, `&'static str`, `&'static [u8]`, `Arc<[u8]>`, [`Bytes`] | its length | no |
//! | [`Lease`] (received bytes) | its length | no |
//! | [`PoolBuf`], [`FixedBuf`] (registered) | its length | its capacity |
//! | [`AlignedBuf`] (`O_DIRECT`) | its length | its capacity |
//! | [`Slice`], [`Spare`] of these | the range; no | the range; what is behind the length |
//!
//! Not arrays: their bytes move with their owner. `Box` them.
//!
//! # What a read fills
//!
//! A read fills the buffer from its start and makes its length what came: bytes that were in it are
//! gone, also where fewer came. [`buf.spare()`](IoBufExt::spare) appends instead, and
//! [`buf.slice(a..b)`](IoBufExt::slice) bounds:
//!
//! ```
//! use corering_buffers::{Fill, IoBufExt};
//!
//! let mut part = vec![b'.'; 8].slice(2..5);
//! let mut read = Fill::new(&mut part);
//! read.put(b"123456");
//! read.finish();
//! assert_eq!(part.into_inner(), b"..123...");
//! ```
//!
//! Sizes are in bytes. An operation lends at most [`IoVecs::TOTAL_MAX`] of them, the kernel's limit
//! for one transfer. A buffer without room is refused with `InvalidInput`, so that a count of 0
//! always is the end of the stream.
//!
//! # Limits
//!
//! [`Pool`] and [`FixedPool`] hold a fixed number of buffers, and [`BufRing`] at most one for each
//! entry of its ring. At the limit `take` gives `None`, and the kernel `ENOBUFS`; nothing grows.
//!
//! [`Bytes`]: bytes::Bytes
//! [`BytesMut`]: bytes::BytesMut

mod aligned;
mod buf_ring;
mod fill;
mod fixed;
mod io_buf;
mod iovecs;
mod lease;
mod pool;
mod skip;
mod slice;
mod vectored;

pub use aligned::AlignedBuf;
pub use buf_ring::{BufRing, RingConfig, RingMemory};
pub use fill::Fill;
pub use fixed::{FixedBuf, FixedPool};
pub use io_buf::{IoBuf, IoBufMut};
pub use iovecs::{IoVec, IoVecs};
pub use lease::Lease;
pub use pool::{Pool, PoolBuf};
pub use skip::{IoBufsExt, Skip};
pub use slice::{IoBufExt, Slice, Spare};
pub use vectored::{IoBufs, IoBufsMut, Shares};

/// What an operation with a buffer gives: the outcome, and the buffer in every case.
pub type BufResult<T, B> = (std::io::Result<T>, B);
