use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

use proptest::collection;
use proptest::prelude::*;

use super::*;

/// Counts wakes.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn counted() -> (Arc<Count>, Waker) {
    let count = Arc::new(Count::default());
    (Arc::clone(&count), Waker::from(count))
}

fn woken(count: &Count) -> usize {
    count.0.load(Ordering::Relaxed)
}

fn vacant<T>(line: &Line<T>) -> usize {
    let waiters = line.waiters.borrow();
    let mut next = waiters.vacant;
    let mut count = 0;
    while next != NIL {
        next = waiters.entries[next as usize].after;
        count += 1;
    }
    count
}

#[test]
fn the_line_moves_up_in_order_whoever_leaves_it() {
    let line = Line::new();
    let mut places: Vec<_> = (0..5)
        .map(|number| line.push(number, Waker::noop().clone()))
        .collect();
    // The first, one in the middle, and the last.
    for index in [4, 2, 0] {
        let left = line.leave(places.remove(index));
        assert_eq!((left.value, left.called), (index, false));
    }
    assert_eq!(line.len(), 2);
    for expected in [1, 3] {
        assert_eq!(line.with_first(|number| *number), Some(expected));
        assert!(line.call_first());
    }
    assert!(line.is_empty() && !line.call_first());
    for place in places {
        assert!(line.leave(place).called);
    }
    assert_eq!(vacant(&line), 5);
}

#[test]
fn each_who_was_called_is_woken_once_and_nobody_else() {
    let line = Line::new();
    let (first, waker) = counted();
    let a = line.push((), waker);
    let (second, waker) = counted();
    let b = line.push((), waker);
    line.call_first();
    assert!(line.is_called(&a) && !line.is_called(&b));
    line.wake_called();
    line.wake_called();
    assert_eq!((woken(&first), woken(&second)), (1, 0));
    line.call_all();
    // Called but not woken yet: it leaves both lists.
    assert!(line.leave(b).called);
    line.wake_called();
    assert_eq!(woken(&second), 0);
    line.leave(a);
}

#[test]
fn the_task_that_polled_last_is_woken() {
    let line = Line::new();
    let (first, waker) = counted();
    let place = line.push((), waker);
    let (second, waker) = counted();
    assert!(!line.poll_called(&place, &Context::from_waker(&waker)));
    line.call_first();
    line.wake_called();
    assert_eq!((woken(&first), woken(&second)), (0, 1));
    assert!(line.poll_called(&place, &Context::from_waker(&waker)));
    line.leave(place);
}

#[test]
fn places_are_used_again() {
    let line = Line::new();
    for _ in 0..100 {
        let place = line.push((), Waker::noop().clone());
        line.leave(place);
    }
    assert_eq!(line.waiters.borrow().entries.capacity(), 4);
}

/// A waker that comes back to its line when it is dropped or woken, as a task's future may.
struct Comes(Rc<Line<()>>);

thread_local! {
    static BACK: RefCell<Option<Comes>> = const { RefCell::new(None) };
}

struct Back;

impl Wake for Back {
    fn wake(self: Arc<Self>) {}
}

impl Drop for Back {
    fn drop(&mut self) {
        let comes = BACK.with_borrow_mut(Option::take);
        if let Some(Comes(line)) = comes {
            let place = line.push((), Waker::noop().clone());
            line.leave(place);
        }
    }
}

#[test]
fn wakers_run_when_nothing_is_borrowed() {
    type Act = fn(&Line<()>, Place);
    let acts: [Act; 3] = [
        |line, place| {
            let _ = line.leave(place);
        },
        |line, place| {
            line.call_first();
            line.wake_called();
            line.leave(place);
        },
        |line, place| {
            line.poll_called(&place, &Context::from_waker(Waker::noop()));
            line.leave(place);
        },
    ];
    for act in acts {
        let line = Rc::new(Line::new());
        BACK.set(Some(Comes(Rc::clone(&line))));
        let place = line.push((), Waker::from(Arc::new(Back)));
        act(&line, place);
        assert!(BACK.with_borrow(Option::is_none), "it was not dropped");
    }
}

#[derive(Clone, Debug)]
enum Act {
    Push,
    /// Leaves the one at this place among those who are there, counted round.
    Leave(usize),
    CallFirst,
    CallOne,
    CallAll,
    WakeCalled,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => Just(Act::Push),
        4 => any::<usize>().prop_map(Act::Leave),
        2 => Just(Act::CallFirst),
        2 => Just(Act::CallOne),
        1 => Just(Act::CallAll),
        1 => Just(Act::WakeCalled),
    ]
}

/// What a waiter should be.
struct Expected {
    place: Place,
    number: usize,
    called: bool,
    wakes: Arc<Count>,
    /// In the list of those who are to be woken.
    to_be_woken: bool,
}

proptest! {
    #[test]
    fn it_does_what_a_plain_list_does(acts in collection::vec(act(), 0..200)) {
        let line = Line::new();
        let mut all: Vec<Expected> = Vec::new();
        let mut pushed = 0;
        for act in acts {
            match act {
                Act::Push => {
                    let (wakes, waker) = counted();
                    let place = line.push(pushed, waker);
                    let number = pushed;
                    all.push(Expected { place, number, called: false, wakes, to_be_woken: false });
                    pushed += 1;
                }
                Act::Leave(at) if !all.is_empty() => {
                    let one = all.remove(at % all.len());
                    let left = line.leave(one.place);
                    prop_assert_eq!((left.value, left.called), (one.number, one.called));
                }
                Act::Leave(_) => {}
                Act::CallFirst => {
                    let first = all.iter_mut().find(|one| !one.called);
                    prop_assert_eq!(line.call_first(), first.is_some());
                    if let Some(first) = first {
                        (first.called, first.to_be_woken) = (true, true);
                    }
                }
                Act::CallOne => {
                    let first = all.iter_mut().find(|one| !one.called);
                    let waker = line.call_one(|_| {});
                    prop_assert_eq!(waker.is_some(), first.is_some());
                    if let (Some(first), Some(waker)) = (first, waker) {
                        first.called = true;
                        waker.wake();
                    }
                }
                Act::CallAll => {
                    line.call_all();
                    for one in all.iter_mut().filter(|one| !one.called) {
                        (one.called, one.to_be_woken) = (true, true);
                    }
                }
                Act::WakeCalled => {
                    line.wake_called();
                    all.iter_mut().for_each(|one| one.to_be_woken = false);
                }
            }
            let queued: Vec<_> = all.iter().filter(|one| !one.called).collect();
            prop_assert_eq!(line.len(), queued.len());
            let first = queued.first().map(|one| one.number);
            prop_assert_eq!(line.with_first(|number| *number), first);
            for one in &all {
                prop_assert_eq!(line.is_called(&one.place), one.called);
                let is_woken = one.called && !one.to_be_woken;
                prop_assert_eq!(woken(&one.wakes), usize::from(is_woken));
            }
        }
    }
}
