//! Single-shot ops: success, an error of the kernel's, and a future that is dropped before, while
//! and after the op runs.

use std::io::{Read as _, Write as _};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::net::{UnixListener, UnixStream};

use super::*;
use crate::driver::Op;
use crate::op::{self, Accept, Close, Nop};

#[test]
fn a_nop_completes() {
    let core = Core::new();
    core.finish(Nop.submit(&core)).unwrap();
    assert_eq!((core.counts().sqes, core.counts().cqes), (1, 1));
}

#[test]
fn a_nop_that_is_dropped_leaves_nothing_behind() {
    let core = Core::new();
    drop(Nop.submit(&core));
    core.turn();
    assert_eq!(core.counts().sqes, 0, "before it was polled");

    let mut staged = Nop.submit(&core);
    assert!(poll(&mut staged).is_pending());
    drop(staged);
    core.drain();

    let mut done = Nop.submit(&core);
    assert!(poll(&mut done).is_pending());
    core.drain();
    drop(done);
    assert_eq!(core.counts().orphans, 0);

    assert_eq!(core.shut_down(PATIENCE), 0);
    let Poll::Ready(refused) = poll(&mut Nop.submit(&core)) else {
        panic!("nobody will ever complete it");
    };
    assert_eq!(errno(refused), Some(libc::ECANCELED));
}

#[test]
fn a_closed_descriptor_is_closed() {
    let core = Core::new();
    let (ours, peer) = UnixStream::pair().unwrap();
    core.finish(Close(Fd::from(OwnedFd::from(ours))).submit(&core))
        .unwrap();
    assert!(ends(&peer));
}

#[test]
fn a_close_that_fails_says_so_and_closes_nothing_twice() {
    let core = Core::new();
    // The ring refuses to close one of its kind.
    let ring = core.0.core.borrow().ring.as_ref().unwrap().raw_fd();
    // SAFETY: the ring is open until the end of the test.
    let ring = unsafe { std::os::fd::BorrowedFd::borrow_raw(ring) };
    let copy = duplicate(&ring);
    let number = copy.as_raw_fd();
    let closed = core.finish(Close(Fd::from(copy)).submit(&core));
    assert_eq!(errno(closed), Some(libc::EBADF));
    // SAFETY: the op has given the number up, and the kernel has not closed it.
    drop(unsafe { OwnedFd::from_raw_fd(number) });
}

#[test]
fn a_close_happens_whenever_its_future_is_dropped() {
    let core = Core::new();
    let close = |core: &Core| {
        let (ours, peer) = UnixStream::pair().unwrap();
        (Close(Fd::from(OwnedFd::from(ours))).submit(core), peer)
    };
    let (before, peer) = close(&core);
    drop(before);
    assert!(ends(&peer));

    let (mut during, peer) = close(&core);
    assert!(poll(&mut during).is_pending());
    drop(during);
    core.drain();
    assert!(ends(&peer));
    assert_eq!(core.counts().cancels, 0, "it is committed");

    let (mut after, peer) = close(&core);
    assert!(poll(&mut after).is_pending());
    core.drain();
    drop(after);
    assert!(ends(&peer));

    assert_eq!(core.shut_down(PATIENCE), 0);
    let (mut refused, peer) = close(&core);
    assert!(poll(&mut refused).is_ready());
    assert!(ends(&peer), "the ring is gone, so it is closed plainly");
}

fn watch(fd: Fd, events: i16) -> op::Poll {
    op::Poll {
        fd: Arc::new(fd),
        events: bits(events),
    }
}

fn bits(events: i16) -> u32 {
    events.cast_unsigned().into()
}

fn readable(stream: UnixStream) -> op::Poll {
    watch(Fd::from(OwnedFd::from(stream)), libc::POLLIN)
}

#[test]
fn a_poll_says_what_is_ready() {
    let core = Core::new();
    let (ours, mut peer) = UnixStream::pair().unwrap();
    let mut future = readable(ours.try_clone().unwrap()).submit(&core);
    assert!(poll(&mut future).is_pending());
    core.turn_on();
    assert!(poll(&mut future).is_pending());
    peer.write_all(b"x").unwrap();
    let events = core.finish(future).unwrap();
    assert_eq!(events, bits(libc::POLLIN));
    let writable = watch(Fd::from(OwnedFd::from(ours)), libc::POLLOUT);
    let events = core.finish(writable.submit(&core)).unwrap();
    assert_eq!(events, bits(libc::POLLOUT));
}

#[test]
fn a_poll_of_what_cannot_be_polled_fails() {
    let core = Core::new();
    let events = core.finish(watch(useless(), libc::POLLIN).submit(&core));
    assert_eq!(errno(events), Some(libc::EBADF));
}

#[test]
fn a_poll_that_is_dropped_lets_go_of_its_descriptor() {
    let core = Core::new();
    let (ours, peer) = UnixStream::pair().unwrap();
    drop(readable(ours).submit(&core));
    assert!(ends(&peer), "before it was polled");

    let (ours, peer) = UnixStream::pair().unwrap();
    let mut during = readable(ours).submit(&core);
    assert!(poll(&mut during).is_pending());
    core.turn();
    drop(during);
    core.drain();
    assert!(ends(&peer));

    let (ours, mut peer) = UnixStream::pair().unwrap();
    peer.write_all(b"x").unwrap();
    let mut after = readable(ours).submit(&core);
    assert!(poll(&mut after).is_pending());
    core.drain();
    drop(after);
    let reset = peer.read(&mut [0]).map_err(|e| e.kind());
    assert!(matches!(reset, Ok(0) | Err(io::ErrorKind::ConnectionReset)));
}

/// A listener in a folder of its own, and where it listens.
fn listener() -> (tempfile::TempDir, UnixListener) {
    let folder = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(folder.path().join("socket")).unwrap();
    (folder, listener)
}

fn knock(folder: &tempfile::TempDir) -> UnixStream {
    let stream = UnixStream::connect(folder.path().join("socket")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

#[test]
fn an_accept_gives_the_connection_to_the_listener() {
    let core = Core::new();
    let (folder, socket) = listener();
    let listener = Resource::new(&core, socket);
    let mut future = Accept(Rc::clone(&listener)).submit(&core);
    assert!(poll(&mut future).is_pending());
    core.turn();
    let mut peer = knock(&folder);
    core.finish(future);
    assert_eq!(listener.notes(), ["ok connection", "ended"]);
    let connection = listener.accepted.borrow_mut().pop().unwrap();
    peer.write_all(b"hello").unwrap();
    let mut text = [0; 5];
    UnixStream::from(connection.into_owned())
        .read_exact(&mut text)
        .unwrap();
    assert_eq!(&text, b"hello");
}

#[test]
fn an_accept_on_what_does_not_listen_fails() {
    let core = Core::new();
    let (socket, _peer) = Resource::pair(&core);
    core.finish(Accept(Rc::clone(&socket)).submit(&core));
    assert_eq!(socket.notes(), ["err 22", "ended"]);
}

#[test]
fn an_accept_that_is_dropped_loses_no_connection() {
    let core = Core::new();
    let (folder, socket) = listener();
    let listener = Resource::new(&core, socket);
    drop(Accept(Rc::clone(&listener)).submit(&core));
    core.turn();
    assert_eq!((core.counts().sqes, listener.notes().len()), (0, 0));

    let mut during = Accept(Rc::clone(&listener)).submit(&core);
    assert!(poll(&mut during).is_pending());
    core.turn();
    drop(during);
    let _first = knock(&folder);
    core.drain();
    assert_eq!(listener.notes(), ["err 125", "ended"]);
    let mut next = Accept(Rc::clone(&listener)).submit(&core);
    core.finish(&mut next);
    assert_eq!(
        listener.accepted.borrow().len(),
        1,
        "the backlog has kept it"
    );

    let mut won = Accept(Rc::clone(&listener)).submit(&core);
    assert!(poll(&mut won).is_pending());
    core.turn();
    let _second = knock(&folder);
    core.enter(Wait::No).unwrap();
    drop(won);
    core.drain();
    assert_eq!(listener.accepted.borrow().len(), 2, "it had come before");

    let mut after = Accept(Rc::clone(&listener)).submit(&core);
    assert!(poll(&mut after).is_pending());
    let _third = knock(&folder);
    core.drain();
    drop(after);
    assert_eq!(listener.accepted.borrow().len(), 3);
}
