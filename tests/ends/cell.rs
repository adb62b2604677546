//! What a cell is made of: the ways, the states, and what an operation has to say of itself.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::OnceLock;
use std::task::Poll;
use std::time::{Duration, Instant};

use corering::fs::File;
use corering::io::Operation;
use corering::net::TcpStream;
use corering::runtime::stats;
use corering::task::yield_now;
use corering::time::timeout;
use futures_lite::future::poll_once;

/// How an operation is ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Way {
    /// Its future is dropped.
    Drop,
    Cancel,
    /// `cancel()` is dropped when it has been polled once, and the future with it.
    CancelDropped,
    Timeout,
    /// Its future is dropped, and at once what it works on.
    Resource,
    /// The task that holds it panics.
    Panic,
    /// The runtime is dropped, with the task that holds it.
    Runtime,
    Shutdown,
    /// The thread ends that owns the runtime.
    Thread,
    /// The same, and the runtime is in a thread-local that was made before all those of the crate.
    LocalFirst,
    /// The same, made after them.
    LocalLast,
}

pub(crate) const WAYS: [Way; 11] = [
    Way::Drop,
    Way::Cancel,
    Way::CancelDropped,
    Way::Timeout,
    Way::Resource,
    Way::Panic,
    Way::Runtime,
    Way::Shutdown,
    Way::Thread,
    Way::LocalFirst,
    Way::LocalLast,
];

impl Way {
    pub(crate) fn head(self) -> &'static str {
        match self {
            Way::Drop => "drop",
            Way::Cancel => "cancel",
            Way::CancelDropped => "cut",
            Way::Timeout => "timeout",
            Way::Resource => "resource",
            Way::Panic => "panic",
            Way::Runtime => "runtime",
            Way::Shutdown => "shutdown",
            Way::Thread => "thread",
            Way::LocalFirst => "local-first",
            Way::LocalLast => "local-last",
        }
    }

    /// Whether the runtime goes on.
    pub(crate) fn is_inside(self) -> bool {
        matches!(
            self,
            Way::Drop
                | Way::Cancel
                | Way::CancelDropped
                | Way::Timeout
                | Way::Resource
                | Way::Panic
        )
    }
}

/// When it is ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum State {
    Unpolled,
    /// Polled, and the kernel knows nothing yet.
    Staged,
    /// The kernel has it, and there is nothing to complete it.
    Submitted,
    /// It has happened, and nobody has entered the kernel since.
    Completed,
    /// Its completion is in the queue.
    Posted,
    /// The completion was taken, and the future not polled since.
    Reaped,
}

pub(crate) const STATES: [State; 6] = [
    State::Unpolled,
    State::Staged,
    State::Submitted,
    State::Completed,
    State::Posted,
    State::Reaped,
];

impl State {
    /// Whether there is something to deliver when the operation is ended.
    pub(crate) fn has_happened(self) -> bool {
        matches!(self, State::Completed | State::Posted | State::Reaped)
    }
}

#[derive(Debug)]
pub(crate) enum Verdict {
    Held,
    /// There is no such cell.
    Missing(&'static str),
    Broken(String),
}

/// How an operation comes to its completion.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Course {
    /// It waits for [`Scene::happen`].
    Waits,
    /// The call that submits it completes it.
    AtOnce,
    /// A worker thread of the kernel's does it, at once.
    Worker,
}

/// All cells together take a tenth of that. Where many hang, the rest is not tried.
const TIME_LIMIT: Duration = Duration::from_secs(100);

/// What there is to say of a cell that is not to be tried.
pub(crate) fn untried<S: Scene>(way: Way, state: State) -> Option<Verdict> {
    static START: OnceLock<Instant> = OnceLock::new();
    let late = START.get_or_init(Instant::now).elapsed() > TIME_LIMIT;
    match missing::<S>(way, state) {
        Some(why) => Some(Verdict::Missing(why)),
        None => late.then(|| Verdict::Broken("no time is left to try it".to_string())),
    }
}

/// Why an operation of this course is never in this state, or not when it is ended so.
fn missing<S: Scene>(way: Way, state: State) -> Option<&'static str> {
    let course = S::course(state);
    if let Some(why) = S::missing(way, state) {
        return Some(why);
    }
    match state {
        State::Submitted if course != Course::Waits => {
            Some("nothing keeps the kernel from completing it")
        }
        State::Completed if course == Course::AtOnce => {
            Some("its completion is posted by the call that submits it")
        }
        State::Posted if way == Way::Panic || !way.is_inside() => {
            Some("it is reaped by the call that posts it: no task runs, and no runtime ends")
        }
        State::Staged if way == Way::Timeout && S::PRELUDE > 0 => {
            Some("it is staged by its second poll, and the time passes in a turn")
        }
        _ => None,
    }
}

/// What came of an operation.
#[derive(Debug)]
pub(crate) enum Got {
    Bytes(Vec<u8>),
    Count(usize),
    Stream(TcpStream),
    File(File),
    Done,
    Cancelled,
    TimedOut,
    Failed(io::Error),
}

impl Got {
    pub(crate) fn of<T>(result: io::Result<T>, got: impl FnOnce(T) -> Got) -> Got {
        match result {
            Ok(value) => got(value),
            Err(e) if e.raw_os_error() == Some(libc::ECANCELED) => Got::Cancelled,
            Err(e) if e.kind() == io::ErrorKind::TimedOut => Got::TimedOut,
            Err(e) => Got::Failed(e),
        }
    }
}

/// One operation, begun. It owns what it works on, together with its scene.
pub(crate) type Attempt = Pin<Box<dyn Future<Output = Got>>>;

/// How a cell was ended, for the oracle.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) way: Way,
    pub(crate) state: State,
    /// What came of it, where somebody was told.
    pub(crate) got: Option<Got>,
}

impl End {
    /// Panics if the outcome tells another story than the state.
    pub(crate) fn check_outcome(&self) {
        let nothing = match (self.way, &self.got) {
            (Way::Cancel | Way::Timeout, None) => panic!("nobody was told"),
            (_, None) => return,
            (Way::Timeout, Some(Got::TimedOut)) => true,
            (Way::Cancel | Way::CancelDropped, Some(Got::Cancelled)) => true,
            (_, Some(Got::Failed(e))) => panic!("it has failed: {e}"),
            (_, Some(Got::Cancelled | Got::TimedOut)) => {
                panic!("a wrong outcome: {:?}", self.got)
            }
            _ => false,
        };
        assert!(
            !(nothing && self.state == State::Reaped),
            "a result that was there did not win"
        );
    }
}

/// One operation of the catalogue, with what it works on and the other end of that.
pub(crate) trait Scene: Sized + 'static {
    const NAME: &'static str;
    /// The files of `src/op/` that it goes through.
    const FILES: &'static [&'static str];
    /// Polls, and turns, before the one that submits it.
    const PRELUDE: usize = 0;

    /// Has the runtime make what it keeps.
    async fn warm() {}

    async fn set(state: State) -> Self;

    fn begin(self: &Rc<Self>, how: Rc<How>) -> Attempt;

    fn course(_: State) -> Course {
        Course::Waits
    }

    /// Why there is no such cell.
    fn missing(_: Way, _: State) -> Option<&'static str> {
        None
    }

    /// Completes the operation in the kernel. The loop does not turn.
    fn happen(&self) {}

    /// Whether it was begun by what was to keep it waiting, as a socket that was full has room
    /// again when time passes. Asked of one that hangs, and may complete it.
    fn has_begun(&self) -> bool {
        false
    }

    /// Whether a worker has done it, where that shows.
    fn is_done(&self) -> bool {
        true
    }

    /// Turns the loop until the completion was taken.
    async fn reaped(&self) {
        turns(4).await;
    }

    /// Drops what it works on.
    fn let_go(&self) {}

    /// Checks that everything is somewhere, and that what is left can be used.
    async fn after(&self, end: End);

    /// The same when the runtime is gone.
    fn after_runtime(&self, end: End);
}

/// Says to an attempt how it is to be ended.
#[derive(Debug, Default)]
pub(crate) struct How {
    hold: Cell<bool>,
    cancel: Cell<bool>,
    timeout: Option<Duration>,
}

impl How {
    pub(crate) fn new(timeout: Option<Duration>) -> Rc<How> {
        Rc::new(How {
            timeout,
            ..How::default()
        })
    }

    /// From the next poll on the operation is being cancelled.
    pub(crate) fn cancel(&self) {
        self.cancel.set(true);
    }

    /// Waits for `operation`, and ends it as it is told.
    pub(crate) async fn end<F: Operation>(&self, mut operation: F) -> F::Outcome {
        if let Some(duration) = self.timeout {
            let operation = operation.timeout(duration);
            self.held().await;
            return operation.await;
        }
        self.held().await;
        let early = poll_fn(|cx| match self.cancel.get() {
            true => Poll::Ready(None),
            false => Pin::new(&mut operation).poll(cx).map(Some),
        });
        match early.await {
            Some(output) => F::outcome(output),
            None => operation.cancel().await,
        }
    }

    /// The same for a future that cannot be cancelled.
    pub(crate) async fn end_plain(&self, future: impl Future<Output = Got>) -> Got {
        let Some(duration) = self.timeout else {
            self.held().await;
            return future.await;
        };
        let future = timeout(duration, future);
        self.held().await;
        future.await.unwrap_or(Got::TimedOut)
    }

    async fn held(&self) {
        poll_fn(|_| match self.hold.get() {
            true => Poll::Pending,
            false => Poll::Ready(()),
        })
        .await;
    }
}

/// Rounds of the loop.
pub(crate) async fn turns(count: usize) {
    for _ in 0..count {
        yield_now().await;
    }
}

pub(crate) fn in_flight() -> usize {
    stats().expect("inside a runtime").in_flight
}

/// Polls once, for what cannot be ready.
pub(crate) async fn pends(attempt: &mut Attempt) {
    let ready = poll_once(attempt).await;
    assert!(ready.is_none(), "it is ready too early: {ready:?}");
}

/// Takes an operation to where its next poll submits it.
pub(crate) async fn prelude<S: Scene>(attempt: &mut Attempt) {
    for _ in 0..S::PRELUDE {
        pends(attempt).await;
        turns(3).await;
    }
}

/// A worker that is done within the very enter that started it takes away the state that a cell
/// asks for, and so does a kernel that finds room. That says nothing of the runtime: the cell is
/// tried again.
const PREMISE: &str = "the state was not reached: ";
const TRIES: usize = 50;

pub(crate) fn premise(holds: bool, what: &str) {
    assert!(holds, "{PREMISE}{what}");
}

/// The verdict of the first try whose premise held.
pub(crate) fn verdict(mut tried: impl FnMut() -> Verdict) -> Verdict {
    let mut verdict = tried();
    for _ in 1..TRIES {
        match &verdict {
            Verdict::Broken(what) if what.starts_with(PREMISE) => verdict = tried(),
            _ => break,
        }
    }
    verdict
}

/// Takes an operation to a state.
pub(crate) async fn reach<S: Scene>(scene: &S, attempt: &mut Attempt, how: &How, state: State) {
    if state == State::Unpolled {
        how.hold.set(true);
        pends(attempt).await;
        return how.hold.set(false);
    }
    prelude::<S>(attempt).await;
    let before = in_flight();
    pends(attempt).await;
    if state == State::Staged {
        return;
    }
    match S::course(state) {
        Course::Waits => {
            turns(3).await;
            if state != State::Submitted {
                scene.happen();
            }
        }
        Course::Worker => {
            turns(1).await;
            // The worker says that it is done only when the kernel is entered.
            std::thread::sleep(Duration::from_millis(3));
            let start = Instant::now();
            while !scene.is_done() && start.elapsed() < Duration::from_secs(1) {
                std::thread::sleep(Duration::from_micros(200));
            }
            premise(
                state == State::Reaped || in_flight() > before,
                "it is reaped already",
            );
        }
        // Posted: see `interrupted`.
        Course::AtOnce => assert_eq!(state, State::Reaped),
    }
    if state == State::Reaped {
        scene.reaped().await;
    }
}
