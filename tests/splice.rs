//! Bytes from stream to stream within the kernel: all of them arrive, in order, whoever lets go.

#![allow(unsafe_code)]

mod common;

use std::cell::Cell;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::rc::Rc;
use std::time::Duration;

use common::{
    alone, descriptors, errno, leave_descriptors, load, pair, pair_with_std, pattern, read_exactly,
    run, until,
};
use corering::net::{TcpStream, UnixStream, splice, splice_bidirectional};
use corering::spawn;
use corering::time::{sleep, timeout};
use futures_lite::future::{or, zip};

/// More than two sockets and a pipe hold.
const LARGE: usize = 16 << 20;

async fn rest(stream: &TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(bytes) = stream.recv().await.expect("no error") {
        all.extend_from_slice(&bytes);
    }
    all
}

#[test]
fn all_bytes_arrive_and_the_end_is_no_byte() {
    run(async {
        let (client, ours) = pair().await;
        let (to_server, server) = pair().await;
        let sent = pattern(1, LARGE);
        let expected = sent.clone();
        let writing = spawn(async move {
            client.write_all(sent).await.0.expect("all is taken");
            client.shutdown(Shutdown::Write).await
        });
        let reading = spawn(async move { rest(&server).await });
        assert_eq!(splice(&ours, &to_server).await.unwrap(), LARGE as u64);
        to_server.shutdown(Shutdown::Write).await.unwrap();
        writing.await.unwrap().unwrap();
        assert!(reading.await.unwrap() == expected);
        assert!(ours.recv().await.unwrap().is_none(), "the end stays");
    });
}

#[test]
fn what_was_received_already_goes_first() {
    run(async {
        let (client, ours) = pair().await;
        let (to_server, server) = pair().await;
        client.write_all("one ").await.0.unwrap();
        assert_eq!(&*ours.fill_buf().await.unwrap(), b"one ");
        let moving = spawn(async move { splice(&ours, &to_server).await });
        assert_eq!(read_exactly(&server, 4).await, b"one ");
        client.write_all("two").await.0.unwrap();
        drop(client);
        assert_eq!(rest(&server).await, b"two");
        assert_eq!(moving.await.unwrap().unwrap(), 7);
    });
}

#[test]
fn a_dropped_splice_loses_and_doubles_nothing() {
    run(async {
        let (client, ours) = pair().await;
        let (to_server, server) = pair().await;
        let sent = pattern(2, LARGE);
        let expected = sent.clone();
        let writing = spawn(async move {
            client.write_all(sent).await.0.expect("all is taken");
        });
        let reading = spawn(async move {
            let mut all = Vec::new();
            while let Some(bytes) = server.recv().await.expect("no error") {
                all.extend_from_slice(&bytes);
                if all.len() % 7 == 0 {
                    sleep(Duration::from_micros(300)).await;
                }
            }
            all
        });
        let mut drops = 0;
        while timeout(Duration::from_micros(700), splice(&ours, &to_server))
            .await
            .is_err()
        {
            drops += 1;
        }
        assert!(drops > 5, "it was dropped {drops} times only");
        to_server.shutdown(Shutdown::Write).await.unwrap();
        writing.await.unwrap();
        assert!(reading.await.unwrap() == expected);
    });
}

/// A stream whose peer does not read: full, but for what the splice itself has taken.
async fn stuck() -> (TcpStream, TcpStream, std::net::TcpStream) {
    let (client, ours) = pair().await;
    let (to_server, server) = pair_with_std().await;
    let written = Cell::new(0);
    let pouring = async {
        loop {
            client.write_all(vec![7; 64 * 1024]).await.0.unwrap();
            written.set(written.get() + 1);
        }
    };
    let moving = async {
        splice(&ours, &to_server).await.unwrap();
    };
    let idle = async {
        let mut before = usize::MAX;
        while before != written.get() {
            before = written.get();
            sleep(Duration::from_millis(200)).await;
        }
    };
    or(or(pouring, moving), idle).await;
    (client, to_server, server)
}

#[test]
fn what_was_taken_goes_before_what_is_written_later() {
    run(async {
        let (_client, to_server, mut server) = stuck().await;
        let writing = spawn(async move { to_server.write_all("later").await.0 });
        sleep(Duration::from_millis(20)).await;
        assert!(!writing.is_finished(), "it overtakes");
        let reading = corering::task::spawn_blocking(move || {
            let mut all = Vec::new();
            server.read_to_end(&mut all).expect("no error");
            all
        });
        writing.await.unwrap().unwrap();
        let all = reading.await.unwrap();
        let (bytes, last) = all.split_at(all.len() - 5);
        assert_eq!(last, b"later");
        assert!(bytes.iter().all(|byte| *byte == 7));
    });
}

#[test]
fn a_dropped_stream_still_gets_what_was_taken_for_it() {
    alone(|| {
        run(async {
            let before = descriptors();
            let (client, to_server, mut server) = stuck().await;
            drop(client);
            let sent = || server.peek(&mut [0]).is_ok();
            assert!(sent());
            drop(to_server);
            let mut all = Vec::new();
            server.set_nonblocking(true).unwrap();
            let mut ended = false;
            until("it has ended", || {
                ended |= match server.read_to_end(&mut all) {
                    Ok(_) => true,
                    Err(e) => {
                        assert_eq!(e.kind(), ErrorKind::WouldBlock);
                        false
                    }
                };
                ended
            })
            .await;
            assert!(all.iter().all(|byte| *byte == 7));
            drop(server);
            // One pipe is kept.
            until("all is closed", || descriptors() <= before + 2).await;
        });
    });
}

#[test]
fn ends_are_carried_over_one_by_one() {
    run(async {
        let (client, ours) = pair().await;
        let (to_server, server) = pair().await;
        let proxy = spawn(async move { splice_bidirectional(&ours, &to_server).await });
        client.write_all("request").await.0.unwrap();
        client.shutdown(Shutdown::Write).await.unwrap();
        assert_eq!(rest(&server).await, b"request");
        assert!(!proxy.is_finished());
        server.write_all("a late answer").await.0.unwrap();
        drop(server);
        assert_eq!(rest(&client).await, b"a late answer");
        assert_eq!(proxy.await.unwrap().unwrap(), (7, 13));
    });
}

#[test]
fn a_reset_is_told_by_either_side() {
    run(async {
        let (client, ours) = pair().await;
        let (to_server, server) = pair().await;
        client.write_all("some").await.0.unwrap();
        let reset = async {
            read_exactly(&server, 4).await;
            client.set_zero_linger().unwrap();
            drop(client);
        };
        let (moved, ()) = zip(splice(&ours, &to_server), reset).await;
        assert_eq!(errno(moved), libc::ECONNRESET);
        // It stays.
        assert_eq!(errno(ours.recv().await), libc::ECONNRESET);

        let (client, ours) = pair().await;
        drop(server);
        client.write_all(vec![1; 1 << 20]).await.0.unwrap();
        let error = errno(splice(&ours, &to_server).await);
        assert!([libc::EPIPE, libc::ECONNRESET].contains(&error), "{error}");
        assert!(to_server.write_all("x").await.0.is_err());
    });
}

#[test]
fn sigpipe_does_not_end_a_process_that_has_it_at_its_default() {
    alone(|| {
        // SAFETY: no handler is installed.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
        run(async {
            let (client, ours) = pair().await;
            let (to_server, server) = pair().await;
            client.write_all("some").await.0.unwrap();
            let read = async { assert_eq!(read_exactly(&server, 4).await, b"some") };
            let moving = timeout(Duration::from_millis(50), splice(&ours, &to_server));
            let (moved, ()) = zip(moving, read).await;
            assert!(moved.is_err());
            drop(server);
            client.write_all(vec![1; 1 << 20]).await.0.unwrap();
            assert!(splice(&ours, &to_server).await.is_err());
        });
    });
}

#[test]
fn it_copies_where_no_pipe_is_to_be_had() {
    alone(|| {
        run(async {
            let (client, ours) = pair().await;
            let (to_server, server) = pair().await;
            let taken = leave_descriptors(1);
            let moving = spawn(async move { splice(&ours, &to_server).await });
            let sent = pattern(3, 1 << 20);
            let expected = sent.clone();
            let writing = spawn(async move { client.write_all(sent).await.0 });
            assert!(read_exactly(&server, 1 << 20).await == expected);
            writing.await.unwrap().unwrap();
            assert_eq!(moving.await.unwrap().unwrap(), 1 << 20);
            drop(taken);
        });
    });
}

#[test]
fn a_connection_that_waits_has_no_pipe() {
    alone(|| {
        run(async {
            const COUNT: usize = 50;
            let mut clients = Vec::new();
            let mut proxies = Vec::new();
            for _ in 0..COUNT {
                let (client, ours) = pair().await;
                let (to_server, server) = pair().await;
                clients.push((client, server));
                proxies.push(spawn(async move {
                    splice_bidirectional(&ours, &to_server).await
                }));
            }
            let before = descriptors();
            for (client, server) in &clients {
                client.write_all("ping").await.0.unwrap();
                assert_eq!(read_exactly(server, 4).await, b"ping");
                server.write_all("pong").await.0.unwrap();
                assert_eq!(read_exactly(client, 4).await, b"pong");
            }
            assert!(descriptors() <= before + 2, "one pipe for all");
            drop(clients);
            for proxy in proxies {
                assert_eq!(proxy.await.unwrap().unwrap(), (4, 4));
            }
        });
    });
}

#[test]
fn unix_streams_are_spliced_too() {
    run(async {
        let (client, ours) = UnixStream::pair().unwrap();
        let (to_server, server) = pair().await;
        let proxy = spawn(async move { splice_bidirectional(&ours, &to_server).await });
        let sent = pattern(4, 1 << 20);
        let there = sent.clone();
        let writing = spawn(async move {
            client.write_all(there).await.0.unwrap();
            client.shutdown(Shutdown::Write).await.unwrap();
            let mut back = Vec::new();
            while let Some(bytes) = client.recv().await.unwrap() {
                back.extend_from_slice(&bytes);
            }
            back
        });
        assert!(rest(&server).await == sent);
        server.write_all(sent.clone()).await.0.unwrap();
        drop(server);
        assert!(writing.await.unwrap() == sent);
        assert_eq!(proxy.await.unwrap().unwrap(), (1 << 20, 1 << 20));
    });
}

#[test]
fn a_stream_that_is_spliced_into_itself_is_an_echo() {
    run(async {
        let (client, ours) = pair().await;
        let echo = spawn(async move { splice(&ours, &ours).await });
        client.write_all("hello").await.0.unwrap();
        client.shutdown(Shutdown::Write).await.unwrap();
        assert_eq!(rest(&client).await, b"hello");
        assert_eq!(echo.await.unwrap().unwrap(), 5);
    });
}

#[test]
fn a_reader_beside_a_splice_takes_its_share() {
    run(async {
        let (client, ours) = pair().await;
        let (to_server, server) = pair().await;
        let ours = Rc::new(ours);
        let moving = spawn({
            let ours = Rc::clone(&ours);
            async move { splice(&*ours, &to_server).await }
        });
        sleep(Duration::from_millis(5)).await;
        let reading = spawn(async move {
            let mut n = 0;
            while let Some(bytes) = ours.recv().await.unwrap() {
                n += bytes.len();
            }
            n
        });
        for _ in 0..200 {
            client.write_all(vec![1; 1000]).await.0.unwrap();
            sleep(Duration::from_micros(200)).await;
        }
        drop(client);
        let spliced = rest(&server).await.len();
        assert_eq!(moving.await.unwrap().unwrap(), spliced as u64);
        assert_eq!(spliced + reading.await.unwrap(), 200_000);
    });
}

#[test]
fn a_stream_that_was_spliced_blocks_in_std() {
    run(async {
        let (ours, mut peer) = pair_with_std().await;
        let (to_server, _server) = pair().await;
        let early = timeout(Duration::from_millis(5), splice(&ours, &to_server)).await;
        assert!(early.is_err());
        let (mut std, unread) = ours.into_std().await.unwrap();
        assert!(unread.is_empty());
        let late = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            peer.write_all(b"late").unwrap();
        });
        let mut buf = [0; 4];
        std.read_exact(&mut buf).expect("it waits");
        late.join().unwrap();
        assert_eq!(&buf, b"late");
    });
}

#[test]
fn a_sink_whose_peer_has_ended_is_waited_for_asleep() {
    alone(|| {
        run(async {
            let (client, ours) = pair().await;
            let (to_server, mut server) = pair_with_std().await;
            server.shutdown(Shutdown::Write).unwrap();
            let moving = spawn(async move {
                let moved = splice(&ours, &to_server).await;
                to_server.shutdown(Shutdown::Write).await.unwrap();
                moved
            });
            let sent = pattern(5, LARGE);
            let expected = sent.clone();
            let writing = spawn(async move { client.write_all(sent).await.0 });
            sleep(Duration::from_millis(200)).await;
            assert!(load().await < 0.3, "it is busy with waiting");
            let reading = corering::task::spawn_blocking(move || {
                let mut all = Vec::new();
                server.read_to_end(&mut all).map(|_| all)
            });
            writing.await.unwrap().unwrap();
            assert_eq!(moving.await.unwrap().unwrap(), LARGE as u64);
            assert!(reading.await.unwrap().unwrap() == expected);
        });
    });
}
