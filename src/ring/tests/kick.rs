//! Both ways to end a ring's sleep, and what a kick does that comes too late.

use std::fs;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::super::sys::wait_for_events;
use super::super::{Fd, Kick, Kicker, Ring, Wait, kick, opcode};
use super::child::alone;
use super::{filled, keep, nop, reap, ring};

const NAME: u64 = 1 << 30;
const LONG: Duration = Duration::from_secs(20);

/// What kicks `ring`, by messages if there are any on this kernel.
fn kicker(ring: &Ring, way: Kick) -> (Arc<Fd>, Kicker) {
    let eventfd = Arc::new(ring.eventfd().unwrap());
    let messenger = match way {
        Kick::MsgRing => ring.duplicate(),
        Kick::Eventfd => None,
    };
    let kicker = Kicker::new(Arc::clone(&eventfd), messenger, NAME);
    if ring.features().messages {
        assert_eq!(kicker.way(), way);
    }
    (eventfd, kicker)
}

/// How often the eventfd was written since the last look.
fn writes(eventfd: &Fd) -> u64 {
    wait_for_events([eventfd], Some(Duration::ZERO))[0]
}

/// Has the ring wait for a kick, as a core does before it sleeps. The count is for ever.
fn arm(ring: &mut Ring, eventfd: &Fd) {
    let count: &'static mut u64 = Box::leak(Box::default());
    // SAFETY: the count lives for ever, and nobody looks at it.
    let read = unsafe {
        filled(NAME, |sqe| {
            sqe.op(opcode::READ).fd(eventfd).address_mut(count).len(8);
        })
    };
    ring.push(&read).unwrap();
}

#[test]
fn a_kick_ends_the_sleep_of_a_ring_either_way() {
    for way in [Kick::Eventfd, Kick::MsgRing] {
        let (tell, told) = mpsc::channel();
        let sleeper = thread::spawn(move || {
            let mut ring = ring();
            let (eventfd, kicker) = kicker(&ring, way);
            arm(&mut ring, &eventfd);
            let kicker = Arc::new(kicker);
            tell.send(Arc::clone(&kicker)).unwrap();
            let start = Instant::now();
            while ring.pop().is_none() && start.elapsed() < LONG {
                let _ = ring.enter(Wait::For(LONG)).unwrap();
            }
            kicker.let_go();
            start.elapsed()
        });
        let kicker = told.recv().unwrap();
        thread::sleep(Duration::from_millis(30));
        kicker.kick();
        let slept = sleeper.join().unwrap();
        assert!(slept < LONG / 2, "{way:?}: {slept:?}");
    }
}

#[test]
fn kicks_beyond_the_completion_queue_are_not_lost() {
    const KICKS: u64 = 500;
    let mut ring = ring();
    let (eventfd, kicker) = kicker(&ring, Kick::MsgRing);
    for round in 0..KICKS {
        kicker.kick();
        if round % 100 == 0 {
            let _ = ring.enter(Wait::No).unwrap();
        }
    }
    let mut arrived = writes(&eventfd);
    for _ in 0..KICKS {
        let _ = ring.enter(Wait::No).unwrap();
        while let Some(cqe) = ring.pop() {
            assert_eq!((cqe.user_data, cqe.res), (NAME, 0));
            arrived += 1;
        }
    }
    assert_eq!(arrived, KICKS);
    if ring.features().messages {
        assert!(ring.overflows() > 0, "the queue was never full");
    }
}

#[test]
fn a_kick_after_the_end_is_a_write_that_nobody_reads() {
    let ring = ring();
    let (eventfd, kicker) = kicker(&ring, Kick::MsgRing);
    kicker.let_go();
    drop(ring);
    // SAFETY: errno is this thread's own.
    unsafe { *libc::__errno_location() = 77 };
    for _ in 0..3 {
        kicker.kick();
    }
    // SAFETY: as above. A handler of signals may kick.
    assert_eq!(unsafe { *libc::__errno_location() }, 77);
    assert_eq!(writes(&eventfd), 3);
}

/// Fails by never ending, in a child that its alarm kills.
#[test]
fn a_ring_ends_while_somebody_can_still_kick_it() {
    alone(|| {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let writer = Fd::from(OwnedFd::from(writer));
        let mut ring = ring();
        let (_eventfd, kicker) = kicker(&ring, Kick::MsgRing);
        keep(&mut ring, writer);
        kicker.let_go();
        drop(ring);
        // The ring was the last to have the pipe's other end.
        let mut left = Vec::new();
        assert_eq!(reader.read_to_end(&mut left).unwrap(), 0);
        kicker.kick();
        let open = fs::read_dir("/proc/self/fd").unwrap();
        let open = open.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
        assert_eq!(
            open.filter(|file| file.ends_with("anon_inode:[io_uring]"))
                .count(),
            0
        );
    });
}

/// Numbers of descriptors are given out again at once.
#[test]
fn no_kick_of_a_ring_that_ends_reaches_the_next_one() {
    for _ in 0..50 {
        let first = ring();
        let (_eventfd, kicker) = kicker(&first, Kick::MsgRing);
        let (kicker, done) = (Arc::new(kicker), Arc::new(AtomicBool::new(false)));
        let kicks = [0; 2].map(|_| {
            let (kicker, done) = (Arc::clone(&kicker), Arc::clone(&done));
            thread::spawn(move || {
                while !done.load(Relaxed) {
                    kicker.kick();
                }
            })
        });
        thread::yield_now();
        kicker.let_go();
        drop(first);
        let mut others = [ring(), ring()];
        for _ in 0..5 {
            for other in &mut others {
                let _ = other.enter(Wait::For(Duration::from_micros(200))).unwrap();
                assert_eq!(other.pop(), None, "kicked instead of a ring that is gone");
            }
        }
        done.store(true, Relaxed);
        kicks.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

#[test]
fn the_way_is_measured_and_leaves_the_ring_as_it_was() {
    let mut ring = ring();
    let open = ring.eventfd().unwrap();
    let found = kick::measure(&mut ring, NAME);
    assert_eq!(found.is_some(), ring.features().messages);
    println!("{found:?}");
    let _ = ring.enter(Wait::No).unwrap();
    assert_eq!((ring.pop().copied(), ring.staged()), (None, 0));
    ring.push(&nop(7)).unwrap();
    assert_eq!(reap(&mut ring, 1)[&7], 1);
    assert_eq!(
        kick::cheaper(&mut ring, NAME),
        kick::cheaper(&mut ring, NAME)
    );
    drop(open);
}
