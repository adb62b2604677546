//! `struct msghdr`, as `SENDMSG` and `RECVMSG` read it, and what a multishot `RECVMSG` writes.
#![allow(unsafe_code)]

use std::ops::Range;

use super::Name;

/// What a message is made of.
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

    /// Says how much room a multishot receive leaves in each of its buffers for a name and for
    /// control data.
    pub(crate) fn set_rooms(&mut self, rooms: Rooms) {
        self.0.msg_namelen = rooms.name;
        self.0.msg_controllen = rooms.control as _;
    }
}

/// A message to be sent: everything but its bytes. Boxed by its op, since it points into itself.
#[derive(Debug)]
pub(crate) struct Outgoing {
    header: MessageHeader,
    vectors: Vec<libc::iovec>,
    name: Name,
    control: Vec<u8>,
}

impl Outgoing {
    /// To `name`, with `control` as the kernel takes it.
    pub(crate) fn new(name: Name, control: Vec<u8>) -> Box<Outgoing> {
        Box::new(Outgoing {
            header: MessageHeader::default(),
            vectors: Vec::new(),
            name,
            control,
        })
    }

    /// The header, complete with the bytes of `parts`: address and length. It points to `self`, so
    /// `self` stays where it is until the op has ended.
    pub(crate) fn lend(
        &mut self,
        parts: impl IntoIterator<Item = (*const u8, usize)>,
    ) -> &MessageHeader {
        let vector = |(start, len): (*const u8, usize)| libc::iovec {
            iov_base: start.cast_mut().cast(),
            iov_len: len,
        };
        // It may be lent again, when the op is submitted anew.
        self.vectors.clear();
        self.vectors.extend(parts.into_iter().map(vector));
        let header = &mut self.header.0;
        let name = self.name.as_bytes();
        if !name.is_empty() {
            header.msg_name = name.as_ptr().cast_mut().cast();
            header.msg_namelen = name.len() as libc::socklen_t;
        }
        if !self.control.is_empty() {
            header.msg_control = self.control.as_mut_ptr().cast();
            header.msg_controllen = self.control.len() as _;
        }
        header.msg_iov = self.vectors.as_mut_ptr();
        header.msg_iovlen = self.vectors.len();
        &self.header
    }
}

/// How much room each buffer of a multishot receive has for what comes beside the bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Rooms {
    pub(crate) name: u32,
    pub(crate) control: u32,
}

/// Where the parts of a message lie in the buffer that a multishot `RECVMSG` has filled.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Parts {
    pub(crate) name: Range<usize>,
    pub(crate) control: Range<usize>,
    pub(crate) payload: Range<usize>,
    /// `MSG_TRUNC`, `MSG_CTRUNC`, …
    pub(crate) flags: i32,
}

/// `struct io_uring_recvmsg_out`: lengths of name, control data and payload, and flags.
const HEADER: usize = 16;

impl Parts {
    /// Takes `buffer` apart, which a receive that left these `rooms` has filled: its header, the
    /// two rooms, and the bytes. `None` if it is too short for that.
    ///
    /// What the header says is not believed: no range leaves the part that it belongs to.
    #[inline]
    pub(crate) fn of(buffer: &[u8], rooms: Rooms) -> Option<Parts> {
        let word = |index: usize| Some(*buffer.get(4 * index..)?.first_chunk::<4>()?);
        let [name, control, payload] = [word(0)?, word(1)?, word(2)?].map(u32::from_ne_bytes);
        let flags = i32::from_ne_bytes(word(3)?);
        let control_at = HEADER + rooms.name as usize;
        let payload_at = control_at + rooms.control as usize;
        let room = buffer.len().checked_sub(payload_at)?;
        Some(Parts {
            // Longer ones were cut: the kernel says how long they had been.
            name: HEADER..HEADER + name.min(rooms.name) as usize,
            control: control_at..control_at + control.min(rooms.control) as usize,
            payload: payload_at..payload_at + room.min(payload as usize),
            flags,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection, prop_assert, proptest};

    use super::*;

    #[test]
    fn a_message_is_taken_apart_where_the_kernel_put_its_parts() {
        let rooms = Rooms {
            name: 28,
            control: 40,
        };
        let mut buffer = Vec::new();
        for word in [16_u32, 24, 3, libc::MSG_CTRUNC.cast_unsigned()] {
            buffer.extend(word.to_ne_bytes());
        }
        buffer.resize(16 + 28 + 40, 0);
        buffer.extend(b"abc");
        let parts = Parts::of(&buffer, rooms).expect("it is whole");
        assert_eq!((parts.name, parts.control), (16..32, 44..68));
        assert_eq!((parts.payload, parts.flags), (84..87, libc::MSG_CTRUNC));
        assert_eq!(Parts::of(&buffer[..83], rooms), None);
    }

    proptest! {
        #[test]
        fn parts_lie_within_the_buffer_and_do_not_overlap(
            buffer in collection::vec(0_u8..255, 0..300),
            huge in 0_u8..2,
            name in 0_u32..140,
            control in 0_u32..140,
        ) {
            let mut buffer = buffer;
            if huge == 0 {
                // Lengths that could be true.
                for at in [1, 2, 3, 5, 6, 7, 9, 10, 11] {
                    if let Some(byte) = buffer.get_mut(at) {
                        *byte = 0;
                    }
                }
            }
            let rooms = Rooms { name, control };
            if let Some(parts) = Parts::of(&buffer, rooms) {
                prop_assert!(HEADER <= parts.name.start && parts.name.start <= parts.name.end);
                prop_assert!(parts.name.end <= parts.control.start);
                prop_assert!(parts.control.start <= parts.control.end);
                prop_assert!(parts.control.end <= parts.payload.start);
                prop_assert!(parts.payload.start <= parts.payload.end);
                prop_assert!(parts.payload.end <= buffer.len());
            } else {
                prop_assert!(buffer.len() < HEADER + (name + control) as usize);
            }
        }
    }
}
