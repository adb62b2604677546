//! Reading from every kind of source.

use std::io::ErrorKind;

use corering::BufResult;
use corering::buffers::IoBufExt;
use corering::io::{
    AsyncBufRead, AsyncRead, AsyncWrite, BufReader, FramedRead, LengthCodec, PIECE_MAX, duplex,
    split,
};
use corering::net::{OwnedReadHalf, OwnedWriteHalf, TcpSocket, TcpStream, UnixStream};
use corering::spawn;
use corering::time::sleep;
use futures_lite::future::zip;

use crate::common::{localhost, pair, pattern, run};
use crate::{A_WHILE, dropped_half_way, now, rest, write_slowly};

/// Everything that reads, dropped when half of what it wants is there, and then done.
async fn nothing_is_taken_half_way<R: AsyncBufRead, W: AsyncWrite>(mut from: R, mut to: W) {
    to.write_all("12").await.0.unwrap();
    dropped_half_way(from.read_exact(Box::new([0; 5]))).await;
    dropped_half_way(from.fill_to(5)).await;
    dropped_half_way(from.read_until(b'\n', 100)).await;
    dropped_half_way(from.read_line(100)).await;
    dropped_half_way((&mut from).lines(100).next_line()).await;
    let codec = LengthCodec::new().length_bytes(1);
    dropped_half_way(FramedRead::new(&mut from, codec).next()).await;
    assert_eq!(&*from.fill_buf().await.unwrap(), b"12");

    to.write_all("345line\n\x03abc").await.0.unwrap();
    let (result, five) = from.read_exact(Box::new([0; 5])).await;
    result.unwrap();
    assert_eq!(&*five, b"12345");
    assert_eq!(from.read_line(100).await.unwrap().unwrap(), "line");
    let frame = FramedRead::new(&mut from, codec).next().await;
    assert_eq!(&*frame.unwrap().unwrap(), b"abc");

    // The same at the end.
    to.write_all("left").await.0.unwrap();
    to.shutdown().await.unwrap();
    let (result, eight) = from.read_exact(Box::new([0; 8])).await;
    assert_eq!(result.unwrap_err().kind(), ErrorKind::UnexpectedEof);
    assert_eq!(*eight, [0; 8]);
    assert_eq!(&*from.fill_to(8).await.unwrap(), b"left");
    assert_eq!(rest(&mut from).await, b"left");
    assert_eq!(from.read_line(100).await.unwrap(), None);
    assert!(from.read_until(b'\n', 100).await.unwrap().is_empty());
}

#[test]
fn a_tcp_stream_gives_nothing_to_who_is_dropped() {
    run(async {
        let (a, b) = pair().await;
        nothing_is_taken_half_way(a, &b).await;
        let (a, b) = pair().await;
        nothing_is_taken_half_way(&a, b).await;
    });
}

#[test]
fn a_unix_stream_gives_nothing_to_who_is_dropped() {
    run(async {
        let (a, b) = UnixStream::pair().unwrap();
        nothing_is_taken_half_way(a, &b).await;
    });
}

#[test]
fn halves_give_nothing_to_who_is_dropped() {
    run(async {
        let (a, b) = pair().await;
        let (reader, _writer): (OwnedReadHalf, OwnedWriteHalf) = a.into_split();
        let (_reader, writer) = b.into_split();
        nothing_is_taken_half_way(reader, writer).await;
        let (a, b) = UnixStream::pair().unwrap();
        let (reader, _writer) = split(a);
        let (_reader, writer) = split(b);
        nothing_is_taken_half_way(reader, writer).await;
    });
}

#[test]
fn a_stream_in_memory_gives_nothing_to_who_is_dropped() {
    run(async {
        let (a, b) = duplex(64);
        nothing_is_taken_half_way(a, b).await;
    });
}

#[test]
fn a_buffered_reader_gives_nothing_to_who_is_dropped() {
    run(async {
        for capacity in [1, 3, 100] {
            let (a, b) = duplex(64);
            nothing_is_taken_half_way(BufReader::with_capacity(capacity, a), b).await;
            let (a, b) = pair().await;
            nothing_is_taken_half_way(BufReader::with_capacity(capacity, a), b).await;
        }
    });
}

/// Only reads into buffers: no inbox, no `read_exact` of its own.
struct Plain<'a>(&'a TcpStream);

impl AsyncRead for Plain<'_> {
    async fn read<B: corering::IoBufMut>(&mut self, buf: B) -> BufResult<usize, B> {
        self.0.read(buf).await
    }
}

#[test]
fn a_source_that_can_only_read_fills_buffers_too() {
    run(async {
        let (a, b) = pair().await;
        let writing = write_slowly(&b, &["ab", "cdefg", "hi"]);
        let reading = async {
            let mut source = Plain(&a);
            let buf = b"kept".to_vec().slice(4..);
            let mut buf = buf.into_inner();
            buf.reserve_exact(4);
            let (result, buf) = source.read_exact(buf.slice(4..8)).await;
            result.unwrap();
            assert_eq!(buf.into_inner(), b"keptabcd");
            let (result, buf) = source.read_exact(Box::new([0; 9])).await;
            assert_eq!(result.unwrap_err().kind(), ErrorKind::UnexpectedEof);
            assert_eq!(&*buf, b"efghi\0\0\0\0");
        };
        let ending = async {
            writing.await;
            b.shutdown(std::net::Shutdown::Write).await.unwrap();
        };
        zip(ending, reading).await;
    });
}

#[test]
fn more_than_an_inbox_is_read_exactly_and_too_much_is_refused() {
    run(async {
        let (mut a, b) = pair().await;
        let sent = pattern(1, 3 * 1024 * 1024);
        let copy = sent.clone();
        let writer = spawn(async move {
            b.write_all(copy).await.0.unwrap();
            b
        });
        // The inbox pauses at 256 KiB unless somebody asks for more.
        dropped_half_way(a.read_exact(Vec::with_capacity(PIECE_MAX))).await;
        let (result, got) = a.read_exact(Vec::with_capacity(sent.len())).await;
        result.unwrap();
        assert!(got == sent);
        let (result, buf) = a.read_exact(Vec::with_capacity(PIECE_MAX + 1)).await;
        assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(buf.capacity(), PIECE_MAX + 1);
        let error = a.fill_to(PIECE_MAX + 1).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutOfMemory);
        a.read_exact(Vec::new()).await.0.unwrap();
        writer.await.unwrap();
    });
}

#[test]
fn an_inbox_that_has_grown_for_a_large_read_is_small_again_afterwards() {
    run(async {
        let large = 4 * 1024 * 1024;
        let listener = TcpSocket::new_v4().unwrap();
        let listener = listener.recv_buffer_size(64 * 1024).unwrap();
        let listener = listener.bind(localhost()).unwrap().listen(1).unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap());
        let peer = peer.await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        let flood =
            spawn(async move { while peer.write_all(vec![7; 1024 * 1024]).await.0.is_ok() {} });
        let (result, _) = stream.read_exact(Vec::with_capacity(large)).await;
        result.unwrap();
        // A read that wants little arms the receive, and then nobody reads.
        stream.read_exact(Vec::with_capacity(1)).await.0.unwrap();
        sleep(A_WHILE * 10).await;
        let unread = stream.close().await.unwrap();
        let unread: usize = unread.iter().map(|piece| piece.len()).sum();
        assert!(unread < large / 2, "{unread} bytes");
        flood.await.unwrap();
    });
}

#[test]
fn two_who_read_exactly_are_served_in_order() {
    run(async {
        let (a, b) = pair().await;
        let first = async { (&a).read_exact(Box::new([0; 6])).await.1 };
        let second = async { (&a).read_exact(Box::new([0; 3])).await.1 };
        let writing = write_slowly(&b, &["ab", "cd", "ef", "gh", "i"]);
        let ((first, second), ()) = zip(zip(first, second), writing).await;
        assert_eq!((&*first, &*second), (b"abcdef", b"ghi"));
    });
}

#[test]
fn whoever_waits_behind_a_dropped_reader_goes_on() {
    run(async {
        let (a, b) = pair().await;
        b.write_all("abc").await.0.unwrap();
        let first = dropped_half_way(async { (&a).read_exact(Box::new([0; 6])).await });
        let second = async {
            sleep(A_WHILE / 2).await; // behind the other
            (&a).read_exact(Box::new([0; 3])).await.1
        };
        let ((), second) = zip(first, second).await;
        assert_eq!(&*second, b"abc");
    });
}

#[test]
fn read_to_end_appends_up_to_its_limit_and_loses_nothing() {
    run(async {
        let (mut a, b) = pair().await;
        let mut bytes = b"> ".to_vec();
        b.write_all("one ").await.0.unwrap();
        dropped_half_way(a.read_to_end(&mut bytes, 100)).await;
        assert_eq!(bytes, b"> one ");
        b.write_all("two three").await.0.unwrap();
        drop(b);
        let error = a.read_to_end(&mut bytes, 3).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        assert_eq!(bytes, b"> one two ");
        assert_eq!(a.read_to_end(&mut bytes, 5).await.unwrap(), 5);
        assert_eq!(bytes, b"> one two three");
        assert_eq!(a.read_to_end(&mut bytes, 0).await.unwrap(), 0);
    });
    // The same where nothing but `read` is there.
    let mut source = &b"one two"[..];
    let mut bytes = Vec::new();
    let error = now(source.read_to_end(&mut bytes, 3)).unwrap_err();
    assert_eq!(
        (error.kind(), &bytes[..]),
        (ErrorKind::InvalidData, &b"one "[..])
    );
    assert_eq!(now(source.read_to_end(&mut bytes, 3)).unwrap(), 3);
}

#[test]
fn a_line_that_is_too_long_is_an_error_that_takes_nothing() {
    run(async {
        let (mut a, b) = pair().await;
        b.write_all("12345\n1234567\n").await.0.unwrap();
        assert_eq!(a.read_line(6).await.unwrap().unwrap(), "12345");
        for _ in 0..2 {
            let error = a.read_line(7).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData);
            assert!(error.to_string().contains("within 7 bytes"), "{error}");
        }
        assert_eq!(a.read_line(8).await.unwrap().unwrap(), "1234567");
        // It is seen before the line has ended.
        b.write_all("endless").await.0.unwrap();
        assert!(a.read_line(7).await.is_err());
        assert!(a.read_line(0).await.is_err());
    });
}

#[test]
fn lines_lose_their_end_and_nothing_else() {
    run(async {
        let (a, b) = pair().await;
        let parts = ["one\ntw", "o\r\n\n", "\r\n a\rb \n", "\r", "\nlast\r"];
        let writing = async {
            write_slowly(&b, &parts).await;
            b.shutdown(std::net::Shutdown::Write).await
        };
        let reading = async {
            let mut lines = a.lines(100);
            let mut all = Vec::new();
            while let Some(line) = lines.next_line().await.unwrap() {
                all.push(line);
            }
            all
        };
        let (lines, _) = zip(reading, writing).await;
        assert_eq!(lines, ["one", "two", "", "", " a\rb ", "", "last\r"]);
    });
}

#[test]
fn a_line_that_is_no_text_is_in_the_error() {
    run(async {
        let (mut a, b) = pair().await;
        b.write_all(&b"\xff\xfe\nnext\n"[..]).await.0.unwrap();
        let error = a.read_line(100).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        let inside = error.into_inner().unwrap();
        let text = inside.downcast::<std::string::FromUtf8Error>().unwrap();
        assert_eq!(text.into_bytes(), b"\xff\xfe");
        assert_eq!(a.read_line(100).await.unwrap().unwrap(), "next");
    });
}

#[test]
fn a_reset_is_an_error_and_not_an_end() {
    run(async {
        let (mut stream, peer) = crate::common::pair_with_std().await;
        std::io::Write::write_all(&mut &peer, b"half").unwrap();
        assert_eq!(&*stream.fill_to(4).await.unwrap(), b"half");
        let reset = socket2::SockRef::from(&peer);
        reset.set_linger(Some(std::time::Duration::ZERO)).unwrap();
        drop(peer);
        let (result, _) = stream.read_exact(Box::new([0; 5])).await;
        assert_eq!(result.unwrap_err().kind(), ErrorKind::ConnectionReset);
        let error = stream.fill_to(5).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        let error = stream.read_line(100).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        // What came before can be read all the same.
        assert_eq!(&*stream.read_exact(Box::new([0; 4])).await.1, b"half");
        let error = stream.read_to_end(&mut Vec::new(), 100).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
}
