//! What another thread sees of the poll that a core is in.

use std::{
    future::{pending, poll_fn},
    hint,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::Poll,
    thread,
    time::{Duration, Instant},
};

use super::{settle, tasks};
use crate::task::{Builder, spawn};

#[test]
fn outside_of_polls_there_is_nothing_to_see() {
    let (tasks, _) = tasks();
    let watch = tasks.watch();
    assert!(watch.pulse().sample().is_none());
    tasks.spawn(pending::<()>());
    settle(&tasks);
    assert!(watch.pulse().sample().is_none());
    assert_eq!(watch.pulse().polls(), 1);
}

#[test]
fn within_a_poll_its_place_its_type_and_its_name_are_seen() {
    let (tasks, _) = tasks();
    let watch = Arc::new(tasks.watch());
    let seen = Arc::clone(&watch);
    let look = move || {
        let sample = seen.pulse().sample().expect("a poll goes on");
        let name = seen.pulse().name_of(&sample);
        let line = sample.location().line();
        (line, sample.future(), name.map(|name| name.to_string()))
    };
    let (mut lines, mut looks) = ([0; 2], Vec::new());
    tasks.enter(|| {
        let named = Builder::new().name("inner");
        let looks_itself = look.clone();
        looks.push(named.spawn(async move { looks_itself() }));
        lines[0] = line!() - 1;
        looks.push(spawn(async move { look() }));
        lines[1] = line!() - 1;
    });
    settle(&tasks);
    for ((mut handle, line), is_named) in looks.into_iter().zip(lines).zip([true, false]) {
        let (at, future, name) = handle.take().expect("it has ended").expect("no panic");
        assert_eq!(at, line);
        assert!(future.contains("within_a_poll_its_place"), "{future}");
        assert_eq!(
            name.is_some_and(|name| name.starts_with("inner (")),
            is_named
        );
    }
}

#[test]
fn what_another_thread_sees_twice_is_one_poll() {
    /// Runs for some hundred nanoseconds and wakes itself.
    fn busy() -> impl Future<Output = ()> {
        poll_fn(|context| {
            (0..100).for_each(|_| hint::spin_loop());
            context.waker().wake_by_ref();
            Poll::Pending
        })
    }
    let (tasks, _) = tasks();
    // The polls with odd numbers and those with even ones.
    tasks.spawn(busy());
    let odd = line!() - 1;
    tasks.spawn(async { busy().await });
    let watch = tasks.watch();
    let stop = Arc::new(AtomicBool::new(false));
    let enough = Arc::new(AtomicBool::new(false));
    let watcher = thread::spawn({
        let (stop, enough) = (Arc::clone(&stop), Arc::clone(&enough));
        move || {
            let pulse = watch.pulse();
            let (mut last, mut right, mut wrong) = (0, 0, 0);
            while !stop.load(Relaxed) {
                enough.store(right >= 1_000, Relaxed);
                let first = pulse.sample();
                (0..20).for_each(|_| hint::spin_loop());
                let (Some(first), Some(second)) = (first, pulse.sample()) else {
                    continue;
                };
                // Each poll once, however long it is looked at.
                if !first.is_same(&second) || first.number() == last {
                    continue;
                }
                last = first.number();
                let seen = [
                    first.location().line() == odd,
                    first.future().contains("PollFn"),
                ];
                match seen == [last % 2 == 1; 2] {
                    true => right += 1,
                    false => wrong += 1,
                }
            }
            (right, wrong)
        }
    });
    let start = Instant::now();
    // On a machine that is busy with other things it takes a while until enough was seen.
    while !enough.load(Relaxed) && start.elapsed() < Duration::from_secs(20) {
        assert_eq!(tasks.enter(|| tasks.run_batch(|| {})), 2);
    }
    stop.store(true, Relaxed);
    let (right, wrong) = watcher.join().expect("it does not panic");
    // Whoever is kept from the processor while it begins a poll looks as if it was in the one
    // before, but of the other task. It does not compute then, so nobody is told of it.
    assert!(right > 20 * wrong, "{right} right, {wrong} wrong");
}
