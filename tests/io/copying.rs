//! Copying between streams.

use std::io::ErrorKind;
use std::net::Shutdown;
use std::rc::Rc;
use std::time::Duration;

use corering::io::{
    AsyncBufRead, AsyncRead, AsyncWrite, DuplexStream, copy, copy_bidirectional, duplex,
};
use corering::net::{TcpSocket, TcpStream};
use corering::spawn;
use corering::task::JoinHandle;
use corering::time::{sleep, timeout};
use futures_lite::future::zip;

use crate::common::{localhost, pair, pair_with_std, pattern, run};
use crate::{A_WHILE, dropped_half_way, rest};

type Copied = JoinHandle<std::io::Result<(u64, u64)>>;

/// A client and a server with a proxy between them.
async fn proxied() -> (TcpStream, TcpStream, Copied) {
    let ((client, near), (far, server)) = (pair().await, pair().await);
    let copying = spawn(async move { copy_bidirectional(&near, &far).await });
    (client, server, copying)
}

#[test]
fn a_copy_has_every_byte_and_their_number() {
    run(async {
        for len in [0, 1, 4_000, 70_000, 3_000_000] {
            let (mut a, b) = pair().await;
            let sent = pattern(len, len as usize);
            let bytes = sent.clone();
            let writer = spawn(async move { b.write_all(bytes).await.0 });
            let mut got = Vec::new();
            assert_eq!(copy(&mut a, &mut got).await.unwrap(), u64::from(len));
            assert!(got == sent);
            writer.await.unwrap().unwrap();
        }
    });
}

/// A connection that holds little between its ends: who writes has to wait.
async fn narrow_pair() -> (TcpStream, TcpStream) {
    let listener = TcpSocket::new_v4().unwrap();
    let listener = listener.recv_buffer_size(8 * 1024).unwrap();
    let listener = listener.bind(localhost()).unwrap().listen(1).unwrap();
    let writer = TcpSocket::new_v4().unwrap();
    let writer = writer.send_buffer_size(8 * 1024).unwrap();
    let writer = writer.connect(listener.local_addr().unwrap());
    (writer.await.unwrap(), listener.accept().await.unwrap().0)
}

/// Copies with futures that are dropped, which are waiting for bytes or for room.
async fn copied_in_spite_of_drops(part: usize, pauses: (Duration, Duration)) {
    let ((source, mut near), (mut far, sink)) = (pair().await, narrow_pair().await);
    let sent = pattern(7, 100 * part);
    let bytes = sent.clone();
    let writer = spawn(async move {
        for part in bytes.chunks(part) {
            source.write_all(part.to_vec()).await.0.unwrap();
            sleep(pauses.0).await;
        }
    });
    let reader = spawn(async move {
        let mut got = Vec::new();
        while let Some(piece) = sink.recv().await.unwrap() {
            got.extend_from_slice(&piece);
            drop(piece);
            sleep(pauses.1).await;
        }
        got
    });
    let mut drops = 0;
    while timeout(Duration::from_micros(300), copy(&mut near, &mut far))
        .await
        .is_err()
    {
        drops += 1;
    }
    drop(far);
    let got = reader.await.unwrap();
    let first = got.iter().zip(&sent).position(|(got, sent)| got != sent);
    assert!(
        got == sent,
        "{} of {}, wrong at {first:?}",
        got.len(),
        sent.len()
    );
    assert!(drops > 5, "only {drops} drops");
    writer.await.unwrap();
}

#[test]
fn a_copy_that_is_dropped_again_and_again_loses_no_byte() {
    let short = Duration::from_micros(200);
    run(async {
        for part in [500, 5_000, 20_000] {
            copied_in_spite_of_drops(part, (short, Duration::ZERO)).await;
            copied_in_spite_of_drops(part, (Duration::ZERO, short)).await;
        }
    });
}

/// Asks for what it ends with, and answers when it has seen that end.
async fn ask(client: &TcpStream, server: &TcpStream, request: Vec<u8>, reply: Vec<u8>) {
    let (question, answer) = (request.clone(), reply.clone());
    let asking = async {
        client.write_all(question).await.0.unwrap();
        client.shutdown(Shutdown::Write).await.unwrap();
        rest(&mut &*client).await
    };
    let answering = async {
        let question = rest(&mut &*server).await;
        server.write_all(answer).await.0.unwrap();
        server.shutdown(Shutdown::Write).await.unwrap();
        question
    };
    let (got, asked) = zip(asking, answering).await;
    assert!(asked == request && got == reply);
}

#[test]
fn the_end_of_each_direction_is_carried_over_and_the_other_goes_on() {
    run(async {
        let (client, server, copying) = proxied().await;
        ask(&client, &server, pattern(1, 300_000), pattern(2, 1_000_000)).await;
        assert_eq!(copying.await.unwrap().unwrap(), (300_000, 1_000_000));
        // The other way round.
        let (client, server, copying) = proxied().await;
        ask(&server, &client, pattern(3, 10), pattern(4, 20)).await;
        assert_eq!(copying.await.unwrap().unwrap(), (20, 10));
        let (client, server, copying) = proxied().await;
        ask(&client, &server, Vec::new(), Vec::new()).await;
        assert_eq!(copying.await.unwrap().unwrap(), (0, 0));
    });
}

#[test]
fn streams_of_two_kinds_are_copied_to_each_other() {
    run(async {
        let ((client, near), (far, mut server)) = (pair().await, duplex(100));
        let copying = spawn(async move { copy_bidirectional(&near, &far).await });
        client.write_all(pattern(1, 5_000)).await.0.unwrap();
        client.shutdown(Shutdown::Write).await.unwrap();
        assert!(rest(&mut server).await == pattern(1, 5_000));
        server.write_all("back").await.0.unwrap();
        drop(server);
        assert_eq!(rest(&mut &client).await, b"back");
        assert_eq!(copying.await.unwrap().unwrap(), (5_000, 4));
    });
}

#[test]
fn a_reset_of_one_side_ends_both_directions() {
    run(async {
        let ((near, peer), (far, server)) = (pair_with_std().await, pair().await);
        let copying = async { copy_bidirectional(&near, &far).await };
        let resetting = async {
            std::io::Write::write_all(&mut &peer, b"some").unwrap();
            let (result, bytes) = (&server).read_exact(Box::new([0; 4])).await;
            result.unwrap();
            assert_eq!(&*bytes, b"some");
            let options = socket2::SockRef::from(&peer);
            options.set_linger(Some(Duration::ZERO)).unwrap();
            drop(peer);
        };
        let (result, ()) = zip(copying, resetting).await;
        assert_eq!(result.unwrap_err().kind(), ErrorKind::ConnectionReset);
        // The other stream is as it was.
        far.write_all("sorry").await.0.unwrap();
        assert_eq!(&*server.recv().await.unwrap().unwrap(), b"sorry");
    });
}

#[test]
fn a_slow_reader_holds_up_its_direction_alone_and_at_little_memory() {
    run(async {
        let (client, server, copying) = proxied().await;
        let (client, server) = (Rc::new(client), Rc::new(server));
        let flooding = {
            let server = Rc::clone(&server);
            let bytes = pattern(9, 100_000);
            let total = Rc::new(std::cell::Cell::new(0_u64));
            let count = Rc::clone(&total);
            let task = spawn(async move {
                loop {
                    server.write_all(bytes.clone()).await.0.unwrap();
                    count.set(count.get() + 1);
                }
            });
            (task, total)
        };
        // Until the flood stands still.
        let mut before = u64::MAX;
        while before != flooding.1.get() {
            before = flooding.1.get();
            sleep(A_WHILE * 5).await;
        }
        let bytes = corering::runtime::stats().unwrap().buffers * 64 * 1024;
        assert!(bytes < 16 * 1024 * 1024, "{bytes} bytes of receive buffers");
        for round in 0..50 {
            let sent = pattern(round, 2_000);
            client.write_all(sent.clone()).await.0.unwrap();
            let (result, got) = (&*server).read_exact(Vec::with_capacity(2_000)).await;
            result.unwrap();
            assert!(got == sent);
        }
        // It goes on when it is read.
        for _ in 0..100 {
            client.recv().await.unwrap().expect("more of the flood");
        }
        flooding.0.abort();
        drop(copying);
    });
}

#[test]
fn a_copy_both_ways_that_is_dropped_leaves_the_streams_usable() {
    run(async {
        let ((client, near), (far, server)) = (pair().await, pair().await);
        client.write_all("before ").await.0.unwrap();
        dropped_half_way(copy_bidirectional(&near, &far)).await;
        client.write_all("after").await.0.unwrap();
        client.shutdown(Shutdown::Write).await.unwrap();
        server.shutdown(Shutdown::Write).await.unwrap();
        assert_eq!(copy_bidirectional(&near, &far).await.unwrap(), (5, 0));
        assert_eq!(rest(&mut &server).await, b"before after");
    });
}

/// A sink that cannot hand on what it was given.
struct Broken(DuplexStream, bool);

impl AsyncWrite for Broken {
    async fn write<B: corering::IoBuf>(&mut self, buf: B) -> corering::BufResult<usize, B> {
        self.1 = true;
        self.0.write(buf).await
    }

    async fn flush(&mut self) -> std::io::Result<()> {
        if self.1 {
            return Err(ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    async fn shutdown(&mut self) -> std::io::Result<()> {
        self.0.shutdown().await
    }
}

#[test]
fn an_error_of_the_sink_is_that_of_the_copy() {
    run(async {
        let ((mut source, mut far), (sink, mut end)) = (duplex(10), duplex(10));
        let mut sink = Broken(sink, false);
        source.write_all("abc").await.0.unwrap();
        drop(source);
        let error = copy(&mut far, &mut sink).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        assert_eq!(&*end.recv().await.unwrap().unwrap(), b"abc");

        let ((mut source, mut far), (mut sink, end)) = (duplex(10), duplex(10));
        source.write_all("abc").await.0.unwrap();
        drop(end);
        let error = copy(&mut far, &mut sink).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    });
}
