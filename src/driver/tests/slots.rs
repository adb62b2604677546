//! An op lives in its slot until its final completion, and leaves it once.

use std::io::{Read as _, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::task::{Context, Waker};

use super::*;
use crate::driver::Op;
use crate::op::{Read, Recv, Send};

fn recv(core: &Core, socket: &Rc<Resource>, buf: Counted) -> crate::driver::Submit<RecvCounted> {
    Recv {
        socket: Rc::clone(socket),
        buf,
        poll_first: false,
    }
    .submit(core)
}

type RecvCounted = Recv<Resource, Counted>;

#[test]
fn a_dropped_future_leaves_its_buffer_with_the_kernel() {
    let core = Core::new();
    let drops = Drops::default();
    let (socket, mut peer) = Resource::pair(&core);
    let mut future = recv(&core, &socket, drops.buf(16));
    assert!(poll(&mut future).is_pending());
    core.turn();
    drop(future);
    assert_eq!(drops.count(), 0, "the kernel may still write");
    assert_eq!((core.counts().in_flight, core.counts().orphans), (1, 1));
    core.drain();
    assert_eq!(drops.count(), 1);
    assert_eq!(socket.notes(), ["late err 125"]);
    assert_eq!(Rc::strong_count(&socket), 1, "the op has let go of it");
    // The cancel has left the socket as it was.
    peer.write_all(b"still").unwrap();
    let (n, buf) = core.finish(recv(&core, &socket, drops.buf(16)));
    assert_eq!((n.unwrap(), &buf.bytes[..]), (5, &b"still"[..]));
}

#[test]
fn a_read_of_a_pipe_keeps_its_buffer_too() {
    let core = Core::new();
    let drops = Drops::default();
    let (reader, mut writer) = io::pipe().unwrap();
    let file = Resource::new(&core, reader);
    let buf = drops.buf(16);
    let mut future = Read {
        file: Rc::clone(&file),
        buf,
        offset: 0,
    }
    .submit(&core);
    assert!(poll(&mut future).is_pending());
    core.turn();
    drop(future);
    assert_eq!(drops.count(), 0, "the kernel may still write");
    core.drain();
    assert_eq!(drops.count(), 1);
    writer.write_all(b"x").unwrap();
    let buf = drops.buf(16);
    let again = Read {
        file,
        buf,
        offset: 0,
    };
    assert_eq!(core.finish(again.submit(&core)).0.unwrap(), 1);
}

#[test]
fn a_future_that_is_never_polled_submits_nothing() {
    let core = Core::new();
    let drops = Drops::default();
    let (socket, _peer) = Resource::pair(&core);
    let future = recv(&core, &socket, drops.buf(16));
    drop(future);
    assert_eq!(drops.count(), 1);
    core.turn();
    assert_eq!(core.counts().sqes, 0);
    assert!(socket.notes().is_empty());
}

#[test]
fn an_op_that_is_taken_gives_its_buffer_back() {
    let core = Core::new();
    let drops = Drops::default();
    let (socket, mut peer) = Resource::pair(&core);
    peer.write_all(b"hello").unwrap();
    let (n, buf) = core.finish(recv(&core, &socket, drops.buf(16)));
    assert_eq!((n.unwrap(), &buf.bytes[..]), (5, &b"hello"[..]));
    assert_eq!(drops.count(), 0);
    drop(buf);
    assert_eq!(drops.count(), 1);
    assert_eq!(socket.notes(), ["direct 5"]);
    assert_eq!(core.counts().in_flight, 0);
}

#[test]
fn an_op_that_completes_after_its_future_is_gone_hands_over_its_result() {
    let core = Core::new();
    let drops = Drops::default();
    let (socket, mut peer) = Resource::pair(&core);
    let mut future = recv(&core, &socket, drops.buf(16));
    assert!(poll(&mut future).is_pending());
    core.turn();
    // The completion is in the kernel before the cancel is: the bytes win.
    peer.write_all(b"late").unwrap();
    core.enter(Wait::No).unwrap();
    drop(future);
    assert_eq!(drops.count(), 0);
    core.drain();
    assert_eq!(drops.count(), 1);
    assert_eq!(socket.notes(), ["late ok late"]);
}

#[test]
fn an_op_whose_future_goes_after_its_completion_hands_over_its_result() {
    let core = Core::new();
    let drops = Drops::default();
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let (socket, mut peer) = Resource::pair(&core);
    let mut future = recv(&core, &socket, drops.buf(16));
    assert!(
        Pin::new(&mut future)
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    peer.write_all(b"done").unwrap();
    core.turn_until("the op completes", || core.counts().in_flight == 0);
    assert_eq!(wakes.count(), 1);
    assert_eq!(drops.count(), 0, "it waits for its future");
    drop(future);
    assert_eq!(drops.count(), 1);
    assert_eq!(socket.notes(), ["late ok done"]);
}

#[test]
fn an_op_that_is_refused_comes_back() {
    let core = Core::new();
    let drops = Drops::default();
    let (socket, _peer) = Resource::pair(&core);
    let mut waiting = recv(&core, &socket, drops.buf(16));
    assert!(poll(&mut waiting).is_pending());
    core.turn();
    assert_eq!(core.shut_down(PATIENCE), 0);
    let (n, buf) = core.finish_closed(waiting);
    assert_eq!(errno(n), Some(libc::ECANCELED));
    drop(buf);
    assert_eq!(drops.count(), 1);
    let (n, buf) = core.finish_closed(recv(&core, &socket, drops.buf(16)));
    assert_eq!(errno(n), Some(libc::ECANCELED));
    drop(buf);
    assert_eq!(drops.count(), 2);
    assert_eq!(Rc::strong_count(&socket), 1);
}

impl Core {
    /// What a future of a driver that has ended says at once.
    fn finish_closed<F: Future + Unpin>(&self, mut future: F) -> F::Output {
        match poll(&mut future) {
            Poll::Ready(output) => output,
            Poll::Pending => panic!("nobody will ever complete it"),
        }
    }
}

#[test]
fn a_committed_op_runs_to_its_end_without_its_future() {
    let core = Core::new();
    let drops = Drops::default();
    let (socket, mut peer) = Resource::pair(&core);
    let len = 1 << 20;
    let send = Send::new(Rc::clone(&socket), drops.buf(len), true);
    let mut future = send.submit(&core);
    assert!(poll(&mut future).is_pending());
    core.turn_on();
    drop(future);
    core.turn_on();
    assert_eq!(core.counts().cancels, 0);
    assert_eq!((drops.count(), core.counts().orphans), (0, 1));
    let reader = std::thread::spawn(move || {
        let mut bytes = vec![1; len];
        peer.read_exact(&mut bytes).unwrap();
        (bytes, peer)
    });
    core.drain();
    let (bytes, peer) = reader.join().unwrap();
    assert!(bytes.iter().all(|&byte| byte == 0));
    assert_eq!(drops.count(), 1);
    assert_eq!(socket.notes().last().unwrap(), "sent ok 1048576");
    drop(peer);
}

#[test]
fn a_send_that_waits_says_how_much_was_sent() {
    let core = Core::new();
    let drops = Drops::default();
    let (socket, mut peer) = Resource::pair(&core);
    let send = || Send::new(Rc::clone(&socket), drops.buf(10), true).submit(&core);
    let sent = core.finish(send());
    assert_eq!(drops.count(), 0, "the buffer comes back");
    drop(sent);
    assert_eq!(drops.count(), 1);
    let mut bytes = [1; 10];
    peer.read_exact(&mut bytes).unwrap();
    drop(peer);
    drop(core.finish(send()));
    assert_eq!(drops.count(), 2);
    assert_eq!(socket.notes(), ["sent ok 10", "sent err 32"]);
}

#[test]
fn an_old_key_does_not_meet_the_next_op_in_its_slot() {
    let core = Core::new();
    let drops = Drops::default();
    let (socket, mut peer) = Resource::pair(&core);
    let buf = drops.buf(4);
    let op = Recv {
        socket: Rc::clone(&socket),
        buf,
        poll_first: false,
    };
    let cx = Context::from_waker(Waker::noop());
    let Ok(ticket) = core.submit(|| op, &cx) else {
        panic!("the driver is open");
    };
    let old = ticket.key().unwrap();
    drop(ticket);
    core.drain();
    let mut future = recv(&core, &socket, drops.buf(4));
    assert!(poll(&mut future).is_pending());
    core.turn();
    let cancels = core.counts().cancels;
    core.cancel(old);
    core.linger(old, 0);
    core.expire(u64::MAX);
    assert_eq!(core.counts().cancels, cancels);
    core.turn_on();
    peer.write_all(b"new").unwrap();
    assert_eq!(core.finish(future).0.unwrap(), 3);
}

#[test]
fn only_the_last_waker_is_woken_and_none_is_kept() {
    let core = Core::new();
    let drops = Drops::default();
    let (socket, mut peer) = Resource::pair(&core);
    let mut future = recv(&core, &socket, drops.buf(4));
    let all: Vec<_> = (0..3).map(|_| Arc::new(Wakes::default())).collect();
    for wakes in &all {
        let waker = Waker::from(Arc::clone(wakes));
        let mut cx = Context::from_waker(&waker);
        assert!(Pin::new(&mut future).poll(&mut cx).is_pending());
        assert!(Pin::new(&mut future).poll(&mut cx).is_pending());
    }
    peer.write_all(b"x").unwrap();
    core.drain();
    let counts: Vec<_> = all.iter().map(|wakes| wakes.count()).collect();
    assert_eq!(counts, [0, 0, 1]);
    assert!(all.iter().all(|wakes| Arc::strong_count(wakes) == 1));
    assert_eq!(core.finish(future).0.unwrap(), 1);
}

/// A buffer that panics when it is asked where it is.
struct Panics {
    _counted: Counted,
}

// SAFETY: no parts are ever given.
unsafe impl IoBuf for Panics {
    fn parts(&self) -> (*const u8, usize) {
        panic!("asked where it is")
    }
}

// SAFETY: no parts are ever given.
unsafe impl IoBufMut for Panics {
    fn parts_mut(&mut self) -> (*mut u8, usize) {
        panic!("asked where it is")
    }

    unsafe fn set_init(&mut self, _: usize) {}
}

#[test]
fn a_buffer_that_panics_while_it_is_lent_frees_the_slot() {
    let core = Core::new();
    let drops = Drops::default();
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let (socket, mut peer) = Resource::pair(&core);
    for count in 1..=100 {
        let mut future = Recv {
            socket: Rc::clone(&socket),
            buf: Panics {
                _counted: drops.buf(4),
            },
            poll_first: false,
        }
        .submit(&core);
        let poll = catch_unwind(AssertUnwindSafe(|| {
            let _ = Pin::new(&mut future).poll(&mut Context::from_waker(&waker));
        }));
        assert!(poll.is_err());
        assert_eq!(drops.count(), count);
    }
    core.turn();
    assert_eq!((core.counts().sqes, core.counts().in_flight), (0, 0));
    assert_eq!(Rc::strong_count(&socket), 1);
    assert_eq!(Arc::strong_count(&wakes), 2, "ours and the waker's");
    // The slot is as good as before: a hundred that were lost would fill the first 64.
    let op = Recv {
        socket: Rc::clone(&socket),
        buf: drops.buf(4),
        poll_first: false,
    };
    let Ok(mut ticket) = core.submit(|| op, &Context::from_waker(&waker)) else {
        panic!("the driver is open");
    };
    assert!((ticket.key().unwrap().to_user_data() as u32) < 64);
    peer.write_all(b"fine").unwrap();
    core.drain();
    assert_eq!(wakes.count(), 1);
    let Poll::Ready((n, _buf)) = ticket.poll(&Context::from_waker(&waker)) else {
        panic!("it has completed");
    };
    assert_eq!(n.unwrap(), 4);
}

/// A buffer whose drop submits another op and sends through it.
struct Submits {
    bytes: Vec<u8>,
    core: Rc<Driver>,
    next: Option<Rc<Resource>>,
}

impl Drop for Submits {
    fn drop(&mut self) {
        if let Some(socket) = self.next.take() {
            let buf = &b"from a destructor"[..];
            self.core.submit_detached(Send::new(socket, buf, true));
        }
    }
}

// SAFETY: the parts are those of the vector, which keeps both promises.
unsafe impl IoBufMut for Submits {
    fn parts_mut(&mut self) -> (*mut u8, usize) {
        self.bytes.parts_mut()
    }

    unsafe fn set_init(&mut self, n: usize) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.bytes.set_init(n) }
    }
}

#[test]
fn the_drop_of_an_orphan_may_use_the_driver() {
    drop_of_an_orphan(false);
}

#[test]
fn the_drop_of_an_op_that_was_not_looked_at_may_use_the_driver() {
    drop_of_an_orphan(true);
}

/// Drops the future of a receive, before or after its completion was taken.
fn drop_of_an_orphan(completed: bool) {
    let core = Core::new();
    let (socket, mut peer) = Resource::pair(&core);
    let (other, mut far) = Resource::pair(&core);
    let mut future = Recv {
        socket: Rc::clone(&socket),
        buf: Submits {
            bytes: vec![0; 4],
            core: Rc::clone(&core),
            next: Some(Rc::clone(&other)),
        },
        poll_first: false,
    }
    .submit(&core);
    assert!(poll(&mut future).is_pending());
    core.turn();
    if completed {
        peer.write_all(b"x").unwrap();
        core.drain();
    }
    drop(future);
    core.drain();
    let mut text = [0; 17];
    far.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"from a destructor");
}

/// A buffer whose drop panics.
struct Bomb(Counted);

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("dropped");
    }
}

// SAFETY: the parts are those of the buffer inside, which keeps both promises.
unsafe impl IoBufMut for Bomb {
    fn parts_mut(&mut self) -> (*mut u8, usize) {
        self.0.parts_mut()
    }

    unsafe fn set_init(&mut self, n: usize) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.0.set_init(n) }
    }
}

#[test]
fn an_orphan_whose_drop_panics_harms_nobody_else() {
    let core = Core::new();
    let drops = Drops::default();
    let (socket, _peer) = Resource::pair(&core);
    let mut futures = Vec::new();
    for _ in 0..3 {
        let mut future = Recv {
            socket: Rc::clone(&socket),
            buf: Bomb(drops.buf(4)),
            poll_first: false,
        }
        .submit(&core);
        assert!(poll(&mut future).is_pending());
        futures.push(future);
    }
    core.turn();
    drop(futures);
    core.drain();
    assert_eq!(drops.count(), 3);
    assert_eq!(Rc::strong_count(&socket), 1);
    core.finish(crate::op::Nop.submit(&core)).unwrap();
}
