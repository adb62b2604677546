//! Buffers whose answers change from call to call. What they lend is real memory each time; the
//! wrappers must not combine two answers into a range or a length that no answer covers.
#![allow(unsafe_code)]

mod fake;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use corering_buffers::{Fill, IoBuf, IoBufExt, IoBufMut, IoVecs};
use proptest::prelude::*;

/// Bytes that every liar really has.
const REAL: usize = 64;

/// What a liar answered last, and what it was told.
#[derive(Default)]
struct Log {
    init: Cell<usize>,
    room: Cell<usize>,
    asked: Cell<u32>,
    set: RefCell<Vec<usize>>,
}

/// Owns `REAL` initialised bytes and answers with another number of them each time.
struct Liar {
    bytes: Box<[u8; REAL]>,
    answers: Vec<usize>,
    next: Cell<usize>,
    log: Rc<Log>,
}

impl Liar {
    fn new(answers: &[usize]) -> (Liar, Rc<Log>) {
        let log = Rc::<Log>::default();
        let (answers, next) = (answers.to_vec(), Cell::new(0));
        let liar = Liar {
            bytes: Box::new([b'.'; REAL]),
            answers,
            next,
            log: Rc::clone(&log),
        };
        (liar, log)
    }

    fn answer(&self) -> usize {
        let next = self.next.get();
        self.next.set(next + 1);
        self.answers[next % self.answers.len()]
    }
}

// SAFETY: breaks the promise that answers stay the same, on purpose; the bytes are there.
unsafe impl IoBuf for Liar {
    fn parts(&self) -> (*const u8, usize) {
        let init = self.answer().min(REAL);
        self.log.init.set(init);
        (self.bytes.as_ptr(), init)
    }

    fn bytes_total(&self) -> usize {
        self.answer().saturating_mul(1 << 20)
    }
}

// SAFETY: as above.
unsafe impl IoBufMut for Liar {
    fn parts_mut(&mut self) -> (*mut u8, usize) {
        let room = self.answer().min(REAL);
        self.log.room.set(room);
        self.log.asked.set(self.log.asked.get() + 1);
        (self.bytes.as_mut_ptr(), room)
    }

    unsafe fn set_init(&mut self, n: usize) {
        self.log.set.borrow_mut().push(n);
    }
}

fn answers() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![0..=REAL, Just(usize::MAX)], 1..12)
}

/// Whether `(ptr, len)` lies within the first `bound` bytes from `base`.
fn is_within(base: *const u8, bound: usize, (ptr, len): (*const u8, usize)) -> bool {
    let start = (ptr as usize).checked_sub(base as usize);
    start
        .and_then(|start| start.checked_add(len))
        .is_some_and(|end| end <= bound)
}

proptest! {
    #[test]
    fn a_slice_stays_within_the_answer_it_uses(
        answers in answers(),
        start in 0..2 * REAL,
        len in 0..2 * REAL,
        n in 0..2 * REAL,
    ) {
        let (liar, log) = Liar::new(&answers);
        let base = liar.bytes.as_ptr();
        // Most ranges are refused at creation; those that the lies let through are of interest.
        let sliced = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            liar.slice(start..start + len)
        }));
        let Ok(mut slice) = sliced else { return Ok(()) };
        for _ in 0..4 {
            let parts = slice.parts();
            prop_assert!(is_within(base, log.init.get(), parts), "{parts:?} of {}", log.init.get());
            prop_assert!(slice.len() <= len);

            let (ptr, room) = slice.parts_mut();
            let bound = log.room.get();
            prop_assert!(is_within(base, bound, (ptr, room)), "{room} bytes of {bound}");
            let at = ptr as usize - base as usize;
            prop_assert!(at <= log.init.get(), "a hole from {} to {at}", log.init.get());
            prop_assert!(room == 0 || at == start, "bytes of the range come from elsewhere");

            log.set.borrow_mut().clear();
            // SAFETY: the bytes are initialised from the start, and n is at most the room.
            unsafe { slice.set_init(n.min(room)) };
            for &set in &*log.set.borrow() {
                prop_assert!(at <= log.init.get(), "a hole in front of what was read");
                prop_assert_eq!(set, start + n.min(room), "no more than was read");
            }
        }
    }

    #[test]
    fn spare_stays_within_the_answer_it_uses(answers in answers(), n in 0..2 * REAL) {
        let (liar, log) = Liar::new(&answers);
        let base = liar.bytes.as_ptr();
        let mut spare = liar.spare();
        for _ in 0..4 {
            let (ptr, room) = spare.parts_mut();
            prop_assert!(is_within(base, log.room.get(), (ptr, room)));
            let at = ptr as usize - base as usize;
            prop_assert!(at <= log.init.get(), "a hole from {} to {at}", log.init.get());
            // Whatever it would say now, the bytes were written at what it said then.
            let _ = spare.get_ref().parts();
            log.set.borrow_mut().clear();
            // SAFETY: the bytes are initialised from the start, and n is at most the room.
            unsafe { spare.set_init(n.min(room)) };
            prop_assert_eq!(&*log.set.borrow(), &[at + n.min(room)]);
        }
    }

    #[test]
    fn a_set_deals_out_what_was_lent_whatever_its_buffers_say_now(
        first in answers(),
        third in answers(),
        n in 0..3 * REAL,
    ) {
        let (a, a_log) = Liar::new(&first);
        let (c, c_log) = Liar::new(&third);
        let honest = Vec::with_capacity(10);
        let mut bufs = (a, honest, c);
        let vecs = IoVecs::lend_mut(&mut bufs);
        let (a_room, c_room) = (a_log.room.get(), c_log.room.get());
        prop_assert_eq!((a_log.asked.get(), c_log.asked.get()), (1, 1), "asked once");
        let total = n.min(vecs.total());

        // The kernel fills in order: a mark shows which bytes of the honest buffer it wrote.
        let in_honest = total.saturating_sub(a_room).min(10);
        let ptr = vecs.as_slice()[1].base().cast_mut();
        // SAFETY: the honest buffer has room for 10 bytes there.
        unsafe { ptr.write_bytes(b'k', in_honest) };

        // SAFETY: as many bytes are initialised, from the start of what was lent.
        unsafe { corering_buffers::IoBufsMut::set_init(&mut bufs, &mut vecs.shares(total)) };
        prop_assert_eq!((a_log.asked.get(), c_log.asked.get()), (1, 1), "not asked again");
        prop_assert_eq!(&*a_log.set.borrow(), &[total.min(a_room)]);
        prop_assert_eq!(&bufs.1[..], &vec![b'k'; in_honest][..]);
        prop_assert_eq!(&*c_log.set.borrow(), &[total.saturating_sub(a_room + 10).min(c_room)]);
    }

    #[test]
    fn fill_keeps_to_the_room_it_was_given(answers in answers(), n in 0..2 * REAL) {
        let (mut liar, log) = Liar::new(&answers);
        let mut fill = Fill::new(&mut liar);
        let room = log.room.get();
        let put = fill.put(&vec![b'x'; n]) + fill.put(b"more");
        prop_assert_eq!(put, (n + 4).min(room));
        prop_assert_eq!(fill.finish(), put);
        prop_assert_eq!((log.asked.get(), &*log.set.borrow()), (1, &vec![put]));
        prop_assert_eq!(liar.bytes.iter().filter(|&&byte| byte != b'.').count(), put);
    }
}

#[test]
fn a_count_that_the_buffer_cannot_hold_panics() {
    fn check<B: IoBufMut>(mut buf: B, n: usize) {
        // SAFETY: not true; it is to be refused.
        let call = || unsafe { buf.set_init(n) };
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(call));
        assert!(caught.is_err());
    }
    check(Vec::with_capacity(8), 9);
    check(bytes::BytesMut::with_capacity(8), 9);
    check(vec![0; 8].into_boxed_slice(), 9);
    check(Box::new([0; 8]), 9);
    check(corering_buffers::AlignedBuf::zeroed(8, 8), 9);
    check(corering_buffers::Pool::new(1, 8).take().unwrap(), 9);
    check(corering_buffers::FixedPool::new(1, 8).take().unwrap(), 9);
    check(vec![0; 8].slice(2..4), 3);
    check(vec![0; 8].spare(), 1);
}
