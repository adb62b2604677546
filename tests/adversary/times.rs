//! Timers fire when they are due.

use std::time::Duration;

use corering::sim::Faults;
use corering::spawn;
use corering::time::{Instant, sleep, timeout};

use super::check;

/// What a long sleep may be late, so that others wake up with it.
const GRANULE: Duration = Duration::from_micros(1100);

#[test]
fn timers_are_neither_early_nor_late() {
    check(200, Faults::default(), |sim| async move {
        let sleepers: Vec<_> = (0..60)
            .map(|_| {
                let sim = sim.clone();
                spawn(async move {
                    for _ in 0..5 {
                        let exponent = sim.random(26);
                        let span = Duration::from_micros(1 + sim.random(1 << exponent));
                        let begin = Instant::now();
                        if sim.chance(0.3) {
                            let _ = timeout(span / 2, sleep(span)).await;
                            assert!(begin.elapsed() >= span / 2, "early");
                            assert!(begin.elapsed() <= span / 2 + GRANULE, "late");
                        } else {
                            sleep(span).await;
                            assert!(begin.elapsed() >= span, "early");
                            assert!(begin.elapsed() <= span + GRANULE, "late");
                        }
                    }
                })
            })
            .collect();
        for sleeper in sleepers {
            sleeper.await.unwrap();
        }
    });
}
