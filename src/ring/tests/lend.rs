//! What an op may lend, and how it is written down.

use std::path::Path;
use std::process::Command;

use super::super::{Sqe, opcode};

#[test]
fn an_empty_submission_has_no_descriptor() {
    // SAFETY: nothing is lent.
    let raw = unsafe { Sqe::new().into_raw(5) };
    assert_eq!((raw.fd, raw.opcode, raw.user_data), (-1, opcode::NOP, 5));
}

#[test]
fn more_than_the_kernel_moves_at_once_is_clamped() {
    let bytes = [0_u8; 1];
    let mut sqe = Sqe::new();
    sqe.op(opcode::WRITE)
        .lend(bytes.as_ptr(), 3 << 30)
        .offset(9);
    // SAFETY: it is never pushed.
    let raw = unsafe { sqe.into_raw(0) };
    assert_eq!((raw.len, raw.off), (0x7fff_f000, 9));
    assert_eq!(raw.addr, bytes.as_ptr() as u64);
    let mut bytes = bytes;
    let mut sqe = Sqe::new();
    sqe.op(opcode::READ)
        .lend_mut(bytes.as_mut_ptr(), usize::MAX);
    // SAFETY: it is never pushed.
    assert_eq!(unsafe { sqe.into_raw(0) }.len, 0x7fff_f000);
}
