//! What every socket of messages is made of, written once: UDP, Unix datagrams, `SEQPACKET`.
//!
//! A socket has two sides that know nothing of each other. Each has a line of futures that wait
//! ([`Waiters`](crate::io::waiters::Waiters)):
//!
//! * the *receive side* ([`recv_side`]): an [`inbox`] of whole messages, filled by one multishot
//!   receive. Futures take one from it and wait on it; they own no op, so dropping one loses
//!   nothing. A message is one entry, with its sender, its control data and its flags: messages are
//!   neither merged nor cut apart. An error is an entry as well, and is told to one future.
//! * the *send side* ([`send_side`]): how many sends are in flight. Each is a message of its own
//!   and is sent whole or not at all. One that was submitted is committed: it runs to its end,
//!   whoever waits for it.
//!
//! An op in flight holds an `Rc<Socket>`, so the descriptor is closed after the last of them.
//! Dropping the user's handle cancels the receive.

mod close;
mod control;
mod family;
mod inbox;
mod outbox;
mod recv;
mod recv_from;
mod recv_side;
mod send;
mod send_side;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;

pub use self::control::{Control, PacketInfo};
pub use self::family::DatagramSocket;
pub(crate) use self::family::Shape;
use self::inbox::RecvSide;
pub use self::recv::{Datagram, RecvDatagram};
pub use self::recv_from::{Peek, Received, RecvFrom};
pub use self::send::{SendDatagram, SendMsg};
use self::send_side::SendSide;
use crate::driver::Driver;
use crate::ring::Fd;

/// How long committed sends may go on when nobody holds their socket any more.
const LINGER_NS: u64 = 10_000_000_000;

/// A socket of messages.
pub(crate) struct Socket {
    fd: Fd,
    driver: Rc<Driver>,
    shape: &'static Shape,
    /// Bytes of control data that a message may bring.
    control_room: Cell<u32>,
    /// Whether the kernel is left to wait for room. See `op::MessageSender::flags`.
    kernel_waits: Cell<bool>,
    recv: RefCell<RecvSide>,
    send: RefCell<SendSide>,
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("fd", &self.fd)
            .finish_non_exhaustive()
    }
}

impl Socket {
    /// Nothing is received before somebody asks.
    pub(crate) fn new(fd: Fd, driver: Rc<Driver>, shape: &'static Shape) -> Rc<Socket> {
        Rc::new(Socket {
            fd,
            driver,
            shape,
            control_room: Cell::new(shape.control_room),
            kernel_waits: Cell::new(true),
            recv: RefCell::default(),
            send: RefCell::default(),
        })
    }

    pub(crate) fn fd(&self) -> &Fd {
        &self.fd
    }

    /// How much control data a message may bring, from the next arming of the receive on.
    pub(crate) fn set_control_room(&self, bytes: u32) {
        self.control_room.set(bytes.min(CONTROL_ROOM_MAX));
        // Armed again with the new room by whoever receives next.
        self.rearm();
    }

    /// From now on sends do not wait in the kernel.
    pub(crate) fn wait_outside(&self) {
        self.kernel_waits.set(false);
    }

    /// The user's handle is gone: cancels the receive, and gives committed sends their last time.
    pub(crate) fn abandon(self: &Rc<Self>) {
        self.stop_receiving();
        self.send_kept();
        self.linger();
    }
}

/// Far more than all that the kernel knows at once, and a small part of a buffer.
const CONTROL_ROOM_MAX: u32 = 16 * 1024;
