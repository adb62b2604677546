//! A parser looks at the inbox, and takes what it has understood.

mod common;

use std::io::{self, Write};
use std::net::Shutdown;
use std::thread;

use corering::net::TcpStream;
use futures_lite::future::poll_once;

use common::{pair_with_std, pattern, run};

const LINE_MAX: usize = 1_000;

/// The next line, without its end; `None` at the end of the stream.
async fn line(stream: &TcpStream) -> io::Result<Option<String>> {
    loop {
        let bytes = stream.fill_buf().await?;
        if bytes.is_empty() {
            return Ok(None);
        }
        if let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
            let line = stream.consume_to_vec(end + 1);
            let text = String::from_utf8_lossy(&line[..end]);
            return Ok(Some(text.into_owned()));
        }
        if bytes.len() > LINE_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "line too long"));
        }
        stream.fill_more().await?;
    }
}

#[test]
fn lines_are_found_wherever_the_pieces_end() {
    let text = "first\n\nthe third line is somewhat longer\nlast\n";
    for piece in [1, 2, 7, 100] {
        run(async {
            let (stream, mut peer) = pair_with_std().await;
            peer.set_nodelay(true).unwrap();
            let writer = thread::spawn(move || {
                for part in text.as_bytes().chunks(piece) {
                    peer.write_all(part).unwrap();
                    thread::sleep(std::time::Duration::from_micros(200));
                }
            });
            let mut lines = Vec::new();
            while let Some(line) = line(&stream).await.unwrap() {
                lines.push(line);
            }
            assert_eq!(lines, text.lines().collect::<Vec<_>>(), "pieces of {piece}");
            writer.join().unwrap();
        });
    }
}

#[test]
fn a_line_without_an_end_is_an_unexpected_end() {
    run(async {
        let (stream, mut peer) = pair_with_std().await;
        peer.write_all(b"whole\nhalf a li").unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        assert_eq!(line(&stream).await.unwrap().unwrap(), "whole");
        for _ in 0..3 {
            let kind = line(&stream).await.unwrap_err().kind();
            assert_eq!(kind, io::ErrorKind::UnexpectedEof);
        }
        // What is there can still be taken.
        assert_eq!(&*stream.fill_buf().await.unwrap(), b"half a li");
        assert_eq!(stream.consume_to_vec(9), b"half a li");
        assert!(stream.fill_buf().await.unwrap().is_empty());
        assert_eq!(line(&stream).await.unwrap(), None);
        let kind = stream.fill_more().await.unwrap_err().kind();
        assert_eq!(kind, io::ErrorKind::UnexpectedEof);
    });
}

#[test]
fn a_line_that_is_too_long_is_the_parsers_own_error() {
    run(async {
        let (stream, mut peer) = pair_with_std().await;
        peer.write_all(&[b'x'; 5_000]).unwrap();
        let kind = line(&stream).await.unwrap_err().kind();
        assert_eq!(kind, io::ErrorKind::InvalidData);
    });
}

#[test]
fn fill_more_shows_all_that_has_come_in_one_piece() {
    run(async {
        let (stream, mut peer) = pair_with_std().await;
        let mut whole = Vec::new();
        for seed in 0..5 {
            let part = pattern(seed, 3_000);
            peer.write_all(&part).unwrap();
            whole.extend_from_slice(&part);
            if seed > 0 {
                stream.fill_more().await.unwrap();
            }
            let bytes = stream.fill_buf().await.unwrap();
            assert!(bytes[..] == whole[..bytes.len()]);
        }
        while stream.fill_buf().await.unwrap().len() < whole.len() {
            stream.fill_more().await.unwrap();
        }
        assert!(stream.fill_buf().await.unwrap()[..] == whole);
    });
}

#[test]
fn what_was_consumed_is_gone_and_the_rest_is_left() {
    run(async {
        let (stream, mut peer) = pair_with_std().await;
        peer.write_all(b"0123456789").unwrap();
        assert_eq!(stream.fill_buf().await.unwrap().len(), 10);
        stream.consume(3);
        assert_eq!(&*stream.fill_buf().await.unwrap(), b"3456789");
        stream.consume(0);
        assert_eq!(stream.consume_to_vec(2), b"34");
        let (n, buf) = stream.read(Vec::with_capacity(3)).await;
        assert_eq!((n.unwrap(), &buf[..]), (3, &b"567"[..]));
        assert_eq!(&*stream.recv().await.unwrap().unwrap(), b"89");
        assert!(poll_once(stream.fill_buf()).await.is_none());
    });
}

#[test]
fn bytes_are_consumed_across_pieces() {
    run(async {
        let (stream, mut peer) = pair_with_std().await;
        let bytes = pattern(1, 200_000);
        peer.write_all(&bytes).unwrap();
        let mut seen = 0;
        // Pieces pile up behind the first one while more is waited for.
        while seen < 150_000 {
            stream.fill_more().await.unwrap();
            seen = stream.fill_buf().await.unwrap().len();
        }
        assert!(stream.consume_to_vec(100_001) == bytes[..100_001]);
        let rest = common::read_exactly(&stream, 99_999).await;
        assert!(rest == bytes[100_001..]);
    });
}

#[test]
fn a_guard_keeps_its_bytes_whatever_happens_to_the_inbox() {
    run(async {
        let (stream, mut peer) = pair_with_std().await;
        peer.write_all(b"as it was").unwrap();
        let guard = stream.fill_buf().await.unwrap();
        stream.consume(9);
        for seed in 0..50 {
            peer.write_all(&pattern(seed, 50_000)).unwrap();
            common::read_exactly(&stream, 50_000).await;
        }
        assert_eq!(&*guard, b"as it was");
        drop(stream);
        assert_eq!(&*guard, b"as it was");
    });
}

#[test]
#[should_panic(expected = "more bytes than the inbox holds")]
fn more_than_is_there_cannot_be_consumed() {
    run(async {
        let (stream, mut peer) = pair_with_std().await;
        peer.write_all(b"abc").unwrap();
        stream.fill_buf().await.unwrap();
        stream.consume(4);
    });
}

#[test]
fn a_piece_grows_to_sixteen_mebibytes_and_no_further() {
    const LIMIT: usize = 16 << 20;
    run(async {
        let (stream, mut peer) = pair_with_std().await;
        let writer = thread::spawn(move || {
            // More than the limit; the peer may go before all of it is sent.
            let chunk = vec![7; 1 << 20];
            while peer.write_all(&chunk).is_ok() {}
        });
        let error = loop {
            if let Err(error) = stream.fill_more().await {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
        let len = stream.fill_buf().await.unwrap().len();
        assert!((LIMIT..2 * LIMIT + (8 << 20)).contains(&len), "{len}");
        stream.consume(len - 10);
        stream.fill_more().await.unwrap();
        assert!(stream.fill_buf().await.unwrap().len() > 10);
        drop(stream.close().await.unwrap());
        writer.join().unwrap();
    });
}
