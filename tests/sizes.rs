//! Buffers without room, and buffers of more bytes than the kernel takes at once.
#![allow(unsafe_code)]

mod common;

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream as StdStream;
use std::os::fd::AsRawFd;
use std::ptr::{self, NonNull};
use std::thread;

use corering::buffers::{IoBuf, IoBufMut};
use corering::spawn;

use common::{alone, pair, pair_with_std, pattern, read_exactly, resident, run, until};

const GIB: usize = 1 << 30;
/// What the kernel takes at most in one call, `MAX_RW_COUNT`.
const AT_ONCE: usize = 0x7fff_f000;

/// Memory that is only there once it is written to.
struct Sparse {
    start: NonNull<u8>,
    len: usize,
    /// As set by the last read.
    filled: usize,
}

impl Sparse {
    /// `None` where the machine has no such address space.
    fn new(len: usize) -> Option<Sparse> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new mapping of no file, wherever the kernel likes.
        let start = unsafe { libc::mmap(ptr::null_mut(), len, protection, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return None;
        }
        let start = NonNull::new(start.cast())?;
        Some(Sparse {
            start,
            len,
            filled: 0,
        })
    }

    fn bytes(&mut self, from: usize, len: usize) -> &mut [u8] {
        assert!(from + len <= self.len);
        // SAFETY: inside of the mapping, which is zero where nothing was written, and ours alone
        // since `self` is borrowed.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr().add(from), len) }
    }
}

impl Drop for Sparse {
    fn drop(&mut self) {
        // SAFETY: the mapping that `new` made; nobody uses it any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

// SAFETY: the mapping stays where it is, whole and initialised, until `Sparse` is dropped.
unsafe impl IoBuf for Sparse {
    fn parts(&self) -> (*const u8, usize) {
        (self.start.as_ptr(), self.len)
    }
}

// SAFETY: as above, and it has one owner.
unsafe impl IoBufMut for Sparse {
    fn parts_mut(&mut self) -> (*mut u8, usize) {
        (self.start.as_ptr(), self.len)
    }

    unsafe fn set_init(&mut self, n: usize) {
        self.filled = n;
    }
}

/// Takes `len` bytes from the socket without looking at them.
fn discard(peer: &StdStream, len: usize) -> io::Result<()> {
    let mut left = len;
    while left > 0 {
        let flags = libc::MSG_TRUNC;
        let most = left.min(16 << 20);
        // SAFETY: with this flag TCP drops the bytes and writes nothing (tcp(7)).
        let n = unsafe { libc::recv(peer.as_raw_fd(), ptr::null_mut(), most, flags) };
        match usize::try_from(n) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(n) => left -= n,
            Err(_) => return Err(io::Error::last_os_error()),
        }
    }
    Ok(())
}

/// Reads up to the end, and looks at `len` bytes at each of `places`.
fn sample(mut peer: StdStream, places: &[usize], len: usize) -> io::Result<(Vec<Vec<u8>>, usize)> {
    let (mut at, mut samples) = (0, Vec::new());
    for &place in places {
        discard(&peer, place - at)?;
        let mut sample = vec![0; len];
        peer.read_exact(&mut sample)?;
        samples.push(sample);
        at = place + len;
    }
    let mut rest = Vec::new();
    peer.read_to_end(&mut rest)?;
    Ok((samples, at + rest.len()))
}

#[test]
fn nothing_is_written_at_once_and_without_an_error() {
    run(async {
        let (a, b) = pair().await;
        a.write_all(Vec::new()).await.0.unwrap();
        a.write_all("").await.0.unwrap();
        assert_eq!(a.write(Vec::new()).await.0.unwrap(), 0);
        assert_eq!(
            a.write_vectored([Vec::new(), Vec::new()]).await.0.unwrap(),
            0
        );
        assert_eq!(a.write_zero_copy("").await.0.unwrap(), 0);
        a.write_all("after").await.0.unwrap();
        assert_eq!(read_exactly(&b, 5).await, b"after");
    });
}

#[test]
fn a_read_into_no_room_is_refused_and_takes_nothing() {
    run(async {
        let (a, b) = pair().await;
        let refused = async |what| {
            let (n, _) = b.read(Vec::new()).await;
            assert_eq!(n.unwrap_err().kind(), ErrorKind::InvalidInput, "{what}");
            let (n, _) = b.read(Box::<[u8]>::default()).await;
            assert_eq!(n.unwrap_err().kind(), ErrorKind::InvalidInput, "{what}");
        };
        refused("nothing has come").await;
        a.write_all("hello").await.0.unwrap();
        let shown = b.fill_buf().await.unwrap();
        assert_eq!(&shown[..], b"hello");
        refused("bytes are there").await;
        assert_eq!(read_exactly(&b, 5).await, b"hello");
        drop((a, shown));
        assert!(b.recv().await.unwrap().is_none());
        refused("the stream has ended").await;
    });
}

#[test]
fn a_read_into_no_room_is_refused_when_messages_are_large() {
    run(async {
        let (stream, mut peer) = pair_with_std().await;
        let large = pattern(3, 64 * 1024);
        for _ in 0..4 {
            peer.write_all(&large).unwrap();
            assert!(read_exactly(&stream, large.len()).await == large);
        }
        let (n, _) = stream.read(Vec::new()).await;
        assert_eq!(n.unwrap_err().kind(), ErrorKind::InvalidInput);
        peer.write_all(&large).unwrap();
        assert!(read_exactly(&stream, large.len()).await == large);
    });
}

#[test]
fn five_gibibytes_are_written_whole_and_in_order() {
    alone(|| {
        let Some(mut buf) = Sparse::new(5 * GIB) else {
            return println!("skipped: no address space for 5 GiB");
        };
        const MARK: usize = 64;
        // Around the ends of what one call takes, and of what 32 bits count.
        let places = [
            0,
            AT_ONCE - 32,
            2 * AT_ONCE - 32,
            4 * GIB - 32,
            5 * GIB - MARK,
        ];
        for (seed, &place) in (0..).zip(&places) {
            buf.bytes(place, MARK).copy_from_slice(&pattern(seed, MARK));
        }
        run(async {
            let (stream, peer) = pair_with_std().await;
            let reader = thread::spawn(move || sample(peer, &places, MARK));
            let (sent, buf) = stream.write_all(buf).await;
            sent.unwrap();
            assert_eq!(buf.len, 5 * GIB);
            drop(stream);
            until("the peer has all", || reader.is_finished()).await;
            let (samples, total) = reader.join().unwrap().unwrap();
            for (seed, sample) in (0..).zip(samples) {
                assert!(sample == pattern(seed, MARK), "mark {seed}");
            }
            assert_eq!(total, 5 * GIB);
        });
        assert!(resident() < 512 << 20, "what is only read stays sparse");
    });
}

#[test]
fn one_write_of_a_buffer_beyond_what_the_kernel_takes_is_short() {
    run(async {
        // As 32 bits, the first is nothing at all.
        for len in [4 * GIB, 5 * GIB] {
            let (Some(one), Some(two)) = (Sparse::new(len), Sparse::new(len)) else {
                return println!("skipped: no address space for 5 GiB");
            };
            let (stream, peer) = pair_with_std().await;
            let reader = thread::spawn(move || io::copy(&mut &peer, &mut io::sink()));
            let (n, one) = stream.write(one).await;
            let mut total = n.unwrap();
            assert!((1..=AT_ONCE).contains(&total), "{total}");
            let (n, two) = stream.write_vectored([one, two]).await;
            let n = n.unwrap();
            assert!((1..=AT_ONCE).contains(&n), "{n}");
            total += n;
            let [one, _] = two;
            match stream.write_zero_copy(one).await.0 {
                Ok(n) => {
                    assert!((1..=AT_ONCE).contains(&n), "{n}");
                    total += n;
                }
                // Its pages are to be locked in memory, which not everybody may.
                Err(e) => assert_eq!(e.raw_os_error(), Some(libc::ENOMEM)),
            }
            drop(stream);
            until("the peer has all", || reader.is_finished()).await;
            assert_eq!(reader.join().unwrap().unwrap(), total as u64);
        }
    });
}

#[test]
fn a_read_into_more_room_than_32_bits_count_is_no_false_end() {
    run(async {
        for len in [4 * GIB, 5 * GIB] {
            let (stream, mut peer) = pair_with_std().await;
            let Some(mut buf) = Sparse::new(len) else {
                return println!("skipped: no address space for 5 GiB");
            };
            let large = pattern(4, 32 * 1024);
            let expected = large.clone();
            // The first come through the inbox, the later ones straight into the buffer.
            for _ in 0..6 {
                let writer = spawn({
                    let (mut peer, large) = (peer.try_clone().unwrap(), large.clone());
                    async move { peer.write_all(&large).unwrap() }
                });
                let mut got = Vec::new();
                while got.len() < expected.len() {
                    let n;
                    (n, buf) = stream.read(buf).await;
                    let n = n.unwrap();
                    assert!(n > 0 && n == buf.filled, "{n} of {}", buf.filled);
                    got.extend_from_slice(buf.bytes(0, n));
                }
                assert!(got == expected);
                writer.await.unwrap();
            }
            peer.write_all(b"!").unwrap();
            drop(peer);
            let n;
            (n, buf) = stream.read(buf).await;
            assert_eq!((n.unwrap(), buf.bytes(0, 1)[0]), (1, b'!'));
            assert_eq!(stream.read(buf).await.0.unwrap(), 0);
        }
    });
}

#[test]
fn a_vec_with_more_room_than_32_bits_count_is_read_into() {
    run(async {
        let mut buf = Vec::new();
        if buf.try_reserve_exact(5 * GIB).is_err() {
            return println!("skipped: no memory for a Vec of 5 GiB");
        }
        let (stream, mut peer) = pair_with_std().await;
        peer.write_all(b"hello").unwrap();
        let (n, buf) = stream.read(buf).await;
        assert_eq!((n.unwrap(), &buf[..]), (5, &b"hello"[..]));
        assert_eq!(buf.capacity(), 5 * GIB);
    });
}
