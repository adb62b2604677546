//! Descriptors, and the plain calls on them.

use std::io::{ErrorKind, Read};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use socket2::{Domain, SockAddr, Type};

use super::super::{Clock, Cqe, Fd, SocketOption, sys};
use super::child::alone;

fn loopback() -> SockAddr {
    SockAddr::from(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
}

fn flags(fd: &Fd, command: i32) -> i32 {
    // SAFETY: these commands take no pointer.
    unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), command) }
}

fn count(event: &Fd) -> u64 {
    let mut count = [0; 8];
    let mut file = std::fs::File::from(event.as_fd().try_clone_to_owned().unwrap());
    file.read_exact(&mut count).unwrap();
    u64::from_ne_bytes(count)
}

#[test]
fn a_new_socket_is_blocking_and_closed_on_exec() {
    let socket = sys::socket(Domain::IPV4, Type::STREAM, None).unwrap();
    assert_eq!(
        flags(&socket, libc::F_GETFD) & libc::FD_CLOEXEC,
        libc::FD_CLOEXEC
    );
    assert_eq!(flags(&socket, libc::F_GETFL) & libc::O_NONBLOCK, 0);
    let event = sys::eventfd().unwrap();
    assert_eq!(
        flags(&event, libc::F_GETFD) & libc::FD_CLOEXEC,
        libc::FD_CLOEXEC
    );
}

#[test]
fn a_listener_made_by_hand_takes_connections_and_knows_its_address() {
    let listener = sys::socket(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&loopback()).unwrap();
    listener.listen(16).unwrap();
    let address = listener.getsockname().unwrap().as_socket().unwrap();
    assert_ne!(address.port(), 0);
    assert_eq!(
        listener.getpeername().unwrap_err().kind(),
        ErrorKind::NotConnected
    );

    let client = TcpStream::connect(address).unwrap();
    let (served, peer) = TcpListener::from(listener.into_owned()).accept().unwrap();
    assert_eq!(client.local_addr().unwrap(), peer);
    let served = Fd::from(OwnedFd::from(served));
    assert_eq!(served.getpeername().unwrap().as_socket(), Some(peer));
    served.set_option(SocketOption::NoDelay, 1).unwrap();
    assert_eq!(served.option(SocketOption::NoDelay).unwrap(), 1);

    served.shutdown(Shutdown::Write).unwrap();
    assert_eq!(
        (&client).read(&mut [0; 1]).unwrap(),
        0,
        "the peer sees the end"
    );
}

#[test]
fn a_dropped_descriptor_is_closed_and_one_that_left_is_not() {
    // Fails by never ending, in a child that its alarm kills.
    alone(|| {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let writer = Fd::from(OwnedFd::from(writer)).into_owned();
        drop(Fd::from(writer));
        assert_eq!(
            reader.read(&mut [0; 1]).unwrap(),
            0,
            "the last writer is gone"
        );
    });
}

#[test]
fn a_number_that_was_taken_out_stays_open() {
    let event = sys::eventfd().unwrap();
    let number = event.into_raw();
    let event = Cqe {
        user_data: 0,
        res: number,
        flags: 0,
    }
    .descriptor()
    .unwrap();
    event.eventfd_write();
    assert_eq!(count(&event), 1);
    let refused = Cqe {
        user_data: 0,
        res: -libc::EMFILE,
        flags: 0,
    };
    assert_eq!(
        refused.descriptor().unwrap_err().raw_os_error(),
        Some(libc::EMFILE)
    );
}

#[test]
fn kicks_from_all_threads_are_counted_and_leave_errno_alone() {
    let event = Arc::new(sys::eventfd().unwrap());
    let kick = |event: Arc<Fd>| {
        // SAFETY: errno is this thread's own.
        unsafe { *libc::__errno_location() = libc::EXDEV };
        (0..1_000).for_each(|_| event.eventfd_write());
        // SAFETY: as above.
        assert_eq!(unsafe { *libc::__errno_location() }, libc::EXDEV);
    };
    let threads: Vec<_> = (0..4)
        .map(|_| Arc::clone(&event))
        .map(|event| thread::spawn(move || kick(event)))
        .collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    assert_eq!(count(&event), 4_000);
}

#[test]
fn a_kick_of_a_bad_descriptor_leaves_errno_alone() {
    let closed = std::fs::File::open("/dev/null").unwrap();
    // Not open for writing: the write fails with EBADF.
    let event = Fd::from(OwnedFd::from(closed));
    // SAFETY: errno is this thread's own.
    unsafe { *libc::__errno_location() = libc::EXDEV };
    event.eventfd_write();
    // SAFETY: as above.
    assert_eq!(unsafe { *libc::__errno_location() }, libc::EXDEV);
}

fn monotonic_ns() -> u64 {
    let mut now = MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: `now` is a live timespec; zeroes are one, too.
    let now = unsafe {
        libc::clock_gettime(libc::CLOCK_MONOTONIC, now.as_mut_ptr());
        now.assume_init()
    };
    (Duration::from_secs(now.tv_sec as u64) + Duration::from_nanos(now.tv_nsec as u64)).as_nanos()
        as u64
}

#[test]
fn the_clock_is_the_one_that_waits_are_measured_by() {
    let clock = Clock::monotonic();
    for _ in 0..1_000 {
        let (before, now, after) = (monotonic_ns(), clock.now_ns(), monotonic_ns());
        assert!(before <= now && now <= after, "{before} {now} {after}");
    }
}
