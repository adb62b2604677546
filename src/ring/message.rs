//! `struct msghdr`, as `SENDMSG` reads it.
#![allow(unsafe_code)]

/// What a message is made of: its vectors. No address, no control data.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct MessageHeader(libc::msghdr);

impl Default for MessageHeader {
    fn default() -> Self {
        // SAFETY: all fields are numbers and pointers, for which zero is a value.
        MessageHeader(unsafe { std::mem::zeroed() })
    }
}

impl MessageHeader {
    /// Names the vectors, which the op that lends the header owns as well.
    pub(crate) fn set_vectors(&mut self, vectors: *const libc::iovec, count: usize) {
        self.0.msg_iov = vectors.cast_mut();
        self.0.msg_iovlen = count;
    }
}
