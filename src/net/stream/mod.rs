//! What every stream socket is made of, written once.
//!
//! A stream has two sides that know nothing of each other. Each has a line of futures that wait
//! ([`Waiters`]), and at most one op in flight:
//!
//! * the *receive side* ([`recv_side`]): an [`inbox`] of leases, filled by whatever receive is in
//!   flight, a sticky end and a sticky error. Futures take from the inbox and wait on it; they own
//!   no op, so dropping one loses nothing.
//! * the *send side* ([`send_side`]): whether a send is in flight, and a sticky error. A send that
//!   was submitted is committed: it runs to its end, whoever waits for it.
//!
//! An op in flight holds an `Rc<Socket>`, so the descriptor is closed after the last of them, and
//! the buffers live until then. Dropping the user's handle only cancels the receive.

mod close;
mod exact;
mod family;
mod fill;
mod inbox;
mod read;
mod recv;
mod recv_side;
mod send_side;
mod splice;
mod splice_end;
mod write;
mod write_descriptors;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::net::Shutdown;
use std::rc::Rc;

pub(crate) use self::close::Parts;
pub use self::family::StreamSocket;
pub use self::fill::{FillBuf, FillMore};
use self::inbox::RecvSide;
pub use self::read::Read;
pub use self::recv::Recv;
use self::send_side::SendSide;
pub use self::splice::{splice, splice_bidirectional};
pub use self::splice_end::SpliceEnd;
pub use self::write::{Write, WriteAll, WriteVectored, WriteZeroCopy};
pub use self::write_descriptors::WriteWithDescriptors;
use crate::driver::{Driver, Key};
use crate::ring::Fd;

/// How long a committed send may go on when nobody holds its stream any more.
const LINGER_NS: u64 = 10_000_000_000;

/// A connected stream socket.
pub struct Socket {
    fd: Fd,
    driver: Rc<Driver>,
    /// One end of a pipe: one side is never used, and nothing is received by multishots.
    is_pipe: bool,
    recv: RefCell<RecvSide>,
    send: SendSide,
    handles: Cell<Handles>,
    /// The send that nobody waits for any more, to be cancelled if it lingers too long.
    last_send: Cell<Option<Key>>,
    /// When a committed send of an abandoned stream is given up. 0 while there is no such thing.
    gives_up_ns: Cell<u64>,
    /// Of sends that are to be sent whole.
    whole_flags: Cell<u32>,
}

/// Which of the user's handles are there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Handles {
    Whole,
    Both,
    Read,
    Write,
    None,
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("fd", &self.fd)
            .finish_non_exhaustive()
    }
}

impl Socket {
    /// A stream on a connected socket. Nothing is received before somebody asks.
    pub(crate) fn new(fd: Fd, driver: Rc<Driver>) -> Rc<Socket> {
        Socket::of(fd, driver, false)
    }

    /// The end of a pipe, on the rules of a stream.
    pub(crate) fn of_pipe(fd: Fd, driver: Rc<Driver>) -> Rc<Socket> {
        Socket::of(fd, driver, true)
    }

    fn of(fd: Fd, driver: Rc<Driver>, is_pipe: bool) -> Rc<Socket> {
        Rc::new(Socket {
            fd,
            driver,
            is_pipe,
            recv: RefCell::default(),
            send: SendSide::default(),
            handles: Cell::new(Handles::Whole),
            last_send: Cell::new(None),
            gives_up_ns: Cell::new(0),
            whole_flags: Cell::new((libc::MSG_NOSIGNAL | libc::MSG_WAITALL).cast_unsigned()),
        })
    }

    pub(crate) fn fd(&self) -> &Fd {
        &self.fd
    }

    /// How much the inbox holds.
    pub(crate) fn held(&self) -> usize {
        self.recv.borrow().len()
    }

    /// From now on each part that the kernel takes of a send can be seen, by
    /// [`taken_by_kernel`](Self::taken_by_kernel).
    pub(crate) fn pace_sends(&self) {
        // Sends end with what the kernel has taken.
        self.whole_flags.set(libc::MSG_NOSIGNAL.cast_unsigned());
    }

    /// Changes whenever the kernel has taken something that is to be sent.
    pub(crate) fn taken_by_kernel(&self) -> u32 {
        self.send.taken()
    }

    /// What is being sent is not to be waited for: the write side is over, with a part of it.
    pub(crate) fn cut_send(&self) {
        self.send.tear();
        // Ends the poll that waits for room. What cannot be shut down has ended already.
        let _ = self.fd.shutdown(Shutdown::Write);
    }

    /// Another handle receives from now on: readers here are told `EBUSY`. False, and nothing
    /// changes, if something is being received, or was and is unread.
    pub(crate) fn give_up_receiving(&self) -> bool {
        let mut side = self.recv.borrow_mut();
        let is_fresh = !side.is_armed() && side.head.is_none() && side.end == inbox::End::Open;
        if is_fresh {
            side.fail(libc::EBUSY);
        }
        is_fresh
    }

    /// The user's handle is gone: cancels the receive and lets a committed send finish. Not so if
    /// it was split into halves.
    pub(crate) fn drop_whole(&self) {
        if self.handles.get() == Handles::Whole {
            self.abandon();
        }
    }

    /// From now on there are two handles, or one again.
    pub(crate) fn set_split(&self, split: bool) {
        self.handles
            .set(if split { Handles::Both } else { Handles::Whole });
    }

    /// The read half is gone.
    pub(crate) fn drop_read_half(&self) {
        match self.handles.get() {
            Handles::Both => self.handles.set(Handles::Write),
            Handles::Read => return self.abandon(),
            _ => return,
        }
        self.stop_receiving();
    }

    /// The write half is gone.
    pub(crate) fn drop_write_half(&self) {
        match self.handles.get() {
            Handles::Both => self.handles.set(Handles::Read),
            Handles::Write => {}
            _ => return,
        }
        self.shut_write_later();
        if self.handles.get() == Handles::Write {
            self.abandon();
        }
    }

    fn abandon(&self) {
        self.handles.set(Handles::None);
        self.stop_receiving();
        self.linger();
    }

    /// Shuts the write side down once the committed send has ended.
    fn shut_write_later(&self) {
        if !self.send.shut_after_send() {
            // Only an unconnected socket reports an error here, and nobody is left to hear it.
            let _ = self.fd.shutdown(Shutdown::Write);
        }
    }

    /// Shuts down one or both sides, the write side after the sends that are committed.
    pub(crate) async fn shutdown(self: &Rc<Self>, how: Shutdown) -> io::Result<()> {
        if how != Shutdown::Read {
            self.sends_done().await?;
            self.send.close();
        }
        self.fd.shutdown(how)
    }
    /// Waits for writes that are committed, and reports the error that has ended the write side.
    pub(crate) async fn flush(self: &Rc<Self>) -> io::Result<()> {
        self.sends_done().await
    }
}
