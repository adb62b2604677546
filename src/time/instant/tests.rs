use std::time::Duration;

use crate::ring::Clock;

use super::Instant;

const S: Duration = Duration::from_secs(1);

fn at(seconds: u64) -> Instant {
    Instant::from_ns(seconds * 1_000_000_000)
}

#[test]
fn differences_saturate_or_say_that_there_is_none() {
    assert_eq!(at(3).duration_since(at(1)), 2 * S);
    assert_eq!(at(3) - at(1), 2 * S);
    assert_eq!(at(1) - at(3), Duration::ZERO);
    assert_eq!(at(1).saturating_duration_since(at(3)), Duration::ZERO);
    assert_eq!(at(3).checked_duration_since(at(1)), Some(2 * S));
    assert_eq!(at(1).checked_duration_since(at(3)), None);
}

#[test]
fn sums_are_checked() {
    let mut instant = at(1) + S;
    instant += S;
    instant -= 2 * S;
    assert_eq!((instant, instant - S), (at(1), at(0)));
    assert_eq!(at(1).checked_sub(2 * S), None);
    assert_eq!(at(1).checked_add(Duration::MAX), None);
    assert_eq!(at(1).checked_add(S), Some(at(2)));
    assert_eq!(at(1).saturating_add(Duration::MAX).ns(), u64::MAX);
}

#[test]
#[should_panic(expected = "beyond the clock's range")]
fn a_sum_beyond_the_clock_panics() {
    let _ = at(1) + Duration::MAX;
}

#[test]
#[should_panic(expected = "before the clock began")]
fn a_difference_before_the_clock_panics() {
    let _ = at(1) - 2 * S;
}

#[test]
fn outside_a_runtime_it_is_the_monotonic_clock() {
    let before = Clock::monotonic().now_ns();
    let now = Instant::now();
    let after = Clock::monotonic().now_ns();
    assert!((before..=after).contains(&now.ns()));
    assert!(now.elapsed() < 60 * S);
    assert_eq!((now + S).elapsed(), Duration::ZERO);
}

#[test]
fn it_prints_its_distance_from_the_clocks_begin() {
    assert_eq!(format!("{:?}", at(1) + S / 2), "Instant(1.5s)");
}
