//! The door, tried on the kernel that is there.
#![allow(unsafe_code)]

#[cfg(feature = "sim")]
mod alike;
mod child;
mod diagnose;
mod fork;
mod kick;
mod lend;
mod limits;
mod queues;
mod register;
mod sys;
mod wait;

use std::collections::BTreeMap;

use super::{Config, Cqe, Fd, RawSqe, Ring, Sqe, Wait, Workers, opcode};

const SMALL: Config = Config {
    entries: 8,
    cq_entries: 64,
    workers: Workers::DEFAULT,
};

fn ring() -> Ring {
    Ring::new(&SMALL).expect("the tests need a kernel with io_uring")
}

fn nop(user_data: u64) -> RawSqe {
    RawSqe {
        user_data,
        ..RawSqe::default()
    }
}

/// Fills an entry by hand.
///
/// # Safety
///
/// As [`Sqe::into_raw`].
unsafe fn filled<'a>(user_data: u64, fill: impl FnOnce(&mut Sqe<'a>)) -> RawSqe {
    let mut sqe = Sqe::new();
    fill(&mut sqe);
    // SAFETY: the caller's promise is the same.
    unsafe { sqe.into_raw(user_data) }
}

/// Has the ring watch `fd`, which nobody else has after that.
fn keep(ring: &mut Ring, fd: Fd) {
    // SAFETY: POLL_ADD lends no memory.
    let poll = unsafe {
        filled(1, |sqe| {
            sqe.op(opcode::POLL_ADD).fd(&fd);
        })
    };
    ring.push(&poll).unwrap();
    let _ = ring.enter(Wait::No).unwrap();
}

/// Enters and pops until there were `count` completions; how many each user data had.
fn reap(ring: &mut Ring, count: usize) -> BTreeMap<u64, usize> {
    let mut seen = BTreeMap::new();
    let mut reaped = 0;
    while reaped < count {
        let _ = ring.enter(Wait::Forever).expect("enter");
        while let Some(cqe) = ring.pop() {
            *seen.entry(cqe.user_data).or_insert(0) += 1;
            reaped += 1;
        }
    }
    seen
}

/// Enters until there is one completion, and takes it.
fn reap_one(ring: &mut Ring) -> Cqe {
    loop {
        let _ = ring.enter(Wait::Forever).expect("enter");
        if let Some(cqe) = ring.pop() {
            return *cqe;
        }
    }
}
