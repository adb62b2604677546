//! Generic owned-buffer I/O: what finishes takes, what is dropped takes nothing.

mod common;

#[path = "io/copying.rs"]
mod copying;
#[path = "io/framing.rs"]
mod framing;
#[path = "io/memory.rs"]
mod memory;
#[path = "io/model.rs"]
mod model;
#[path = "io/reading.rs"]
mod reading;
#[path = "io/writing.rs"]
mod writing;

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use corering::io::{AsyncBufRead, AsyncWrite};
use corering::time::{sleep, timeout};

/// Long enough for loopback to bring what was written.
const A_WHILE: Duration = Duration::from_millis(10);

/// What a future gives at its only poll, after which it is dropped.
pub(crate) fn poll_once<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// What a future gives that has nothing to wait for.
pub(crate) fn now<F: Future>(future: F) -> F::Output {
    poll_once(future).expect("it has to wait")
}

/// Starts `future`, lets the kernel do what it asks for, and drops it: it must not be done.
pub(crate) async fn dropped_half_way<F: Future>(future: F) {
    let done = timeout(A_WHILE, future).await;
    assert!(done.is_err(), "it was not to finish yet");
}

/// Writes the parts one by one, with time in between.
pub(crate) async fn write_slowly<W: AsyncWrite>(mut sink: W, parts: &[&'static str]) {
    for part in parts {
        sink.write_all(*part).await.0.unwrap();
        sleep(Duration::from_millis(2)).await;
    }
}

/// Takes all that is left.
pub(crate) async fn rest<R: AsyncBufRead>(source: &mut R) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(piece) = source.recv().await.unwrap() {
        bytes.extend_from_slice(&piece);
    }
    bytes
}
