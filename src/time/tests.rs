use std::cell::{Cell, RefCell};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use crate::driver::budget;
use crate::ring::Clock;

use super::{Instant, Sleep, TICK_NS, Timers, sleep, sleep_until, timeout, timeout_at};

const MS: Duration = Duration::from_millis(1);

/// Counts its wakes.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Count {
    fn new() -> (Arc<Count>, Waker) {
        let count = Arc::new(Count::default());
        (Arc::clone(&count), Waker::from(count))
    }

    fn wakes(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

fn timers() -> Rc<Timers> {
    Timers::new(Clock::monotonic())
}

/// The smallest runtime: one task, and the thread sleeps until the next deadline.
pub(super) fn run<T>(timers: &Rc<Timers>, future: impl Future<Output = T>) -> T {
    let _entered = timers.enter();
    let patience = timers.now() + Duration::from_secs(10);
    let (count, waker) = Count::new();
    let mut future = pin!(future);
    let mut polled_after = usize::MAX;
    loop {
        if polled_after != count.wakes() {
            polled_after = count.wakes();
            budget::refill();
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return output;
            }
        } else {
            let deadline = timers
                .next_deadline_ns()
                .expect("something will wake the task");
            thread::sleep(Instant::from_ns(deadline) - timers.now());
        }
        assert!(
            timers.now() < patience,
            "the future is not ready after 10 s"
        );
        timers.fire(timers.now().ns(), Waker::wake);
    }
}

/// Polls with the thread's current timers.
fn poll(sleep: &mut Sleep, waker: &Waker) -> Poll<()> {
    Pin::new(sleep).poll(&mut Context::from_waker(waker))
}

/// Fires all that is due up to `after` from now.
fn fire(timers: &Timers, after: Duration) {
    timers.fire((timers.now() + after).ns(), Waker::wake);
}

#[test]
fn a_sleep_is_not_early_and_ends() {
    let timers = timers();
    for us in [1, 10, 63, 64, 100, 1_000, 5_000, 40_000] {
        let duration = Duration::from_micros(us);
        let begin = Instant::now();
        run(&timers, sleep(duration));
        assert!(
            begin.elapsed() >= duration,
            "{us} µs: {:?}",
            begin.elapsed()
        );
        run(&timers, sleep_until(begin + duration * 2));
        assert!(
            begin.elapsed() >= duration * 2,
            "{us} µs: {:?}",
            begin.elapsed()
        );
    }
    assert!(timers.is_empty());
}

#[test]
fn dropped_timeouts_leave_no_entry() {
    let timers = timers();
    let _entered = timers.enter();
    let (_, waker) = Count::new();
    let mut cx = Context::from_waker(&waker);
    for n in 0..1_000_000_u64 {
        let mut timeout = pin!(timeout(
            Duration::from_micros(n),
            std::future::pending::<()>()
        ));
        if n > 0 {
            assert!(timeout.as_mut().poll(&mut cx).is_pending());
            assert_eq!(timers.len(), 1);
        }
    }
    assert_eq!((timers.len(), timers.wheel.borrow().entries()), (0, 0));
    assert_eq!(timers.next_deadline_ns(), None);
}

#[test]
fn a_timeout_of_a_ready_future_makes_no_timer() {
    let timers = timers();
    let answer = run(&timers, timeout(MS, async { 5 }));
    assert_eq!(answer, Ok(5));
    assert_eq!(timers.wheel.borrow().entries(), 0);
}

#[test]
fn in_a_tie_the_result_wins() {
    let timers = timers();
    let _entered = timers.enter();
    let (count, waker) = Count::new();
    let ready = Cell::new(false);
    let answer = std::future::poll_fn(|_| {
        if ready.get() {
            Poll::Ready(7)
        } else {
            Poll::Pending
        }
    });
    let mut timeout = pin!(timeout(MS, answer));
    assert!(
        timeout
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    fire(&timers, 20 * MS);
    assert_eq!(count.wakes(), 1);
    ready.set(true);
    assert_eq!(
        timeout.poll(&mut Context::from_waker(&waker)),
        Poll::Ready(Ok(7))
    );
}

#[test]
fn an_elapsed_timeout_says_so_and_becomes_an_io_error() {
    let timers = timers();
    let never = std::future::pending::<()>;
    let late = run(&timers, timeout(MS, never())).unwrap_err();
    assert_eq!(late.to_string(), "deadline has elapsed");
    assert_eq!(io::Error::from(late).kind(), io::ErrorKind::TimedOut);
    assert!(run(&timers, timeout(Duration::ZERO, never())).is_err());
    assert!(run(&timers, timeout_at(Instant::now(), never())).is_err());
}

#[test]
fn a_future_that_is_always_ready_does_not_outlive_its_timeout() {
    let timers = timers();
    let greedy = async {
        loop {
            std::future::poll_fn(|cx| budget::spend(cx)).await;
        }
    };
    let late: Result<(), _> = run(&timers, timeout(2 * MS, greedy));
    assert!(late.is_err());
}

#[test]
fn elapsed_sleeps_are_ready_at_once_but_let_others_run() {
    let timers = timers();
    let turns = Cell::new(0);
    let (begin, past) = (Instant::now(), Instant::now());
    let busy = async {
        for _ in 0..10_000 {
            sleep(Duration::ZERO).await;
            sleep_until(past).await;
        }
    };
    let mut busy = pin!(busy);
    let counted = std::future::poll_fn(|cx| {
        turns.set(turns.get() + 1);
        busy.as_mut().poll(cx)
    });
    run(&timers, counted);
    assert!(
        turns.get() >= 100,
        "20,000 ready sleeps in {} turns",
        turns.get()
    );
    assert!(turns.get() <= 1_000, "ready at once: {} turns", turns.get());
    assert!(begin.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_waker_may_drop_sleeps_that_are_due_in_the_same_turn() {
    let timers = timers();
    let _entered = timers.enter();
    let (count, waker) = Count::new();
    // Not due before they are all armed, however slow the machine is.
    let deadline = Instant::now() + 60_000 * MS;
    let sleeps: Vec<_> = (0..100)
        .map(|_| {
            let mut sleep = sleep_until(deadline).exact();
            assert!(poll(&mut sleep, &waker).is_pending());
            Some(sleep)
        })
        .collect();
    let sleeps = RefCell::new(sleeps);
    let mut fired = 0;
    timers.fire((deadline + MS).ns(), |waker| {
        fired += 1;
        waker.wake();
        // Its neighbours, the first and the last of the slot, armed or fired.
        for index in [fired * 3, fired * 3 + 1, 99 - fired, fired - 1] {
            drop(sleeps.borrow_mut()[index % 100].take());
        }
    });
    let left = sleeps.borrow().iter().flatten().count();
    assert_eq!(count.wakes(), fired);
    assert!(
        (20..80).contains(&fired),
        "some were dropped before they fired: {fired}"
    );
    assert_eq!((timers.len(), timers.wheel.borrow().entries()), (0, left));
    for mut sleep in sleeps.into_inner().into_iter().flatten() {
        assert!(poll(&mut sleep, &waker).is_ready());
    }
    assert_eq!(timers.wheel.borrow().entries(), 0);
}

#[test]
fn a_waker_that_arms_another_due_sleep_does_not_keep_firing() {
    let timers = timers();
    let _entered = timers.enter();
    let (_, waker) = Count::new();
    let past = Instant::now() + Duration::from_micros(500);
    let mut armed = vec![sleep_until(past).exact()];
    assert!(poll(&mut armed[0], &waker).is_pending());
    let mut fired = 0;
    timers.fire((past + 1_000 * MS).ns(), |waker| {
        fired += 1;
        let mut next = sleep_until(past + MS * fired).exact();
        assert!(poll(&mut next, &waker).is_pending());
        armed.push(next);
    });
    assert!(fired <= 2, "{fired} of one");
    assert_eq!(timers.len(), 1, "and the next turn fires it");
}

#[test]
fn a_sleep_outlives_its_runtime_and_its_thread() {
    thread_local!(static KEPT: RefCell<Option<Sleep>> = const { RefCell::new(None) });
    let thread = thread::spawn(|| {
        KEPT.with(|kept| {
            let timers = timers();
            let entered = timers.enter();
            let (_, waker) = Count::new();
            let mut sleep = sleep(1_000 * MS);
            assert!(poll(&mut sleep, &waker).is_pending());
            drop(entered);
            drop(timers);
            assert!(!sleep.is_elapsed());
            *kept.borrow_mut() = Some(sleep);
        });
    });
    thread
        .join()
        .expect("dropped by the thread-local's destructor");
}

#[test]
fn a_sleep_that_another_runtime_polls_waits_there() {
    let (first, second) = (timers(), timers());
    let (_, waker) = Count::new();
    let mut sleep = sleep(2 * MS);
    {
        let _first = first.enter();
        assert!(poll(&mut sleep, &waker).is_pending());
    }
    let _outer = first.enter();
    {
        let _second = second.enter();
        assert!(poll(&mut sleep, &waker).is_pending());
        assert_eq!((first.len(), second.len()), (0, 1));
    }
    assert!(poll(&mut sleep, &waker).is_pending());
    assert_eq!(
        (first.len(), second.len()),
        (1, 0),
        "the outer runtime is current again"
    );
}

#[test]
#[should_panic(expected = "was polled outside a runtime")]
fn polled_outside_a_runtime_the_text_says_so() {
    let (_, waker) = Count::new();
    let _ = poll(&mut sleep(MS), &waker);
}

#[test]
#[should_panic(expected = "was polled outside a runtime")]
fn a_waiting_sleep_polled_outside_a_runtime_does_not_just_hang() {
    let (_, waker) = Count::new();
    let mut sleep = sleep(MS);
    {
        let _entered = timers().enter();
        assert!(poll(&mut sleep, &waker).is_pending());
    }
    let _ = poll(&mut sleep, &waker);
}

#[test]
fn only_the_last_waker_is_woken_and_none_is_kept() {
    let timers = timers();
    let _entered = timers.enter();
    let ((first, first_waker), (second, second_waker)) = (Count::new(), Count::new());
    let mut sleep = sleep(MS);
    assert!(poll(&mut sleep, &first_waker).is_pending());
    assert!(poll(&mut sleep, &first_waker).is_pending());
    assert!(poll(&mut sleep, &second_waker).is_pending());
    assert_eq!(Arc::strong_count(&first), 2, "given back for the second");
    fire(&timers, 20 * MS);
    assert_eq!((first.wakes(), second.wakes()), (0, 1));
    assert_eq!(Arc::strong_count(&second), 2, "used up by the wake");
    assert!(poll(&mut sleep, &second_waker).is_ready());
    assert!(
        poll(&mut sleep, &second_waker).is_ready(),
        "and ready again"
    );
}

#[test]
fn reset_moves_a_waiting_sleep_in_its_place() {
    let timers = timers();
    let _entered = timers.enter();
    let (count, waker) = Count::new();
    let begin = Instant::now();
    let mut sleep = sleep(1_000 * MS);
    assert!(poll(&mut sleep, &waker).is_pending());
    Pin::new(&mut sleep).reset(begin + 5_000 * MS);
    assert_eq!((timers.len(), timers.wheel.borrow().entries()), (1, 1));
    timers.fire((begin + 2_000 * MS).ns(), Waker::wake);
    assert_eq!(count.wakes(), 0, "later");
    Pin::new(&mut sleep).reset(begin + 3_000 * MS);
    timers.fire((begin + 3_002 * MS).ns(), Waker::wake);
    assert_eq!(
        count.wakes(),
        1,
        "earlier, with the waker of the first poll"
    );
    Pin::new(&mut sleep).reset(begin + 10_000 * MS);
    assert_eq!(
        timers.wheel.borrow().entries(),
        0,
        "it had fired: to be polled again"
    );
    assert!(poll(&mut sleep, &waker).is_pending());
    assert_eq!(sleep.deadline(), begin + 10_000 * MS);
    timers.fire((begin + 10_002 * MS).ns(), Waker::wake);
    assert_eq!(count.wakes(), 2);
    assert!(poll(&mut sleep, &waker).is_ready());
}

#[test]
fn a_sleep_without_end_keeps_nobody_from_sleeping() {
    let timers = timers();
    let _entered = timers.enter();
    let (count, waker) = Count::new();
    let mut forever = [
        sleep(Duration::MAX),
        sleep(Duration::from_secs(400 * 86_400)),
    ];
    for sleep in &mut forever {
        assert!(poll(sleep, &waker).is_pending());
    }
    run(&timers, sleep(2 * MS));
    let days = Duration::from_secs(390 * 86_400);
    timers.fire((Instant::now() + days).ns(), Waker::wake);
    assert_eq!((count.wakes(), timers.len()), (0, 2));
    timers.fire((Instant::now() + 2 * days).ns(), Waker::wake);
    assert_eq!((count.wakes(), timers.len()), (1, 1));
}

#[test]
fn a_lone_long_sleep_costs_one_wake_up() {
    let timers = timers();
    let _entered = timers.enter();
    let (count, waker) = Count::new();
    let mut sleep = sleep(Duration::from_secs(3_600));
    assert!(poll(&mut sleep, &waker).is_pending());
    let deadline = timers.next_deadline_ns().unwrap();
    let late = Instant::from_ns(deadline) - sleep.deadline();
    assert!(late < Duration::from_micros(1_026), "{late:?}");
    assert_eq!(deadline % TICK_NS, 0);
    timers.fire(deadline - 1, Waker::wake);
    assert_eq!(count.wakes(), 0);
    timers.fire(deadline, Waker::wake);
    assert_eq!(count.wakes(), 1);
}

/// Fires at each deadline that the wheel asks for; how often that woke somebody.
fn wake_ups(timers: &Timers, mut sleeps: Vec<Sleep>) -> usize {
    let (_, waker) = Count::new();
    for sleep in &mut sleeps {
        assert!(poll(sleep, &waker).is_pending());
    }
    let mut wake_ups = 0;
    while let Some(deadline) = timers.next_deadline_ns() {
        let waiting = timers.len();
        timers.fire(deadline, Waker::wake);
        wake_ups += usize::from(timers.len() < waiting);
    }
    wake_ups
}

#[test]
fn sleeps_of_about_the_same_length_share_wake_ups_unless_exact() {
    let timers = timers();
    let _entered = timers.enter();
    let from = |begin: Instant| {
        (0..1_000).map(move |n| sleep_until(begin + Duration::from_micros(10 * n)))
    };
    let (soon, later) = (Instant::now() + 1_000 * MS, Instant::now() + 2_000 * MS);
    let shared = wake_ups(&timers, from(soon).collect());
    assert!(shared <= 11, "10 ms in granules of 1,024 µs: {shared}");
    assert_eq!(
        wake_ups(&timers, from(later).map(Sleep::exact).collect()),
        1_000
    );
}

#[test]
fn exact_helps_before_and_after_the_first_poll() {
    let timers = timers();
    let _entered = timers.enter();
    let (_, waker) = Count::new();
    let mut before = sleep(1_000 * MS).exact();
    assert!(poll(&mut before, &waker).is_pending());
    let mut after = sleep(500 * MS);
    assert!(poll(&mut after, &waker).is_pending());
    for sleep in [after.exact(), before] {
        let late = Instant::from_ns(timers.next_deadline_ns().unwrap()) - sleep.deadline();
        assert!(late < Duration::from_micros(1), "{late:?}");
    }
}

#[test]
fn an_empty_wheel_learns_the_time_too() {
    let timers = timers();
    let later = timers.now() + 1_000 * MS;
    timers.fire(later.ns(), |_| unreachable!("there is no timer"));
    assert_eq!(timers.wheel.borrow().now(), later.ns() / TICK_NS);
}
