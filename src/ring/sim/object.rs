//! What descriptors stand for.

use super::kernel::HostId;
use super::messages::MessageSocket;
use super::pipes::{PipeReader, PipeWriter};
use super::socket::Socket;
use super::table::Id;
use super::unix::Unix;

#[derive(Debug)]
pub(super) struct Object {
    pub(super) host: HostId,
    /// Descriptors and ops in flight.
    pub(super) references: usize,
    pub(super) waiters: Vec<Id>,
    pub(super) file: OpenFile,
}

#[derive(Debug)]
pub(super) enum OpenFile {
    Socket(Box<Socket>),
    Unix(Box<Unix>),
    Messages(Box<MessageSocket>),
    /// An eventfd and its count.
    Event(u64),
    PipeReader(PipeReader),
    PipeWriter(PipeWriter),
    Disk(DiskFile),
    Ring(usize),
}

/// An open file or directory.
#[derive(Clone, Debug)]
pub(super) struct DiskFile {
    pub(super) inode: Id,
    pub(super) position: u64,
    pub(super) appends: bool,
    pub(super) reads: bool,
    pub(super) writes: bool,
}

impl Object {
    pub(super) fn new(host: HostId, file: OpenFile) -> Object {
        Object {
            host,
            references: 0,
            waiters: Vec::new(),
            file,
        }
    }
}
