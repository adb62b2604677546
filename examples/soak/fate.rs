//! How a future ends.

use std::io;
use std::time::Duration;

use corering::io::Operation;
use corering::task::yield_now;
use corering::time::{sleep, timeout};
use futures_lite::future::poll_once;
use futures_util::{FutureExt, select_biased};

use crate::counts::Shared;
use crate::random::Random;

/// An operation that is to be ended early gets up to this long.
const LONGEST: Duration = Duration::from_millis(2);

pub(crate) enum Fate {
    Awaited,
    /// Polled this often, then dropped.
    Dropped(u64),
    /// The loser of a `select!`.
    Selected(Duration),
    /// Dropped by `time::timeout`.
    DroppedInTime(Duration),
    TimedOut(Duration),
    Cancelled(Duration),
}

/// What came of it.
pub(crate) enum Fated<T> {
    Done(T),
    /// It was dropped before it was polled.
    Unpolled,
    Dropped,
}

impl Fate {
    /// One in 20 is dropped, one in 20 is timed out or cancelled.
    pub(crate) fn random(random: &mut Random) -> Fate {
        match random.below(120) {
            0..2 => Fate::Dropped(random.below(4)),
            2..4 => Fate::Selected(random.time(LONGEST)),
            4..6 => Fate::DroppedInTime(random.time(LONGEST)),
            6..9 => Fate::TimedOut(random.time(LONGEST)),
            9..12 => Fate::Cancelled(random.time(LONGEST)),
            _ => Fate::Awaited,
        }
    }

    /// The same for what must not be dropped: how much it has done would not be known.
    pub(crate) fn or_await(self) -> Fate {
        match self {
            Fate::Dropped(_) | Fate::Selected(_) | Fate::DroppedInTime(_) => Fate::Awaited,
            other => other,
        }
    }

    /// Runs `operation` to this end. `outcome` makes one of its output.
    pub(crate) async fn of<F: Operation>(
        self,
        mut operation: F,
        outcome: impl FnOnce(F::Output) -> F::Outcome,
        shared: &Shared,
    ) -> Fated<F::Outcome> {
        shared.operations.add(1);
        let done = match self {
            Fate::Awaited => Some(operation.await),
            Fate::TimedOut(time) => return Fated::Done(operation.timeout(time).await),
            Fate::Cancelled(time) => {
                let early = select_biased! {
                    output = (&mut operation).fuse() => Some(output),
                    () = sleep(time).fuse() => None,
                };
                return Fated::Done(match early {
                    Some(output) => outcome(output),
                    None => operation.cancel().await,
                });
            }
            Fate::Dropped(0) => {
                shared.dropped.add(1);
                return Fated::Unpolled;
            }
            Fate::Dropped(polls) => {
                let mut done = None;
                for _ in 0..polls {
                    done = poll_once(&mut operation).await;
                    if done.is_some() {
                        break;
                    }
                    yield_now().await;
                }
                done
            }
            Fate::Selected(time) => select_biased! {
                output = operation.fuse() => Some(output),
                () = sleep(time).fuse() => None,
            },
            Fate::DroppedInTime(time) => timeout(time, operation).await.ok(),
        };
        match done {
            Some(output) => Fated::Done(outcome(output)),
            None => {
                shared.dropped.add(1);
                Fated::Dropped
            }
        }
    }
}

/// What an error means.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Failure {
    /// The operation was ended, and has done nothing.
    Ended,
    /// The connection was reset, or cut by the peer.
    Gone,
    Fault,
}

impl Failure {
    /// Counts what was asked for, and reports what must not be.
    pub(crate) fn of(error: &io::Error, what: &str, shared: &Shared) -> Failure {
        match (error.raw_os_error(), error.kind()) {
            (Some(libc::ECANCELED), _) => {
                shared.cancels.add(1);
                Failure::Ended
            }
            (None, io::ErrorKind::TimedOut) => {
                shared.timeouts.add(1);
                Failure::Ended
            }
            (Some(libc::ECONNRESET | libc::EPIPE | libc::ENOTCONN), _) => Failure::Gone,
            _ => {
                shared.fault(format!("{what}: {error}"));
                Failure::Fault
            }
        }
    }
}
