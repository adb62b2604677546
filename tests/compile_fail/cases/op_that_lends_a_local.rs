//! An op lends to the kernel what it owns, at its final address. The file that says so is the one
//! of the library.
#![allow(unsafe_code, dead_code)]

use std::ffi::CString;
use std::rc::Rc;

mod fd {
    pub(crate) struct Fd;

    impl Fd {
        pub(crate) fn raw(&self) -> i32 {
            0
        }
    }
}
#[path = "../../src/ring/opcode.rs"]
mod opcode;
#[path = "../../src/ring/sqe.rs"]
mod sqe;

use fd::Fd;
use sqe::Sqe;

struct Op {
    fd: Rc<Fd>,
    len: u32,
}

fn what_it_owns<'op>(op: &'op mut Op, sqe: &mut Sqe<'op>) {
    sqe.fd(&op.fd).address_mut(&mut op.len);
}

fn a_local<'op>(_: &'op mut Op, sqe: &mut Sqe<'op>) {
    let mut local = 7_u64;
    sqe.address_mut(&mut local);
}

fn a_path_of_its_own<'op>(_: &'op mut Op, sqe: &mut Sqe<'op>) {
    let path = CString::default();
    sqe.path(&path);
}

fn a_second_path_of_its_own<'op>(_: &'op mut Op, sqe: &mut Sqe<'op>) {
    let path = CString::default();
    sqe.second_path(&path);
}

fn a_second_local<'op>(_: &'op mut Op, sqe: &mut Sqe<'op>) {
    let mut local = 7_u64;
    sqe.second_address_mut(&mut local);
}

fn a_clone_of_what_it_owns<'op>(op: &'op mut Op, sqe: &mut Sqe<'op>) {
    let fd = Rc::clone(&op.fd);
    sqe.fd(&fd);
}

fn what_it_then_changes<'op>(op: &'op mut Op, sqe: &mut Sqe<'op>) {
    sqe.address_mut(&mut op.len);
    op.len = 1;
}

fn for_longer_than_it_lives(mut op: Op) -> Sqe<'static> {
    let mut sqe = Sqe::new();
    what_it_owns(&mut op, &mut sqe);
    sqe
}

fn main() {}
