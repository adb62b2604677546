//! What differs between stream sockets of one family and another: names.

use std::io;
use std::rc::Rc;

use socket2::SockAddr;

use super::Socket;

/// A stream of one family. Implemented by the streams of this crate and by nothing else.
pub trait StreamSocket: Sized {
    /// What its sockets are called.
    type Address;

    #[doc(hidden)]
    fn of(socket: Rc<Socket>) -> Self;

    #[doc(hidden)]
    fn socket(&self) -> &Rc<Socket>;

    #[doc(hidden)]
    fn address(address: &SockAddr) -> io::Result<Self::Address>;
}
