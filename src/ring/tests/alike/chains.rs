//! Linked submissions: which begin, and which never do.

use std::ffi::CStr;

use super::super::super::{Fd, RawSqe, opcode};
use super::super::{filled, nop};
use super::stage::{Stage, alike, cancel};

const LINK: u8 = opcode::IO_LINK;
const HARD: u8 = opcode::IO_HARDLINK;

fn linked(flags: u8, sqe: RawSqe) -> RawSqe {
    RawSqe { flags, ..sqe }
}

/// Fails when it begins.
fn failing(user_data: u64) -> RawSqe {
    RawSqe {
        opcode: opcode::FSYNC,
        fd: -1,
        ..nop(user_data)
    }
}

/// Reads up to 8 bytes into memory that lives for ever.
fn read(fd: &Fd, user_data: u64) -> RawSqe {
    let into: &'static mut [u8; 8] = Box::leak(Box::default());
    // SAFETY: the memory is nobody else's from here on.
    unsafe {
        filled(user_data, |sqe| {
            sqe.op(opcode::READ)
                .fd(fd)
                .lend_mut(into.as_mut_ptr(), into.len())
                .offset(u64::MAX);
        })
    }
}

fn write(fd: &Fd, user_data: u64, text: &'static str) -> RawSqe {
    // SAFETY: the text lives for ever.
    unsafe {
        filled(user_data, |sqe| {
            sqe.op(opcode::WRITE)
                .fd(fd)
                .lend(text.as_ptr(), text.len())
                .offset(u64::MAX);
        })
    }
}

fn push(stage: &mut Stage, chain: &[RawSqe]) {
    for sqe in chain {
        stage.push(sqe);
    }
}

#[test]
fn chains_go_on_and_break_alike() {
    alike(|stage, _| {
        push(stage, &[linked(LINK, nop(1)), linked(HARD, nop(2)), nop(3)]);
        stage.drain("all is well");
        for (at, flags) in [(10, LINK), (20, HARD)] {
            let head = linked(flags, failing(at));
            push(stage, &[head, linked(flags, nop(at + 1)), nop(at + 2)]);
            stage.drain("the first fails");
            let second = linked(flags, failing(at + 4));
            push(stage, &[linked(LINK, nop(at + 3)), second, nop(at + 5)]);
            stage.drain("the second fails");
        }
        // A hard link behind a break does not mend it.
        push(
            stage,
            &[linked(LINK, failing(30)), linked(HARD, nop(31)), nop(32)],
        );
        push(stage, &[nop(33)]);
        stage.drain("another chain behind it");
        stage.push(&linked(LINK, nop(40)));
        stage.drain("a chain ends with its batch");
        stage.push(&nop(41));
        stage.drain("and is not gone on with");
    });
}

#[test]
fn short_counts_break_chains_alike() {
    alike(|stage, _| {
        let (reader, writer) = stage.ring.pipe().unwrap();
        for (at, flags) in [(1, LINK), (10, HARD)] {
            push(
                stage,
                &[linked(flags, write(&writer, at, "abc")), nop(at + 1)],
            );
            stage.drain("whole");
            push(stage, &[linked(flags, read(&reader, at + 2)), nop(at + 3)]);
            stage.drain("short");
            push(stage, &[linked(flags, read(&reader, at + 4)), nop(at + 5)]);
            stage.drain("it waits");
            push(stage, &[write(&writer, at + 6, "12345678")]);
            stage.drain("and is whole");
        }
        let write = write(&writer, 20, "to a pipe");
        // SAFETY: nothing is lent.
        let sync = unsafe {
            filled(21, |sqe| {
                sqe.op(opcode::FSYNC).fd(&writer);
            })
        };
        push(stage, &[linked(LINK, write), linked(LINK, sync), nop(22)]);
        stage.drain("what cannot be synced");
        drop(reader);
        push(stage, &[linked(LINK, write), nop(23)]);
        stage.drain("nobody reads");
    });
}

#[test]
fn chains_are_cancelled_alike() {
    alike(|stage, _| {
        let (reader, writer) = stage.ring.pipe().unwrap();
        push(
            stage,
            &[linked(LINK, read(&reader, 1)), linked(LINK, nop(2)), nop(3)],
        );
        stage.drain("it waits");
        stage.push(&cancel(3, 4));
        stage.drain("what has not begun is not found");
        stage.push(&cancel(1, 5));
        stage.drain("what waits is");
        push(stage, &[linked(HARD, read(&reader, 6)), nop(7)]);
        stage.push(&cancel(6, 8));
        stage.drain("a hard link");
        let refused = RawSqe {
            opcode: 29, // OPENAT2, which no ring of ours allows
            ..nop(11)
        };
        push(
            stage,
            &[linked(LINK, nop(10)), linked(LINK, refused), nop(12)],
        );
        stage.drain("one that is refused as such");
        drop(writer);
    });
}

const NOWHERE: &CStr = c"/no-such-directory/x";

/// Fails in a file system.
fn on_a_path(code: u8, user_data: u64) -> RawSqe {
    // SAFETY: the paths live for ever; of a file that is not there nothing is told.
    unsafe {
        filled(user_data, |sqe| {
            sqe.op(code).raw_fd(libc::AT_FDCWD).path(NOWHERE);
            if code == opcode::RENAMEAT {
                sqe.len(libc::AT_FDCWD as u32).second_path(NOWHERE);
            } else if code == opcode::STATX {
                let into: &'static mut [u8; 256] = Box::leak(Box::new([0; 256]));
                sqe.second_address_mut(into);
            }
        })
    }
}

#[test]
fn what_fails_in_a_file_system_breaks_some_chains_alike() {
    alike(|stage, _| {
        let codes = [
            opcode::OPENAT,
            opcode::STATX,
            opcode::UNLINKAT,
            opcode::MKDIRAT,
            opcode::RENAMEAT,
        ];
        for code in codes {
            push(stage, &[linked(LINK, on_a_path(code, 1)), nop(2)]);
            stage.drain(&format!("opcode {code}"));
        }
        let (reader, writer) = stage.ring.pipe().unwrap();
        // SAFETY: nothing is lent.
        let cut = unsafe {
            filled(3, |sqe| {
                sqe.op(opcode::FTRUNCATE).fd(&writer).offset(0);
            })
        };
        push(stage, &[linked(LINK, cut), nop(4)]);
        stage.drain("a pipe is cut");
        drop(reader);
    });
}
