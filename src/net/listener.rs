//! What every listening socket is made of, written once: a queue of connections, and the accept
//! that fills it while somebody waits.
//!
//! A connection belongs to the listener as soon as the kernel has accepted it: a future that is
//! dropped leaves it in the queue, and the next one takes it. When nobody waits any more the accept
//! is cancelled, so that connections stay in the kernel's backlog.
//!
//! Who may take one connection and no more has a single accept armed: a multishot one would go on
//! taking connections out of the backlog that nobody may serve yet.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use crate::driver::{Driver, Item, Key, budget};
use crate::io::waiters::{Place, Waiters};
use crate::op::{self, AcceptMulti, Acceptor};
use crate::ring::Fd;
use crate::time::{Sleep, sleep};

/// Connections that may wait here; more stay in the kernel's backlog.
const QUEUE_MAX: usize = 64;
/// How long connections are left in the backlog when there is no descriptor for them: this at
/// first, twice as long each time, and at most [`BACKOFF_MAX`].
const BACKOFF: Duration = Duration::from_millis(1);
const BACKOFF_MAX: Duration = Duration::from_millis(64);

#[derive(Default)]
struct State {
    /// Connections that nobody has taken yet.
    queue: VecDeque<Fd>,
    /// The errno that ended the last accept, until somebody has looked at it.
    error: Option<i32>,
    /// The accept that is armed.
    arm: Option<Key>,
    /// It was cancelled, and has not ended yet.
    stopping: bool,
    waiters: Waiters,
    /// How often in a row there was no descriptor.
    exhausted: u32,
}

/// A listening socket.
pub(super) struct Listener {
    fd: Fd,
    driver: Rc<Driver>,
    state: RefCell<State>,
}

/// What the kernel is asked for while somebody waits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Ahead {
    /// All connections that come, by a multishot accept.
    All,
    /// The one that is waited for.
    Nothing,
}

/// Takes one connection.
pub(super) struct Accepting<'a> {
    listener: &'a Rc<Listener>,
    ahead: Ahead,
    place: Option<Place>,
    /// Set while the listener backs off.
    pause: Option<Sleep>,
}

impl Listener {
    pub(super) fn new(fd: Fd, driver: Rc<Driver>) -> Rc<Listener> {
        let state = RefCell::default();
        Rc::new(Listener { fd, driver, state })
    }

    pub(super) fn driver(&self) -> &Rc<Driver> {
        &self.driver
    }

    /// The descriptor, once no accept is armed.
    pub(super) fn into_fd(self) -> Fd {
        self.fd
    }

    pub(super) fn accepting(self: &Rc<Self>, ahead: Ahead) -> Accepting<'_> {
        Accepting {
            listener: self,
            ahead,
            place: None,
            pause: None,
        }
    }

    /// Cancels the accept that is armed.
    pub(super) fn stop(&self) {
        let mut state = self.state.borrow_mut();
        let Some(key) = state.arm.filter(|_| !state.stopping) else {
            return;
        };
        state.stopping = true;
        drop(state);
        self.driver.cancel(key);
    }

    /// Ends the accept that is armed, and hands out the connections that nobody has taken.
    pub(super) async fn close(&self) -> VecDeque<Fd> {
        self.stop();
        let mut place = None;
        let ended = poll_fn(|cx| self.poll_ended(&mut place, cx));
        ended.await;
        mem::take(&mut self.state.borrow_mut().queue)
    }

    /// Waits until no accept is armed. The caller is the only one who waits here.
    fn poll_ended(&self, place: &mut Option<Place>, cx: &Context<'_>) -> Poll<()> {
        if self.state.borrow().arm.is_none() {
            return Poll::Ready(());
        }
        let waker = cx.waker().clone();
        let old = self.state.borrow_mut().waiters.wait(place, waker);
        drop(old); // user code, so not while the state is borrowed
        Poll::Pending
    }

    fn arm(self: &Rc<Self>, ahead: Ahead) -> Result<(), io::Error> {
        if self.state.borrow().arm.is_some() {
            return Ok(());
        }
        let refused = |errno| io::Error::from_raw_os_error(errno);
        let key = match ahead {
            Ahead::All => {
                let key = self.driver.arm(AcceptMulti(Rc::clone(self)));
                key.map_err(|(_, cqe)| refused(-cqe.res))?
            }
            Ahead::Nothing => {
                let key = self.driver.submit_detached(op::Accept(Rc::clone(self)));
                // It is refused when the runtime has ended, and has left its error then.
                key.ok_or_else(|| {
                    refused(self.state.borrow_mut().error.take().unwrap_or(libc::EIO))
                })?
            }
        };
        self.state.borrow_mut().arm = Some(key);
        Ok(())
    }

    fn leave(&self, place: &mut Option<Place>) {
        let Some(place) = place.take() else {
            return;
        };
        let mut state = self.state.borrow_mut();
        let own = state.waiters.leave(place);
        let ready = !state.queue.is_empty() || state.arm.is_none();
        let next = if ready { state.waiters.next() } else { None };
        drop(state);
        drop(own);
        if let Some(next) = next {
            next.wake();
        }
    }
}

impl Accepting<'_> {
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Fd>> {
        if self.place.is_none() {
            ready!(budget::spend(cx));
        }
        loop {
            if let Some(pause) = &mut self.pause {
                ready!(Pin::new(pause).poll(cx));
                self.pause = None;
            }
            let mut state = self.listener.state.borrow_mut();
            if state.waiters.may_go(self.place) {
                if let Some(fd) = state.queue.pop_front() {
                    state.exhausted = 0;
                    drop(state);
                    self.listener.leave(&mut self.place);
                    return Poll::Ready(Ok(fd));
                }
                if let Some(errno) = state.error.take() {
                    let failure = Failure::of(errno);
                    if failure == Failure::NoDescriptor {
                        self.pause = Some(sleep(state.backoff()));
                    }
                    drop(state);
                    if failure == Failure::Fatal {
                        self.listener.leave(&mut self.place);
                        return Poll::Ready(Err(io::Error::from_raw_os_error(errno)));
                    }
                    continue;
                }
            }
            drop(state);
            let waker = cx.waker().clone();
            let old = self
                .listener
                .state
                .borrow_mut()
                .waiters
                .wait(&mut self.place, waker);
            drop(old);
            return match self.listener.arm(self.ahead) {
                Ok(()) => Poll::Pending,
                Err(e) => Poll::Ready(Err(e)),
            };
        }
    }
}

impl Accepting<'_> {
    /// Takes what the kernel has accepted already, and lets it accept no more, unless somebody else
    /// waits for that. `None`: that was all.
    pub(super) fn poll_rest(&mut self, cx: &Context<'_>) -> Poll<Option<Fd>> {
        self.pause = None;
        let mut state = self.listener.state.borrow_mut();
        let first = state.waiters.may_go(self.place);
        let fd = if first { state.queue.pop_front() } else { None };
        let others = !state.waiters.is_empty() && !state.waiters.is_alone(self.place);
        let ended = fd.is_some() || others || state.arm.is_none();
        drop(state);
        if ended {
            self.listener.leave(&mut self.place);
            return Poll::Ready(fd);
        }
        // Until it has ended it may bring another one.
        self.listener.stop();
        self.listener.poll_ended(&mut self.place, cx).map(|()| None)
    }

    /// Stops waiting. What is there already is returned.
    pub(super) fn cancel(&mut self) -> Option<Fd> {
        let mut state = self.listener.state.borrow_mut();
        let first = state.waiters.may_go(self.place);
        let fd = if first { state.queue.pop_front() } else { None };
        drop(state);
        self.release();
        fd
    }

    /// Leaves the line. Without anybody in it, connections stay in the backlog.
    fn release(&mut self) {
        if self.place.is_none() {
            return;
        }
        self.pause = None;
        self.listener.leave(&mut self.place);
        if self.listener.state.borrow().waiters.is_empty() {
            self.listener.stop();
        }
    }
}

impl Drop for Accepting<'_> {
    fn drop(&mut self) {
        self.release();
    }
}

impl State {
    fn backoff(&mut self) -> Duration {
        let wait = BACKOFF * (1 << self.exhausted.min(6));
        self.exhausted += 1;
        wait.min(BACKOFF_MAX)
    }
}

/// What an error of accept means.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Failure {
    /// Of this one connection, or of nothing: go on.
    Transient,
    /// No descriptor or no memory for it: the connection stays in the backlog.
    NoDescriptor,
    Fatal,
}

impl Failure {
    fn of(errno: i32) -> Failure {
        match errno {
            libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM => Failure::NoDescriptor,
            // accept(2) passes on network errors that are already pending on the new socket, and
            // ECANCELED is our own doing.
            libc::ECONNABORTED
            | libc::ECONNRESET
            | libc::EPROTO
            | libc::ENETDOWN
            | libc::ENOPROTOOPT
            | libc::EHOSTDOWN
            | libc::ENONET
            | libc::EHOSTUNREACH
            | libc::EOPNOTSUPP
            | libc::ENETUNREACH
            | libc::EPERM
            | libc::EINTR
            | libc::EAGAIN
            | libc::ECANCELED => Failure::Transient,
            _ => Failure::Fatal,
        }
    }
}

impl Acceptor for Listener {
    fn fd(&self) -> &Fd {
        &self.fd
    }

    fn accepted(&self, connection: io::Result<Fd>) -> Item {
        let mut state = self.state.borrow_mut();
        match connection {
            Ok(fd) => state.queue.push_back(fd),
            Err(e) => state.error = e.raw_os_error(),
        }
        let stop = state.queue.len() >= QUEUE_MAX && !state.stopping;
        state.stopping |= stop;
        let wake = state.waiters.next();
        Item { wake, stop }
    }

    fn accept_ended(&self) {
        let mut state = self.state.borrow_mut();
        state.arm = None;
        state.stopping = false;
        let next = state.waiters.next();
        drop(state);
        if let Some(next) = next {
            next.wake();
        }
    }
}
