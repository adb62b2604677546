#![allow(unsafe_code)]
//! raw: an echo server written by hand on the ring, the limit that the columns are measured
//! against. It has no tasks, no futures and no types for sockets: a completion is looked at once,
//! and what it asks for is pushed at once.
//!
//! One multishot accept and one multishot receive per connection; what a receive brings is sent
//! from where the kernel put it; one enter per turn submits all sends and reaps all that is done.
//! The receive buffers are incremental where the kernel has them (6.12): each is filled piece by
//! piece, and belongs to the kernel again when it is full and all its pieces have been sent.
//!
//! A connection is known by its descriptor, which is closed only after its receive has ended and
//! its last send is done: no completion can meet a descriptor that was given away anew.

use std::collections::VecDeque;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use io_uring::types::{BufRingEntry, Fd};
use io_uring::{CompletionQueue, EnterFlags, IoUring, SubmissionQueue, Submitter};
use io_uring::{cqueue, opcode, squeue};

use crate::peers::SQ_ENTRIES;
use crate::server::{ServeOptions, echoed};

const CQ_ENTRIES: u32 = SQ_ENTRIES * 8;
const GROUP: u16 = 0;
const INCREMENTAL: u16 = 2; // IOU_PBUF_RING_INC
const BUFFER_MORE: u32 = 1 << 4; // IORING_CQE_F_BUF_MORE

/// As in the runtime whose limit this is.
const SPIN: Duration = Duration::from_micros(50);

const ACCEPT: u64 = 0;
const RECV: u64 = 1;
const SEND: u64 = 2;

fn user_data(kind: u64, bid: u16, fd: RawFd) -> u64 {
    kind << 48 | u64::from(bid) << 32 | u64::from(fd as u32)
}

/// Serves and sleeps in the kernel as soon as there is nothing to do.
pub(crate) fn serve(listener: TcpListener, _: &ServeOptions) -> io::Result<()> {
    run(&listener, false)
}

/// The same on a Unix socket: the ring does not know them apart.
pub(crate) fn serve_unix(listener: UnixListener, _: &ServeOptions) -> io::Result<()> {
    run(&listener, false)
}

/// Serves and looks at the completion queue for a while before it sleeps.
pub(crate) fn serve_spinning(listener: TcpListener, options: &ServeOptions) -> io::Result<()> {
    run(&listener, !options.no_spin)
}

fn run(listener: &impl AsRawFd, spin: bool) -> io::Result<()> {
    let mut ring = build()?;
    let (mut submitter, queue, mut completions) = ring.split();
    submitter.register_ring_fd()?;
    let buffers = Buffers::new(&submitter)?;
    let mut server = Server {
        submitter,
        queue,
        buffers,
        connections: Vec::new(),
        listener: listener.as_raw_fd(),
        starved: Vec::new(),
        accepting: false,
    };
    server.accept();
    loop {
        server.buffers.publish();
        server.enter(&mut completions, spin)?;
        for cqe in completions.by_ref() {
            let (flags, fd) = (cqe.flags(), cqe.user_data() as u32 as RawFd);
            match cqe.user_data() >> 48 {
                RECV => server.received(fd, cqe.result(), flags),
                SEND => server.sent(fd, (cqe.user_data() >> 32) as u16),
                _ => server.accepted(cqe.result(), flags),
            }
        }
    }
}

fn build() -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_taskrun_flag()
        .setup_submit_all()
        .setup_cqsize(CQ_ENTRIES);
    let plain = builder.clone();
    match builder.setup_no_sqarray().build(SQ_ENTRIES) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => plain.build(SQ_ENTRIES),
        ring => ring,
    }
}

/// A piece of a ring buffer that was filled and is not sent yet.
struct Piece {
    address: *const u8,
    length: u32,
    bid: u16,
}

#[derive(Default, PartialEq)]
enum Receive {
    #[default]
    Armed,
    /// There was no buffer: it will be armed when there is.
    Starved,
    /// The peer is gone, or done.
    Ended,
}

#[derive(Default)]
struct Connection {
    receive: Receive,
    sending: bool,
    /// What came while a send was in flight.
    waiting: VecDeque<Piece>,
}

struct Server<'ring> {
    submitter: Submitter<'ring>,
    queue: SubmissionQueue<'ring>,
    buffers: Buffers,
    /// By descriptor.
    connections: Vec<Connection>,
    listener: RawFd,
    /// Connections whose receive found no buffer.
    starved: Vec<RawFd>,
    accepting: bool,
}

impl Server<'_> {
    #[inline]
    fn push(&mut self, entry: &squeue::Entry) {
        // SAFETY: the entries name buffers of the ring's own group, which are never unmapped.
        while unsafe { self.queue.push(entry) }.is_err() {
            self.queue.sync();
            self.submitter
                .submit()
                .expect("a full queue can be submitted");
            self.queue.sync();
        }
    }

    /// Submits what is staged and returns when something has completed.
    fn enter(&mut self, completions: &mut CompletionQueue<'_>, spin: bool) -> io::Result<()> {
        if spin && self.queue.is_empty() {
            let since = Instant::now();
            loop {
                completions.sync();
                if !CompletionQueue::is_empty(completions) {
                    return Ok(());
                }
                if self.queue.taskrun() || since.elapsed() > SPIN {
                    break;
                }
                std::hint::spin_loop();
            }
        }
        self.queue.sync();
        // Publishes how far we have read: the kernel would not wait while it sees completions.
        completions.sync();
        let staged = self.queue.len() as u32;
        // SAFETY: there is no argument that the kernel could read.
        let entered = unsafe {
            let flags = EnterFlags::GETEVENTS.bits();
            self.submitter
                .enter::<libc::sigset_t>(staged, 1, flags, None)
        };
        self.queue.sync();
        completions.sync();
        match entered {
            Err(error) if error.raw_os_error() != Some(libc::EINTR) => Err(error),
            _ => Ok(()),
        }
    }

    #[cold]
    fn accept(&mut self) {
        self.accepting = true;
        let accept = opcode::AcceptMulti::new(Fd(self.listener)).flags(libc::SOCK_CLOEXEC);
        self.push(&accept.build().user_data(user_data(ACCEPT, 0, 0)));
    }

    fn accepted(&mut self, result: i32, flags: u32) {
        if result >= 0 {
            if self.connections.len() <= result as usize {
                self.connections
                    .resize_with(result as usize + 1, Connection::default);
            }
            self.connections[result as usize] = Connection::default();
            self.receive(result);
        }
        if !cqueue::more(flags) {
            self.accepting = false;
            // Without a descriptor left it would fail again: the next close accepts again.
            if result >= 0 || -result != libc::EMFILE {
                self.accept();
            }
        }
    }

    fn receive(&mut self, fd: RawFd) {
        self.connections[fd as usize].receive = Receive::Armed;
        let recv = opcode::RecvMulti::new(Fd(fd), GROUP).build();
        self.push(&recv.user_data(user_data(RECV, 0, fd)));
    }

    #[inline]
    fn received(&mut self, fd: RawFd, result: i32, flags: u32) {
        let more = cqueue::more(flags);
        if result > 0 {
            let bid = cqueue::buffer_select(flags).expect("bytes come in a buffer");
            let piece = self.buffers.take(bid, result as u32, flags);
            let connection = &mut self.connections[fd as usize];
            if connection.sending {
                connection.waiting.push_back(piece);
            } else {
                connection.sending = true;
                self.send(fd, &piece);
            }
        }
        if !more {
            self.receive_ended(fd, result);
        }
    }

    /// At the end of the stream, an error, no buffer, or a full completion queue.
    #[cold]
    fn receive_ended(&mut self, fd: RawFd, result: i32) {
        if result > 0 {
            self.receive(fd);
        } else if -result == libc::ENOBUFS {
            self.connections[fd as usize].receive = Receive::Starved;
            self.starved.push(fd);
            self.feed();
        } else {
            self.connections[fd as usize].receive = Receive::Ended;
            self.close_when_done(fd);
        }
    }

    #[inline]
    fn send(&mut self, fd: RawFd, piece: &Piece) {
        // MSG_WAITALL: the kernel itself sends the rest after a short send.
        let send = opcode::Send::new(Fd(fd), piece.address, piece.length)
            .flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL)
            .build()
            .user_data(user_data(SEND, piece.bid, fd));
        self.push(&send);
    }

    /// A send that failed is left at that: the receive of its connection ends too.
    #[inline]
    fn sent(&mut self, fd: RawFd, bid: u16) {
        self.buffers.release(bid);
        if !self.starved.is_empty() {
            self.feed();
        }
        let connection = &mut self.connections[fd as usize];
        if let Some(piece) = connection.waiting.pop_front() {
            self.send(fd, &piece);
        } else {
            connection.sending = false;
            if connection.receive == Receive::Ended {
                self.close_when_done(fd);
            }
        }
        echoed();
    }

    /// Receives again where there was no buffer.
    #[cold]
    fn feed(&mut self) {
        if self.buffers.free > 0 {
            self.buffers.publish();
            for fd in std::mem::take(&mut self.starved) {
                self.receive(fd);
            }
        }
    }

    #[cold]
    fn close_when_done(&mut self, fd: RawFd) {
        if self.connections[fd as usize].sending {
            return;
        }
        // SAFETY: the descriptor came from accept and is closed only here: its receive has ended,
        // its last send is done, and it is not looked at again before accept gives it anew.
        unsafe { libc::close(fd) };
        if !self.accepting {
            self.accept();
        }
    }
}

/// One buffer, as far as it is used.
#[derive(Clone, Copy, Default)]
struct Use {
    filled: u32,
    /// Pieces that are not sent yet.
    pieces: u32,
    /// The kernel puts no more into it.
    full: bool,
}

/// The provided buffers. They are never unmapped: the process ends with them.
struct Buffers {
    entries: *mut BufRingEntry,
    data: *mut u8,
    size: u32,
    uses: Vec<Use>,
    tail: u16,
    published: u16,
    /// Buffers that the kernel can still fill.
    free: u32,
    /// Buffers that were given to the kernel at least once. They are used in turn, so that all of
    /// them go through the cache: no more than it takes.
    provided: u16,
}

impl Buffers {
    fn new(submitter: &Submitter<'_>) -> io::Result<Self> {
        match Self::register(submitter, 128, 64 * 1024, INCREMENTAL) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                Self::register(submitter, 2048, 4096, 0)
            }
            buffers => buffers,
        }
    }

    fn register(submitter: &Submitter<'_>, count: u16, size: u32, flags: u16) -> io::Result<Self> {
        let mut buffers = Self {
            entries: map(usize::from(count) * size_of::<BufRingEntry>())?.cast(),
            data: map(usize::from(count) * size as usize)?,
            size,
            uses: vec![Use::default(); count.into()],
            tail: 0,
            published: 0,
            free: 0,
            provided: 0,
        };
        let address = buffers.entries as u64;
        // SAFETY: the entries are mapped, page-aligned, `count` of them, and never unmapped.
        unsafe { submitter.register_buf_ring_with_flags(address, count, GROUP, flags)? };
        buffers.publish();
        Ok(buffers)
    }

    /// The piece that a completion says was filled.
    #[inline]
    fn take(&mut self, bid: u16, length: u32, flags: u32) -> Piece {
        let used = &mut self.uses[usize::from(bid)];
        let offset = usize::from(bid) * self.size as usize + used.filled as usize;
        used.filled += length;
        used.pieces += 1;
        used.full = flags & BUFFER_MORE == 0;
        self.free -= u32::from(used.full);
        // SAFETY: uses has an entry for the bid, and the kernel fills no more than the size, so the
        // offset is inside the mapping of uses.len() × size bytes.
        let address = unsafe { self.data.add(offset) };
        Piece {
            address,
            length,
            bid,
        }
    }

    /// A piece is sent.
    #[inline]
    fn release(&mut self, bid: u16) {
        let used = &mut self.uses[usize::from(bid)];
        used.pieces -= 1;
        if used.pieces == 0 && used.full {
            self.give_back(bid);
        }
    }

    #[inline]
    fn give_back(&mut self, bid: u16) {
        self.uses[usize::from(bid)] = Use::default();
        let index = usize::from(self.tail) & (self.uses.len() - 1);
        // SAFETY: the index is below the number of entries that are mapped, a power of two, and the
        // offset of the buffer inside the data's mapping. The kernel does not read this entry
        // before the tail is past it.
        unsafe {
            let entry = &mut *self.entries.add(index);
            entry.set_addr(self.data.add(usize::from(bid) * self.size as usize) as u64);
            entry.set_len(self.size);
            entry.set_bid(bid);
        }
        self.tail = self.tail.wrapping_add(1);
        self.free += 1;
    }

    /// Lets the kernel see all that was given back.
    #[inline]
    fn publish(&mut self) {
        let step = (self.uses.len() / 8) as u16;
        if self.free < u32::from(self.provided).div_ceil(4).max(1)
            && usize::from(self.provided) < self.uses.len()
        {
            (self.provided..self.provided + step).for_each(|bid| self.give_back(bid));
            self.provided += step;
        }
        if self.published == self.tail {
            return;
        }
        self.published = self.tail;
        // SAFETY: the tail lies in the first entry of the mapping; we are its only writer, and the
        // kernel reads it atomically.
        unsafe {
            let tail = BufRingEntry::tail(self.entries).cast::<AtomicU16>();
            (*tail).store(self.tail, Ordering::Release);
        }
    }
}

/// Zeroed memory that starts at a page, for ever.
fn map(length: usize) -> io::Result<*mut u8> {
    // SAFETY: a new anonymous mapping touches no memory that is in use.
    let start = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            length,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if start == libc::MAP_FAILED {
        Err(io::Error::last_os_error())
    } else {
        Ok(start.cast())
    }
}
