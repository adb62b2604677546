//! The ways to end an operation while its runtime goes on.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use corering::runtime::{Nop, nop};
use corering::time::timeout;
use corering::{Runtime, spawn};
use futures_lite::future::poll_once;

use crate::cell::{
    Attempt, Course, End, Got, How, STATES, Scene, State, Verdict, WAYS, Way, in_flight, pends,
    prelude, premise, reach, turns, untried, verdict,
};
use crate::common::asleep_once;
use crate::oracle::{Baseline, buffers_come_back};

/// For one cell.
const PATIENCE: Duration = Duration::from_secs(20);
/// Until an operation is given up that is to have got somewhere before.
const TIME: Duration = Duration::from_millis(8);

pub(crate) fn cells<S: Scene>() -> Vec<(Way, State, Verdict)> {
    let mut cells = Vec::new();
    let mut runtime = None;
    for way in WAYS.into_iter().filter(|way| way.is_inside()) {
        for state in STATES {
            let untried = untried::<S>(way, state);
            let verdict =
                untried.unwrap_or_else(|| verdict(|| tried::<S>(&mut runtime, way, state)));
            cells.push((way, state, verdict));
        }
    }
    let back = runtime.map(|runtime| runtime.block_on(timeout(PATIENCE, buffers_come_back())));
    let missing = match back {
        Some(Ok(Err(what))) => Some(what),
        Some(Err(_)) => Some("no buffer comes back".to_string()),
        _ => None,
    };
    if let Some(what) = missing {
        // Any of the cells may have taken them.
        cells[0].2 = Verdict::Broken(format!("after all ways: {what}"));
    }
    cells
}

/// Runs a cell, on a new runtime if the last one has seen a failure.
fn tried<S: Scene>(runtime: &mut Option<Runtime>, way: Way, state: State) -> Verdict {
    let current = runtime.get_or_insert_with(|| Runtime::new().expect("a runtime"));
    let tried = catch_unwind(AssertUnwindSafe(|| {
        current.block_on(async {
            asleep_once().await;
            S::warm().await;
            let before = Baseline::now();
            match timeout(PATIENCE, tried_on::<S>(way, state)).await {
                Ok(()) => before.is_back().await,
                Err(_) => Err("it hangs".to_string()),
            }
        })
    }));
    let what = match tried {
        Ok(Ok(())) => return Verdict::Held,
        Ok(Err(what)) => what,
        Err(panic) => text_of(&*panic),
    };
    *runtime = None;
    Verdict::Broken(what)
}

pub(crate) fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic").to_string()
}

async fn tried_on<S: Scene>(way: Way, state: State) {
    let scene = Rc::new(S::set(state).await);
    let got = match way {
        Way::Panic => panicked(&scene, state).await,
        _ if state == State::Posted => interrupted(&scene, way).await,
        _ => ended(&scene, way, state).await,
    };
    if !state.has_happened() {
        // It comes while nobody waits.
        scene.happen();
        turns(4).await;
    }
    scene.after(End { way, state, got }).await;
}

async fn ended<S: Scene>(scene: &Rc<S>, way: Way, state: State) -> Option<Got> {
    let start = Instant::now();
    let time = match (way, state) {
        (Way::Timeout, State::Staged) => Some(Duration::ZERO),
        (Way::Timeout, _) => Some(TIME),
        _ => None,
    };
    let how = How::new(time);
    let mut attempt = scene.begin(Rc::clone(&how));
    if time != Some(Duration::ZERO) {
        reach(&**scene, &mut attempt, &how, state).await;
    }
    match way {
        Way::Cancel => how.cancel(),
        Way::CancelDropped => {
            how.cancel();
            return poll_once(&mut attempt).await;
        }
        Way::Timeout if state == State::Submitted => {}
        Way::Timeout => std::thread::sleep(TIME.saturating_sub(start.elapsed())),
        _ => {
            drop(attempt);
            if way == Way::Resource {
                scene.let_go();
            }
            return None;
        }
    }
    Some(outcome(&**scene, state, attempt).await)
}

async fn outcome<S: Scene>(scene: &S, state: State, attempt: Attempt) -> Got {
    match timeout(PATIENCE / 4, attempt).await {
        Ok(got) => got,
        Err(_) => {
            premise(state.has_happened() || !scene.has_begun(), "it has begun");
            panic!("it hangs");
        }
    }
}

/// The panic that is meant.
struct Planned;

async fn panicked<S: Scene>(scene: &Rc<S>, state: State) -> Option<Got> {
    let scene = Rc::clone(scene);
    let task = spawn(async move {
        let how = How::new(None);
        let mut attempt = scene.begin(Rc::clone(&how));
        reach(&*scene, &mut attempt, &how, state).await;
        // As a panic, but for the message.
        resume_unwind(Box::new(Planned));
    });
    let error = match task.await {
        Ok(never) => never,
        Err(error) => error,
    };
    let payload = error.into_panic();
    if !payload.is::<Planned>() {
        resume_unwind(payload);
    }
    None
}

thread_local! {
    static ACTION: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
}

/// Runs [`ACTION`] when it is woken: between two completions, if a driver wakes it.
struct Interrupt;

impl Wake for Interrupt {
    fn wake(self: Arc<Self>) {
        if let Some(action) = ACTION.take() {
            action();
        }
    }
}

/// Ends an operation whose completion is in the queue, behind that of another one, whose waker it
/// is that ends the operation.
async fn interrupted<S: Scene>(scene: &Rc<S>, way: Way) -> Option<Got> {
    let time = (way == Way::Timeout).then_some(TIME);
    let how = How::new(time);
    let start = Instant::now();
    let mut attempt = scene.begin(Rc::clone(&how));
    let at_once = S::course(State::Posted) == Course::AtOnce;
    let before = in_flight();
    if at_once {
        prelude::<S>(&mut attempt).await;
    } else {
        reach(&**scene, &mut attempt, &how, State::Completed).await;
    }
    let first = first_of_the_queue();
    if at_once {
        pends(&mut attempt).await;
    }
    // A receive that is armed for many may have been in flight before.
    let asked = in_flight() - 1;
    assert!(asked >= before, "it was not submitted");
    let left = Rc::new(RefCell::new(None));
    let action = {
        let (left, scene, how) = (Rc::clone(&left), Rc::clone(scene), Rc::clone(&how));
        move || {
            premise(in_flight() >= asked, "it is reaped before");
            left.replace(end_now(attempt, &*scene, &how, way));
        }
    };
    ACTION.set(Some(Box::new(action)));
    if way == Way::Timeout {
        // So that its timer fires in the turn that reaps it.
        std::thread::sleep((TIME + TIME / 4).saturating_sub(start.elapsed()));
    }
    turns(1).await;
    assert!(ACTION.take().is_none(), "nobody was woken");
    drop(first);
    let left = left.take();
    match left {
        Some(Left::Ready(got)) => Some(got),
        Some(Left::Attempt(attempt)) => Some(attempt.await),
        None => None,
    }
}

/// Stages an operation that wakes [`Interrupt`]. Whatever is posted in the same call comes after.
fn first_of_the_queue() -> Nop {
    let mut first = nop();
    let waker = Waker::from(Arc::new(Interrupt));
    let poll = Pin::new(&mut first).poll(&mut Context::from_waker(&waker));
    assert!(poll.is_pending());
    first
}

/// What is left of an operation that has begun to end.
enum Left {
    Ready(Got),
    Attempt(Attempt),
}

fn end_now<S: Scene>(mut attempt: Attempt, scene: &S, how: &How, way: Way) -> Option<Left> {
    match way {
        Way::Cancel | Way::CancelDropped => how.cancel(),
        Way::Timeout => {}
        _ => {
            drop(attempt);
            if way == Way::Resource {
                scene.let_go();
            }
            return None;
        }
    }
    let mut cx = Context::from_waker(Waker::noop());
    Some(match attempt.as_mut().poll(&mut cx) {
        Poll::Ready(got) => Left::Ready(got),
        Poll::Pending if way == Way::CancelDropped => return None,
        Poll::Pending => Left::Attempt(attempt),
    })
}
