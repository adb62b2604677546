use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Wake, Waker};

use proptest::prelude::{Strategy, any, prop_oneof};
use proptest::{collection, proptest};

use super::{FAR, Key, LOOK_MAX, Wheel};

/// One round of the whole wheel.
const ROUND: u64 = 1 << 42;

/// Wakers that say which of them was woken.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u32>>>);

struct Mark(Log, u32);

impl Wake for Mark {
    fn wake(self: Arc<Self>) {
        self.0.0.lock().unwrap().push(self.1);
    }
}

impl Log {
    fn waker(&self, id: u32) -> Waker {
        Waker::from(Arc::new(Mark(self.clone(), id)))
    }

    fn woken(&self, waker: Waker) -> u32 {
        waker.wake();
        self.0
            .lock()
            .unwrap()
            .pop()
            .expect("the waker is one of this log")
    }
}

/// The wheel beside what it has to do, in the plainest form.
struct Checked {
    wheel: Wheel,
    now: u64,
    log: Log,
    keys: BTreeMap<u32, Key>,
    armed: BTreeMap<u32, u64>,
    ids: u32,
}

impl Checked {
    fn new(now: u64) -> Checked {
        Checked {
            wheel: Wheel::new(now),
            now,
            log: Log::default(),
            keys: BTreeMap::new(),
            armed: BTreeMap::new(),
            ids: 0,
        }
    }

    fn insert(&mut self, after: u64) -> u32 {
        let id = self.ids;
        self.ids += 1;
        let when = self.now + after;
        let key = self
            .wheel
            .insert(when, self.log.waker(id))
            .expect("there is room");
        assert!(self.keys.insert(id, key).is_none());
        self.armed.insert(id, when.max(self.now + 1));
        self.check();
        id
    }

    /// Any that was inserted and not removed, armed or fired.
    fn pick(&self, nth: usize) -> Option<u32> {
        let len = self.keys.len();
        (len > 0).then(|| *self.keys.keys().nth(nth % len).expect("below the length"))
    }

    fn remove(&mut self, id: u32) {
        let key = self.keys.remove(&id).expect("picked among them");
        let waker = self.wheel.remove(&key);
        let was_armed = self.armed.remove(&id).is_some();
        assert_eq!(
            waker.map(|waker| self.log.woken(waker)),
            was_armed.then_some(id)
        );
        self.check();
    }

    fn rearm(&mut self, id: u32, after: u64) {
        let when = self.now + after;
        let moved = self.wheel.rearm(&self.keys[&id], when);
        assert_eq!(moved, self.armed.contains_key(&id));
        if moved {
            self.armed.insert(id, when.max(self.now + 1));
        }
        self.check();
    }

    /// Fires up to `to`, with `between` called after each waker, as a task that drops timers would.
    fn advance(&mut self, to: u64, mut between: impl FnMut(&mut Checked)) {
        let mut last = self.now;
        while let Some(waker) = self.wheel.pop_due(to) {
            let id = self.log.woken(waker);
            let when = self.armed.remove(&id).expect("armed, and fired once");
            assert!(when <= to, "{when} fired early at {to}");
            assert!(when >= last, "{when} fired after {last}");
            last = when;
            self.now = self.wheel.now();
            assert_eq!(self.now, when, "an entry fires at its own tick");
            assert!(self.wheel.waker_mut(&self.keys[&id]).is_none());
            self.check();
            between(self);
        }
        self.now = to;
        assert!(
            self.armed.values().all(|when| *when > to),
            "nothing due is left"
        );
        self.check();
    }

    fn check(&mut self) {
        assert_eq!(self.wheel.now(), self.now);
        assert_eq!(self.wheel.armed(), self.armed.len());
        assert_eq!(self.wheel.entries.len(), self.keys.len());
        let earliest = self.armed.values().min().copied();
        let next = self.wheel.next();
        assert_eq!(next.is_some(), earliest.is_some());
        if let (Some(next), Some(earliest)) = (next, earliest) {
            assert!(next <= earliest, "woken at {next}, too late for {earliest}");
            assert!(next >= self.now, "{next} is over at {}", self.now);
            assert!(
                self.armed.len() > LOOK_MAX || next == earliest,
                "few are known exactly"
            );
        }
        for (level, used) in self.wheel.used.iter().enumerate() {
            for slot in level * 64..(level * 64 + 64).min(FAR + 1) {
                let is_used = *used & (1 << (slot % 64)) != 0;
                assert_eq!(is_used, self.wheel.heads[slot] != super::NIL);
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u64),
    Remove(usize),
    Rearm(usize, u64),
    Advance(u64),
    /// To the tick that the wheel asks for.
    AdvanceToNext,
    /// With a removal, a rearming and an insertion after each waker.
    AdvanceDisturbed(u64, usize, u64),
}

/// Of every order of magnitude, and just beside the ends of slots and rounds.
fn ticks() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..70_u64,
        0..5_000_u64,
        (0..45_u32, any::<u64>()).prop_map(|(bits, random)| random & ((1 << bits) - 1)),
        (0..8_u32, 0..4_u64).prop_map(|(level, beside)| (1_u64 << (6 * level)) + beside - 1),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => ticks().prop_map(Step::Insert),
        2 => any::<usize>().prop_map(Step::Remove),
        1 => (any::<usize>(), ticks()).prop_map(|(nth, after)| Step::Rearm(nth, after)),
        3 => ticks().prop_map(Step::Advance),
        2 => any::<u8>().prop_map(|_| Step::AdvanceToNext),
        1 => (ticks(), any::<usize>(), ticks())
            .prop_map(|(to, nth, after)| Step::AdvanceDisturbed(to, nth, after)),
    ];
    collection::vec(step, 1..120)
}

proptest! {
    #[test]
    fn the_wheel_does_what_a_sorted_map_does(
        start in prop_oneof![0..200_u64, ROUND - 100..ROUND + 100, 0..3 * ROUND],
        steps in steps(),
    ) {
        let mut checked = Checked::new(start);
        for step in steps {
            match step {
                Step::Insert(after) => {
                    checked.insert(after);
                }
                Step::Remove(nth) => {
                    if let Some(id) = checked.pick(nth) {
                        checked.remove(id);
                    }
                }
                Step::Rearm(nth, after) => {
                    if let Some(id) = checked.pick(nth) {
                        checked.rearm(id, after);
                    }
                }
                Step::Advance(by) => checked.advance(checked.now + by, |_| {}),
                Step::AdvanceToNext => {
                    if let Some(next) = checked.wheel.next() {
                        checked.advance(next, |_| {});
                    }
                }
                Step::AdvanceDisturbed(by, nth, after) => {
                    let to = checked.now + by;
                    let mut left = 20;
                    checked.advance(to, |checked| {
                        if left == 0 {
                            return;
                        }
                        left -= 1;
                        if let Some(id) = checked.pick(nth) {
                            checked.remove(id);
                        }
                        if let Some(id) = checked.pick(nth / 2) {
                            checked.rearm(id, after);
                        }
                        checked.insert(after);
                    });
                }
            }
        }
        let ids: Vec<u32> = checked.keys.keys().copied().collect();
        for id in ids {
            checked.remove(id);
        }
        assert!(checked.wheel.entries.is_empty());
    }
}

#[test]
fn a_deadline_across_the_end_of_a_round_fires_at_its_tick() {
    for before in [1, 2, 63, 64, 65, 5_000] {
        let mut checked = Checked::new(ROUND - before);
        for after in [1, before, before + 1, before + 64, before + 5_000] {
            checked.insert(after);
        }
        checked.advance(ROUND + 10_000, |_| {});
        assert!(checked.armed.is_empty());
    }
}

#[test]
fn a_lone_deadline_beyond_all_levels_costs_one_wake_up() {
    let mut checked = Checked::new(12_345);
    for after in [
        1,
        63,
        64,
        1_000_000,
        ROUND - 1,
        ROUND,
        5 * ROUND + 77,
        u64::MAX >> 12,
    ] {
        checked.insert(after);
        let next = checked.wheel.next().expect("it is armed");
        assert_eq!(next, checked.now + after);
        checked.advance(next, |_| {});
        assert!(checked.armed.is_empty());
    }
}

#[test]
fn a_crowd_costs_few_wake_ups_that_fire_nothing() {
    let mut checked = Checked::new(0);
    for n in 0..100 {
        checked.insert(ROUND / 3 + n % 2);
    }
    let mut wake_ups = 0;
    while let Some(next) = checked.wheel.next() {
        checked.advance(next, |_| {});
        wake_ups += 1;
    }
    assert!(wake_ups <= 2 + 7, "one per level at most: {wake_ups}");
}

#[test]
fn a_freed_entry_is_used_again() {
    static DROPS: AtomicU32 = AtomicU32::new(0);
    struct Counted;
    impl Wake for Counted {
        fn wake(self: Arc<Self>) {}
    }
    impl Drop for Counted {
        fn drop(&mut self) {
            DROPS.fetch_add(1, Ordering::Relaxed);
        }
    }
    let mut wheel = Wheel::new(0);
    for n in 0..10_000 {
        let key = wheel
            .insert(n * 7_919 % 1_000_000, Waker::from(Arc::new(Counted)))
            .expect("there is room");
        drop(wheel.remove(&key));
    }
    assert_eq!(DROPS.load(Ordering::Relaxed), 10_000);
    assert!(wheel.entries.is_empty() && wheel.entries.capacity() < 8);
    assert_eq!(wheel.next(), None);
}

#[test]
fn a_clock_that_seems_to_go_back_fires_nothing_twice_or_late() {
    let mut checked = Checked::new(1_000);
    checked.insert(100);
    checked.advance(1_050, |_| {});
    assert!(checked.wheel.pop_due(900).is_none());
    checked.check();
    checked.advance(1_100, |_| {});
    assert!(checked.armed.is_empty());
}
