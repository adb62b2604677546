//! What a buffer ring promises, one situation each.
#![allow(unsafe_code)]

mod fake;

use std::panic::{AssertUnwindSafe, catch_unwind};

use corering_buffers::{IoBuf, Lease, RingConfig};

use fake::{Rig, stream};

impl Rig {
    /// Receives and passes on.
    fn lease(&mut self, want: usize) -> Lease {
        let completion = self.kernel.receive(want).expect("a buffer is left");
        // SAFETY: a completion of the fake kernel, passed on once, in order.
        unsafe {
            self.ring
                .lease(completion.bid, completion.len, completion.more)
        }
    }

    fn is_refused(&self, bid: u16, len: usize) -> bool {
        // SAFETY: it is to be refused before anything is done with it.
        catch_unwind(AssertUnwindSafe(|| unsafe {
            self.ring.lease(bid, len, false)
        }))
        .is_err()
    }
}

#[test]
fn a_ring_starts_with_its_buffers_in_order() {
    let rig = Rig::new(RingConfig::new(8, 100).bufs(3));
    let provided = rig.kernel.provided();
    assert_eq!(
        provided
            .iter()
            .map(|entry| (entry.bid, entry.len))
            .collect::<Vec<_>>(),
        [(0, 100), (1, 100), (2, 100)]
    );
    assert_eq!(provided[1].addr - provided[0].addr, 100);
    assert_eq!(
        (
            rig.ring.entries(),
            rig.ring.capacity(),
            rig.ring.available()
        ),
        (8, 3, 3)
    );
    assert!(!rig.ring.take_returned(), "nobody has been starved yet");
}

#[test]
fn a_plain_buffer_returns_with_its_last_lease() {
    let mut rig = Rig::new(RingConfig::new(1, 64));
    let mut back = rig.lease(10);
    let front = back.split_to(4);
    assert_eq!((rig.ring.available(), rig.ring.leased()), (0, 2));
    assert!(rig.kernel.receive(1).is_none());

    drop(back);
    assert_eq!(rig.ring.available(), 0, "the other half is still read");
    assert_eq!(&front[..], stream(0, 4));

    assert!(!rig.ring.take_returned());
    drop(front);
    assert_eq!((rig.ring.available(), rig.ring.leased()), (1, 0));
    assert!(rig.ring.take_returned());
    assert!(!rig.ring.take_returned(), "asked since");
    assert_eq!(&rig.lease(8)[..], stream(10, 8));
}

#[test]
fn an_incremental_buffer_returns_when_it_is_full_and_its_leases_are_gone() {
    let mut rig = Rig::new(RingConfig::new(1, 16).incremental(true));
    let first = rig.lease(10);
    drop(rig.lease(4));
    assert_eq!(rig.ring.available(), 1, "two bytes are left");
    assert!(!rig.ring.take_returned());
    let last = rig.lease(9);
    assert_eq!((last.len(), rig.ring.available()), (2, 0));

    drop(last);
    assert_eq!(rig.ring.available(), 0, "the first lease is still read");
    assert_eq!(&first[..], stream(0, 10));
    drop(first);
    assert_eq!(rig.ring.available(), 1);
    assert_eq!(
        rig.lease(16).len(),
        16,
        "it starts from its beginning again"
    );
}

#[test]
fn an_incremental_buffer_stays_the_kernels_when_the_flag_is_missing() {
    let mut rig = Rig::new(RingConfig::new(2, 16).incremental(true));
    let completion = rig.kernel.receive(4).unwrap();
    assert!(completion.more);
    // SAFETY: as the kernel would say it if it forgot the flag (liburing #1553).
    let lease = unsafe { rig.ring.lease(completion.bid, 4, false) };
    // SAFETY: as above, at the end of file.
    unsafe { rig.ring.give_back(completion.bid, false) };
    assert_eq!((rig.ring.available(), rig.kernel.provided().len()), (2, 2));

    drop(lease);
    assert_eq!(rig.kernel.provided().len(), 2, "it would be provided twice");
    assert_eq!(&rig.lease(12)[..], stream(4, 12));
}

#[test]
fn a_completion_without_bytes_returns_a_plain_buffer() {
    let mut rig = Rig::new(RingConfig::new(2, 16));
    let completion = rig.kernel.receive(0).unwrap();
    assert_eq!(rig.kernel.provided().len(), 1);
    // SAFETY: a completion of the fake kernel, passed on once.
    unsafe { rig.ring.give_back(completion.bid, completion.more) };
    assert_eq!((rig.kernel.provided().len(), rig.ring.available()), (2, 2));
    assert!(rig.ring.take_returned());
}

#[test]
fn what_the_kernel_cannot_mean_is_refused() {
    for incremental in [false, true] {
        let mut rig = Rig::new(RingConfig::new(4, 16).bufs(2).incremental(incremental));
        let lease = rig.lease(16);
        assert!(rig.is_refused(0, 1), "leased");
        assert!(rig.is_refused(2, 1), "not provided yet");
        assert!(rig.is_refused(4, 1), "no such entry");
        assert!(rig.is_refused(u16::MAX, 1), "no such entry");
        assert!(rig.is_refused(1, 17), "longer than the buffer");
        assert!(rig.is_refused(1, usize::MAX), "longer than the buffer");
        assert!(
            rig.is_refused(1, 1 << 32),
            "longer than the buffer, were it truncated"
        );
        assert!(rig.is_refused(1, 0), "no bytes");
        let gives_back = |bid| {
            // SAFETY: it is to be refused before anything is done with it.
            let call = || unsafe { rig.ring.give_back(bid, false) };
            catch_unwind(AssertUnwindSafe(call)).is_ok()
        };
        assert!(!gives_back(0) && !gives_back(2) && !gives_back(4));

        // Nothing has happened to those that are in order.
        assert_eq!((rig.ring.available(), rig.ring.leased()), (1, 1));
        assert_eq!(&lease[..], stream(0, 16));
        assert_eq!(&rig.lease(3)[..], stream(16, 3));
    }
}

#[test]
fn a_completion_longer_than_what_is_left_is_refused() {
    let mut rig = Rig::new(RingConfig::new(1, 16).incremental(true));
    let _lease = rig.lease(10);
    assert!(rig.is_refused(0, 7));
    assert_eq!(rig.lease(6).len(), 6);
}

#[test]
fn the_tail_wraps() {
    let mut rig = Rig::new(RingConfig::new(4, 8));
    for round in 0..70_000 {
        let lease = rig.lease(8);
        if round % 1000 == 0 {
            assert_eq!(&lease[..], stream(8 * round, 8));
        }
    }
    assert_eq!((rig.kernel.provided().len(), rig.ring.available()), (4, 4));
}

#[test]
fn growing_adds_buffers_that_work_like_the_others() {
    let mut rig = Rig::new(RingConfig::new(8, 16).bufs(1));
    let first = rig.lease(16);
    assert!(rig.kernel.receive(1).is_none());

    rig.grow(5);
    assert!(rig.ring.take_returned(), "starved receives can go on");
    assert_eq!((rig.ring.capacity(), rig.ring.available()), (6, 5));
    let leases: Vec<Lease> = (0..5).map(|_| rig.lease(16)).collect();
    assert!(rig.ring.is_low());
    for (index, lease) in leases.iter().enumerate() {
        assert_eq!(&lease[..], stream(16 * (index as u64 + 1), 16));
    }
    drop((first, leases));
    assert_eq!(rig.kernel.provided().len(), 6);

    let too_many = catch_unwind(AssertUnwindSafe(|| rig.grow(3)));
    assert!(too_many.is_err(), "9 buffers in 8 entries");
    assert_eq!(
        (rig.ring.capacity(), rig.kernel.provided().len()),
        (6, 6),
        "none was added"
    );
}

#[test]
fn low_is_less_than_a_quarter() {
    let mut rig = Rig::new(RingConfig::new(8, 16));
    let mut leases: Vec<Lease> = (0..6).map(|_| rig.lease(1)).collect();
    assert!(!rig.ring.is_low(), "two of eight are left");
    leases.push(rig.lease(1));
    assert!(rig.ring.is_low(), "one of eight is left");
    leases.pop();
    assert!(!rig.ring.is_low());
}

#[test]
fn leases_stay_readable_after_close_and_free_the_memory_last() {
    let mut rig = Rig::new(RingConfig::new(4, 16).bufs(3));
    let kept = rig.lease(16);
    let dropped = rig.lease(16);
    let posted = rig.kernel.receive(16).unwrap();
    let before = rig.kernel.provided();
    rig.ring.close();
    drop(dropped);
    assert_eq!(
        rig.kernel.provided(),
        before,
        "nothing is written into a ring that is gone"
    );
    assert!(rig.ring.available() == 0 && rig.ring.is_low() && !rig.ring.take_returned());

    // SAFETY: posted before the ring was unregistered, passed on once.
    let late = unsafe { rig.ring.lease(posted.bid, posted.len, posted.more) };
    let Rig {
        ring,
        kernel: _,
        freed,
    } = rig;
    drop(ring);
    assert_eq!(&kept[..], stream(0, 16));
    assert_eq!(&late[..], stream(32, 16));
    drop(kept);
    assert!(!freed.get(), "a lease is left");
    drop(late);
    assert!(freed.get());
}

#[test]
fn copying_out_returns_the_buffer_at_once() {
    let mut rig = Rig::new(RingConfig::new(2, 16));
    let mut lease = rig.lease(9);
    let bytes = rig.lease(5).into_bytes();
    assert_eq!(rig.ring.available(), 1);
    lease.make_owned();
    assert_eq!((rig.ring.available(), rig.ring.leased()), (2, 0));
    assert!(lease.is_owned());
    assert_eq!(
        (&lease[..], &bytes[..]),
        (&stream(0, 9)[..], &stream(9, 5)[..])
    );
}

#[test]
fn parts_without_bytes_hold_no_buffer() {
    let mut rig = Rig::new(RingConfig::new(1, 16));
    let mut lease = rig.lease(9);
    let none = lease.split_to(0);
    assert_eq!((none.len(), rig.ring.leased()), (0, 1));
    let all = lease.split_to(9);
    assert_eq!((lease.len(), all.len(), rig.ring.leased()), (0, 9, 1));
    drop(all);
    assert_eq!(rig.ring.available(), 1, "what is left is empty");
}

#[test]
fn a_clone_reads_the_same_bytes_and_keeps_the_buffer() {
    let mut rig = Rig::new(RingConfig::new(1, 16));
    let mut lease = rig.lease(9);
    let clone = lease.clone();
    assert_eq!((clone.parts(), rig.ring.leased()), (lease.parts(), 2));
    lease.advance(5);
    lease.make_owned();
    assert_eq!((rig.ring.available(), rig.ring.leased()), (0, 1));
    assert_eq!(
        (&clone[..], &lease[..]),
        (&stream(0, 9)[..], &stream(5, 4)[..])
    );
    drop(clone);
    assert_eq!(rig.ring.available(), 1);
    assert_eq!(
        lease.clone().parts(),
        lease.parts(),
        "owned bytes are shared, too"
    );
}

#[test]
fn owned_bytes_come_out_without_a_copy() {
    let bytes = b"owned bytes".to_vec();
    let address = bytes.as_ptr();
    let mut lease = Lease::from(bytes);
    assert!(lease.is_owned());
    lease.make_owned();
    let front = lease.split_to(5);
    assert_eq!((&front[..], &lease[..]), (&b"owned"[..], &b" bytes"[..]));
    assert_eq!(front.parts(), (address, 5));
    assert_eq!(front.into_bytes().as_ptr(), address);
}

#[test]
fn a_lease_cannot_be_read_past_its_end() {
    let mut rig = Rig::new(RingConfig::new(1, 16));
    for mut lease in [rig.lease(4), Lease::from(vec![0; 4])] {
        // 2^32 is 0 where it is cut down to the 32 bits of a length.
        for n in [5, 1 << 32, usize::MAX] {
            assert!(catch_unwind(AssertUnwindSafe(|| lease.advance(n))).is_err());
            assert!(catch_unwind(AssertUnwindSafe(|| drop(lease.split_to(n)))).is_err());
            lease.truncate(n);
            assert_eq!(lease.len(), 4);
        }
        lease.advance(4);
        assert!(lease.is_empty());
    }
    assert_eq!((rig.ring.available(), rig.ring.leased()), (1, 0));
}

#[test]
fn shapes_that_cannot_work_are_refused() {
    let panics = |config: RingConfig| catch_unwind(|| Rig::new(config)).is_err();
    assert!(panics(RingConfig::new(12, 16)), "not a power of two");
    assert!(panics(RingConfig::new(0, 16)), "no entries");
    assert!(
        panics(RingConfig::new(8, 16).bufs(9)),
        "more buffers than entries"
    );
    assert!(panics(RingConfig::new(8, 0)), "no room");
    assert!(
        panics(RingConfig::new(8, (1 << 30) + 1).bufs(0)),
        "more than 1 GiB"
    );
    assert!(!panics(RingConfig::new(8, 1 << 30).bufs(0)));
    assert!(!panics(RingConfig::new(8, 16)));
}
