//! The door, tried on the kernel that is there.
#![allow(unsafe_code)]

use super::{Config, Entered, Ring, Sqe, Wait, opcode};

#[test]
fn a_nop_comes_back_with_its_user_data() {
    let mut ring = Ring::new(&Config::default()).unwrap();
    let mut sqe = Sqe::new();
    sqe.op(opcode::NOP);
    // SAFETY: NOP touches no memory.
    // SAFETY: a NOP lends nothing.
    ring.push(&unsafe { sqe.into_raw(7) }).unwrap();
    assert_eq!(ring.staged(), 1);
    assert_eq!(ring.enter(Wait::Forever).unwrap(), Entered::Done);
    let cqe = ring.pop().unwrap();
    assert_eq!((cqe.user_data, cqe.res), (7, 0));
    assert_eq!(ring.pop(), None);
}
