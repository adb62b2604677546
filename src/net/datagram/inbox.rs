//! The inbox of a socket: what was received and not taken.

use std::collections::VecDeque;

use crate::driver::Key;
use crate::io::waiters::Waiters;
use crate::op::Message;

/// Messages in the inbox at which the receive is cancelled, and below which it is armed again.
const MESSAGES: (usize, usize) = (256, 64);
/// The same for their bytes.
const BYTES: (usize, usize) = (256 * 1024, 64 * 1024);

/// A message, or an errno that the socket has reported.
pub(super) type Entry = Result<Message, i32>;

#[derive(Default)]
pub(super) struct RecvSide {
    /// Oldest first.
    pub(super) entries: VecDeque<Entry>,
    /// Bytes of the messages.
    bytes: usize,
    pub(super) waiters: Waiters,
    /// The receive that is in flight.
    pub(super) armed: Option<Key>,
    /// That receive was cancelled: the inbox is full, or it is to be armed anew.
    pub(super) paused: bool,
    /// The socket stands in the driver's line for buffers, from where its receive is armed.
    pub(super) starved: bool,
    /// No receive is armed any more: the handle is gone.
    pub(super) closed: bool,
}

impl RecvSide {
    #[inline]
    pub(super) fn push(&mut self, entry: Entry) {
        self.bytes += entry.as_ref().map_or(0, |message| message.payload.len());
        self.entries.push_back(entry);
    }

    /// Takes the oldest entry.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<Entry> {
        let entry = self.entries.pop_front()?;
        self.bytes -= entry.as_ref().map_or(0, |message| message.payload.len());
        Some(entry)
    }

    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.entries.len() >= MESSAGES.0 || self.bytes >= BYTES.0
    }

    /// Whether what was taken makes room for a receive that was cancelled.
    #[inline]
    pub(super) fn wants_more(&self) -> bool {
        self.paused
            && self.armed.is_none()
            && self.entries.len() < MESSAGES.1
            && self.bytes < BYTES.1
    }

    /// Whether a receive that had to wait for buffers is still wanted.
    pub(super) fn wants_any(&self) -> bool {
        let awaited = self.entries.is_empty() && !self.waiters.is_empty();
        !self.closed && (awaited || self.wants_more())
    }

    /// Moves the inbox into memory of our own, so that the core's buffers go back to the kernel.
    #[cold]
    pub(super) fn copy_out(&mut self) {
        let messages = self.entries.iter_mut().flatten();
        messages.for_each(|message| message.payload.make_owned());
    }
}
