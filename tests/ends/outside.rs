//! The ways to end an operation with its runtime.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use corering::runtime::{Builder, stats};
use corering::time::timeout;
use corering::{Runtime, spawn};

use crate::cell::{
    End, How, STATES, Scene, State, Verdict, WAYS, Way, premise, reach, turns, untried, verdict,
};
use crate::common::asleep_once;
use crate::inside::text_of;
use crate::oracle::Process;

const PATIENCE: Duration = Duration::from_secs(20);
const LIMIT: Duration = Duration::from_secs(5);

pub(crate) fn cells<S: Scene>() -> Vec<(Way, State, Verdict)> {
    let mut cells = Vec::new();
    for way in WAYS.into_iter().filter(|way| !way.is_inside()) {
        for state in STATES {
            let untried = untried::<S>(way, state);
            let verdict = untried.unwrap_or_else(|| verdict(|| tried::<S>(way, state)));
            cells.push((way, state, verdict));
        }
    }
    cells
}

fn tried<S: Scene>(way: Way, state: State) -> Verdict {
    let before = Process::now();
    let tried = catch_unwind(AssertUnwindSafe(|| match way {
        Way::Runtime | Way::Shutdown => {
            let (runtime, scene) = begun::<S>(state);
            over(runtime, &*scene, way, state);
        }
        _ => on_a_thread::<S>(way, state),
    }));
    match tried {
        Ok(()) => before
            .is_back()
            .map_or_else(Verdict::Broken, |()| Verdict::Held),
        Err(panic) => Verdict::Broken(text_of(&*panic)),
    }
}

/// A runtime with a task that holds the operation, in its state.
fn begun<S: Scene>(state: State) -> (Runtime, Rc<S>) {
    let runtime = Builder::new()
        .teardown_limit(LIMIT)
        .build()
        .expect("a runtime");
    let begun = runtime.block_on(async {
        timeout(PATIENCE, async {
            // What ends a sleep is in flight from here on.
            asleep_once().await;
            let scene = Rc::new(S::set(state).await);
            let how = How::new(None);
            let mut attempt = scene.begin(Rc::clone(&how));
            reach(&*scene, &mut attempt, &how, state).await;
            drop(spawn(attempt));
            if state == State::Submitted {
                turns(3).await;
            }
            (scene, stats().expect("inside a runtime"))
        })
        .await
    });
    let (scene, reached) = begun.expect("the state is not reached");
    let now = runtime.stats();
    premise(
        (now.enters, now.cqes) == (reached.enters, reached.cqes),
        "the loop has turned",
    );
    (runtime, scene)
}

/// Ends the runtime, and looks at what is left.
fn over<S: Scene>(runtime: Runtime, scene: &S, way: Way, state: State) {
    let start = Instant::now();
    let left = match way {
        Way::Shutdown => Some(runtime.shutdown(LIMIT)),
        _ => {
            drop(runtime);
            None
        }
    };
    if start.elapsed() >= LIMIT && !state.has_happened() {
        premise(!scene.has_begun(), "it has begun");
    }
    if let Some(left) = left {
        assert!(left.is_empty(), "{left}");
    }
    if !state.has_happened() {
        scene.happen();
    }
    let got = None;
    scene.after_runtime(End { way, state, got });
}

thread_local! {
    static HELD: Held = const { Held(RefCell::new(None)) };
}

/// Does what it holds when it is dropped.
struct Held(RefCell<Option<Box<dyn FnOnce()>>>);

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(last) = self.0.take() {
            last();
        }
    }
}

fn on_a_thread<S: Scene>(way: Way, state: State) {
    let (tell, told) = mpsc::channel();
    let thread = thread::spawn(move || {
        if way == Way::LocalFirst {
            HELD.with(|_| ());
        }
        let (runtime, scene) = begun::<S>(state);
        if way == Way::Thread {
            over(runtime, &*scene, way, state);
            return drop(tell.send(None));
        }
        let last = move || {
            // A panic would end the process: destructors of thread-locals may not.
            let over = catch_unwind(AssertUnwindSafe(|| over(runtime, &*scene, way, state)));
            drop(scene);
            drop(tell.send(over.err().map(|panic| text_of(&*panic))));
        };
        HELD.with(|held| held.0.replace(Some(Box::new(last))));
    });
    let joined = thread.join();
    if let Err(panic) = joined {
        std::panic::resume_unwind(panic);
    }
    let broken = told.recv().expect("the runtime was ended");
    if let Some(what) = broken {
        panic!("{what}");
    }
}
