//! Descriptors that come with messages, and with the bytes of streams.

use std::io::{self, ErrorKind, Read, Seek, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use corering::Runtime;
use corering::io::Operation;
use corering::net::{Control, UnixDatagram, UnixDescriptorReceiver, UnixSeqpacket, UnixStream};
use corering::spawn;
use corering::time::sleep;
use futures_lite::future::poll_once;

use crate::common::{allow_descriptors, alone, descriptors, errno, leave_descriptors};
use crate::{run, settle};

/// A file whose content is `text`.
pub(crate) fn file(text: &str) -> OwnedFd {
    let mut file = tempfile::tempfile_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file.rewind().unwrap();
    file.into()
}

fn content(fd: OwnedFd) -> String {
    let mut text = String::new();
    let mut file = std::fs::File::from(fd);
    file.read_to_string(&mut text).unwrap();
    text
}

fn with(descriptors: impl IntoIterator<Item = OwnedFd>) -> Control {
    let mut control = Control::new();
    for descriptor in descriptors {
        control.add_descriptor(descriptor);
    }
    control
}

fn is_closed_on_exec(fd: &OwnedFd) -> bool {
    rustix::io::fcntl_getfd(fd)
        .unwrap()
        .contains(rustix::io::FdFlags::CLOEXEC)
}

#[test]
fn descriptors_come_with_their_message_and_are_closed_on_exec() {
    run(async {
        let (a, b) = UnixDatagram::pair()?;
        let (c, d) = UnixSeqpacket::pair()?;
        for (first, second) in [("one", "two"), ("three", "four")] {
            let control = with([file(first), file(second)]);
            assert_eq!(a.send_msg("with two", control).await.0?, 8);
            c.send_msg("", with([file(first), file(second)])).await.0?;
        }
        a.send("with none").await.0?;
        for (first, second) in [("one", "two"), ("three", "four")] {
            let mut message = b.recv().await?;
            let mut record = d.recv().await?.expect("a record");
            for control in [&mut message.control, &mut record.control] {
                assert_eq!((control.descriptors(), control.truncated()), (2, false));
                let taken = control.take_descriptors();
                assert!(taken.iter().all(is_closed_on_exec));
                let texts: Vec<String> = taken.into_iter().map(content).collect();
                assert_eq!(texts, [first, second]);
            }
        }
        assert_eq!(b.recv().await?.control.descriptors(), 0);
        Ok(())
    });
}

#[test]
fn a_message_has_253_descriptors_and_no_more() {
    run(async {
        let (a, b) = UnixDatagram::pair()?;
        let many = |count| (0..count).map(|_| b.as_fd().try_clone_to_owned().unwrap());
        a.send_msg("x", with(many(253))).await.0?;
        let mut message = b.recv().await?;
        assert_eq!(message.control.take_descriptors().len(), 253);
        assert!(!message.control.truncated());
        assert_eq!(
            errno(a.send_msg("x", with(many(254))).await.0),
            libc::EINVAL
        );
        Ok(())
    });
}

async fn stream() -> io::Result<(UnixStream, UnixStream, UnixDescriptorReceiver)> {
    let (a, b) = UnixStream::pair()?;
    let incoming = b.receive_descriptors()?;
    Ok((a, b, incoming))
}

#[test]
fn descriptors_of_a_stream_come_with_their_byte() {
    run(async {
        let (a, b, incoming) = stream().await?;
        a.write_all("before ").await.0?;
        a.write_with_descriptors("first ", vec![file("one")])
            .await
            .0?;
        a.write_with_descriptors("second ", vec![file("two"), file("three")])
            .await
            .0?;
        a.write_all("after").await.0?;
        let (mut bytes, mut came) = (Vec::new(), Vec::new());
        while bytes.len() < 25 {
            let mut piece = incoming.recv().await?.expect("the peer is there");
            let taken = piece.control.take_descriptors();
            let start = bytes.len();
            bytes.extend_from_slice(&piece.payload);
            let texts: Vec<String> = taken.into_iter().map(content).collect();
            if !texts.is_empty() {
                came.push((start, bytes.len(), texts.join(" ")));
            }
        }
        assert_eq!(&bytes[..], b"before first second after");
        let [(start, end, one), (start2, end2, rest)] = &came[..] else {
            panic!("not two pieces with descriptors: {came:?}");
        };
        assert!(
            (*start..*end).contains(&7) && (*start2..*end2).contains(&13),
            "{came:?}"
        );
        assert_eq!((&one[..], &rest[..]), ("one", "two three"));
        // It still writes, and sees the end.
        b.write_all("heard").await.0?;
        assert_eq!(a.recv().await?.as_deref(), Some(&b"heard"[..]));
        drop(a);
        assert!(incoming.recv().await?.is_none());
        Ok(())
    });
}

#[test]
fn a_long_write_brings_its_descriptors_once() {
    run(async {
        let (a, _b, incoming) = stream().await?;
        let writing = spawn(async move {
            let bytes = vec![7; 4 << 20];
            let (sent, bytes) = a.write_with_descriptors(bytes, vec![file("once")]).await;
            let sent = sent?;
            assert!(sent > 0 && sent < bytes.len(), "{sent}");
            a.write_all(bytes[sent..].to_vec()).await.0
        });
        let (mut received, mut texts) = (0, Vec::new());
        while let Some(mut piece) = incoming.recv().await? {
            received += piece.payload.len();
            texts.extend(piece.control.take_descriptors().into_iter().map(content));
        }
        writing.await.unwrap()?;
        assert_eq!((received, &texts[..]), (4 << 20, &["once".to_owned()][..]));
        Ok(())
    });
}

#[test]
fn a_stream_that_has_received_takes_no_descriptors() {
    run(async {
        let (a, b) = UnixStream::pair()?;
        assert!(poll_once(b.recv()).await.is_none());
        let refused = b.receive_descriptors().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
        a.write_all("x").await.0?;
        assert_eq!(
            b.recv().await?.as_deref(),
            Some(&b"x"[..]),
            "it goes on as it was"
        );
        let _incoming = a.receive_descriptors()?;
        assert_eq!(errno(a.recv().await), libc::EBUSY);
        assert!(a.receive_descriptors().is_err(), "once");
        let nothing = a.write_with_descriptors("", vec![file("x")]).await.0;
        assert_eq!(nothing.unwrap_err().kind(), ErrorKind::InvalidInput);
        Ok(())
    });
}

/// Descriptors of the process when everything that was let go has ended.
async fn descriptors_settle_at(expected: usize) {
    for _ in 0..200 {
        if descriptors() == expected {
            return;
        }
        sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(
        descriptors(),
        expected,
        "descriptors leak, or were closed twice"
    );
}

#[test]
fn descriptors_that_nobody_takes_are_closed() {
    alone(|| {
        run(async {
            // Buffers and what else a first message needs.
            drop(exchange().await?);
            settle().await;
            let before = descriptors();
            for way in 0..5 {
                let (b, d, incoming) = exchange().await?;
                match way {
                    // Messages are taken, and their descriptors are not.
                    0 => {
                        drop((b.recv().await?, d.recv().await?, incoming.recv().await?));
                        drop(b.recv_from(Vec::with_capacity(9)).await.0?);
                    }
                    // They are in the inbox, and whoever waited for them is gone.
                    1 => {
                        let _ = poll_once(b.recv()).await;
                        let _ = poll_once(d.recv()).await;
                        let _ = poll_once(incoming.recv()).await;
                        settle().await;
                    }
                    // They are handed out at the end.
                    2 => {
                        let _ = poll_once(d.recv()).await;
                        settle().await;
                        let left = d.close().await?;
                        let count = left
                            .iter()
                            .map(|it| it.control.descriptors())
                            .sum::<usize>();
                        assert_eq!(count, 2);
                        drop((left, b, incoming));
                        descriptors_settle_at(before).await;
                        continue;
                    }
                    // They are still in the kernel.
                    3 => {}
                    // They come while it is dropped.
                    _ => {
                        let _ = poll_once(b.recv()).await;
                        let _ = poll_once(d.recv()).await;
                    }
                }
                drop((b, d, incoming));
                descriptors_settle_at(before).await;
            }
            Ok(())
        });
    });
}

/// Three receivers that each have messages with a descriptor on their way.
async fn exchange() -> io::Result<(UnixDatagram, UnixSeqpacket, UnixDescriptorReceiver)> {
    let (a, b) = UnixDatagram::pair()?;
    let (c, d) = UnixSeqpacket::pair()?;
    let (e, _, incoming) = stream().await?;
    for _ in 0..2 {
        a.send_msg("x", with([file("x")])).await.0?;
        c.send_msg("x", with([file("x")])).await.0?;
        e.write_with_descriptors("x", vec![file("x")]).await.0?;
    }
    Ok((b, d, incoming))
}

#[test]
fn a_runtime_that_ends_closes_what_nobody_has_taken() {
    alone(|| {
        let before = descriptors();
        let left = Runtime::new().unwrap().block_on(async {
            let (b, d, incoming) = exchange().await.unwrap();
            let _ = poll_once(b.recv()).await;
            let _ = poll_once(d.recv()).await;
            settle().await;
            (b, d, incoming)
        });
        drop(left);
        assert_eq!(descriptors(), before);
    });
}

#[test]
fn without_a_number_for_a_descriptor_the_message_says_so_and_nothing_leaks() {
    alone(|| {
        run(async {
            let (a, b) = UnixDatagram::pair()?;
            let (c, d) = UnixSeqpacket::pair()?;
            let (e, _f, incoming) = stream().await?;
            let files: Vec<OwnedFd> = (0..8).map(|_| file("x")).collect();
            let copies = || {
                files
                    .iter()
                    .map(|file| file.try_clone().unwrap())
                    .collect::<Vec<_>>()
            };
            a.send_msg("x", with(copies())).await.0?;
            c.send_msg("x", with(copies())).await.0?;
            e.write_with_descriptors("x", copies()).await.0?;
            let taken = leave_descriptors(3);
            let free = || taken.len() + descriptors();
            let before = free();
            let mut message = b.recv().await?;
            assert!(message.control.truncated() && &*message.payload == b"x");
            assert_eq!(message.control.take_descriptors().len(), 3);
            let record = d.recv().await?.expect("a record");
            assert!(record.control.truncated());
            assert_eq!(record.control.descriptors(), 3);
            // Those that are held count: there is none for the next one.
            let piece = incoming.recv().await?.expect("a byte");
            assert!(piece.control.truncated());
            assert_eq!(
                (&*piece.payload, piece.control.descriptors()),
                (&b"x"[..], 0)
            );
            drop((record, piece));
            assert_eq!(free(), before);
            drop(taken);
            // How many holes below the limit there were is the business of who started us.
            assert!(allow_descriptors(64), "a limit that may be raised again");
            a.send_msg("y", with(copies())).await.0?;
            let message = b.recv().await?;
            assert_eq!(
                (message.control.descriptors(), message.control.truncated()),
                (8, false)
            );
            Ok(())
        });
    });
}

#[test]
fn a_send_that_fails_or_is_dropped_closes_its_descriptors() {
    alone(|| {
        run(async {
            let socket = UnixDatagram::unbound()?;
            let (a, _b) = UnixStream::pair()?;
            drop(socket.send("x").await);
            let before = descriptors();
            assert_eq!(
                errno(socket.send_msg("x", with([file("x")])).await.0),
                libc::ENOTCONN
            );
            drop(socket.send_msg("x", with([file("x")])));
            drop(a.write_with_descriptors("x", vec![file("x")]));
            a.shutdown(Shutdown::Write).await?;
            let refused = a.write_with_descriptors("x", vec![file("x")]).await.0;
            assert_eq!(errno(refused), libc::EPIPE);
            let cancelled = socket.send_msg("x", with([file("x")])).cancel().await.0;
            assert_eq!(errno(cancelled), libc::ECANCELED);
            descriptors_settle_at(before).await;
            Ok(())
        });
    });
}
