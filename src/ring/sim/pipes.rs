//! Pipes, and what is spliced through them.
//!
//! As on Linux a pipe has room for 16 pages, not for bytes: what is written goes into the last page
//! if it fits there as a whole, and into new ones if not; what is spliced never shares a page. The
//! pages belong to the end that is read from.

use std::collections::VecDeque;

use super::faults::Fault;
use super::kernel::{HostId, Kernel};
use super::memory::Lent;
use super::object::{Object, OpenFile};
use super::ops::Tried;
use super::table::Id;
use crate::ring::opcode;

const PAGES: usize = 16;
const PAGE: usize = 4096;

#[derive(Debug)]
pub(super) struct PipeReader {
    pages: VecDeque<Page>,
    /// `None` when that end is closed.
    writer: Option<Id>,
}

#[derive(Debug)]
pub(super) struct PipeWriter {
    /// `None` when that end is closed.
    reader: Option<Id>,
}

#[derive(Debug)]
struct Page {
    bytes: Vec<u8>,
    /// Of these, what was read.
    read: usize,
    /// What is written may be added.
    grows: bool,
}

impl PipeReader {
    fn len(&self) -> usize {
        let pages = self.pages.iter();
        pages.map(|page| page.bytes.len() - page.read).sum()
    }

    fn free_pages(&self) -> usize {
        PAGES.saturating_sub(self.pages.len())
    }

    /// How many of so many bytes can be written now: first to the last page, then to new ones.
    fn room_for(&self, len: usize) -> (usize, usize) {
        let odd = len % PAGE;
        let last = self.pages.back().filter(|last| last.grows);
        let fits = last.is_some_and(|last| last.bytes.len() + odd <= PAGE);
        let merged = if fits { odd } else { 0 };
        (merged, (len - merged).min(self.free_pages() * PAGE))
    }

    fn write(&mut self, bytes: &[u8], merged: usize) {
        let (to_last, rest) = bytes.split_at(merged.min(bytes.len()));
        if let Some(last) = self.pages.back_mut() {
            last.bytes.extend_from_slice(to_last);
        }
        self.append(rest, true);
    }

    fn append(&mut self, bytes: &[u8], grows: bool) {
        let pages = bytes.chunks(PAGE).map(|bytes| Page {
            bytes: bytes.to_vec(),
            read: 0,
            grows,
        });
        self.pages.extend(pages);
    }

    fn read(&mut self, n: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(n);
        while bytes.len() < n
            && let Some(first) = self.pages.front_mut()
        {
            let end = first.bytes.len().min(first.read + n - bytes.len());
            bytes.extend_from_slice(&first.bytes[first.read..end]);
            first.read = end;
            if end == first.bytes.len() {
                self.pages.pop_front();
            }
        }
        bytes
    }

    /// What a poll says.
    pub(super) fn ready(&self) -> i16 {
        let bytes = if self.pages.is_empty() {
            0
        } else {
            libc::POLLIN
        };
        bytes
            | if self.writer.is_none() {
                libc::POLLHUP
            } else {
                0
            }
    }
}

impl Kernel {
    /// Two ends, to read from and to write to.
    pub(super) fn new_pipe(&mut self, host: HostId) -> (Id, Id) {
        let writer = OpenFile::PipeWriter(PipeWriter { reader: None });
        let writer = self.objects.insert(Object::new(host, writer));
        let reader = OpenFile::PipeReader(PipeReader {
            pages: VecDeque::new(),
            writer: Some(writer),
        });
        let reader = self.objects.insert(Object::new(host, reader));
        if let Some(OpenFile::PipeWriter(pipe)) = self.file_mut(writer) {
            pipe.reader = Some(reader);
        }
        (reader, writer)
    }

    fn file_mut(&mut self, id: Id) -> Option<&mut OpenFile> {
        self.objects.find_mut(id).map(|object| &mut object.file)
    }

    fn pipe_mut(&mut self, reader: Id) -> Result<&mut PipeReader, i32> {
        match self.file_mut(reader) {
            Some(OpenFile::PipeReader(pipe)) => Ok(pipe),
            _ => Err(libc::EINVAL),
        }
    }

    /// The end that is read from, of the one that is written to.
    fn reader_of(&self, writer: Id) -> Result<Id, i32> {
        match self.objects.find(writer).map(|object| &object.file) {
            Some(OpenFile::PipeWriter(pipe)) => pipe.reader.ok_or(libc::EPIPE),
            _ => Err(libc::EINVAL),
        }
    }

    pub(super) fn is_pipe(&self, object: Option<Id>) -> bool {
        let file = object.and_then(|id| self.objects.find(id));
        let file = file.map(|object| &object.file);
        matches!(
            file,
            Some(OpenFile::PipeReader(_) | OpenFile::PipeWriter(_))
        )
    }

    /// What a poll says of the end that is written to.
    pub(super) fn pipe_takes(&self, writer: Id) -> i16 {
        let reader = self.reader_of(writer).ok();
        let reader = reader.and_then(|reader| self.objects.find(reader));
        match reader.map(|object| &object.file) {
            Some(OpenFile::PipeReader(pipe)) if pipe.free_pages() == 0 => 0,
            Some(OpenFile::PipeReader(_)) => libc::POLLOUT,
            _ => libc::POLLOUT | libc::POLLERR,
        }
    }

    pub(super) fn read_pipe(&mut self, reader: Id, lent: Lent) -> Tried {
        let (there, is_open) = match self.pipe_mut(reader) {
            Ok(pipe) => (pipe.len(), pipe.writer.is_some()),
            Err(errno) => return Tried::failed(errno),
        };
        if there == 0 && is_open && lent.len() > 0 {
            return Tried::Wait;
        }
        let n = self.shortened(opcode::READ, there.min(lent.len()));
        lent.fill(&self.drain_pipe(reader, n));
        Tried::Done(n as i32, 0)
    }

    /// Takes `n` bytes that are there, which makes room for the writer.
    pub(super) fn drain_pipe(&mut self, reader: Id, n: usize) -> Vec<u8> {
        let Ok(pipe) = self.pipe_mut(reader) else {
            return Vec::new();
        };
        let (bytes, writer) = (pipe.read(n), pipe.writer);
        if let Some(writer) = writer {
            self.stir(writer);
        }
        bytes
    }

    pub(super) fn write_pipe(&mut self, writer: Id, lent: Lent) -> Tried {
        let found = self.reader_of(writer);
        let found = found.and_then(|id| Ok((id, self.pipe_mut(id)?.room_for(lent.len()))));
        let (reader, (merged, paged)) = match found {
            Ok(found) => found,
            Err(errno) => return Tried::failed(errno),
        };
        if merged + paged == 0 && lent.len() > 0 {
            return Tried::Wait;
        }
        // Without a new page it is cut short; a page's worth is written as a whole or not at all.
        let mut n = merged + paged;
        if lent.len() > PAGE {
            n -= (n - self.shortened(opcode::WRITE, n)) / PAGE * PAGE;
        }
        if let Ok(pipe) = self.pipe_mut(reader) {
            pipe.write(&lent.read(n), merged);
        }
        self.stir(reader);
        Tried::Done(n as i32, 0)
    }

    /// The plain call, on sockets that do not block.
    pub(super) fn splice(&mut self, from: Id, to: Id, len: usize) -> Result<usize, i32> {
        self.adversary.coverage.submitted(opcode::SPLICE);
        // A poll that says too much is nothing unusual.
        if self.adversary.strikes(Fault::Late, opcode::SPLICE) {
            return Err(libc::EAGAIN);
        }
        let socket = if self.is_pipe(Some(to)) { from } else { to };
        let on = self.on(Some(socket));
        let mut errno = self.adversary.forced(opcode::SPLICE, on);
        if errno.is_none() {
            errno = self.adversary.errno(opcode::SPLICE, &[libc::ENOMEM]);
        }
        if let Some(errno) = errno {
            return Err(errno);
        }
        if self.is_pipe(Some(to)) {
            self.splice_in(from, to, len)
        } else {
            self.splice_out(from, to, len)
        }
    }

    fn splice_in(&mut self, socket: Id, writer: Id, len: usize) -> Result<usize, i32> {
        let reader = self.reader_of(writer)?;
        if self.is_connected(socket) && self.adversary.strikes(Fault::Reset, opcode::SPLICE) {
            self.reset_both(socket);
        }
        let readable = self.readable_bytes(socket)?;
        if readable == 0 {
            return match self.nothing_to_read(socket) {
                Tried::Done(0, _) => Ok(0),
                Tried::Done(result, _) => Err(-result),
                _ => Err(libc::EAGAIN),
            };
        }
        let room = self.pipe_mut(reader)?.free_pages() * PAGE;
        let n = len.min(readable).min(room);
        if n == 0 {
            return Err(libc::EAGAIN);
        }
        let n = self.shortened(opcode::SPLICE, n);
        let bytes = self.drain_socket(socket, n);
        self.pipe_mut(reader)?.append(&bytes, false);
        self.stir(reader);
        self.has_room(socket);
        Ok(n)
    }

    fn drain_socket(&mut self, id: Id, n: usize) -> Vec<u8> {
        match self.socket_mut(id) {
            Ok(socket) => socket.received.take(n),
            Err(_) => match self.unix_mut(id) {
                Ok(socket) => socket.take_bytes(n),
                Err(_) => Vec::new(),
            },
        }
    }

    fn splice_out(&mut self, reader: Id, socket: Id, len: usize) -> Result<usize, i32> {
        let pipe = self.pipe_mut(reader)?;
        let (there, is_open) = (pipe.len(), pipe.writer.is_some());
        if there == 0 {
            return if is_open { Err(libc::EAGAIN) } else { Ok(0) };
        }
        if self.is_connected(socket) && self.adversary.strikes(Fault::Reset, opcode::SPLICE) {
            self.reset_both(socket);
        }
        let room = self.room_to_send(socket).map_err(|errno| {
            // Told once, to whoever asks first.
            let told = self.socket_mut(socket).ok().and_then(|it| it.error.take());
            told.unwrap_or(errno)
        })?;
        let n = len.min(there).min(room);
        if n == 0 {
            return Err(libc::EAGAIN);
        }
        let n = self.shortened(opcode::SPLICE, n);
        let bytes = self.drain_pipe(reader, n);
        self.transmit(socket, bytes);
        Ok(n)
    }

    /// The last reference to an end is gone.
    pub(super) fn end_pipe_reader(&mut self, pipe: &PipeReader) {
        if let Some(writer) = pipe.writer
            && let Some(OpenFile::PipeWriter(other)) = self.file_mut(writer)
        {
            other.reader = None;
            self.stir(writer);
        }
    }

    pub(super) fn end_pipe_writer(&mut self, pipe: &PipeWriter) {
        if let Some(reader) = pipe.reader
            && let Ok(other) = self.pipe_mut(reader)
        {
            other.writer = None;
            self.stir(reader);
        }
    }
}
