//! A buffer that nobody may touch while the kernel has it: under AddressSanitizer its memory is
//! poisoned from the moment it is described to the kernel until its owner has it back.
//!
//! The kernel's own accesses are not checked, only those of this process. Two of the library's are
//! allowed, after the end: telling the length, and copying late bytes for the next reader.
//!
//! | asked for | memory | who may touch it |
//! |---|---|---|
//! | not yet | free | the owner |
//! | [`parts`](IoBuf::parts), [`parts_mut`](IoBufMut::parts_mut) | poisoned | the kernel |
//! | [`set_init`](IoBufMut::set_init), after a completion | free | the library, the owner |
//! | `parts_mut` once more, abandoned, after a completion | free | the library, which copies |
//! | [`Lent::bytes`], drop | free | the owner, the allocator |
//!
//! `parts_mut` is asked for the room, too, by what is not submitted yet; poisoned it is even then,
//! since nobody has a reason to touch it. So a buffer that is filled from an inbox, by a copy, must
//! not be one of these.
//!
//! Without the sanitizer the order of the calls is checked all the same: between the call by which
//! it was lent and the next one that belongs to its end the runtime must have reaped a completion.
#![allow(dead_code, reason = "each test program uses a part")]
#![allow(unsafe_code)]

use std::arch::global_asm;
use std::cell::{Cell, RefCell};
use std::ffi::{c_int, c_void};
use std::ptr;
use std::rc::Rc;
use std::slice;

use corering::runtime::stats;
use corering::{IoBuf, IoBufMut};

/// The sanitizer poisons eight bytes at a time.
const GRANULE: usize = 8;

thread_local! {
    static BROKEN: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// What the library has done too early on this thread, since this was asked last. It does not
/// panic: the library catches that in some places.
pub(crate) fn broken_promises() -> Vec<String> {
    BROKEN.take()
}

/// Part of the sanitizer's interface, <sanitizer/asan_interface.h>.
#[repr(C)]
struct Sanitizer {
    poison: Option<extern "C" fn(*const c_void, usize)>,
    unpoison: Option<extern "C" fn(*const c_void, usize)>,
    is_poisoned: Option<extern "C" fn(*const c_void) -> c_int>,
}

// Weak references: null in a program without the sanitizer. `dlsym` does not find its functions,
// since they are linked statically and not exported.
global_asm!(
    ".pushsection .data.rel.ro.lent, \"aw\"",
    ".balign 8",
    ".globl LENT_SANITIZER",
    "LENT_SANITIZER:",
    ".weak __asan_poison_memory_region",
    ".quad __asan_poison_memory_region",
    ".weak __asan_unpoison_memory_region",
    ".quad __asan_unpoison_memory_region",
    ".weak __asan_address_is_poisoned",
    ".quad __asan_address_is_poisoned",
    ".popsection",
);

unsafe extern "C" {
    /// Each is null, or the function of that type.
    safe static LENT_SANITIZER: Sanitizer;
}

/// Whether touching lent memory ends the process.
pub(crate) fn is_sanitized() -> bool {
    LENT_SANITIZER.poison.is_some()
}

/// A buffer of a fixed length.
#[derive(Debug)]
pub(crate) struct Lent(Watch);

/// What can be known of a buffer while somebody else has it.
#[derive(Clone, Debug)]
pub(crate) struct Watch(Rc<Lending>);

#[derive(Debug)]
struct Lending {
    /// From [`Box::into_raw`], until it is freed.
    start: *mut u64,
    granules: usize,
    asked: Cell<usize>,
    poisoned: Cell<bool>,
    /// Completions that the runtime had reaped when the buffer was lent last.
    reaped: Cell<u64>,
    abandoned: Cell<bool>,
    freed: Cell<bool>,
}

impl Lent {
    /// `len` bytes, a multiple of 8, each of them `byte`.
    pub(crate) fn new(len: usize, byte: u8) -> Lent {
        assert_eq!(len % GRANULE, 0, "whole granules");
        let granules = len / GRANULE;
        let memory = vec![u64::from_ne_bytes([byte; GRANULE]); granules].into_boxed_slice();
        Lent(Watch(Rc::new(Lending {
            start: Box::into_raw(memory).cast(),
            granules,
            asked: Cell::new(0),
            poisoned: Cell::new(false),
            reaped: Cell::new(0),
            abandoned: Cell::new(false),
            freed: Cell::new(false),
        })))
    }

    /// A buffer with these bytes, a multiple of 8.
    pub(crate) fn of(bytes: &[u8]) -> Lent {
        let lent = Lent::new(bytes.len(), 0);
        let start = lent.0.0.start.cast();
        // SAFETY: it has as many bytes, and nobody else has them yet.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), start, bytes.len()) };
        lent
    }

    pub(crate) fn watch(&self) -> Watch {
        self.0.clone()
    }

    /// What is in it, for its owner: the kernel is done with it.
    pub(crate) fn bytes(&self) -> &[u8] {
        let lending = &*self.0.0;
        lending.come_back();
        // SAFETY: the memory is initialised and not freed, and whoever has the `Lent` is its only
        // user.
        unsafe { slice::from_raw_parts(lending.start.cast(), lending.len()) }
    }
}

impl Watch {
    /// How often the buffer was asked where it is.
    pub(crate) fn asked(&self) -> usize {
        self.0.asked.get()
    }

    /// Whether the memory is lent: a touch of it would be seen.
    pub(crate) fn is_poisoned(&self) -> bool {
        let poisoned = self.0.poisoned.get();
        if let Some(ask) = LENT_SANITIZER.is_poisoned {
            let seen = ask(self.0.start.cast()) != 0;
            assert_eq!(seen, poisoned || self.is_freed());
        }
        poisoned
    }

    pub(crate) fn is_freed(&self) -> bool {
        self.0.freed.get()
    }

    /// Nobody waits for the read into the buffer any more. From now on, once the runtime has reaped
    /// its completion, the library may ask for the memory to copy what has come. `ended` says that
    /// it has reaped that already.
    pub(crate) fn abandon(&self, ended: bool) {
        self.0.abandoned.set(true);
        if !ended {
            self.0.reaped.set(reaped());
        }
    }
}

/// Completions that the thread's runtime has reaped. It is asked while a buffer is: the driver must
/// not be borrowed then.
fn reaped() -> u64 {
    stats().map_or(u64::MAX, |stats| stats.cqes)
}

impl Lending {
    fn len(&self) -> usize {
        self.granules * GRANULE
    }

    fn lend(&self) {
        self.asked.set(self.asked.get() + 1);
        self.reaped.set(reaped());
        if !self.poisoned.replace(true)
            && let Some(poison) = LENT_SANITIZER.poison
        {
            poison(self.start.cast(), self.len());
        }
    }

    fn come_back(&self) {
        if self.poisoned.replace(false)
            && let Some(unpoison) = LENT_SANITIZER.unpoison
        {
            unpoison(self.start.cast(), self.len());
        }
    }

    /// Notes if the runtime has reaped nothing since the buffer was lent. Outside of one nobody
    /// knows.
    fn expect_completion(&self, what: &str) {
        if self.poisoned.get() && reaped() == self.reaped.get() && reaped() != u64::MAX {
            BROKEN.with_borrow_mut(|all| all.push(what.into()));
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let lending = &*self.0.0;
        // One that was asked for its room alone, and never submitted, may go at any time.
        if lending.asked.get() > 1 {
            lending.expect_completion("dropped while it is lent");
        }
        lending.come_back();
        lending.freed.set(true);
        let memory = ptr::slice_from_raw_parts_mut(lending.start, lending.granules);
        // SAFETY: it is from `Box::into_raw` in `new`, and this is its one owner's end.
        drop(unsafe { Box::from_raw(memory) });
    }
}

// SAFETY: the memory lies in a box of its own, which lives as long as the `Lent` and stays where it
// is; `&self` methods read it at most.
unsafe impl IoBuf for Lent {
    fn parts(&self) -> (*const u8, usize) {
        self.0.0.lend();
        (self.0.0.start.cast(), self.0.0.len())
    }

    fn bytes_total(&self) -> usize {
        self.0.0.len()
    }
}

// SAFETY: as above, and there is one `Lent` for each such box.
unsafe impl IoBufMut for Lent {
    fn parts_mut(&mut self) -> (*mut u8, usize) {
        let lending = &*self.0.0;
        if lending.abandoned.get() {
            lending.expect_completion("asked for its bytes while it is lent");
            lending.come_back();
        } else {
            lending.lend();
        }
        (lending.start.cast(), lending.len())
    }

    unsafe fn set_init(&mut self, n: usize) {
        let lending = &*self.0.0;
        assert!(n <= lending.len());
        lending.expect_completion("told its length while it is lent");
        lending.come_back();
    }
}
