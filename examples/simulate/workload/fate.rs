//! How a future ends.

use std::time::Duration;

use corering::io::Operation;
use corering::task::yield_now;
use corering::time::{sleep, timeout};
use futures_lite::future::poll_once;
use futures_util::{FutureExt, select_biased};

use super::random::Random;

/// An operation that is to be ended early gets up to this long.
const LONGEST: Duration = Duration::from_millis(2);

#[derive(Clone, Copy, Debug)]
pub(crate) enum Fate {
    Awaited,
    /// Polled this often, then dropped.
    Dropped(u64),
    /// The loser of a `select!`.
    Selected(Duration),
    /// Dropped by `time::timeout`.
    DroppedInTime(Duration),
    TimedOut(Duration),
    /// Cancelled after this time; after a single poll, if it is none.
    Cancelled(Duration),
    /// The cancel itself is let go, and the operation awaited.
    CancelLetGo,
}

/// What came of it.
pub(crate) enum Fated<T> {
    Done(T),
    /// It was dropped before it was polled.
    Unpolled,
    Dropped,
}

impl Fate {
    /// One in `n` is ended early.
    pub(crate) fn random(random: &mut Random, n: u64) -> Fate {
        if !random.one_in(n) {
            return Fate::Awaited;
        }
        match random.below(7) {
            0 => Fate::Dropped(random.below(4)),
            1 => Fate::Selected(random.time(LONGEST)),
            2 => Fate::DroppedInTime(random.time(LONGEST)),
            3 => Fate::TimedOut(random.time(LONGEST)),
            4 => Fate::Cancelled(random.time(LONGEST)),
            5 => Fate::Cancelled(Duration::ZERO),
            _ => Fate::CancelLetGo,
        }
    }

    /// The same for what must not be dropped: how much it has done would not be known.
    pub(crate) fn or_await(self) -> Fate {
        match self {
            Fate::Dropped(_) | Fate::Selected(_) | Fate::DroppedInTime(_) => Fate::Awaited,
            other => other,
        }
    }

    /// Whether the operation may say that it was ended.
    pub(crate) fn may_end_it(self) -> bool {
        matches!(
            self,
            Fate::TimedOut(_) | Fate::Cancelled(_) | Fate::CancelLetGo
        )
    }

    /// Runs `operation` to this end. `outcome` makes one of its output.
    pub(crate) async fn of<F: Operation>(
        self,
        mut operation: F,
        outcome: impl FnOnce(F::Output) -> F::Outcome,
    ) -> Fated<F::Outcome> {
        let done = match self {
            Fate::Awaited => Some(operation.await),
            Fate::TimedOut(time) => return Fated::Done(operation.timeout(time).await),
            Fate::Cancelled(time) => {
                let early = if time.is_zero() {
                    poll_once(&mut operation).await
                } else {
                    select_biased! {
                        output = (&mut operation).fuse() => Some(output),
                        () = sleep(time).fuse() => None,
                    }
                };
                return Fated::Done(match early {
                    Some(output) => outcome(output),
                    None => operation.cancel().await,
                });
            }
            Fate::CancelLetGo => {
                if let Some(output) = poll_once(&mut operation).await {
                    return Fated::Done(outcome(output));
                }
                return Fated::Done(match poll_once(operation.cancel()).await {
                    Some(ended) => ended,
                    None => outcome(operation.await),
                });
            }
            Fate::Dropped(0) => return Fated::Unpolled,
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
            None => Fated::Dropped,
        }
    }
}
