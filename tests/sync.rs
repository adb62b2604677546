//! What tasks of one core wait for each other with: order, and nothing lost when futures are
//! dropped.

mod common;

#[path = "sync/broadcast.rs"]
mod broadcast;
#[path = "sync/gates.rs"]
mod gates;
#[path = "sync/locks.rs"]
mod locks;
#[path = "sync/model.rs"]
mod model;
#[path = "sync/mpsc.rs"]
mod mpsc;
#[path = "sync/oneshot.rs"]
mod oneshot;
#[path = "sync/semaphore.rs"]
mod semaphore;
#[path = "sync/wakers.rs"]
mod wakers;
#[path = "sync/watch.rs"]
mod watch;

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// Polls once, with a waker that nobody hears.
pub(crate) fn poll<F: Future>(future: &mut Pin<Box<F>>) -> Poll<F::Output> {
    future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
}

/// A future that has been polled once, and waits.
pub(crate) fn waiting<F: Future>(future: F) -> Pin<Box<F>> {
    let mut future = Box::pin(future);
    assert!(poll(&mut future).is_pending(), "it need not wait");
    future
}

/// What a future gives at its first poll.
pub(crate) fn now<F: Future>(future: F) -> F::Output {
    match poll(&mut Box::pin(future)) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it has to wait"),
    }
}
