//! Unix sockets of messages, and descriptors that come with messages and with the bytes of streams.

mod common;
#[path = "unix_messages/descriptors.rs"]
mod descriptors;

use std::future::Future;
use std::io::{self, ErrorKind, Write};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr;
use std::time::Duration;

use corering::Runtime;
use corering::io::Operation;
use corering::net::{UnixDatagram, UnixListener, UnixSeqpacket, UnixSeqpacketListener};
use corering::spawn;
use corering::time::{sleep, timeout};
use futures_lite::future::poll_once;
use tempfile::TempDir;

use common::errno;
use descriptors::file;

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
fn a_message_waits_whole_for_a_receiver_without_room() {
    let folder = folder();
    run(async {
        const MESSAGES: u32 = 2000;
        let path = folder.path().join("slow");
        let slow = UnixDatagram::bind(&path)?;
        let (named, connected) = (UnixDatagram::unbound()?, UnixDatagram::unbound()?);
        connected.connect(&path)?;
        let to = path.clone();
        let sending = spawn(async move {
            for n in 0..MESSAGES {
                let message = n.to_le_bytes().to_vec();
                let (sent, _) = match n % 2 {
                    0 => named.send_to(message, &to).await,
                    _ => connected.send(message).await,
                };
                assert_eq!(sent?, 4);
            }
            io::Result::Ok(named)
        });
        // Nothing is received meanwhile, so the kernel's queue is full and stays so.
        sleep(Duration::from_millis(30)).await;
        assert!(!sending.is_finished());
        for n in 0..MESSAGES {
            if n % 100 == 0 {
                sleep(Duration::from_micros(500)).await;
            }
            assert_eq!(&*slow.recv().await?.payload, n.to_le_bytes());
        }
        let named = sending.await.unwrap()?;
        // One that is dropped or cancelled while it waits was not sent.
        let mut waiting = Vec::new();
        let full = loop {
            match timeout(Duration::from_millis(20), named.send_to("fill", &path)).await {
                Ok((sent, _)) => waiting.push(sent?),
                Err(elapsed) => break elapsed,
            }
        };
        let _ = full;
        for _ in 0..waiting.len() {
            assert_eq!(&*slow.recv().await?.payload, b"fill");
        }
        named.send_to("last", &path).await.0?;
        assert_eq!(&*slow.recv().await?.payload, b"last");
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
