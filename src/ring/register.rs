//! What is registered with a ring after it was built.
#![allow(unsafe_code)]

use std::io;

use io_uring::types::IOU_PBUF_RING_INC;

use super::uring::Uring;

impl Uring {
    /// # Safety
    ///
    /// As [`Ring::register_buf_ring`](super::Ring::register_buf_ring).
    pub(super) unsafe fn register_buf_ring(
        &mut self,
        address: u64,
        entries: u16,
        group: u16,
        incremental: bool,
    ) -> io::Result<()> {
        let flags = if incremental {
            IOU_PBUF_RING_INC as u16
        } else {
            0
        };
        let submitter = self.submitter();
        // SAFETY: the caller's promise is the same.
        unsafe { submitter.register_buf_ring_with_flags(address, entries, group, flags) }
    }

    pub(super) fn unregister_buf_ring(&mut self, group: u16) -> io::Result<()> {
        self.submitter().unregister_buf_ring(group)
    }
}
