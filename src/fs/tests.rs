//! What depends on a kernel that this machine may not have.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use crate::driver::Op;
use crate::op::{Ftruncate, Settle};
use crate::ring::{Cqe, Fd};

/// A file that keeps what it is told of late operations.
struct Told {
    fd: Fd,
    late: RefCell<Vec<io::Result<()>>>,
}

impl Settle for Told {
    fn fd(&self) -> &Fd {
        &self.fd
    }

    fn go_on<T: Op>(&self, _: T) {
        unreachable!("nothing is written");
    }

    fn settled(&self, result: io::Result<()>) {
        self.late.borrow_mut().push(result);
    }
}

/// A file of ten bytes, beside this program: that is on a disk.
fn ten_bytes() -> (File, Rc<Told>) {
    let program = std::env::current_exe().unwrap();
    let file = tempfile::tempfile_in(program.parent().unwrap()).unwrap();
    file.set_len(10).unwrap();
    let fd = Fd::from(OwnedFd::from(file.try_clone().unwrap()));
    let late = RefCell::default();
    (file, Rc::new(Told { fd, late }))
}

#[test]
fn a_length_is_set_where_the_ring_knows_no_opcode_for_it() {
    let (file, told) = ten_bytes();
    let len = || file.metadata().unwrap().len();
    let set = |len| Ftruncate {
        file: Rc::clone(&told),
        len,
    };
    // What a kernel before 6.9 says.
    let unknown = Cqe::refused(libc::EINVAL);
    set(3).complete(unknown).unwrap();
    assert_eq!(len(), 3);
    set(4).orphan(unknown);
    assert_eq!(len(), 4);
    assert!(matches!(told.late.borrow()[..], [Ok(())]));
    let too_long = set(1 << 63).complete(unknown).unwrap_err();
    assert_eq!(too_long.raw_os_error(), Some(libc::EINVAL));
    // Other errors are the file's.
    let cancelled = set(9).complete(Cqe::refused(libc::ECANCELED)).unwrap_err();
    assert_eq!(cancelled.raw_os_error(), Some(libc::ECANCELED));
    assert_eq!(len(), 4);
}
