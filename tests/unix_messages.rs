//! Unix sockets of messages, and descriptors that come with messages and with the bytes of streams.

mod common;

use std::future::Future;
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr;
use std::time::Duration;

use corering::Runtime;
use corering::io::Operation;
use corering::net::{
    Control, UnixDatagram, UnixDescriptorReceiver, UnixListener, UnixSeqpacket,
    UnixSeqpacketListener, UnixStream,
};
use corering::spawn;
use corering::time::{sleep, timeout};
use futures_lite::future::poll_once;
use tempfile::TempDir;

use common::{alone, descriptors, errno, leave_descriptors};

fn run<T>(future: impl Future<Output = io::Result<T>>) -> T {
    let limited = async { timeout(Duration::from_secs(20), future).await };
    let done = Runtime::new().unwrap().block_on(limited);
    done.expect("it ends in time").unwrap()
}

fn folder() -> TempDir {
    TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// Long enough for what was sent to be in an inbox.
async fn settle() {
    sleep(Duration::from_millis(10)).await;
}

/// A file whose content is `text`.
fn file(text: &str) -> OwnedFd {
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
fn a_datagram_names_its_sender_who_can_be_answered() {
    let folder = folder();
    run(async {
        let path = folder.path().join("server");
        let server = UnixDatagram::bind(&path)?;
        let client = UnixDatagram::bind(folder.path().join("client"))?;
        assert_eq!(client.send_to("question", &path).await.0?, 8);
        let question = server.recv().await?;
        assert_eq!(&*question.payload, b"question");
        assert_eq!(
            question.from.as_pathname(),
            client.local_addr()?.as_pathname()
        );
        let (sent, payload) = server.send_to_addr(question.payload, &question.from).await;
        assert_eq!((sent?, &payload[..]), (8, &b"question"[..]));
        let (answer, buf) = client.recv_from(Vec::with_capacity(5)).await;
        let answer = answer?;
        assert_eq!((&buf[..], answer.truncated), (&b"quest"[..], true));
        assert_eq!(answer.from.as_pathname(), Some(&*path));
        // Who has no name has sent it all the same.
        let stranger = UnixDatagram::unbound()?;
        stranger.connect(&path)?;
        stranger.send("").await.0?;
        let empty = server.recv().await?;
        assert!(empty.payload.is_empty() && empty.from.is_unnamed() && !empty.truncated);
        let refused = server.send_to_addr("who?", &empty.from).await.0;
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidInput);
        Ok(())
    });
}

#[test]
fn abstract_names_are_those_of_senders_too() {
    run(async {
        let own = |name: &str| format!("corering-messages-{}-{name}", std::process::id());
        let (a, b) = (own("a"), own("b\0c"));
        let (a, b) = (
            SocketAddr::from_abstract_name(a)?,
            SocketAddr::from_abstract_name(b)?,
        );
        let (first, second) = (UnixDatagram::bind_addr(&a)?, UnixDatagram::bind_addr(&b)?);
        second.connect_addr(&a)?;
        second.send("hello").await.0?;
        let from = first.recv().await?.from;
        assert_eq!(from.as_abstract_name(), b.as_abstract_name());
        assert_eq!(errno(UnixDatagram::bind_addr(&a)), libc::EADDRINUSE);
        Ok(())
    });
}

#[test]
fn a_message_to_nobody_is_an_error_that_does_not_stay() {
    let folder = folder();
    run(async {
        let path = folder.path().join("s");
        let socket = UnixDatagram::unbound()?;
        assert_eq!(errno(socket.send("x").await.0), libc::ENOTCONN);
        assert_eq!(errno(socket.send_to("x", &path).await.0), libc::ENOENT);
        drop(UnixDatagram::bind(&path)?);
        assert_eq!(
            errno(socket.send_to("x", &path).await.0),
            libc::ECONNREFUSED
        );
        let long = folder.path().join("x".repeat(150));
        let refused = socket.send_to("x", &long).await.0.unwrap_err();
        assert!(refused.to_string().contains("may have 107"), "{refused}");
        std::fs::remove_file(&path)?;
        let _stream = UnixListener::bind(&path)?;
        assert_eq!(errno(socket.connect(&path)), libc::EPROTOTYPE);
        assert_eq!(errno(UnixSeqpacket::connect(&path).await), libc::EPROTOTYPE);
        std::fs::remove_file(&path)?;
        let there = UnixDatagram::bind(&path)?;
        socket.send_to("now", &path).await.0?;
        assert_eq!(&*there.recv().await?.payload, b"now");
        let large = vec![0; 16 << 20];
        assert_eq!(errno(socket.send_to(large, &path).await.0), libc::EMSGSIZE);
        Ok(())
    });
}

#[test]
fn messages_come_in_order_whoever_is_dropped_and_whatever_waits() {
    run(async {
        let (a, b) = UnixDatagram::pair()?;
        const MESSAGES: u32 = 3000;
        let sending = spawn(async move {
            for n in 0..MESSAGES {
                let mut send = a.send(n.to_le_bytes().to_vec());
                // Every third send loses its future, when it was submitted.
                match poll_once(&mut send).await {
                    None if n % 3 > 0 => drop(send.await.0?),
                    None => drop(send),
                    Some((sent, _)) => drop(sent?),
                }
            }
            io::Result::Ok(a)
        });
        for n in 0..MESSAGES {
            if n % 7 == 0 {
                // Nobody waits for a while: the kernel fills up, and the sender waits.
                sleep(Duration::from_micros(300)).await;
            }
            let mut dropped = b.recv();
            if let Some(early) = poll_once(&mut dropped).await {
                assert_eq!(&*early?.payload, n.to_le_bytes());
                continue;
            }
            drop(dropped);
            assert_eq!(&*b.recv().await?.payload, n.to_le_bytes());
        }
        drop(sending.await.unwrap()?);
        Ok(())
    });
}

#[test]
fn many_sends_at_once_come_in_the_order_of_their_calls() {
    run(async {
        for round in 0..20_u32 {
            let (a, b) = UnixDatagram::pair()?;
            // More than the kernel keeps, so that most of them wait.
            let mut sends: Vec<_> = (0..800_u32)
                .map(|n| Box::pin(a.send(n.to_le_bytes().to_vec())))
                .collect();
            for send in &mut sends {
                assert!(poll_once(send).await.is_none());
            }
            let receiving = spawn(async move {
                let mut order = Vec::new();
                while order.len() < 800 {
                    let message = b.recv().await?;
                    order.push(u32::from_le_bytes(message.payload[..].try_into().unwrap()));
                    if order.len() as u32 % 100 == round {
                        sleep(Duration::from_micros(200)).await;
                    }
                }
                io::Result::Ok(order)
            });
            for send in sends {
                send.await.0?;
            }
            let order = receiving.await.unwrap()?;
            assert!(order.is_sorted(), "{order:?}");
        }
        Ok(())
    });
}

#[test]
fn a_send_waits_until_there_is_room() {
    run(async {
        let (a, b) = UnixSeqpacket::pair()?;
        let mut sent = 0_usize;
        loop {
            let (result, _) = a
                .send(vec![sent as u8; 1000])
                .timeout(Duration::from_millis(50))
                .await;
            match result {
                Ok(1000) => sent += 1,
                Ok(n) => panic!("{n} bytes of a record"),
                Err(error) => break assert_eq!(error.kind(), ErrorKind::TimedOut),
            }
        }
        assert!(sent > 10);
        let last = spawn(async move { a.send("last").await.0 });
        for n in 0..sent {
            let record = b.recv().await?.expect("a record");
            assert_eq!(&record.payload[..], vec![n as u8; 1000]);
        }
        assert_eq!(&*b.recv().await?.expect("the last").payload, b"last");
        assert_eq!(last.await.unwrap()?, 4);
        assert!(b.recv().await?.is_none());
        Ok(())
    });
}

#[test]
fn records_are_kept_apart_and_empty_ones_are_not_the_end() {
    let folder = folder();
    run(async {
        let path = folder.path().join("s");
        let listener = UnixSeqpacketListener::bind(&path)?;
        let client = UnixSeqpacket::connect(&path).await?;
        // Before it is accepted, so before anybody could ask for the time of records.
        client.send("").await.0?;
        client.send("one").await.0?;
        let (server, peer) = listener.accept().await?;
        assert!(peer.is_unnamed() && client.peer_addr()?.as_pathname() == Some(&*path));
        assert_eq!(server.peer_cred()?.pid(), Some(std::process::id() as i32));
        for record in ["two", "", "", "three"] {
            client.send(record).await.0?;
        }
        client.shutdown(Shutdown::Write)?;
        let mut records = Vec::new();
        while let Some(record) = server.recv().await? {
            assert!(!record.truncated);
            records.push(String::from_utf8_lossy(&record.payload).into_owned());
        }
        assert_eq!(records, ["", "one", "two", "", "", "three"]);
        assert!(server.recv().await?.is_none(), "the end stays");
        server.send("still").await.0?;
        let (record, buf) = client.recv_into(Vec::with_capacity(3)).await;
        let record = record?.expect("a record");
        assert_eq!(
            (record.len, record.truncated, &buf[..]),
            (3, true, &b"sti"[..])
        );
        drop(server);
        assert!(client.recv_into(Vec::with_capacity(3)).await.0?.is_none());
        assert_eq!(errno(client.send("x").await.0), libc::EPIPE);
        Ok(())
    });
}

#[test]
fn a_connection_that_is_closed_over_records_is_reset_once() {
    run(async {
        let (a, b) = UnixSeqpacket::pair()?;
        a.send("last").await.0?;
        b.send("nobody reads that").await.0?;
        drop(a);
        // The kernel tells of it first; what came before is not lost.
        assert_eq!(errno(b.recv().await), libc::ECONNRESET);
        assert_eq!(&*b.recv().await?.expect("a record").payload, b"last");
        assert!(b.recv().await?.is_none());
        Ok(())
    });
}

#[test]
fn a_dropped_accept_keeps_the_connection_of_records() {
    let folder = folder();
    run(async {
        let path = folder.path().join("s");
        let listener = UnixSeqpacketListener::bind(&path)?;
        let mut accept = listener.accept();
        assert!(poll_once(&mut accept).await.is_none());
        let client = UnixSeqpacket::connect(&path).await?;
        settle().await;
        drop(accept);
        client.send("still here").await.0?;
        let (server, _) = listener.accept().await?;
        assert_eq!(
            &*server.recv().await?.expect("a record").payload,
            b"still here"
        );
        assert!(listener.close().await?.is_empty());
        Ok(())
    });
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

#[test]
fn sockets_of_other_crates_come_and_go() {
    run(async {
        let (ours, theirs) = std::os::unix::net::UnixDatagram::pair()?;
        ours.set_nonblocking(true)?;
        let ours = UnixDatagram::from_std(ours)?;
        theirs.send(b"in")?;
        assert_eq!(&*ours.recv().await?.payload, b"in");
        let (a, b) = socket2::Socket::pair(socket2::Domain::UNIX, socket2::Type::SEQPACKET, None)?;
        a.set_nonblocking(true)?;
        let a = UnixSeqpacket::from_fd(a.into())?;
        let waiting = spawn(async move { a.recv().await.map(|it| it.unwrap().payload.to_vec()) });
        settle().await;
        (&b).write_all(b"record")?;
        assert_eq!(waiting.await.unwrap()?, b"record");
        let file = file("no socket");
        assert!(file.as_raw_fd() > 2);
        assert_eq!(errno(UnixSeqpacket::from_fd(file)), libc::ENOTSOCK);
        Ok(())
    });
}
