//! The inbox of a stream: what was received and not read, and how the stream has ended.

use std::collections::VecDeque;
use std::io;

use corering_buffers::Lease;

use crate::driver::Key;
use crate::io::growable;
use crate::io::waiters::{Place, Waiters};
use crate::ring::{Cqe, sock_nonempty};

/// Bytes in the inbox at which the receive is cancelled.
const HIGH_MARK: usize = 256 * 1024;
/// Bytes in the inbox below which it is armed again.
const LOW_MARK: usize = 64 * 1024;

/// What is in flight.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Arm {
    #[default]
    Idle,
    Multi(Key),
    Owned(Option<Key>),
    Direct,
    Starved,
}

/// How the stream has ended.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum End {
    #[default]
    Open,
    Eof,
    Failed(i32),
}

#[derive(Default)]
pub(super) struct RecvSide {
    /// The oldest bytes. Apart from the others, so that one message costs no allocation.
    pub(super) head: Option<Lease>,
    #[expect(clippy::box_collection, reason = "an idle stream is to be small")]
    pub(super) rest: Option<Box<VecDeque<Lease>>>,
    /// Bytes in `head` and `rest`.
    pub(super) bytes: usize,
    pub(super) waiters: Waiters,
    pub(super) arm: Arm,
    pub(super) end: End,
    /// Large messages come: see [`DIRECT_FROM`].
    pub(super) direct: bool,
    /// Of the completion of the last receive.
    pub(super) last_flags: u32,
    /// The receive was cancelled at the high mark.
    pub(super) paused: bool,
    /// No receive is armed any more: the read half is gone.
    pub(super) closed: bool,
    /// See [`reset`](RecvSide::reset).
    pub(super) was_reset: bool,
    /// Bytes that the inbox may hold beyond [`HIGH_MARK`]: a reader has asked for them at once.
    pub(super) raised: usize,
}

impl RecvSide {
    #[inline(always)]
    pub(super) fn push(&mut self, lease: Lease) {
        self.bytes += lease.len();
        if self.head.is_some() {
            return self.push_behind(lease);
        }
        self.head = Some(lease);
    }

    #[cold]
    fn push_behind(&mut self, lease: Lease) {
        self.rest.get_or_insert_default().push_back(lease);
    }

    /// Takes the oldest bytes.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<Lease> {
        let lease = self.head.take()?;
        self.bytes -= lease.len();
        if let Some(rest) = &mut self.rest {
            self.head = rest.pop_front();
        }
        Some(lease)
    }

    /// The usual case of `pop`, with leaving the line: there is one piece, there were never two
    /// readers, and nothing is to be armed. `None`: it is another one, and nothing was done.
    #[inline(always)]
    pub(super) fn pop_only(&mut self, place: &mut Option<Place>) -> Option<Lease> {
        let is_last = self.rest.as_ref().is_none_or(|rest| rest.is_empty());
        if self.head.is_none() || !is_last || self.paused || !self.waiters.leave_alone(place) {
            return None;
        }
        self.bytes = 0;
        self.head.take()
    }

    /// Puts back what is older than all the rest.
    pub(super) fn unpop(&mut self, lease: Lease) {
        self.bytes += lease.len();
        if let Some(second) = self.head.replace(lease) {
            self.rest.get_or_insert_default().push_front(second);
        }
    }

    /// Whether the last receive left something in the socket.
    pub(super) fn left_something(&self) -> bool {
        sock_nonempty(self.last_flags)
    }

    pub(super) fn head(&self) -> Option<&Lease> {
        self.head.as_ref()
    }

    pub(super) fn len(&self) -> usize {
        self.bytes
    }

    /// Makes one piece of all that is there.
    pub(super) fn merge(&mut self) {
        let Some(first) = self.pop() else {
            return;
        };
        if self.len() == 0 {
            return self.push(first);
        }
        let mut whole = growable(first, self.len());
        while let Some(piece) = self.pop() {
            whole.extend_from_slice(&piece);
        }
        self.push(Lease::from(whole.freeze()));
    }

    /// Lets the inbox grow to `len` bytes.
    pub(super) fn raise(&mut self, len: usize) {
        self.raised = self.raised.max(len.saturating_sub(HIGH_MARK));
    }

    /// The reader for whom it might grow is gone.
    pub(super) fn lower(&mut self) {
        self.raised = 0;
    }

    /// Whether the receive is to be cancelled.
    #[inline(always)]
    pub(super) fn is_full(&self) -> bool {
        self.bytes >= HIGH_MARK && self.bytes >= HIGH_MARK + self.raised
    }

    /// The end of the stream, once the inbox is empty: `None` while it is open.
    #[inline]
    pub(super) fn ended(&self) -> Option<io::Result<()>> {
        match self.end {
            End::Open => None,
            End::Eof => Some(Ok(())),
            End::Failed(errno) => Some(Err(io::Error::from_raw_os_error(errno))),
        }
    }

    /// A multishot receive brought no bytes. A lack of buffers and a cancel of ours are no end.
    #[cold]
    pub(super) fn end(&mut self, cqe: Cqe) {
        match -cqe.res {
            0 => self.eof(),
            libc::ENOBUFS | libc::ECANCELED => {}
            errno => self.fail(errno),
        }
    }

    pub(super) fn eof(&mut self) {
        self.end = End::Eof;
        if self.was_reset {
            self.reset();
        }
    }

    /// A send was told that the peer has reset the connection. The kernel says so once: whoever
    /// receives then sees an end that is none.
    pub(super) fn reset(&mut self) {
        self.was_reset = true;
        if self.end == End::Eof {
            self.end = End::Failed(libc::ECONNRESET);
        }
    }

    pub(super) fn fail(&mut self, errno: i32) {
        if self.end == End::Open {
            self.end = End::Failed(errno);
        }
    }

    /// Whether a receive is to be armed for a reader: what is there already has to be taken first.
    #[inline]
    pub(super) fn is_idle(&self) -> bool {
        self.arm == Arm::Idle && self.head.is_none()
    }

    pub(super) fn is_armed(&self) -> bool {
        !matches!(self.arm, Arm::Idle | Arm::Starved)
    }

    /// The reader wants direct reads, and takes from the inbox what is still there. Whether the
    /// multishot receive is to be stopped: a fast peer would fill buffer after buffer, the inbox
    /// would never be empty, and memory that is no longer in the cache costs as much as the copy.
    pub(super) fn stop_ahead(&mut self) -> bool {
        if self.arm == Arm::Idle {
            // It is not armed again for a high mark that it was stopped at.
            self.paused = false;
        }
        self.head.is_some()
    }

    /// Whether bytes that were taken make room for a receive that was cancelled at the high mark.
    #[inline]
    pub(super) fn wants_more(&self) -> bool {
        self.paused && self.bytes < LOW_MARK
    }

    /// Moves the inbox into memory of our own, so that the core's buffers go back to the kernel.
    #[cold]
    pub(super) fn copy_out(&mut self) {
        self.head.iter_mut().for_each(Lease::make_owned);
        self.rest
            .iter_mut()
            .flat_map(|rest| rest.iter_mut())
            .for_each(Lease::make_owned);
    }
}
