//! Sets of buffers: lent in order, advanced exactly, filled like one long buffer.
#![allow(unsafe_code)]

mod fake;

use std::slice;

use corering_buffers::{IoBufExt, IoBufs, IoBufsMut, IoVec, IoVecs};
use proptest::prelude::*;

use fake::stream;

/// The bytes that are still to transfer, as the kernel gathers them.
fn gather(vecs: &IoVecs) -> Vec<u8> {
    let mut bytes = Vec::new();
    for vec in vecs {
        // SAFETY: the tests keep the buffers, all of whose lent bytes are initialised.
        bytes.extend_from_slice(unsafe { slice::from_raw_parts(vec.base(), vec.len()) });
    }
    bytes
}

/// Reads `data` into a set as `readv` does, in short rounds; how much fitted.
fn read_all(bufs: &mut impl IoBufsMut, data: &[u8], round: usize) -> usize {
    let mut vecs = IoVecs::lend_mut(bufs);
    let total = vecs.total().min(data.len());
    for part in data[..total].chunks(round) {
        scatter(&vecs, part);
        vecs.advance(part.len());
    }
    // SAFETY: scatter has written `total` bytes from the start of what was lent, in order.
    unsafe { bufs.set_init(&mut vecs.shares(total)) };
    total
}

fn scatter(vecs: &IoVecs, mut data: &[u8]) {
    for vec in vecs {
        let (now, later) = data.split_at(vec.len().min(data.len()));
        // SAFETY: lend_mut's buffers let as many bytes be written there.
        unsafe {
            vec.base()
                .cast_mut()
                .copy_from_nonoverlapping(now.as_ptr(), now.len())
        };
        data = later;
    }
    assert!(data.is_empty());
}

fn rooms(rooms: &[usize]) -> Vec<Vec<u8>> {
    rooms
        .iter()
        .map(|&room| vec![0xee; room])
        .map(Vec::into_boxed_slice)
        .map(Vec::from)
        .collect()
}

proptest! {
    #[test]
    fn writes_gather_and_advance_like_one_buffer(
        bufs in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), 0..20),
        steps in prop::collection::vec(0..30usize, 0..20),
    ) {
        let all = bufs.concat();
        let mut vecs = IoVecs::lend(&bufs);
        prop_assert_eq!((vecs.len(), vecs.total()), (bufs.len(), all.len()));
        let mut sent = 0;
        for step in steps {
            prop_assert_eq!(&gather(&vecs)[..], &all[sent..]);
            prop_assert_eq!(vecs.total(), all.len() - sent);
            let step = step.min(vecs.total());
            vecs.advance(step);
            sent += step;
            prop_assert!(vecs.as_slice().first().is_none_or(|vec| !vec.is_empty()));
        }
        vecs.advance(vecs.total());
        prop_assert!(vecs.is_empty());
    }

    #[test]
    fn reads_fill_in_order_and_leave_nothing_else(
        sizes in prop::collection::vec(0..9usize, 0..20),
        n in 0..120usize,
        round in 1..20usize,
    ) {
        let data = stream(7, n);
        let mut bufs = rooms(&sizes);
        let total = read_all(&mut bufs, &data, round);
        prop_assert_eq!(total, n.min(sizes.iter().sum()));
        prop_assert_eq!(bufs.concat(), &data[..total]);
        // In order: only the buffer that the last byte is in may be partly filled.
        let partly = bufs.iter().zip(&sizes).position(|(buf, &size)| buf.len() < size);
        let behind = partly.map_or(&[][..], |index| &bufs[index + 1..]);
        prop_assert!(behind.iter().all(Vec::is_empty));
    }
}

#[test]
fn every_kind_of_set_lends_its_buffers_in_order() {
    fn check(bufs: impl IoBufs, expected: &[u8]) {
        let vecs = IoVecs::lend(&bufs);
        assert_eq!(gather(&vecs), expected);
        assert_eq!(vecs.as_ptr(), vecs.as_slice().as_ptr());
    }
    let s = String::from;
    check([s("ab"), s("c")], b"abc");
    check(vec![s("ab"), s("c")], b"abc");
    check(vec![s("ab"), s("c")].into_boxed_slice(), b"abc");
    check((s("ab"), "c"), b"abc");
    check((s("ab"), "c", b"de".to_vec()), b"abcde");
    check(
        (s("ab"), "c", b"de".to_vec().slice(1..), Box::new([b'f'])),
        b"abcef",
    );
    check(Vec::<String>::new(), b"");
}

#[test]
fn every_kind_of_set_is_filled_in_order() {
    let two = || Vec::<u8>::with_capacity(2);

    let mut array = [two(), two()];
    assert_eq!(read_all(&mut array, b"abc", 1), 3);
    assert_eq!(array, [b"ab".to_vec(), b"c".to_vec()]);

    let mut boxed = vec![two(), two()].into_boxed_slice();
    assert_eq!(read_all(&mut boxed, b"abcde", 3), 4);
    assert_eq!(boxed.concat(), b"abcd");

    let mut pair = (Box::new([0; 3]), b"x".to_vec().spare());
    pair.1.get_mut().reserve_exact(4);
    assert_eq!(read_all(&mut pair, b"abcde", 5), 5);
    assert_eq!((*pair.0, pair.1.into_inner()), (*b"abc", b"xde".to_vec()));

    let mut three = (two(), two(), two());
    assert_eq!(read_all(&mut three, b"abc", 3), 3);
    assert_eq!(three, (b"ab".to_vec(), b"c".to_vec(), Vec::new()));

    let mut four = (two(), b"0123".to_vec().slice(1..3), two(), two());
    assert_eq!(read_all(&mut four, b"abcdef", 3), 6);
    assert_eq!(
        (four.0, four.2, four.3),
        (b"ab".to_vec(), b"ef".to_vec(), Vec::new())
    );
    assert_eq!(four.1.into_inner(), b"0cd3");
}

#[test]
fn what_is_behind_the_kernels_limit_waits_for_the_next_operation() {
    let bufs: Vec<Vec<u8>> = (0..IoVecs::MAX + 5).map(|n| vec![n as u8]).collect();
    let mut vecs = IoVecs::lend(&bufs);
    assert_eq!((vecs.len(), vecs.total()), (IoVecs::MAX, IoVecs::MAX));
    assert_eq!(gather(&vecs), bufs[..IoVecs::MAX].concat());
    vecs.advance(1000);
    assert_eq!((vecs.len(), vecs.total()), (24, 24));

    let mut bufs: Vec<Vec<u8>> = (0..IoVecs::MAX + 5).map(|_| vec![0xee]).collect();
    let data = stream(0, 2 * IoVecs::MAX);
    assert_eq!(read_all(&mut bufs, &data, 100), IoVecs::MAX);
    assert_eq!(bufs.concat(), &data[..IoVecs::MAX]);
}

#[test]
fn lengths_are_clamped_to_what_one_operation_transfers() {
    /// Answers with lengths that no test machine has the memory for.
    struct Huge;
    // SAFETY: a dangling but non-null address; nothing in this test reads it.
    unsafe impl IoBufs for Huge {
        fn each(&self, f: &mut dyn FnMut(*const u8, usize)) {
            let address = std::ptr::dangling();
            f(address, 1 << 30);
            f(address, usize::MAX);
            f(address, 1);
        }
    }
    let vecs = IoVecs::lend(&Huge);
    let lens: Vec<usize> = vecs.as_slice().iter().map(IoVec::len).collect();
    assert_eq!(lens, [1 << 30, IoVecs::TOTAL_MAX - (1 << 30), 0]);
    assert_eq!(vecs.total(), IoVecs::TOTAL_MAX);
}

#[test]
fn few_buffers_stand_in_the_value_itself() {
    for (count, inline) in [(1, true), (8, true), (9, false)] {
        let vecs = IoVecs::lend(&vec!["x"; count]);
        let value = &raw const vecs as usize;
        let value = value..value + size_of::<IoVecs>();
        assert_eq!(value.contains(&(vecs.as_ptr() as usize)), inline, "{count}");
    }
}

#[test]
#[should_panic(expected = "advance by 4 of 3 bytes")]
fn advancing_past_the_end_panics() {
    IoVecs::lend(&["ab", "c"]).advance(4);
}

#[test]
#[should_panic(expected = "4 bytes in buffers of 3")]
fn more_than_was_lent_cannot_have_been_read() {
    let _ = IoVecs::lend(&["ab", "c"]).shares(4);
}
