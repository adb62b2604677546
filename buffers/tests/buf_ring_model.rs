//! Whatever order completions, leases and their drops come in: every byte is the one that was
//! received, no two leases overlap, and all buffers come back.
#![allow(unsafe_code)]

mod fake;

use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;

use corering_buffers::{IoBuf, Lease, RingConfig};
use proptest::prelude::*;

use fake::{Completion, Rig, stream};

#[derive(Clone, Debug)]
enum Step {
    /// At most `want` bytes arrive; 0 is an error, or the end of file. `lie`: the flag that the
    /// kernel keeps the buffer is left out.
    Receive {
        want: usize,
        lie: bool,
    },
    /// The oldest completion is passed on.
    Deliver,
    Drop(usize),
    Advance(usize, usize),
    Truncate(usize, usize),
    Split(usize, usize),
    Clone(usize),
    MakeOwned(usize),
    IntoBytes(usize),
    Grow(u16),
}

fn step() -> impl Strategy<Value = Step> {
    let (which, n) = (0..16usize, 0..80usize);
    let which_n = (which.clone(), n);
    let receive = |want: Range<usize>| {
        (want, any::<bool>()).prop_map(|(want, lie)| Step::Receive { want, lie })
    };
    prop_oneof![
        6 => receive(1..100),
        1 => receive(0..1),
        7 => Just(Step::Deliver),
        5 => which.clone().prop_map(Step::Drop),
        1 => which_n.clone().prop_map(|(which, n)| Step::Advance(which, n)),
        1 => which_n.clone().prop_map(|(which, n)| Step::Truncate(which, n)),
        2 => which_n.prop_map(|(which, n)| Step::Split(which, n)),
        1 => which.clone().prop_map(Step::Clone),
        1 => which.clone().prop_map(Step::MakeOwned),
        1 => which.prop_map(Step::IntoBytes),
        1 => (1..3u16).prop_map(Step::Grow),
    ]
}

/// A lease and where in the stream its bytes stand.
struct Held {
    lease: Lease,
    first: u64,
}

impl Held {
    /// Where the bytes lie, and where in the stream they stand, unless they are owned.
    fn in_ring(&self) -> Option<(Range<u64>, u64)> {
        let (ptr, len) = self.lease.parts();
        let range = ptr as u64..ptr as u64 + len as u64;
        (!self.lease.is_owned()).then_some((range, self.first))
    }
}

fn overlap(a: &Range<u64>, b: &Range<u64>) -> bool {
    a.start.max(b.start) < a.end.min(b.end)
}

struct Model {
    rig: Rig,
    /// Completions that were not passed on yet, and whether the kernel is done with the buffer.
    posted: VecDeque<(Completion, bool)>,
    held: Vec<Held>,
}

impl Model {
    fn new(config: RingConfig) -> Model {
        Model {
            rig: Rig::new(config),
            posted: VecDeque::new(),
            held: Vec::new(),
        }
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Receive { want, lie } => {
                if let Some(mut completion) = self.rig.kernel.receive(want) {
                    let done = !completion.more;
                    completion.more &= !lie;
                    self.posted.push_back((completion, done));
                }
            }
            Step::Deliver => self.deliver(),
            Step::Grow(n) => {
                let ring = &self.rig.ring;
                if ring.capacity() + u32::from(n) <= u32::from(ring.entries()) {
                    self.rig.grow(n);
                }
            }
            Step::Drop(which)
            | Step::Advance(which, _)
            | Step::Truncate(which, _)
            | Step::Split(which, _)
            | Step::Clone(which)
            | Step::MakeOwned(which)
            | Step::IntoBytes(which) => {
                if which < self.held.len() {
                    self.use_lease(which, step);
                }
            }
        }
    }

    fn use_lease(&mut self, which: usize, step: &Step) {
        let Held { lease, first } = &mut self.held[which];
        let len = lease.len();
        match *step {
            Step::Advance(_, n) => {
                lease.advance(n.min(len));
                *first += n.min(len) as u64;
                assert_eq!(lease.len(), len - n.min(len));
            }
            Step::Truncate(_, n) => {
                lease.truncate(n);
                assert_eq!(lease.len(), n.min(len));
            }
            Step::Split(_, n) => {
                let front = Held {
                    lease: lease.split_to(n.min(len)),
                    first: *first,
                };
                *first += n.min(len) as u64;
                assert_eq!(
                    (front.lease.len(), lease.len()),
                    (n.min(len), len - n.min(len))
                );
                self.held.push(front);
            }
            Step::Clone(_) => {
                let clone = Held {
                    lease: lease.clone(),
                    first: *first,
                };
                self.held.push(clone);
            }
            Step::MakeOwned(_) => {
                lease.make_owned();
                assert!(lease.is_owned());
            }
            Step::IntoBytes(_) => {
                let Held { lease, first } = self.held.remove(which);
                assert_eq!(lease.into_bytes(), stream(first, len));
            }
            _ => drop(self.held.remove(which)),
        }
    }

    fn deliver(&mut self) {
        let Some((
            Completion {
                bid,
                len,
                more,
                first,
            },
            _,
        )) = self.posted.pop_front()
        else {
            return;
        };
        if len == 0 {
            // SAFETY: a completion of the fake kernel, passed on once, in order.
            unsafe { self.rig.ring.give_back(bid, more) };
        } else {
            // SAFETY: as above.
            let lease = unsafe { self.rig.ring.lease(bid, len, more) };
            assert_eq!(lease.len(), len);
            self.held.push(Held { lease, first });
        }
    }

    fn check(&self) {
        let ring = &self.rig.ring;
        let provided = self.rig.kernel.provided();
        let leased: Vec<(Range<u64>, u64)> = self.held.iter().filter_map(Held::in_ring).collect();
        for Held { lease, first } in &self.held {
            assert_eq!(&lease[..], stream(*first, lease.len()));
        }
        for (index, (range, first)) in leased.iter().enumerate() {
            for entry in &provided {
                let entry = entry.addr..entry.addr + u64::from(entry.len);
                assert!(
                    !overlap(range, &entry),
                    "the kernel may overwrite {range:?}"
                );
            }
            // Clones, and parts of them, show the same bytes at an address; others have their own.
            let same = |other: &(Range<u64>, u64)| {
                range.start.wrapping_sub(*first) == other.0.start.wrapping_sub(other.1)
            };
            for other in &leased[..index] {
                assert!(
                    same(other) || !overlap(range, &other.0),
                    "{range:?} is leased twice"
                );
            }
        }
        let done_unseen = self.posted.iter().filter(|(_, done)| *done).count();
        assert_eq!(ring.leased() as usize, leased.len());
        assert_eq!(ring.available() as usize, provided.len() + done_unseen);
        assert_eq!(ring.is_low(), 4 * ring.available() < ring.capacity());
    }

    fn finish(mut self) {
        while !self.posted.is_empty() {
            self.deliver();
        }
        self.check();
        self.held.clear();
        let ring = &self.rig.ring;
        assert_eq!((ring.available(), ring.leased()), (ring.capacity(), 0));
        let provided = self.rig.kernel.provided();
        let bids: BTreeSet<u16> = provided.iter().map(|entry| entry.bid).collect();
        assert_eq!(provided.len(), bids.len(), "a buffer is provided twice");
        assert_eq!(bids.len(), ring.capacity() as usize, "a buffer is missing");
    }
}

fn run(config: RingConfig, steps: &[Step]) {
    let mut model = Model::new(config);
    for step in steps {
        model.run(step);
        model.check();
    }
    model.finish();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn a_plain_ring_loses_and_mixes_nothing(
        bufs in 1..5u16,
        size in 1..64u32,
        steps in prop::collection::vec(step(), 1..200),
    ) {
        run(RingConfig::new(8, size).bufs(bufs), &steps);
    }

    #[test]
    fn an_incremental_ring_loses_and_mixes_nothing(
        bufs in 1..5u16,
        size in 1..200u32,
        steps in prop::collection::vec(step(), 1..200),
    ) {
        run(RingConfig::new(8, size).bufs(bufs).incremental(true), &steps);
    }
}
