//! No byte that is lent to the kernel is read or written by this process before the operation has
//! ended, however that ends. With AddressSanitizer (`ci/jobs.sh asan`) each such touch is an error.
#![allow(unsafe_code)]

mod common;
#[path = "common/lent.rs"]
mod lent;

use std::env;
use std::future::Future;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net;
use std::thread;
use std::time::Duration;

use corering::fs::{File, OpenOptions};
use corering::io::Operation;
use corering::net::TcpStream;
use corering::runtime::{Builder, stats};
use corering::spawn;
use corering::task::yield_now;
use futures_lite::future::poll_once;
use tempfile::TempDir;

use common::{errno, pair_with_std, pattern, read_exactly, run, until};
use lent::{Lent, Watch, broken_promises, is_sanitized};

const LEN: usize = 64 * 1024;
/// More than the buffers of two sockets hold.
const LONG: usize = 16 << 20;
const SHORT: Duration = Duration::from_millis(5);

/// Runs `future`, and sees whether the library kept what it promised.
fn check(future: impl Future<Output = ()>) {
    run(future);
    assert_eq!(broken_promises(), [""; 0]);
}

/// A stream that reads straight into its reader's buffer, and its peer.
async fn direct() -> (TcpStream, net::TcpStream) {
    let (stream, mut peer) = pair_with_std().await;
    peer.write_all(&[0; LEN]).expect("there is room");
    read_exactly(&stream, LEN).await;
    (stream, peer)
}

/// Polls `read` until the kernel has its buffer, which was asked for its room before.
async fn lend<F: Future + Unpin>(read: &mut F, watch: &Watch) {
    while watch.asked() < 2 {
        assert!(poll_once(&mut *read).await.is_none());
        yield_now().await;
    }
    yield_now().await;
    assert!(poll_once(&mut *read).await.is_none());
    assert!(watch.is_poisoned());
}

#[test]
fn the_sanitizer_is_there_where_it_should_be() {
    if env::var_os("ASAN_OPTIONS").is_some() {
        assert!(is_sanitized(), "its functions were not found");
    } else if !is_sanitized() {
        println!("skipped: no AddressSanitizer: only the order of calls is checked");
    }
    let mut lent = Lent::new(LEN, 1);
    let watch = lent.watch();
    assert!(!watch.is_poisoned());
    corering::IoBufMut::parts_mut(&mut lent);
    assert!(watch.is_poisoned());
    assert_eq!(lent.bytes(), [1; LEN]);
    assert!(!watch.is_poisoned());
}

#[test]
fn direct_reads() {
    check(async {
        let (stream, mut peer) = direct().await;
        let message = pattern(1, LEN);
        for _ in 0..3 {
            let lent = Lent::new(LEN, 0);
            let watch = lent.watch();
            let mut read = stream.read(lent);
            lend(&mut read, &watch).await;
            peer.write_all(&message).expect("there is room");
            let (n, lent) = read.await;
            let n = n.expect("bytes");
            assert!(n > 0 && lent.bytes()[..n] == message[..n]);
            assert_eq!(read_exactly(&stream, LEN - n).await, message[n..]);
        }
    });
}

/// When the bytes come for a read that is dropped.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Come {
    /// The read has ended with them, and was not polled since.
    Reaped,
    /// They are there, and the read may end with them or by its cancel.
    There,
    /// When it is being cancelled, or has been.
    Later,
}

#[test]
fn a_direct_read_that_is_dropped_and_whose_bytes_come_late() {
    check(async {
        for come in [Come::Reaped, Come::There, Come::Later].repeat(3) {
            let (stream, mut peer) = direct().await;
            let message = pattern(2, 8192);
            let lent = Lent::new(LEN, 0);
            let watch = lent.watch();
            let mut read = stream.read(lent);
            lend(&mut read, &watch).await;
            let reaped = || stats().expect("inside a runtime").cqes;
            let before = reaped();
            if come != Come::Later {
                peer.write_all(&message).expect("there is room");
            }
            if come == Come::Reaped {
                until("it was reaped", || reaped() > before).await;
            }
            watch.abandon(come == Come::Reaped);
            drop(read);
            assert_eq!(watch.is_freed(), come == Come::Reaped, "{come:?}");
            if come == Come::Later {
                peer.write_all(&message).expect("there is room");
            }
            until("it has ended", || watch.is_freed()).await;
            assert_eq!(read_exactly(&stream, message.len()).await, message);
        }
    });
}

#[test]
fn a_direct_read_that_is_cancelled_or_timed_out() {
    check(async {
        for there in [false, true] {
            let (stream, mut peer) = direct().await;
            let lent = Lent::new(LEN, 7);
            let watch = lent.watch();
            let mut read = stream.read(lent);
            lend(&mut read, &watch).await;
            if there {
                peer.write_all(&[9; 8192]).expect("there is room");
            }
            let (n, lent) = read.cancel().await;
            match n {
                Ok(n) => assert_eq!(lent.bytes()[..n], [9; 8192][..n]),
                Err(e) => {
                    assert_eq!(e.raw_os_error(), Some(libc::ECANCELED));
                    assert_eq!(lent.bytes(), [7; LEN]);
                }
            }
        }
        let (stream, _peer) = direct().await;
        let read = stream.read(Lent::new(LEN, 7)).timeout(SHORT);
        let (n, lent) = read.await;
        assert_eq!(n.expect_err("nothing comes").kind(), ErrorKind::TimedOut);
        assert_eq!(lent.bytes(), [7; LEN]);
    });
}

#[test]
fn writes_of_a_stream() {
    check(async {
        let (stream, mut peer) = pair_with_std().await;
        let message = pattern(3, LONG);
        let expected = message.clone();
        let reader = thread::spawn(move || {
            let mut bytes = vec![0; LONG + 4 * LEN];
            peer.read_exact(&mut bytes).expect("all of it");
            assert!(bytes[..LONG] == expected && bytes[LONG..] == expected[..4 * LEN]);
            peer
        });
        // In many pieces, since the peer reads slowly.
        let (sent, lent) = stream.write_all(Lent::of(&message)).await;
        sent.expect("sent");
        assert!(lent.bytes() == message);
        let part = |index: usize| Lent::of(&message[index * LEN..][..LEN]);
        let (n, _) = stream.write(part(0)).await;
        assert_eq!(n.expect("sent"), LEN);
        let (n, _) = stream.write_zero_copy(part(1)).await;
        assert_eq!(n.expect("sent"), LEN);
        let (n, parts) = stream.write_vectored((part(2), part(3))).await;
        assert_eq!(n.expect("sent"), 2 * LEN);
        assert!(parts.0.bytes() == &message[2 * LEN..][..LEN]);
        reader.join().expect("the peer");
    });
}

#[test]
fn a_write_that_is_dropped_goes_on_with_its_buffer() {
    check(async {
        let (stream, mut peer) = pair_with_std().await;
        let message = pattern(4, LONG);
        let lent = Lent::of(&message);
        let watch = lent.watch();
        let mut write = stream.write_all(lent);
        assert!(poll_once(&mut write).await.is_none());
        yield_now().await;
        drop(write);
        assert!(watch.is_poisoned(), "the kernel has it still");
        let reader = thread::spawn(move || {
            let mut bytes = vec![0; LONG];
            peer.read_exact(&mut bytes).expect("all of it");
            bytes
        });
        until("it has ended", || watch.is_freed()).await;
        assert!(reader.join().expect("the peer") == message);
    });
}

#[test]
fn a_write_that_is_cancelled_or_timed_out() {
    check(async {
        for timed in [false, true] {
            let (stream, _peer) = pair_with_std().await;
            let message = pattern(5, LONG);
            let mut write = stream.write_all(Lent::of(&message));
            let (n, lent) = if timed {
                write.timeout(SHORT).await
            } else {
                assert!(poll_once(&mut write).await.is_none());
                yield_now().await;
                write.cancel().await
            };
            let n = n.expect("a part was sent");
            assert!(n > 0 && n < LONG, "{n}");
            assert!(lent.bytes() == message);
        }
    });
}

fn directory() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory")
}

#[test]
fn reads_and_writes_of_a_file() {
    check(async {
        let dir = directory();
        let path = dir.path().join("file");
        let bytes = pattern(6, LEN);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .open(&path)
            .await;
        let file = file.expect("a file");
        let (n, lent) = file.write_at(Lent::of(&bytes), 0).await;
        assert_eq!(n.expect("written"), LEN);
        assert!(lent.bytes() == bytes);
        file.sync_data().await.expect("synced");
        let (n, lent) = file.read_at(Lent::new(LEN, 0), 0).await;
        assert_eq!(n.expect("read"), LEN);
        assert!(lent.bytes() == bytes);
        let (n, _) = file.write_at(Lent::of(&bytes), 0).timeout(SHORT).await;
        assert_eq!(n.expect("written in time"), LEN);
        // Dropped when it was polled once: it is committed, and closing waits for it.
        let lent = Lent::new(LEN, b'x');
        let watch = lent.watch();
        let mut write = Box::pin(file.write_at(lent, 0));
        assert!(poll_once(&mut write).await.is_none());
        drop(write);
        assert!(watch.is_poisoned(), "the kernel has it still");
        file.close().await.expect("written");
        assert!(watch.is_freed());
        assert!(std::fs::read(&path).expect("the file") == [b'x'; LEN]);
    });
}

/// On one that a worker reads, which may be cancelled before it has begun, or not.
#[test]
fn reads_of_a_file_that_are_dropped_or_cancelled() {
    check(async {
        for turns in 0..20 {
            let file = File::open("/proc/self/maps").await.expect("a file");
            let lent = Lent::new(LEN, 0);
            let watch = lent.watch();
            let mut read = file.read_at(lent, 0);
            assert!(poll_once(&mut read).await.is_none());
            for _ in 0..turns / 2 {
                yield_now().await;
            }
            if turns % 2 == 0 {
                drop(read);
                until("it has ended", || watch.is_freed()).await;
                continue;
            }
            let (n, lent) = read.cancel().await;
            match n {
                Ok(n) => assert!(n > 0 && lent.bytes()[0].is_ascii_hexdigit()),
                Err(e) => assert_eq!(errno::<()>(Err(e)), libc::ECANCELED),
            }
        }
    });
}

#[test]
fn a_runtime_that_ends_under_them() {
    let runtime = Builder::new().build().expect("a runtime");
    let mut watches = Vec::new();
    let peers = runtime.block_on(async {
        let (reading, reader) = direct().await;
        let (writing, writer) = pair_with_std().await;
        let (lent, written) = (Lent::new(LEN, 0), Lent::new(LONG, 1));
        watches.extend([lent.watch(), written.watch()]);
        spawn(async move { reading.read(lent).await.0 });
        spawn(async move { writing.write_all(written).await.0 });
        until("both are lent", || {
            watches[0].asked() == 2 && watches[1].asked() > 0
        })
        .await;
        yield_now().await;
        assert!(watches.iter().all(Watch::is_poisoned));
        (reader, writer)
    });
    drop(runtime);
    assert!(watches.iter().all(Watch::is_freed), "the kernel is done");
    drop(peers);
    assert_eq!(broken_promises(), [""; 0]);
}
