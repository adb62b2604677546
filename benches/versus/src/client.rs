#![allow(unsafe_code)]
//! The ring under the load: the same for every column, and as cheap as it can be made.
//!
//! Receives land in a ring of provided buffers and are handed out as slices; sends are made
//! straight from the static bytes of the pattern, and only those that fail post a completion. A
//! turn is one `io_uring_enter`. Receives that were armed are counted: the memory that the kernel
//! may still write to is unmapped only when none is left.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use io_uring::types::{BufRingEntry, CancelBuilder, Fd, SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, cqueue, opcode, squeue};

/// How long a server may be silent before the run is given up.
const PATIENCE: Duration = Duration::from_secs(10);
const SQ_ENTRIES: u32 = 2048;
const CQ_ENTRIES: u32 = 16_384;
const GROUP: u16 = 0;
const SEND: u64 = 1 << 32;

/// What a completion says about the connection that carries `tag`.
pub(crate) enum Event<'a> {
    /// Bytes came, none at the end of the stream; `armed` says whether more will without asking.
    Received {
        tag: u32,
        bytes: &'a [u8],
        armed: bool,
    },
    /// All buffers were taken, so the receive has to be armed again.
    Starved { tag: u32 },
    /// The receive or the send of the connection failed.
    Failed { tag: u32, error: io::Error },
}

/// How a turn passes the time until something completes.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Wait {
    /// In the kernel.
    Sleep,
    /// In user space, looking at the completion queue.
    Spin,
}

/// The ring of one load.
pub(crate) struct LoadRing {
    // Declared first: the ring has to be closed before its buffers go.
    ring: IoUring,
    buffers: Buffers,
    armed: u32,
}

impl LoadRing {
    /// A ring with `count` receive buffers, a power of two, of `size` bytes each.
    pub(crate) fn new(count: u16, size: usize) -> io::Result<Self> {
        let ring = build()?;
        let buffers = Buffers::new(count, size)?;
        // SAFETY: the entries are mapped for as long as the ring lives (Drop leaks them if a
        // receive could still use them), `count` of them, page-aligned.
        unsafe {
            ring.submitter().register_buf_ring_with_flags(
                buffers.entries.as_ptr() as u64,
                count,
                GROUP,
                0,
            )?;
        }
        Ok(Self {
            ring,
            buffers,
            armed: 0,
        })
    }

    /// Receives that the kernel still holds.
    pub(crate) fn armed(&self) -> u32 {
        self.armed
    }

    /// Receives all that comes, one event for each piece.
    pub(crate) fn receive_all(&mut self, socket: BorrowedFd<'_>, tag: u32) -> io::Result<()> {
        let recv = opcode::RecvMulti::new(Fd(socket.as_raw_fd()), GROUP).build();
        self.receive(recv, tag)
    }

    /// Receives one piece.
    pub(crate) fn receive_once(&mut self, socket: BorrowedFd<'_>, tag: u32) -> io::Result<()> {
        let length = self.buffers.size as u32;
        let recv = opcode::Recv::new(Fd(socket.as_raw_fd()), std::ptr::null_mut(), length)
            .buf_group(GROUP)
            .build()
            .flags(squeue::Flags::BUFFER_SELECT);
        self.receive(recv, tag)
    }

    fn receive(&mut self, recv: squeue::Entry, tag: u32) -> io::Result<()> {
        self.armed += 1;
        self.push(recv.user_data(u64::from(tag)))
    }

    /// Sends all of `bytes`.
    pub(crate) fn send(
        &mut self,
        socket: BorrowedFd<'_>,
        bytes: &'static [u8],
        tag: u32,
    ) -> io::Result<()> {
        let fd = Fd(socket.as_raw_fd());
        let send = opcode::Send::new(fd, bytes.as_ptr(), bytes.len() as u32)
            .flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL)
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS)
            .user_data(u64::from(tag) | SEND);
        self.push(send)
    }

    /// Ends every receive: of datagrams, since a shutdown ends only those of streams.
    pub(crate) fn cancel_all(&mut self) -> io::Result<()> {
        let cancelled = self
            .ring
            .submitter()
            .register_sync_cancel(None, CancelBuilder::any());
        match cancelled {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
            outcome => outcome,
        }
    }

    fn push(&mut self, entry: squeue::Entry) -> io::Result<()> {
        // SAFETY: a receive takes its memory from the buffer ring, which is mapped for as long as
        // one is armed; a send reads bytes that are never freed.
        while unsafe { self.ring.submission().push(&entry) }.is_err() {
            self.ring.submit()?;
        }
        Ok(())
    }

    /// Submits what was asked for and waits for a completion as `wait` says.
    ///
    /// # Errors
    ///
    /// `TimedOut` if nothing completes for ten seconds; others as in `io_uring_enter(2)`.
    pub(crate) fn turn(&mut self, wait: Wait) -> io::Result<()> {
        self.turn_within(wait, PATIENCE)
    }

    /// The same with another patience.
    pub(crate) fn turn_within(&mut self, wait: Wait, patience: Duration) -> io::Result<()> {
        let entered = match wait {
            Wait::Sleep => {
                let patience = Timespec::from(patience);
                let limit = SubmitArgs::new().timespec(&patience);
                self.ring.submitter().submit_with_args(1, &limit).map(drop)
            }
            Wait::Spin => self.spin(patience),
        };
        match entered.as_ref().map_err(io::Error::raw_os_error) {
            Err(Some(libc::EINTR)) => Ok(()),
            Err(Some(libc::ETIME)) => Err(io::ErrorKind::TimedOut.into()),
            _ => entered,
        }
    }

    fn spin(&mut self, patience: Duration) -> io::Result<()> {
        self.reap()?;
        let since = Instant::now();
        let mut looks = 0_u32;
        while self.ring.completion().is_empty() {
            if self.ring.submission().taskrun() {
                self.reap()?;
            }
            std::hint::spin_loop();
            looks = looks.wrapping_add(1);
            if looks.is_multiple_of(4096) && since.elapsed() > patience {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
        Ok(())
    }

    /// Enters the kernel without waiting there.
    fn reap(&mut self) -> io::Result<()> {
        let staged = self.ring.submission().len() as u32;
        // SAFETY: there is no argument that the kernel could read.
        let entered = unsafe {
            self.ring.submitter().enter::<libc::sigset_t>(
                staged,
                0,
                EnterFlags::GETEVENTS.bits(),
                None,
            )
        };
        entered.map(drop)
    }

    /// Hands out every completion that is there. The bytes are gone when `handle` returns.
    pub(crate) fn drain(&mut self, mut handle: impl FnMut(Event<'_>)) {
        for cqe in self.ring.completion() {
            let tag = cqe.user_data() as u32;
            if cqe.user_data() & SEND != 0 {
                let error = io::Error::from_raw_os_error(-cqe.result());
                handle(Event::Failed { tag, error });
                continue;
            }
            let armed = cqueue::more(cqe.flags());
            self.armed -= u32::from(!armed);
            match cqe.result() {
                length @ 0.. => {
                    let bid = cqueue::buffer_select(cqe.flags());
                    let bytes = bid.map_or(&[][..], |bid| self.buffers.filled(bid, length as u32));
                    handle(Event::Received { tag, bytes, armed });
                    if let Some(bid) = bid {
                        self.buffers.give_back(bid);
                    }
                }
                error if -error == libc::ENOBUFS => handle(Event::Starved { tag }),
                error => {
                    let error = io::Error::from_raw_os_error(-error);
                    handle(Event::Failed { tag, error });
                }
            }
        }
        self.buffers.publish();
    }
}

impl Drop for LoadRing {
    fn drop(&mut self) {
        self.buffers.leak = self.armed > 0;
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
        // NO_SQARRAY is there since 6.6, the others since 6.1.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => plain.build(SQ_ENTRIES),
        ring => ring,
    }
}

/// The provided buffers: all of them belong to the kernel, except while one is looked at.
struct Buffers {
    entries: NonNull<BufRingEntry>,
    data: NonNull<u8>,
    size: usize,
    count: u16,
    tail: u16,
    leak: bool,
}

impl Buffers {
    fn new(count: u16, size: usize) -> io::Result<Self> {
        assert!(count.is_power_of_two(), "the kernel masks the index");
        let entries = map(usize::from(count) * size_of::<BufRingEntry>())?.cast();
        let data = map(usize::from(count) * size)?;
        let mut buffers = Self {
            entries,
            data,
            size,
            count,
            tail: 0,
            leak: false,
        };
        (0..count).for_each(|bid| buffers.give_back(bid));
        buffers.publish();
        Ok(buffers)
    }

    fn start(&self, bid: u16) -> NonNull<u8> {
        assert!(
            bid < self.count,
            "the kernel names only buffers that it was given"
        );
        // SAFETY: bid < count, so the offset is inside the mapping of count × size bytes.
        unsafe { self.data.add(usize::from(bid) * self.size) }
    }

    fn filled(&self, bid: u16, length: u32) -> &[u8] {
        assert!(
            length as usize <= self.size,
            "the kernel fills no more than it was given"
        );
        // SAFETY: inside the mapping by the two asserts; the kernel has completed its write and
        // does not touch the buffer before give_back, which the borrow rules out until then.
        unsafe { std::slice::from_raw_parts(self.start(bid).as_ptr(), length as usize) }
    }

    /// Seen by the kernel after the next `publish`.
    fn give_back(&mut self, bid: u16) {
        let address = self.start(bid).as_ptr() as u64;
        let index = usize::from(self.tail & (self.count - 1));
        // SAFETY: index < count, the length of the mapping. The kernel reads this entry only once
        // the tail is past it.
        let entry = unsafe { self.entries.add(index).as_mut() };
        entry.set_addr(address);
        entry.set_len(self.size as u32);
        entry.set_bid(bid);
        self.tail = self.tail.wrapping_add(1);
    }

    fn publish(&mut self) {
        // SAFETY: the tail lies in the first entry of a mapping that lives as long as self; we are
        // its only writer and the kernel reads it atomically.
        unsafe {
            let tail = BufRingEntry::tail(self.entries.as_ptr()).cast::<AtomicU16>();
            (*tail).store(self.tail, Ordering::Release);
        }
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        if self.leak {
            return;
        }
        let entries = usize::from(self.count) * size_of::<BufRingEntry>();
        // SAFETY: both mappings are ours, of just these lengths. No receive is armed that could
        // write to them, or LoadRing::drop had told us to leak.
        unsafe {
            libc::munmap(self.entries.as_ptr().cast(), entries);
            libc::munmap(
                self.data.as_ptr().cast(),
                usize::from(self.count) * self.size,
            );
        }
    }
}

/// Zeroed memory that starts at a page.
fn map(length: usize) -> io::Result<NonNull<u8>> {
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
        return Err(io::Error::last_os_error());
    }
    Ok(NonNull::new(start.cast()).expect("mmap gives an address or MAP_FAILED"))
}
