use std::time::Duration;

use proptest::{prop_assert, prop_assert_eq, proptest};

use super::super::Instant;
use super::{GRANULE_MAX_US, granule_us, round_up, sleep, tick_of};

proptest! {
    #[test]
    fn a_granule_is_a_64th_to_a_32nd_and_a_millisecond_at_most(
        us in 0..1_000_000_u64, ns in 0..1_000_u64,
    ) {
        let sleep_ns = us * 1_000 + ns;
        let granule = u64::from(granule_us(sleep_ns));
        prop_assert!(granule.is_power_of_two() && granule <= GRANULE_MAX_US);
        if sleep_ns <= 64_000 {
            prop_assert_eq!(granule, 1);
        } else {
            prop_assert!(granule * 1_000 * 32 <= sleep_ns);
            prop_assert!(granule == GRANULE_MAX_US || granule * 1_000 * 64 >= sleep_ns);
        }
    }

    #[test]
    fn a_tick_is_not_before_its_deadline_and_less_than_a_granule_after(
        ns in 0..u64::MAX, shift in 0..=10_u32,
    ) {
        let granule = 1_u16 << shift;
        let tick = round_up(tick_of(Instant::from_ns(ns)), granule);
        prop_assert_eq!(tick % u64::from(granule), 0);
        let late_ns = u128::from(tick) * 1_000 - u128::from(ns);
        prop_assert!(late_ns < u128::from(granule) * 1_000);
    }
}

#[test]
fn the_longest_sleep_has_a_tick() {
    let end = sleep(Duration::MAX).deadline();
    assert_eq!(end.ns(), u64::MAX);
    assert_eq!(sleep(Duration::from_secs(1 << 62)).deadline(), end);
    assert!(u128::from(round_up(tick_of(end), 1_024)) * 1_000 >= u128::from(u64::MAX));
    assert_eq!(u64::from(granule_us(u64::MAX)), GRANULE_MAX_US);
}
