//! What has no resource: a nop, a sleep, a signal, and a wake from another thread.
#![allow(unsafe_code)]

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use corering::runtime::{nop, stats};
use corering::signal::ctrl_c;
use corering::time::sleep;
use futures_lite::future::poll_once;

use crate::cell::{Attempt, Course, End, Got, How, Scene, State, Way, turns};

const NONE: &str = "it works on nothing";
pub(crate) const NO_CANCEL: &str = "it is no operation: there is no cancel()";

pub(crate) struct Nop;

impl Scene for Nop {
    const NAME: &'static str = "nop";
    const FILES: &'static [&'static str] = &["nop.rs"];

    async fn set(_: State) -> Self {
        Nop
    }

    fn course(_: State) -> Course {
        Course::AtOnce
    }

    fn missing(way: Way, _: State) -> Option<&'static str> {
        (way == Way::Resource).then_some(NONE)
    }

    fn begin(self: &Rc<Self>, how: Rc<How>) -> Attempt {
        let nop = nop();
        Box::pin(async move { Got::of(how.end(nop).await, |()| Got::Done) })
    }

    async fn after(&self, end: End) {
        end.check_outcome();
        nop().await.expect("the next one");
    }

    fn after_runtime(&self, _: End) {}
}

pub(crate) struct Sleep {
    long: bool,
}

/// Longer than it takes to get to any state.
const NAP: Duration = Duration::from_millis(20);

impl Scene for Sleep {
    const NAME: &'static str = "sleep";
    // The timeout of the call that waits is its operation.
    const FILES: &'static [&'static str] = &[];

    async fn set(state: State) -> Self {
        Sleep {
            long: !state.has_happened(),
        }
    }

    fn missing(way: Way, state: State) -> Option<&'static str> {
        match (way, state) {
            (Way::Resource, _) => Some(NONE),
            (Way::Cancel | Way::CancelDropped, _) => Some(NO_CANCEL),
            (_, State::Posted) => Some("a timer has no completion"),
            _ => None,
        }
    }

    fn begin(self: &Rc<Self>, how: Rc<How>) -> Attempt {
        let time = if self.long { 60 * 1000 * NAP } else { NAP };
        let sleep = sleep(time);
        Box::pin(async move {
            let slept = async {
                sleep.await;
                Got::Done
            };
            how.end_plain(slept).await
        })
    }

    fn happen(&self) {
        if !self.long {
            thread::sleep(NAP + NAP / 4);
        }
    }

    async fn after(&self, end: End) {
        if end.way == Way::Timeout && !end.state.has_happened() {
            assert!(matches!(end.got, Some(Got::TimedOut)), "{end:?}");
        }
        end.check_outcome();
        sleep(Duration::from_micros(50)).await;
    }

    fn after_runtime(&self, _: End) {}
}

pub(crate) struct CtrlC;

fn raise() {
    // SAFETY: no pointer; the first `ctrl_c` has installed a handler.
    assert_eq!(unsafe { libc::raise(libc::SIGINT) }, 0);
}

impl Scene for CtrlC {
    const NAME: &'static str = "ctrl_c";
    const FILES: &'static [&'static str] = &["poll.rs"];

    async fn set(_: State) -> Self {
        // From the first one on a signal ends no process.
        assert!(poll_once(Box::pin(ctrl_c())).await.is_none());
        turns(3).await;
        CtrlC
    }

    fn missing(way: Way, _: State) -> Option<&'static str> {
        match way {
            Way::Resource => Some(NONE),
            Way::Cancel | Way::CancelDropped => Some(NO_CANCEL),
            _ => None,
        }
    }

    fn begin(self: &Rc<Self>, how: Rc<How>) -> Attempt {
        let signal = ctrl_c();
        Box::pin(async move {
            let came = async { Got::of(signal.await, |()| Got::Done) };
            how.end_plain(came).await
        })
    }

    fn happen(&self) {
        raise();
    }

    async fn after(&self, end: End) {
        end.check_outcome();
        // One that came while nobody waited is not kept, and the next one is seen.
        let mut next = Box::pin(ctrl_c());
        assert!(poll_once(&mut next).await.is_none());
        turns(2).await;
        assert!(poll_once(&mut next).await.is_none());
        raise();
        next.await.expect("the signal");
    }

    fn after_runtime(&self, _: End) {}
}

/// A flag that another thread sets, and who waits for it.
#[derive(Default)]
struct Flag {
    set: bool,
    waker: Option<Waker>,
}

pub(crate) struct Wake {
    flag: Arc<Mutex<Flag>>,
}

impl Wake {
    /// Sets the flag on another thread, after a while.
    fn set_after(&self, time: Duration) -> thread::JoinHandle<()> {
        let flag = Arc::clone(&self.flag);
        thread::spawn(move || {
            thread::sleep(time);
            let waker = {
                let mut flag = flag.lock().expect("no panic");
                flag.set = true;
                flag.waker.take()
            };
            if let Some(waker) = waker {
                waker.wake();
            }
        })
    }
}

async fn flagged(flag: Arc<Mutex<Flag>>) -> Got {
    poll_fn(|cx| {
        let mut flag = flag.lock().expect("no panic");
        if flag.set {
            return Poll::Ready(Got::Done);
        }
        flag.waker = Some(cx.waker().clone());
        Poll::Pending
    })
    .await
}

impl Scene for Wake {
    const NAME: &'static str = "wake";
    const FILES: &'static [&'static str] = &["kick.rs"];

    async fn set(_: State) -> Self {
        // So that the kick is armed.
        let parked = || stats().expect("inside a runtime").parked;
        while parked().is_zero() {
            sleep(Duration::from_millis(1)).await;
        }
        Wake {
            flag: Arc::default(),
        }
    }

    fn missing(way: Way, state: State) -> Option<&'static str> {
        match (way, state) {
            (Way::Resource, _) => Some(NONE),
            (Way::Cancel | Way::CancelDropped, _) => Some(NO_CANCEL),
            (_, State::Completed | State::Posted) => {
                Some("a core that is kicked reaps before any task runs")
            }
            _ => None,
        }
    }

    fn begin(self: &Rc<Self>, how: Rc<How>) -> Attempt {
        let flag = flagged(Arc::clone(&self.flag));
        Box::pin(async move { how.end_plain(flag).await })
    }

    fn happen(&self) {
        // Without a wait, unless the loop is to sleep first: see `reaped`.
        drop(self.set_after(Duration::from_millis(3)));
    }

    async fn reaped(&self) {
        // Sleeps until it is kicked, which wakes this task.
        while !self.flag.lock().expect("no panic").set {
            sleep(Duration::from_millis(6)).await;
        }
        turns(2).await;
    }

    async fn after(&self, end: End) {
        end.check_outcome();
        // The next one is seen, too.
        while !self.flag.lock().expect("no panic").set {
            sleep(Duration::from_millis(1)).await;
        }
        self.flag.lock().expect("no panic").set = false;
        let setter = self.set_after(Duration::from_millis(2));
        flagged(Arc::clone(&self.flag)).await;
        setter.join().expect("no panic");
    }

    fn after_runtime(&self, _: End) {
        while !self.flag.lock().expect("no panic").set {
            thread::sleep(Duration::from_millis(1));
        }
    }
}
