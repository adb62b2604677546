//! Wakers of other executors may run anything when they are let go of.

use std::cell::RefCell;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use corering::sync::{mpsc, oneshot};

type Act = Box<dyn FnOnce()>;

thread_local! {
    static AT_THE_END: RefCell<Option<Act>> = const { RefCell::new(None) };
}

/// The waker of a task whose future sends a value when it is dropped.
struct LastOfItsTask;

impl Wake for LastOfItsTask {
    fn wake(self: Arc<Self>) {}
}

impl Drop for LastOfItsTask {
    fn drop(&mut self) {
        if let Some(act) = AT_THE_END.take() {
            act();
        }
    }
}

/// Waits with a waker that does `act` when it is let go of, and goes on waiting with another one.
fn wait_with_another_waker<F: Future>(waits: F, act: impl FnOnce() + 'static) -> Poll<F::Output> {
    let mut waits = pin!(waits);
    let waker = Waker::from(Arc::new(LastOfItsTask));
    assert!(
        waits
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    drop(waker);
    AT_THE_END.set(Some(Box::new(act)));
    let polled = waits.poll(&mut Context::from_waker(Waker::noop()));
    assert!(AT_THE_END.take().is_none(), "the first waker is kept");
    polled
}

#[test]
fn what_comes_while_a_receiver_changes_its_waker_is_received() {
    let (sender, mut receiver) = mpsc::channel(1);
    let polled = wait_with_another_waker(receiver.recv(), move || sender.try_send(1).unwrap());
    assert_eq!(polled, Poll::Ready(Some(1)));

    let (sender, receiver) = oneshot::channel();
    let polled = wait_with_another_waker(receiver, move || sender.send(2).unwrap());
    assert_eq!(polled, Poll::Ready(Ok(2)));
}
