//! Work for another core, and what comes of it.

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::core::{Core, Local};
use super::mesh::{Message, Refused};
use super::reply::{Answer, Reply, reply};
use crate::task::{self, JoinError, Priority};

/// The output of work on another core; made by [`Core::spawn_on`].
///
/// # Cancellation
///
/// Dropped, it takes back a message that could not be sent yet; otherwise the task runs on, and its
/// output is dropped.
#[must_use = "a message that found no room is sent when this is polled"]
pub struct SpawnOn<T> {
    local: Rc<Local>,
    to: usize,
    /// What could not be sent yet.
    unsent: Option<Message>,
    /// Where it waits for room.
    place: Option<usize>,
    reply: Reply<T>,
}

impl<T: Send + 'static> SpawnOn<T> {
    pub(super) fn new<M, F>(core: &Core, to: usize, make: M, location: Place) -> SpawnOn<T>
    where
        M: FnOnce() -> F + Send + 'static,
        F: Future<Output = T> + 'static,
    {
        let (message, reply) = message(make, location);
        let mut this = SpawnOn {
            local: Rc::clone(&core.0),
            to,
            unsent: None,
            place: None,
            reply,
        };
        if to == this.local.index {
            message();
        } else {
            this.send(message);
        }
        this
    }
}

impl<T> SpawnOn<T> {
    /// Has the task dropped by its core; what waits here gets an error that
    /// [`is_cancelled`](JoinError::is_cancelled). One that has ended by then keeps its output.
    pub fn abort(&mut self) {
        // One that was not sent answers so as it is dropped.
        self.unsent = None;
        self.reply.abort();
    }

    /// Whether the output is there.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.reply.is_done()
    }

    fn send(&mut self, message: Message) {
        match self.local.send(self.to, message) {
            Ok(()) => {}
            Err(Refused::Full(message)) => self.unsent = Some(message),
            // Dropped, it answers that it was cancelled.
            Err(Refused::Gone(message)) => drop(message),
        }
    }

    /// Tries to send what could not be sent. If there is no room, the task is woken when there is.
    fn send_again(&mut self, cx: &Context<'_>) {
        let Some(message) = self.unsent.take() else {
            return;
        };
        self.send(message);
        if let Some(message) = self.unsent.take() {
            self.local.room.register(&mut self.place, cx);
            self.local.mesh.await_room(self.local.index, self.to);
            self.send(message);
        }
        if self.unsent.is_none() {
            self.local.room.leave(&mut self.place);
        }
    }
}

impl<T> Future for SpawnOn<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.send_again(cx);
        self.reply.poll(cx)
    }
}

impl<T> Drop for SpawnOn<T> {
    fn drop(&mut self) {
        self.local.room.leave(&mut self.place);
    }
}

impl<T> fmt::Debug for SpawnOn<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpawnOn")
            .field("to", &self.to)
            .field("is_finished", &self.is_finished())
            .finish_non_exhaustive()
    }
}

/// The outputs of work on every core; made by [`Core::broadcast`].
///
/// # Cancellation
///
/// As of [`SpawnOn`].
#[derive(Debug)]
#[must_use = "a message that found no room is sent when this is polled"]
pub struct Broadcast<T> {
    waiting: Vec<SpawnOn<T>>,
    outputs: Vec<Option<Result<T, JoinError>>>,
}

impl<T> Unpin for Broadcast<T> {}

impl<T> Broadcast<T> {
    pub(super) fn new(waiting: Vec<SpawnOn<T>>) -> Broadcast<T> {
        Broadcast {
            outputs: waiting.iter().map(|_| None).collect(),
            waiting,
        }
    }
}

impl<T> Future for Broadcast<T> {
    type Output = Vec<Result<T, JoinError>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let mut is_ready = true;
        for (waiting, output) in this.waiting.iter_mut().zip(&mut this.outputs) {
            if output.is_none() {
                match Pin::new(waiting).poll(cx) {
                    Poll::Ready(result) => *output = Some(result),
                    Poll::Pending => is_ready = false,
                }
            }
        }
        if !is_ready {
            return Poll::Pending;
        }
        this.waiting.clear();
        Poll::Ready(this.outputs.drain(..).flatten().collect())
    }
}

/// Where work was sent from: where its task is said to be spawned.
pub(super) type Place = &'static Location<'static>;

/// What another core is to run, and where its output comes back.
pub(super) fn message<M, F>(make: M, location: Place) -> (Message, Reply<F::Output>)
where
    M: FnOnce() -> F + Send + 'static,
    F: Future<Output: Send> + 'static,
{
    let (answer, reply) = reply();
    let message = Box::new(move || match catch_unwind(AssertUnwindSafe(make)) {
        Ok(future) => {
            let work = Work {
                future: Some(future),
                answer: Some(answer),
            };
            drop(task::spawn_at(work, Priority::Normal, location));
        }
        Err(panic) => answer.put(Err(JoinError::panic(panic))),
    });
    (message, reply)
}

pin_project! {
    /// The task on the other core. It ends when the future does, or is not wanted any more.
    struct Work<F: Future> {
        #[pin]
        future: Option<F>,
        answer: Option<Answer<F::Output>>,
    }
}

impl<F: Future> Future for Work<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let is_aborted = |answer: &Answer<F::Output>| answer.poll_aborted(cx);
        let polled = if this.answer.as_ref().is_some_and(is_aborted) {
            Poll::Ready(Err(JoinError::cancelled()))
        } else {
            let future = this.future.as_mut().as_pin_mut();
            match future.map(|future| catch_unwind(AssertUnwindSafe(|| future.poll(cx)))) {
                Some(Ok(Poll::Pending)) => Poll::Pending,
                Some(Ok(Poll::Ready(output))) => Poll::Ready(Ok(output)),
                Some(Err(panic)) => Poll::Ready(Err(JoinError::panic(panic))),
                None => Poll::Ready(Err(JoinError::cancelled())),
            }
        };
        polled.map(|output| {
            // Before the answer: who has the output may count on the future being gone.
            this.future.set(None);
            if let Some(answer) = this.answer.take() {
                answer.put(output);
            }
        })
    }
}
