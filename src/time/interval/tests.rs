use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use crate::ring::Clock;

use super::super::tests::run;
use super::super::{Instant, Timers};
use super::{MissedTickBehavior, interval, interval_at};

use MissedTickBehavior::{Burst, Delay, Skip};

const MS: Duration = Duration::from_millis(1);

fn at(ms: u64) -> Instant {
    Instant::from_ns(ms * 1_000_000)
}

#[test]
fn a_tick_in_time_keeps_the_schedule_whatever_the_behaviour() {
    for behavior in [Burst, Delay, Skip] {
        for late_ms in 0..=5 {
            assert_eq!(
                behavior.next(at(1_000), at(1_000 + late_ms), 100 * MS),
                at(1_100)
            );
        }
        // Of a short period less is in time.
        assert_eq!(behavior.next(at(1_000), at(1_001), 8 * MS), at(1_008));
    }
}

#[test]
fn a_missed_tick_is_caught_up_or_delays_or_is_left_out() {
    let (due, period) = (at(1_000), 100 * MS);
    for (now, delay, skip) in [
        (1_006, 1_106, 1_100),
        (1_250, 1_350, 1_300),
        (1_300, 1_400, 1_400),
    ] {
        assert_eq!(Burst.next(due, at(now), period), at(1_100));
        assert_eq!(Delay.next(due, at(now), period), at(delay));
        assert_eq!(Skip.next(due, at(now), period), at(skip));
    }
    assert_eq!(Delay.next(due, at(1_002), 8 * MS), at(1_010));
}

#[test]
fn a_period_beyond_the_clock_is_the_last_one() {
    for behavior in [Burst, Delay, Skip] {
        assert_eq!(behavior.next(at(1), at(500), Duration::MAX).ns(), u64::MAX);
    }
}

#[test]
fn ticks_are_whole_periods_apart_and_not_early() {
    let timers = Timers::new(Clock::monotonic());
    let begin = Instant::now();
    let mut ticks = interval_at(begin, 3 * MS);
    for n in 0..10 {
        let due = run(&timers, ticks.tick());
        assert_eq!(due, begin + 3 * MS * n);
        assert!(Instant::now() >= due);
    }
}

#[test]
fn a_burst_gives_each_missed_tick_and_skip_none() {
    let timers = Timers::new(Clock::monotonic());
    for (behavior, missed) in [(Burst, true), (Skip, false)] {
        let mut ticks = interval(10 * MS);
        ticks.set_missed_tick_behavior(behavior);
        assert_eq!(
            (ticks.missed_tick_behavior(), ticks.period()),
            (behavior, 10 * MS)
        );
        let first = run(&timers, ticks.tick());
        thread::sleep(45 * MS);
        assert_eq!(run(&timers, ticks.tick()), first + 10 * MS);
        let next = run(&timers, ticks.tick());
        assert_eq!(next == first + 20 * MS, missed);
        assert_eq!((next - first).as_millis() % 10, 0, "on the schedule");
    }
}

#[test]
fn a_dropped_tick_is_given_to_the_next_call() {
    let timers = Timers::new(Clock::monotonic());
    let mut ticks = interval(2 * MS);
    let first = run(&timers, ticks.tick());
    {
        let _entered = timers.enter();
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..100 {
            let mut tick = std::pin::pin!(ticks.tick());
            assert!(tick.as_mut().poll(&mut cx).is_pending());
        }
        timers.fire((first + 4 * MS).ns(), drop);
        drop(ticks.tick());
    }
    assert_eq!(run(&timers, ticks.tick()), first + 2 * MS);
}

#[test]
fn reset_starts_a_period_from_now() {
    let timers = Timers::new(Clock::monotonic());
    let _entered = timers.enter();
    let mut ticks = interval(50 * MS);
    assert!(
        ticks
            .poll_tick(&mut Context::from_waker(Waker::noop()))
            .is_ready()
    );
    thread::sleep(5 * MS);
    ticks.reset();
    let before = Instant::now();
    let due = run(&timers, ticks.tick());
    assert!(due > before + 40 * MS && due <= before + 50 * MS);
}

#[test]
fn a_burst_over_an_age_lets_others_run() {
    let timers = Timers::new(Clock::monotonic());
    let _entered = timers.enter();
    let start = Instant::now()
        .checked_sub(Duration::from_secs(1))
        .expect("the machine is up");
    let mut ticks = interval_at(start, MS);
    let mut cx = Context::from_waker(Waker::noop());
    crate::driver::budget::refill();
    let given = (0..1_000)
        .take_while(|_| ticks.poll_tick(&mut cx).is_ready())
        .count();
    assert!(
        (10..=900).contains(&given),
        "{given} of 1,000 missed ones in one go"
    );
    assert!(matches!(
        Pin::new(&mut ticks).poll_tick(&mut cx),
        Poll::Pending
    ));
}

#[test]
#[should_panic(expected = "must not be zero")]
fn a_period_of_zero_is_refused() {
    drop(interval(Duration::ZERO));
}
