//! Descriptors that come with the bytes of a stream.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;

use super::record::RecvRecord;
use super::{CONTROL_ROOM, NAME_ROOM};
use crate::driver::Driver;
use crate::net::datagram::{DatagramSocket, Shape, Socket};
use crate::net::stream;
use crate::ring::{Fd, Name};

/// The receiving side of a [`UnixStream`](crate::net::UnixStream) that takes descriptors as well,
/// made by [`receive_descriptors`](crate::net::UnixStream::receive_descriptors).
///
/// What it receives are pieces of the stream, however they were written. Descriptors belong to the
/// piece that they are in the [`Control`](crate::net::Control) of: they were sent with its first
/// byte, or a later one of it, and two of what was sent with descriptors are never in one piece. So
/// who sends a message with descriptors puts them beside its first byte, and who receives reads on
/// until the message is whole.
///
/// At most 253 come with a piece. Those that are not taken are closed with it, wherever it is
/// dropped, and come with `CLOEXEC`. Where the process has no number left for one, it is lost, and
/// so are those behind it: [`Control::truncated`](crate::net::Control::truncated) says so.
///
/// It has a descriptor of its own for the socket, which is closed when both this and the stream
/// are dropped.
///
/// # Cancellation
///
/// Dropping any future loses no byte and no descriptor. Dropping this cancels its receive.
pub struct UnixDescriptorReceiver(Rc<Socket>);

static PIECES: Shape = Shape {
    name_room: NAME_ROOM,
    control_room: CONTROL_ROOM,
    sends: 1,
    late_errors: &[],
};

impl UnixDescriptorReceiver {
    pub(super) fn new(stream: &stream::Socket) -> io::Result<UnixDescriptorReceiver> {
        let driver = Driver::current()?;
        let fd = Fd::from(stream.fd().as_fd().try_clone_to_owned()?);
        if !stream.give_up_receiving() {
            let text = "the stream has received already: descriptors may have been lost";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        Ok(UnixDescriptorReceiver(Socket::new(fd, driver, &PIECES)))
    }

    /// Receives the next bytes, without a copy, with the descriptors that belong to them. `None`:
    /// the stream has ended.
    ///
    /// # Errors
    ///
    /// `ECONNRESET`: the peer was closed with bytes unread; after that it is the end. `ENOMEM`:
    /// there is no memory for receive buffers. `ECANCELED`: the runtime has ended.
    ///
    /// # Cancellation
    ///
    /// Dropping the future loses nothing: the next call returns the bytes, with their descriptors.
    ///
    /// # Kernel
    ///
    /// `IORING_OP_RECVMSG` with `IORING_RECV_MULTISHOT`, since 6.0.
    ///
    /// # Source
    ///
    /// `SCM_RIGHTS` in [`unix(7)`](https://man7.org/linux/man-pages/man7/unix.7.html)
    #[doc(alias = "recvmsg")]
    #[doc(alias = "SCM_RIGHTS")]
    pub fn recv(&self) -> RecvRecord<'_, UnixDescriptorReceiver> {
        RecvRecord::new(&self.0)
    }
}

#[allow(private_interfaces, reason = "sealed")]
impl DatagramSocket for UnixDescriptorReceiver {
    type Address = ();

    fn address(_: &Name) {}
}

impl Drop for UnixDescriptorReceiver {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

impl AsFd for UnixDescriptorReceiver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.fd().as_fd()
    }
}

impl fmt::Debug for UnixDescriptorReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fd = self.as_fd();
        f.debug_tuple("UnixDescriptorReceiver").field(&fd).finish()
    }
}
