//! What a forked child does to its parent's ring: nothing.

use super::super::Pages;
use super::child::alone;
use super::{nop, reap, ring};

/// Forks; the child runs `body` and exits with 0.
fn forked(body: impl FnOnce()) -> i32 {
    // SAFETY: the child runs `body`, which takes no lock that another thread could hold, and ends.
    let child = unsafe { libc::fork() };
    if child == 0 {
        body();
        // SAFETY: it ends the child without running the parent's exit handlers.
        unsafe { libc::_exit(0) };
    }
    let mut status = 0;
    // SAFETY: `status` is a live int. A signal may interrupt the wait.
    while unsafe { libc::waitpid(child, &mut status, 0) } != child {
        let error = std::io::Error::last_os_error();
        assert_eq!(error.kind(), std::io::ErrorKind::Interrupted);
    }
    status
}

#[test]
fn a_ring_dropped_in_a_forked_child_still_works_in_the_parent() {
    alone(|| {
        let mut ring = ring();
        ring.push(&nop(1)).unwrap();
        let ring_in_child = &raw mut ring;
        // SAFETY: the child has its own copy of the stack, so the ring is dropped once in each.
        let status = forked(|| unsafe { ring_in_child.drop_in_place() });
        assert_eq!(status, 0, "the child crashed");
        assert_eq!(reap(&mut ring, 1)[&1], 1);
    });
}

#[test]
fn a_forked_child_cannot_submit_in_its_parents_name() {
    alone(|| {
        let mut ring = ring();
        ring.push(&nop(1)).unwrap();
        let in_child = &mut ring;
        let status = forked(|| drop(in_child.push(&nop(2)).and(Ok(in_child.submit()))));
        assert_eq!(
            libc::WTERMSIG(status),
            libc::SIGSEGV,
            "the pages are not mapped there"
        );
        assert!(reap(&mut ring, 1).into_iter().eq([(1, 1)]));
        assert_eq!(ring.pop(), None);
    });
}

#[test]
fn a_forked_child_does_not_see_the_pages() {
    alone(|| {
        let pages = Pages::new(1).unwrap();
        let address = pages.as_ptr();
        // SAFETY: the page is mapped, in the parent. Not so in the child: it is to crash.
        let status = forked(|| unsafe { address.write_volatile(1) });
        assert_eq!(libc::WTERMSIG(status), libc::SIGSEGV);
        // SAFETY: as above.
        assert_eq!(unsafe { address.read_volatile() }, 0);
    });
}
