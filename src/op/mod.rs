//! The catalogue: one file per opcode. `recv.rs` is the one to copy.
//!
//! An op names its opcode, lends what it owns, and says what its result means. Its result belongs
//! to its resource: what completes when nobody waits any more goes there, through [`Receiver`],
//! [`Sender`], [`Acceptor`] or [`Settle`], or is dropped, which closes it.
//!
//! `shutdown`, `bind`, `listen` and socket options are not here: the plain calls are faster, or
//! later kernels than ours have them (see DESIGN.md).

mod accept;
mod accept_multi;
mod close;
mod connect;
mod fsync;
mod ftruncate;
mod held;
mod kick;
mod mkdir;
#[allow(dead_code, reason = "one core alone has nobody to tell")]
mod msg_ring;
mod nop;
mod open;
mod poll;
mod read;
mod readable;
mod recv;
mod recv_multi;
mod recv_owned;
mod recvmsg_multi;
mod rename;
mod send;
mod send_descriptors;
mod send_to;
mod send_train;
mod send_vectored;
mod send_zc;
mod sendmsg;
mod splice_out;
mod statx;
mod train;
mod unlink;
mod write;

use std::io;
use std::rc::Rc;

use bytes::Bytes;
use corering_buffers::Lease;

pub(crate) use self::accept::Accept;
pub(crate) use self::accept_multi::AcceptMulti;
pub(crate) use self::close::Close;
pub(crate) use self::connect::Connect;
pub(crate) use self::fsync::Fsync;
pub(crate) use self::ftruncate::Ftruncate;
pub(crate) use self::held::Held;
pub(crate) use self::kick::Kick;
pub(crate) use self::mkdir::Mkdir;
#[allow(unused_imports, reason = "one core alone has nobody to tell")]
pub(crate) use self::msg_ring::MsgRing;
pub(crate) use self::nop::Nop;
pub(crate) use self::open::Open;
pub(crate) use self::poll::Poll;
pub(crate) use self::read::Read;
pub(crate) use self::readable::Readable;
pub(crate) use self::recv::Recv;
pub(crate) use self::recv_multi::RecvMulti;
pub(crate) use self::recv_owned::RecvOwned;
pub(crate) use self::recvmsg_multi::RecvMsgMulti;
pub(crate) use self::rename::Rename;
pub(crate) use self::send::Send;
pub(crate) use self::send_descriptors::SendDescriptors;
pub(crate) use self::send_to::SendTo;
pub(crate) use self::send_train::SendTrain;
pub(crate) use self::send_vectored::SendVectored;
pub(crate) use self::send_zc::SendZc;
pub(crate) use self::sendmsg::SendMsg;
pub(crate) use self::splice_out::SpliceOut;
pub(crate) use self::statx::{Stat, Statx, Target};
pub(crate) use self::train::Train;
pub(crate) use self::unlink::Unlink;
pub(crate) use self::write::Write;
use crate::driver::{Item, Op};
use crate::ring::{ControlData, Cqe, Fd, Name};

/// A stream socket, as its receives see it. One of them is in flight at a time.
pub(crate) trait Receiver: 'static {
    fn fd(&self) -> &Fd;

    /// It is the end of a pipe, from which bytes are read.
    fn is_pipe(&self) -> bool {
        false
    }

    /// A multishot receive brought something, with a buffer if `lease`, which is called each time,
    /// yields one. The driver is borrowed: no user code may run.
    fn received(&self, cqe: Cqe, lease: impl FnOnce() -> Option<Lease>) -> Item;

    /// The multishot receive has ended, its last item taken.
    fn receive_ended(self: Rc<Self>, cqe: Cqe);

    /// A one-shot receive has ended, and its reader has what it brought.
    fn received_directly(&self, cqe: Cqe);

    /// A one-shot receive has ended, and what it brought is for the next reader.
    fn received_late(&self, bytes: io::Result<Bytes>);

    /// A poll has ended, and has taken nothing.
    fn polled(&self);
}

/// A stream socket, as its sends see it. One of them is in flight at a time.
pub(crate) trait Sender: 'static {
    fn fd(&self) -> &Fd;

    /// It is the end of a pipe, to which bytes are written.
    fn is_pipe(&self) -> bool {
        false
    }

    /// The kernel took a part of a send whose future is gone: submits the rest, or gives it up.
    fn go_on<T: Op>(&self, rest: T)
    where
        Self: Sized;

    /// `MSG_NOSIGNAL`, and `MSG_WAITALL` for `all` that are to be sent: then the kernel waits until
    /// they are. Without that each part ends a submission, and somebody sees how it goes on.
    fn send_flags(&self, all: bool) -> u32;

    /// The kernel took a part of a send, which goes on.
    fn took_a_part(&self);

    /// A part of a message is sent, and the rest never will be.
    fn torn(&self);

    /// A send has ended for good with `result`, which comes back; the next one may start.
    fn sent(&self, result: io::Result<usize>) -> io::Result<usize>;

    /// The same for the usual result: `n` bytes.
    fn sent_well(&self, n: usize);
}

/// What became of the bytes in the pipe of a [`SpliceOut`].
pub(crate) enum Poured<S> {
    /// They are sent, or never will be.
    All(io::Result<()>),
    /// The rest is sent by another op, which nobody waits for.
    HandedOver,
    /// The stream has no more room.
    Rest(SpliceOut<S>),
}

/// To read and write at, where there are no offsets.
pub(crate) const NO_OFFSET: u64 = u64::MAX;

/// A message as it came: whole, with what came beside its bytes.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) payload: Lease,
    /// Who has sent it. No name if that has none, or if the kernel does not say.
    pub(crate) name: Name,
    pub(crate) control: Option<Box<ControlData>>,
    /// `MSG_TRUNC`, `MSG_CTRUNC`, …
    pub(crate) flags: i32,
}

/// A socket of messages, as its receives see it. One of them is in flight at a time.
pub(crate) trait MessageReceiver: 'static {
    fn fd(&self) -> &Fd;

    /// A receive brought a message, or something else. The driver is borrowed: no user code may
    /// run.
    fn received(&self, cqe: Cqe, message: Option<Message>) -> Item;

    /// The receive has ended with this completion, of which `received` was told.
    fn receive_ended(self: Rc<Self>, cqe: Cqe);
}

/// A socket of messages, as its sends see it.
pub(crate) trait MessageSender: 'static {
    fn fd(&self) -> &Fd;

    /// The flags of its sends: `MSG_NOSIGNAL`, and `MSG_DONTWAIT` for datagrams to Unix sockets
    /// that have another peer or none. When one of those has no room, the kernel has taken the
    /// bytes already as it begins to wait, and sends an empty message when it tries again (seen
    /// with 6.18).
    fn flags(&self) -> u32;

    /// A send has ended: another one may be submitted.
    fn sent(&self);

    /// The same for a send that nobody waits for.
    fn sent_unnoticed(&self, cqe: Cqe);

    /// Several sends that nobody waits for have ended: the kernel has taken all of them, or none.
    fn train_ended(self: Rc<Self>, train: Train, cqe: Cqe);
}

/// A listening socket, as its accepts see it.
pub(crate) trait Acceptor: 'static {
    fn fd(&self) -> &Fd;

    /// A connection came, or an error. The driver is borrowed: no user code may run.
    fn accepted(&self, connection: io::Result<Fd>) -> Item;

    /// No accept is armed any more.
    fn accept_ended(&self);
}

/// A file, as its writes see it.
pub(crate) trait Settle: 'static {
    fn fd(&self) -> &Fd;

    /// The kernel took a part of a write whose future is gone: submits the rest.
    fn go_on<T: Op>(&self, rest: T)
    where
        Self: Sized;

    /// A write or a sync that nobody waits for has ended.
    fn settled(&self, result: io::Result<()>);
}
