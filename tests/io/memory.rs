//! What lies in memory.

use std::io::{Cursor, ErrorKind};

use bytes::Bytes;
use corering::io::{AsyncBufRead, AsyncRead, AsyncWrite, BufReader, duplex, split};

use crate::{now, poll_once, rest};

#[test]
fn slices_bytes_and_cursors_are_read_from_their_front() {
    async fn check<R: AsyncRead>(mut source: R) {
        let (n, buf) = source.read(Vec::with_capacity(3)).await;
        assert_eq!((n.unwrap(), &buf[..]), (3, &b"abc"[..]));
        let (result, _) = source.read_exact(Box::new([0; 9])).await;
        assert_eq!(result.unwrap_err().kind(), ErrorKind::UnexpectedEof);
        assert_eq!(&*source.read_exact(Box::new([0; 4])).await.1, b"defg");
        let (n, _) = source.read(Vec::new()).await;
        assert_eq!(n.unwrap_err().kind(), ErrorKind::InvalidInput);
        let mut rest = Vec::new();
        assert_eq!(source.read_to_end(&mut rest, 10).await.unwrap(), 1);
        assert_eq!(source.read(Vec::with_capacity(3)).await.0.unwrap(), 0);
    }
    now(check(&b"abcdefgh"[..]));
    now(check(Bytes::from_static(b"abcdefgh")));
    now(check(Cursor::new("abcdefgh")));
    now(check(BufReader::with_capacity(2, &b"abcdefgh"[..])));
    let mut far = Cursor::new("abc");
    far.set_position(u64::MAX);
    assert_eq!(now(far.read(Vec::with_capacity(3))).0.unwrap(), 0);
}

#[test]
fn bytes_are_shown_without_a_copy() {
    let mut source = Bytes::from(vec![7; 1000]);
    let shown = now(source.fill_buf()).unwrap();
    assert_eq!(shown.as_ptr(), source.as_ptr());
    source.consume(999);
    assert_eq!(now(rest(&mut source)), [7]);
}

#[test]
fn vectors_and_cursors_take_all_that_is_written() {
    let mut bytes = b"a".to_vec();
    now(AsyncWrite::write_all(&mut bytes, "bc")).0.unwrap();
    now(bytes.write_all_vectored(["d", "ef"])).0.unwrap();
    assert_eq!(bytes, b"abcdef");
    let mut cursor = Cursor::new(bytes);
    cursor.set_position(4);
    now(AsyncWrite::write_all(&mut cursor, "EFG")).0.unwrap();
    assert_eq!(cursor.into_inner(), b"abcdEFG");
}

#[test]
fn a_stream_in_memory_holds_its_limit_and_no_more() {
    let (mut near, mut far) = duplex(4);
    assert_eq!(now(near.write("abcdef")).0.unwrap(), 4);
    assert!(poll_once(near.write("ef")).is_none());
    assert!(poll_once(near.write_all("ef")).is_none());
    // A piece that is as long as that can grow no more.
    now(far.fill_buf()).unwrap();
    assert_eq!(
        now(far.fill_more()).unwrap_err().kind(),
        ErrorKind::OutOfMemory
    );
    far.consume(3);
    assert_eq!(now(near.write("ef")).0.unwrap(), 2);
    now(far.fill_more()).unwrap();
    assert_eq!(&*now(far.fill_buf()).unwrap(), b"def");
}

#[test]
fn the_end_of_a_stream_in_memory_reaches_the_other() {
    let (near, mut far) = duplex(4);
    let (mut reader, mut writer) = split(near);
    now(writer.write_all("abc")).0.unwrap();
    now(AsyncWrite::shutdown(&mut writer)).unwrap();
    assert_eq!(
        now(writer.write("d")).0.unwrap_err().kind(),
        ErrorKind::BrokenPipe
    );
    assert_eq!(now(rest(&mut far)), b"abc");
    // The other direction goes on.
    now(far.write_all("back")).0.unwrap();
    assert_eq!(&*now(reader.read_exact(Box::new([0; 4]))).1, b"back");
    let near = reader
        .unsplit(writer)
        .unwrap_or_else(|_| panic!("they are of one stream"));
    drop(near);
    assert_eq!(
        now(far.write("x")).0.unwrap_err().kind(),
        ErrorKind::BrokenPipe
    );
}

#[test]
fn halves_of_two_streams_make_none() {
    let ((a, _b), (c, _d)) = (duplex(4), duplex(4));
    let ((reader, _), (_, writer)) = (split(a), split(c));
    assert!(reader.unsplit(writer).is_err());
}

#[test]
fn who_waits_for_a_stream_in_memory_is_woken() {
    crate::common::run(async {
        let (mut near, mut far) = duplex(3);
        let writer = corering::spawn(async move {
            near.write_all("0123456789").await.0.unwrap();
        });
        let (result, bytes) = far.read(Vec::with_capacity(2)).await;
        assert_eq!((result.unwrap(), &bytes[..]), (2, &b"01"[..]));
        assert_eq!(rest(&mut far).await, b"23456789");
        writer.await.unwrap();
    });
}
