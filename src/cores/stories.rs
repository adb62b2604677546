//! Stories of cores that send each other messages, for loom to walk through:
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test --release -p corering --lib cores::
//! ```
//!
//! A core is a thread that sleeps until its waker is called: that the waker of a task is as good as
//! that is what the stories of `task` are about. What is lost shows as a deadlock.

use std::pin::pin;
use std::sync::Arc as StdArc;
use std::task::{Poll, Waker};
#[cfg(not(loom))]
use std::thread;

#[cfg(loom)]
use ::loom::thread;

use super::channel::channel;
use super::mesh::{Level, Mesh, Message, Refused, SharedMesh};
use super::reply::reply;
use super::sync::{Arc, AtomicUsize, Ordering::Relaxed};
use crate::task::JoinError;
use crate::task::tests::{Sleep, check};

/// Two cores that know each other's wakers, as they do before their mains run.
fn two_cores(capacity: usize) -> (SharedMesh, [StdArc<Sleep>; 2]) {
    let mesh = Mesh::new(2, capacity, None);
    let cores = [StdArc::<Sleep>::default(), StdArc::default()];
    for (index, core) in cores.iter().enumerate() {
        mesh.register(index, Waker::from(StdArc::clone(core)));
    }
    (mesh, cores)
}

/// Sends as a core's tasks do: again when there may be room.
fn send(mesh: &SharedMesh, core: &StdArc<Sleep>, message: Message) -> bool {
    let mut unsent = Some(message);
    core.until(|_| {
        for is_announced in [false, true] {
            let Some(message) = unsent.take() else { break };
            match mesh.send(0, 1, message) {
                Ok(()) => return Poll::Ready(true),
                Err(Refused::Gone(_)) => return Poll::Ready(false),
                Err(Refused::Full(message)) => unsent = Some(message),
            }
            if !is_announced {
                mesh.await_room(0, 1);
            }
        }
        Poll::Pending
    })
}

#[test]
fn an_answer_wakes_who_waits_for_it() {
    check("answer", None, || {
        let (answer, reply) = reply::<u32>();
        let waits = thread::spawn(move || {
            let core = StdArc::<Sleep>::default();
            core.until(|cx| reply.poll(cx)).unwrap()
        });
        answer.put(Ok(7));
        assert_eq!(waits.join().unwrap(), 7);
    });
}

#[test]
fn an_abort_reaches_who_works_or_comes_too_late() {
    check("abort", Some(3), || {
        let (answer, reply) = reply::<u32>();
        let works = thread::spawn(move || {
            let core = StdArc::<Sleep>::default();
            core.until(|cx| match answer.poll_aborted(cx) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            });
            answer.put(Err(JoinError::cancelled()));
        });
        reply.abort();
        let core = StdArc::<Sleep>::default();
        assert!(core.until(|cx| reply.poll(cx)).unwrap_err().is_cancelled());
        works.join().unwrap();
    });
}

#[test]
fn who_finds_a_queue_full_learns_of_room() {
    const MESSAGES: usize = 3;
    check("room", Some(2), || {
        let (mesh, [here, there]) = two_cores(1);
        let run = Arc::new(AtomicUsize::new(0));
        let receives = thread::spawn({
            let mesh = mesh.clone();
            move || {
                let mut taken = 0;
                there.until(|_| {
                    taken += mesh.receive(1, 1, |message| message());
                    match taken {
                        MESSAGES => Poll::Ready(()),
                        // As the mailman: it took as many as it may, and looks again.
                        _ if taken % 2 == 1 => {
                            taken += mesh.receive(1, 1, |message| message());
                            match taken {
                                MESSAGES => Poll::Ready(()),
                                _ => Poll::Pending,
                            }
                        }
                        _ => Poll::Pending,
                    }
                });
            }
        });
        for _ in 0..MESSAGES {
            let run = Arc::clone(&run);
            let count = move || {
                run.fetch_add(1, Relaxed);
            };
            assert!(send(&mesh, &here, Box::new(count)));
        }
        receives.join().unwrap();
        assert_eq!(run.load(Relaxed), MESSAGES);
    });
}

#[test]
fn what_is_sent_to_a_core_that_ends_is_answered() {
    check("close", Some(2), || {
        let (mesh, [here, _]) = two_cores(1);
        let ends = thread::spawn({
            let mesh = mesh.clone();
            move || mesh.close(1, drop)
        });
        for _ in 0..2 {
            let (answer, reply) = reply::<u32>();
            let message = move || answer.put(Ok(1));
            send(&mesh, &here, Box::new(message));
            assert!(here.until(|cx| reply.poll(cx)).unwrap_err().is_cancelled());
        }
        ends.join().unwrap();
    });
}

#[test]
fn a_stop_reaches_a_core_that_sleeps() {
    check("stop", None, || {
        let (mesh, [_, there]) = two_cores(1);
        let waits = thread::spawn({
            let mesh = mesh.clone();
            move || {
                there.until(|_| match mesh.level() {
                    Level::Now => Poll::Ready(()),
                    _ => Poll::Pending,
                });
            }
        });
        mesh.stop(Level::Stopping);
        mesh.stop(Level::Now);
        waits.join().unwrap();
    });
}

#[test]
fn a_channel_carries_every_value_and_its_end() {
    check("channel", Some(2), || {
        let (mut sender, mut receiver) = channel(1);
        let receives = thread::spawn(move || {
            let core = StdArc::<Sleep>::default();
            let mut received = Vec::new();
            while let Some(value) = core.until(|cx| receiver.poll_recv(cx)) {
                received.push(value);
            }
            received
        });
        let core = StdArc::<Sleep>::default();
        for value in [1, 2] {
            let mut send = pin!(sender.send(value));
            core.until(|cx| send.as_mut().poll(cx)).unwrap();
        }
        drop(sender);
        assert_eq!(receives.join().unwrap(), [1, 2]);
    });
}

#[test]
fn a_receiver_that_goes_wakes_a_sender_that_waits() {
    check("receiver gone", Some(2), || {
        let (mut sender, receiver) = channel(1);
        let goes = thread::spawn(move || drop(receiver));
        let core = StdArc::<Sleep>::default();
        let mut sent = 0;
        loop {
            let mut send = pin!(sender.send(sent));
            if core.until(|cx| send.as_mut().poll(cx)).is_err() {
                break;
            }
            sent += 1;
        }
        assert!(sent <= 1);
        goes.join().unwrap();
    });
}
