//! The plain system calls on descriptors.
//!
//! They stand behind the door too, since a simulated kernel answers them for its own descriptors.
//! Nothing here blocks, but `close`, on a file whose server hangs, and `ftruncate`.
#![allow(unsafe_code)]

use std::io;
use std::net::Shutdown;
use std::os::fd::{OwnedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use signal_hook_registry::SigId;
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

use super::fd::Fd;

/// A new socket of the real kernel, CLOEXEC and blocking. `Ring::socket` makes one of whatever
/// kernel stands behind the door.
pub(crate) fn socket(domain: Domain, kind: Type, protocol: Option<Protocol>) -> io::Result<Fd> {
    let socket = Socket::new(domain, kind, protocol)?;
    Ok(Fd::from(OwnedFd::from(socket)))
}

/// Two new Unix sockets of the real kernel, connected to each other, CLOEXEC and blocking.
pub(super) fn socket_pair(kind: Type) -> io::Result<(Fd, Fd)> {
    let (a, b) = Socket::pair(Domain::UNIX, kind, None)?;
    Ok((Fd::from(OwnedFd::from(a)), Fd::from(OwnedFd::from(b))))
}

/// A new pipe of the real kernel, CLOEXEC and blocking: its ends to read from and to write to.
pub(super) fn pipe() -> io::Result<(Fd, Fd)> {
    let mut ends = [-1; 2];
    // SAFETY: `ends` is two writable numbers for the duration of the call.
    if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } < 0 {
        return Err(io::Error::last_os_error());
    }
    let [reader, writer] = ends;
    Ok((Fd::adopt(reader), Fd::adopt(writer)))
}

/// Whether the next `SIGPIPE` ends this process. Rust's runtime has it ignored; a program that is
/// started in another way, or gives itself the default back, has not.
pub(crate) fn is_sigpipe_deadly() -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: nothing is set, and `action` is writable; it was filled if the call succeeds.
    unsafe {
        libc::sigaction(libc::SIGPIPE, std::ptr::null(), action.as_mut_ptr()) == 0
            && action.assume_init().sa_sigaction == libc::SIG_DFL
    }
}

/// A new eventfd of the real kernel, CLOEXEC and blocking, with count 0; see `Ring::eventfd`.
pub(crate) fn eventfd() -> io::Result<Fd> {
    // SAFETY: eventfd takes no pointer.
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Fd::adopt(fd))
}

impl Fd {
    /// Gives the socket a local address.
    pub(crate) fn bind(&self, address: &SockAddr) -> io::Result<()> {
        #[cfg(feature = "sim")]
        if let Some(call) = self.simulated() {
            return call.bind(address);
        }
        self.options().bind(address)
    }

    /// Makes the socket a listener. The kernel caps `backlog` at `net.core.somaxconn`.
    pub(crate) fn listen(&self, backlog: i32) -> io::Result<()> {
        #[cfg(feature = "sim")]
        if let Some(call) = self.simulated() {
            return call.listen(backlog);
        }
        self.options().listen(backlog)
    }

    /// The local address.
    pub(crate) fn getsockname(&self) -> io::Result<SockAddr> {
        #[cfg(feature = "sim")]
        if let Some(call) = self.simulated() {
            return call.getsockname();
        }
        self.options().local_addr()
    }

    /// The peer's address; `ENOTCONN` if it is already gone.
    pub(crate) fn getpeername(&self) -> io::Result<SockAddr> {
        #[cfg(feature = "sim")]
        if let Some(call) = self.simulated() {
            return call.getpeername();
        }
        self.options().peer_addr()
    }

    /// The process at the other end of a Unix socket. Without another end: process 0, user and
    /// group `u32::MAX`.
    pub(crate) fn peer_credentials(&self) -> io::Result<libc::ucred> {
        #[cfg(feature = "sim")]
        if let Some(call) = self.simulated() {
            return call.peer_credentials();
        }
        let (pid, uid, gid) = (0, u32::MAX, u32::MAX);
        let mut peer = libc::ucred { pid, uid, gid };
        let mut len = size_of::<libc::ucred>() as libc::socklen_t;
        let (level, name) = (libc::SOL_SOCKET, libc::SO_PEERCRED);
        let into = (&raw mut peer).cast();
        // SAFETY: `peer` is `len` writable bytes of which any are a value, and `len` is writable;
        // the kernel has both for the duration of the call.
        let result = unsafe { libc::getsockopt(self.raw(), level, name, into, &raw mut len) };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(peer)
    }

    /// Shuts one or both directions down. Inline: the ring's own opcode always goes to a worker.
    pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        #[cfg(feature = "sim")]
        if let Some(call) = self.simulated() {
            return call.shutdown(how);
        }
        self.options().shutdown(how)
    }

    /// Lets calls on a socket of std's wait, which the ring needs to wait for it.
    pub(crate) fn set_blocking(&self) -> io::Result<()> {
        self.options().set_nonblocking(false)
    }

    /// Has plain calls on a socket never wait. The ring waits all the same: it looks at the flags
    /// of each submission, not at those of the descriptor (tried on 6.1, 6.12 and 6.18).
    pub(crate) fn set_nonblocking(&self) -> io::Result<()> {
        #[cfg(feature = "sim")]
        if self.simulated().is_some() {
            return Ok(());
        }
        self.options().set_nonblocking(true)
    }

    /// Moves up to `len` bytes to `to` without copying them; one of the two is a pipe. Never waits
    /// for the pipe, nor for a socket that [does not block](Fd::set_nonblocking).
    ///
    /// # Errors
    ///
    /// `WouldBlock`: nothing is there, or there is no room. `EINVAL`: it cannot be done with these
    /// two. What a receive or a send reports.
    pub(crate) fn splice(&self, to: &Fd, len: usize) -> io::Result<usize> {
        #[cfg(feature = "sim")]
        if let Some(call) = self.simulated() {
            return call.splice(to, len);
        }
        let (none, flags) = (std::ptr::null_mut(), libc::SPLICE_F_NONBLOCK);
        // SAFETY: no offsets are given, so no memory of ours is touched.
        let moved = unsafe { libc::splice(self.raw(), none, to.raw(), none, len, flags) };
        usize::try_from(moved).map_err(|_| io::Error::last_os_error())
    }

    /// Takes `len` bytes that are in a pipe.
    pub(crate) fn drain(&self, len: usize) -> io::Result<Vec<u8>> {
        #[cfg(feature = "sim")]
        if let Some(call) = self.simulated() {
            return call.drain(len);
        }
        let mut bytes = vec![0; len];
        let mut done = 0;
        while done < len {
            let rest = &mut bytes[done..];
            // SAFETY: `rest` is so many writable bytes for the duration of the call.
            let n = unsafe { libc::read(self.raw(), rest.as_mut_ptr().cast(), rest.len()) };
            match usize::try_from(n) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => done += n,
                Err(_) => {
                    let error = io::Error::last_os_error();
                    if error.kind() != io::ErrorKind::Interrupted {
                        return Err(error);
                    }
                }
            }
        }
        Ok(bytes)
    }

    fn options(&self) -> SockRef<'_> {
        SockRef::from(self)
    }

    /// Adds 1 to an eventfd: a kick. From any thread, and from a signal handler.
    ///
    /// Never blocks in practice: that takes 2⁶⁴ − 2 kicks that nobody read.
    pub(crate) fn eventfd_write(&self) {
        #[cfg(feature = "sim")]
        if let Some(call) = self.simulated() {
            return call.eventfd_write();
        }
        let one = 1_u64;
        // SAFETY: errno is this thread's own, and a signal handler must leave it as it was.
        let errno = unsafe { *libc::__errno_location() };
        loop {
            // SAFETY: `one` is 8 readable bytes for the duration of the call.
            let n = unsafe { libc::write(self.raw(), (&raw const one).cast(), size_of::<u64>()) };
            // SAFETY: as above.
            if n >= 0 || unsafe { *libc::__errno_location() } != libc::EINTR {
                break;
            }
        }
        // SAFETY: as above.
        unsafe { *libc::__errno_location() = errno };
    }
}

/// Blocks until one of these eventfds of the real kernel was written, at most for `patience`, and
/// empties them: how often each was. All zeros when the time is over, or a signal came between.
pub(crate) fn wait_for_events<const N: usize>(
    events: [&Fd; N],
    patience: Option<Duration>,
) -> [u64; N] {
    let mut polled = events.map(|event| libc::pollfd {
        fd: event.raw(),
        events: libc::POLLIN,
        revents: 0,
    });
    // Rounded up, so that nobody looks again just before the time is over.
    let millis = patience.map_or(-1, |patience| {
        i32::try_from(patience.as_micros().div_ceil(1000)).unwrap_or(i32::MAX)
    });
    // SAFETY: the kernel reads and writes `N` entries of `polled`.
    unsafe { libc::poll(polled.as_mut_ptr(), N as libc::nfds_t, millis) };
    polled.map(|entry| {
        let mut count = 0_u64;
        if entry.revents & libc::POLLIN != 0 {
            // SAFETY: the kernel writes at most 8 bytes to `count`. It does not block: who reads an
            // eventfd here is the only one.
            let n = unsafe { libc::read(entry.fd, (&raw mut count).cast(), size_of::<u64>()) };
            if n != 8 {
                count = 0;
            }
        }
        count
    })
}

/// While it lives, a signal adds 1 to an eventfd.
#[derive(Debug)]
pub(crate) enum OnSignal {
    Process(SigId),
    #[cfg(feature = "sim")]
    Simulated(Arc<Fd>),
}

impl OnSignal {
    /// Has each `signal` from now on written to `eventfd`.
    pub(crate) fn write(signal: i32, eventfd: &Arc<Fd>) -> io::Result<OnSignal> {
        #[cfg(feature = "sim")]
        if let Some(call) = eventfd.simulated() {
            call.on_interrupt()?;
            return Ok(OnSignal::Simulated(Arc::clone(eventfd)));
        }
        let eventfd = Arc::clone(eventfd);
        // SAFETY: the handler does nothing but a write, async-signal-safe, and keeps errno.
        // The descriptor is open as long as the handler is registered, by the `Arc` in it.
        let id = unsafe { signal_hook_registry::register(signal, move || eventfd.eventfd_write()) };
        id.map(OnSignal::Process)
    }
}

impl Drop for OnSignal {
    fn drop(&mut self) {
        match self {
            OnSignal::Process(id) => {
                signal_hook_registry::unregister(*id);
            }
            #[cfg(feature = "sim")]
            OnSignal::Simulated(eventfd) => {
                if let Some(call) = eventfd.simulated() {
                    call.forget_interrupts();
                }
            }
        }
    }
}

/// Closes `fd`. Errors are dropped, `EINTR` too: Linux has released the number in every case, and
/// a second try could close a stranger's descriptor.
pub(super) fn close(fd: RawFd) {
    // SAFETY: only an `Fd` calls this, with the number that it owned, at its end.
    unsafe { libc::close(fd) };
}

impl Fd {
    /// Cuts a file, or makes it longer. Waits for the disk if it has to: the ring's own opcode does
    /// not, where there is one.
    pub(crate) fn ftruncate(&self, len: u64) -> io::Result<()> {
        #[cfg(feature = "sim")]
        if let Some(call) = self.simulated() {
            return call.ftruncate(len);
        }
        loop {
            // SAFETY: ftruncate takes no pointer. A length that is too large is negative here,
            // which it refuses.
            if unsafe { libc::ftruncate64(self.raw(), len.cast_signed()) } == 0 {
                return Ok(());
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }
}
