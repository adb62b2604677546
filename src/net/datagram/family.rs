//! What differs between sockets of messages of one family and another.

use crate::ring::Name;

/// A socket of messages of one family. Implemented by those of this crate and by nothing else.
#[allow(private_interfaces, reason = "sealed")]
pub trait DatagramSocket: Sized {
    /// What its sockets are called.
    type Address;

    /// The name of who has sent a message, which may be none.
    #[doc(hidden)]
    fn address(name: &Name) -> Self::Address;
}

/// What the core has to know of a family.
#[derive(Debug)]
pub(crate) struct Shape {
    /// Bytes of the longest name of one of its sockets.
    pub(crate) name_room: u32,
    /// Bytes of control data that a message may bring, unless the socket is told otherwise.
    pub(crate) control_room: u32,
    /// Sends that may be in flight at once. One, where the order of messages is promised.
    pub(crate) sends: u16,
    /// Errors that a send reports of an earlier message, and that concern who receives as well.
    pub(crate) late_errors: &'static [i32],
}
