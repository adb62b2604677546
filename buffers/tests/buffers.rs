//! Every buffer type keeps the contract of the two traits, whole, sliced and appended to.

mod fake;

use std::io::Write;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use corering_buffers::{AlignedBuf, Fill, FixedPool, IoBuf, IoBufExt, IoBufMut, Lease, Pool};
use proptest::prelude::*;

use fake::{read_into, stream};

/// The room of every buffer here.
const ROOM: usize = 32;

/// Makes a buffer of `ROOM` bytes that begins with the given ones.
type Make<B> = fn(&[u8]) -> B;

fn vec(bytes: &[u8]) -> Vec<u8> {
    let mut vec = Vec::with_capacity(ROOM);
    vec.extend_from_slice(bytes);
    assert_eq!(vec.capacity(), ROOM);
    vec
}

fn bytes_mut(bytes: &[u8]) -> BytesMut {
    // Not from the start of its allocation, and with a neighbour behind it.
    let mut whole = BytesMut::with_capacity(3 * ROOM);
    whole.extend_from_slice(&[0xee; ROOM]);
    let _front = whole.split_to(ROOM);
    whole.extend_from_slice(&[0xee; ROOM]);
    let mut buf = whole.split_to(ROOM);
    buf.clear();
    buf.extend_from_slice(bytes);
    assert_eq!(buf.capacity(), ROOM);
    buf
}

fn aligned(bytes: &[u8]) -> AlignedBuf {
    let mut buf = AlignedBuf::with_capacity(ROOM, 512);
    buf.write_all(bytes).unwrap();
    buf
}

fn pooled(bytes: &[u8]) -> corering_buffers::PoolBuf {
    let mut buf = Pool::new(1, ROOM).take().unwrap();
    buf.write_all(bytes).unwrap();
    buf
}

fn fixed(bytes: &[u8]) -> corering_buffers::FixedBuf {
    let mut buf = FixedPool::new(2, ROOM).take().unwrap();
    buf.write_all(bytes).unwrap();
    buf
}

/// What a buffer of bytes `old` holds after `data` was read to `at`, bounded by `end`.
fn naive(old: &[u8], at: usize, end: usize, data: &[u8]) -> Vec<u8> {
    let data = &data[..data.len().min(end - at)];
    let mut new = old[..at].to_vec();
    new.extend_from_slice(data);
    if new.len() < old.len() {
        new.extend_from_slice(&old[new.len()..]);
    }
    new
}

fn whole_slice_and_spare<B: IoBuf + IoBufMut>(
    make: Make<B>,
    old: &[u8],
    data: &[u8],
    (start, end): (usize, usize),
) {
    let mut buf = make(old);
    assert_eq!((buf.as_init(), buf.bytes_total()), (old, ROOM));
    assert_eq!(buf.parts().0, buf.parts_mut().0.cast_const());
    let n = read_into(&mut buf, data);
    assert_eq!((n, buf.as_init()), (data.len().min(ROOM), &data[..n]));

    let mut slice = make(old).slice(start..end);
    assert_eq!(&slice[..], &old[start..end.min(old.len())]);
    let n = read_into(&mut slice, data);
    assert_eq!(n, data.len().min(end - start));
    assert_eq!(slice.into_inner().as_init(), naive(old, start, end, data));

    let mut spare = make(old).spare();
    let n = read_into(&mut spare, data);
    assert_eq!(n, data.len().min(ROOM - old.len()));
    assert_eq!(
        spare.into_inner().as_init(),
        naive(old, old.len(), ROOM, data)
    );

    // Appends within a bound, twice: the second goes on where the first ended.
    let mut spare = make(old).slice(start..end.max(old.len())).spare();
    let n = read_into(&mut spare, &data[..data.len() / 2]);
    let n = n + read_into(&mut spare, &data[n..]);
    let expected = naive(old, old.len(), end.max(old.len()), data);
    assert_eq!(n, expected.len() - old.len());
    assert_eq!(spare.into_inner().into_inner().as_init(), expected);
}

proptest! {
    #[test]
    fn reads_land_where_a_naive_buffer_has_them(
        old in prop::collection::vec(any::<u8>(), 0..=ROOM),
        data in prop::collection::vec(any::<u8>(), 0..2 * ROOM),
        start in 0..=ROOM,
        len in 0..=ROOM,
    ) {
        let start = start.min(old.len());
        let range = (start, (start + len).min(ROOM));
        whole_slice_and_spare(vec, &old, &data, range);
        whole_slice_and_spare(bytes_mut, &old, &data, range);
        whole_slice_and_spare(aligned, &old, &data, range);
        whole_slice_and_spare(pooled, &old, &data, range);
        whole_slice_and_spare(fixed, &old, &data, range);
    }

    #[test]
    fn a_slice_of_a_slice_is_a_slice(mut cuts in prop::array::uniform4(0..=ROOM)) {
        cuts.sort_unstable();
        let [a, b, c, d] = cuts;
        let text = stream(3, ROOM);
        let nested = text.clone().slice(a..d).slice(b - a..c - a);
        prop_assert_eq!(&nested[..], &text[b..c]);
        prop_assert_eq!((nested.start(), nested.end()), (b, c));
        prop_assert_eq!(nested.into_inner(), text);
    }
}

#[test]
fn a_box_keeps_its_length() {
    fn check<B: IoBuf + IoBufMut>(make: fn() -> B) {
        let mut boxed = make();
        assert_eq!(read_into(&mut boxed, b"abc"), 3);
        assert_eq!(boxed.as_init(), b"abc.....");

        let mut slice = make().slice(2..4);
        assert_eq!(read_into(&mut slice, b"abc"), 2);
        assert_eq!(slice.into_inner().as_init(), b"..ab....");

        let mut full = make().spare();
        assert_eq!(full.parts_mut().1, 0, "nothing to append to");
    }
    check(|| Box::new([b'.'; 8]));
    check(|| vec![b'.'; 8].into_boxed_slice());
}

#[test]
fn bytes_that_are_only_read_lend_what_they_hold() {
    fn check(buf: impl IoBuf) {
        assert_eq!((buf.as_init(), buf.bytes_total()), (&b"text"[..], 4));
        let part = buf.slice(1..=2);
        assert_eq!(&part[..], b"ex");
        // The memory stays where it is when the value moves.
        let before = part.parts();
        let moved = Box::new(part);
        assert_eq!(moved.parts(), before);
    }
    check("text");
    check(&b"text"[..]);
    check(String::from("text"));
    check(Arc::<[u8]>::from(*b"text"));
    check(Bytes::from_static(b"text"));
    check(Bytes::from(b"text".to_vec()));
    check(BytesMut::from(&b"text"[..]));
    check(Lease::from(b"text".to_vec()));
    check(Box::new(*b"text"));
    check(b"text".to_vec().slice(..));
}

#[test]
fn a_buffer_without_room_lends_none() {
    fn check<B: IoBuf + IoBufMut>(mut buf: B) {
        let (ptr, room) = buf.parts_mut();
        assert!(!ptr.is_null() && room == 0);
        assert_eq!(read_into(&mut buf, b"data"), 0);
        let (ptr, len) = buf.parts();
        assert!(!ptr.is_null() && len == 0);
        assert_eq!(read_into(&mut buf.spare(), b"data"), 0);
    }
    check(Vec::new());
    check(BytesMut::new());
    check(Box::<[u8]>::default());
    check(Box::new([0; 0]));
    check(AlignedBuf::with_capacity(0, 64));
    check(Vec::with_capacity(8).slice(..0));
}

#[test]
fn a_slice_follows_a_buffer_that_got_shorter() {
    let mut slice = vec(b"0123456789").slice(4..8);
    slice.get_mut().truncate(6);
    assert_eq!(&slice[..], b"45");
    assert_eq!(slice.parts_mut().1, 4, "the room is still there");

    slice.get_mut().truncate(2);
    assert!(slice.is_empty());
    assert_eq!(slice.parts_mut().1, 0, "it would leave a hole at 2..4");
    assert_eq!(read_into(&mut slice, b"abc"), 0);
    assert_eq!(slice.get_ref(), b"01");

    *slice.get_mut() = Vec::new();
    assert_eq!(
        (slice.parts().1, slice.parts_mut().1, slice.bytes_total()),
        (0, 0, 0)
    );
}

#[test]
fn a_slice_in_front_of_initialised_bytes_keeps_them() {
    let mut slice = vec(b"0123456789").slice(2..6);
    assert_eq!(read_into(&mut slice, b"ab"), 2);
    assert_eq!(slice.into_inner(), b"01ab456789");
}

#[test]
fn fill_takes_pieces_until_the_room_is_used() {
    let mut part = vec(b"0123").slice(4..10);
    let mut fill = Fill::new(&mut part);
    assert_eq!((fill.put(b"abc"), fill.room()), (3, 3));
    assert_eq!(
        (fill.put(b""), fill.put(b"defg"), fill.put(b"h")),
        (0, 3, 0)
    );
    assert_eq!(fill.finish(), 6);
    assert_eq!(part.into_inner(), b"0123abcdef");

    let mut partly = Vec::with_capacity(10);
    let mut fill = Fill::new(&mut partly);
    fill.put(b"abc");
    assert_eq!((fill.finish(), &partly[..]), (3, &b"abc"[..]));

    let mut kept = vec(b"old");
    let mut fill = Fill::new(&mut kept);
    fill.put(b"new bytes");
    assert_eq!(kept.len(), 3, "it was not finished");
}

#[test]
#[should_panic(expected = "decreasing")]
#[allow(clippy::reversed_empty_ranges)]
fn a_decreasing_slice_panics() {
    let _ = vec(b"0123").slice(3..2);
}

#[test]
#[should_panic(expected = "ends behind the 32 bytes")]
fn a_slice_that_ends_behind_the_room_panics() {
    let _ = vec(b"0123").slice(..33);
}

#[test]
#[should_panic(expected = "ends behind the 4 bytes")]
fn a_slice_of_a_slice_stays_within_it() {
    let _ = vec(b"0123").slice(..4).slice(..5);
}

#[test]
#[should_panic(expected = "starts behind the 4 initialised")]
fn a_slice_that_starts_behind_the_bytes_panics() {
    let _ = vec(b"0123").slice(5..8);
}

#[test]
#[should_panic(expected = "slice end overflows")]
fn a_slice_to_the_last_address_panics() {
    let _ = vec(b"0123").slice(..=usize::MAX);
}

#[test]
fn aligned_buffers_are_aligned_and_show_only_what_was_written() {
    for align in [1, 8, 512, 4096, 1 << 16] {
        for len in [0, 1, 4096, 5000] {
            let buf = AlignedBuf::zeroed(len, align);
            assert_eq!((buf.as_ptr() as usize % align, buf.len()), (0, len));
            assert!(buf.iter().all(|&byte| byte == 0));
        }
    }
    let mut buf = aligned(b"0123456789");
    assert_eq!((buf.capacity(), buf.align()), (ROOM, 512));
    buf.set_len(4);
    assert_eq!(&buf[..], b"0123");
    buf.set_len(10);
    buf[9] = b'!';
    assert_eq!(&buf[..], b"012345678!");
    assert_eq!(
        buf.write(&[b'x'; ROOM]).unwrap(),
        ROOM - 10,
        "it does not grow"
    );
}

#[test]
#[should_panic(expected = "length 5 of 4 initialised bytes")]
fn an_aligned_buffer_cannot_be_lengthened_over_unwritten_bytes() {
    aligned(b"0123").set_len(5);
}

#[test]
#[should_panic(expected = "power of two")]
fn an_odd_alignment_panics() {
    let _ = AlignedBuf::zeroed(4096, 1000);
}
