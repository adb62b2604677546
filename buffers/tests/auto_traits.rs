//! What must not leave its core, and what must not be copied: checked by the compiler.

use std::marker::PhantomData;
use std::rc::Rc;

use bytes::Bytes;
use corering_buffers::{AlignedBuf, BufRing, FixedBuf, FixedPool, IoVecs, Lease, Pool, PoolBuf};

/// Its own constants, where `T` has the trait, hide those of [`Otherwise`].
struct Is<T>(PhantomData<T>);

trait Otherwise {
    const SEND: bool = false;
    const SYNC: bool = false;
    const CLONE: bool = false;
}

impl<T> Otherwise for Is<T> {}

impl<T: Send> Is<T> {
    const SEND: bool = true;
}

impl<T: Sync> Is<T> {
    const SYNC: bool = true;
}

impl<T: Clone> Is<T> {
    const CLONE: bool = true;
}

// The checks can tell.
const _: () = assert!(Is::<Bytes>::SEND && Is::<Bytes>::SYNC && Is::<Bytes>::CLONE);
const _: () = assert!(!Is::<Rc<u8>>::SEND && !Is::<Rc<u8>>::SYNC && !Is::<Box<dyn Fn()>>::CLONE);

#[test]
fn what_belongs_to_a_core_stays_there() {
    const {
        assert!(!Is::<Lease>::SEND && !Is::<Lease>::SYNC);
        assert!(!Is::<BufRing>::SEND && !Is::<BufRing>::SYNC);
        assert!(!Is::<IoVecs>::SEND && !Is::<IoVecs>::SYNC);
        assert!(!Is::<Pool>::SEND && !Is::<PoolBuf>::SEND);
        assert!(!Is::<FixedPool>::SEND && !Is::<FixedBuf>::SEND);
        assert!(
            Is::<AlignedBuf>::SEND && Is::<AlignedBuf>::SYNC,
            "owns its memory alone"
        );
    }
}

#[test]
fn what_points_into_memory_is_not_cloned() {
    const {
        assert!(!Is::<IoVecs>::CLONE && !Is::<AlignedBuf>::CLONE);
        assert!(!Is::<FixedBuf>::CLONE && !Is::<PoolBuf>::CLONE);
    }
}

#[test]
fn a_lease_is_no_larger_than_bytes() {
    assert!(size_of::<Lease>() <= size_of::<Bytes>());
}
