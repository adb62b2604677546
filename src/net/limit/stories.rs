//! Stories of threads that share a limit, for loom to walk through:
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test --release -p corering --lib net::limit
//! ```
//!
//! Who waits is a thread that sleeps until its waker is called. What is lost shows as a deadlock,
//! what is there twice as two holders, and what is kept as a permit that is in use at the end.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc as StdArc;
use std::task::{Context, Poll};
#[cfg(not(loom))]
use std::thread;

#[cfg(loom)]
use ::loom::thread;

use super::sync::{Arc, AtomicUsize, Ordering::Relaxed};
use super::{Acquire, ConnectionLimit, ConnectionPermit};
use crate::driver::budget;
use crate::task::tests::{Sleep, check};

/// What holders of a limit's permits do with them, and how many there are at a time.
#[derive(Clone)]
struct Holders {
    now: Arc<AtomicUsize>,
    /// Counted by a load and a store: exact only if each holder sees what the last one has done.
    ever: Arc<AtomicUsize>,
    max: usize,
}

impl Holders {
    fn new(max: usize) -> Holders {
        let (now, ever) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        Holders { now, ever, max }
    }

    /// Has the permit for a while, and gives it back.
    fn hold(&self, permit: ConnectionPermit) {
        let others = self.now.fetch_add(1, Relaxed);
        assert!(others < self.max, "{others} others have a permit");
        if self.max == 1 {
            let before = self.ever.load(Relaxed);
            self.ever.store(before + 1, Relaxed);
        }
        self.now.fetch_sub(1, Relaxed);
        drop(permit);
    }
}

/// Waits for a permit, as long as it takes.
fn wait_for(mut acquire: Acquire<'_>) -> ConnectionPermit {
    StdArc::<Sleep>::default().until(|cx| poll(&mut acquire, cx))
}

fn poll(acquire: &mut Acquire<'_>, cx: &mut Context<'_>) -> Poll<ConnectionPermit> {
    // All threads of all executions of a model share one budget: it must not run out in some.
    budget::refill();
    Pin::new(acquire).poll(cx)
}

/// Looks once for a permit, and gives up if there is none yet.
fn look_once(mut acquire: Acquire<'_>) -> Option<ConnectionPermit> {
    StdArc::<Sleep>::default().until(|cx| {
        Poll::Ready(match poll(&mut acquire, cx) {
            Poll::Ready(permit) => Some(permit),
            Poll::Pending => None,
        })
    })
}

/// Runs `act` on a thread of its own.
fn with(
    limit: &ConnectionLimit,
    act: impl FnOnce(ConnectionLimit) + Send + 'static,
) -> thread::JoinHandle<()> {
    let limit = limit.clone();
    thread::spawn(move || act(limit))
}

fn all_is_back(limits: &[&ConnectionLimit]) {
    for limit in limits {
        assert_eq!(limit.in_use(), 0, "a permit is lost");
        assert!(limit.try_acquire().is_some(), "somebody seems to wait");
    }
}

#[test]
fn one_permit_goes_from_hand_to_hand() {
    check("one permit", Some(3), || {
        let (limit, holders) = (ConnectionLimit::new(1), Holders::new(1));
        let others = [0; 2].map(|_| {
            let holders = holders.clone();
            with(&limit, move |limit| holders.hold(wait_for(limit.acquire())))
        });
        holders.hold(wait_for(limit.acquire()));
        others.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(
            holders.ever.load(Relaxed),
            3,
            "a holder has not seen the last"
        );
        all_is_back(&[&limit]);
    });
}

#[test]
fn there_are_never_more_holders_than_permits() {
    check("two permits", Some(2), || {
        let (limit, holders) = (ConnectionLimit::new(2), Holders::new(2));
        let others = [0; 2].map(|_| {
            let holders = holders.clone();
            with(&limit, move |limit| {
                holders.hold(wait_for(limit.acquire()));
                if let Some(permit) = limit.try_acquire() {
                    holders.hold(permit);
                }
            })
        });
        holders.hold(wait_for(limit.acquire()));
        others.into_iter().for_each(|thread| thread.join().unwrap());
        all_is_back(&[&limit]);
    });
}

#[test]
fn who_gives_up_takes_no_permit_along() {
    check("giving up", Some(3), || {
        let (limit, holders) = (ConnectionLimit::new(1), Holders::new(1));
        let permit = limit.try_acquire().unwrap();
        let gives_up = with(&limit, {
            let holders = holders.clone();
            move |limit| {
                if let Some(permit) = look_once(limit.acquire()) {
                    holders.hold(permit);
                }
            }
        });
        let waits = with(&limit, {
            let holders = holders.clone();
            move |limit| holders.hold(wait_for(limit.acquire()))
        });
        holders.hold(permit);
        gives_up.join().unwrap();
        waits.join().unwrap();
        all_is_back(&[&limit]);
    });
}

#[test]
fn the_waker_of_the_last_poll_is_woken() {
    check("other waker", None, || {
        let limit = ConnectionLimit::new(1);
        let permit = limit.try_acquire().unwrap();
        let waits = with(&limit, |limit| {
            let mut acquire = limit.acquire();
            let first = StdArc::<Sleep>::default();
            let found = first.until(|cx| Poll::Ready(poll(&mut acquire, cx)));
            drop(match found {
                Poll::Ready(permit) => permit,
                Poll::Pending => wait_for(acquire),
            });
        });
        drop(permit);
        waits.join().unwrap();
        all_is_back(&[&limit]);
    });
}

#[test]
fn a_permit_of_two_levels_is_taken_and_given_back_whole() {
    check("two levels", Some(2), || {
        let (process, holders) = (ConnectionLimit::new(1), Holders::new(1));
        let cores = [process.child(1), process.child(1)];
        let waits = cores.clone().map(|core| {
            let holders = holders.clone();
            with(&core, move |core| holders.hold(wait_for(core.acquire())))
        });
        if let Some(permit) = cores[0].try_acquire() {
            holders.hold(permit);
        }
        waits.into_iter().for_each(|thread| thread.join().unwrap());
        all_is_back(&[&process, &cores[0], &cores[1]]);
    });
}

#[test]
fn who_gives_up_between_two_levels_leaves_none_taken() {
    check("giving up between levels", Some(2), || {
        let process = ConnectionLimit::new(1);
        let core = process.child(1);
        let permit = process.try_acquire().unwrap();
        let gives_up = with(&core, |core| drop(look_once(core.acquire())));
        let waits = with(&core, |core| drop(wait_for(core.acquire())));
        drop(permit);
        gives_up.join().unwrap();
        waits.join().unwrap();
        all_is_back(&[&process, &core]);
    });
}
