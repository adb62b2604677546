//! How the example `proxy` ends connections that nobody uses, and leaves those that are used.

mod common;
#[path = "../examples/proxy/connection.rs"]
mod connection;

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::time::{Duration, Instant};

use corering::io::AsyncRead;
use corering::net::{Deadline, DeadlineElapsed, Deadlines, TcpListener, TcpStream};
use corering::runtime::stats;
use corering::spawn;
use corering::task::JoinHandle;
use corering::time::{sleep, timeout};
use futures_lite::future::zip;

use common::{localhost, run};
use connection::{Passing, pass};

const LIMIT: Duration = Duration::from_millis(700);
/// So much later than its limit a connection may end on a machine that is busy.
const LATE: Duration = Duration::from_secs(10);

type Passed = io::Result<(u64, u64)>;

/// A client, the server's end of its connection, and what the proxy says of it.
struct Through {
    client: TcpStream,
    server: TcpStream,
    passed: JoinHandle<Passed>,
}

async fn through(deadlines: Deadlines, copy: bool) -> Through {
    let (listener, server) = (listen().await, listen().await);
    let passing = Passing {
        to: server.local_addr().unwrap(),
        connect: LATE,
        first_byte: None,
        deadlines,
        copy,
    };
    let client = TcpStream::connect(address(&listener)).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let passed = spawn(async move { pass(stream, &passing).await });
    let (server, _) = server.accept().await.unwrap();
    Through {
        client,
        server,
        passed,
    }
}

async fn listen() -> TcpListener {
    TcpListener::bind(localhost()).await.unwrap()
}

fn address(listener: &TcpListener) -> SocketAddr {
    listener.local_addr().unwrap()
}

/// Whether a byte comes through.
async fn moves(from: &TcpStream, to: &TcpStream) -> bool {
    let sent = from.write_all("x").await.0;
    let (came, byte) = timeout(LATE, (&*to).read_exact(vec![0; 1])).await.unwrap();
    sent.is_ok() && came.is_ok() && byte == b"x"
}

/// Uses a connection one way and then the other, for longer than the limit each time. Says when the
/// last byte was sent; `None` if the machine itself has stood still for too long.
async fn used(ends: &Through) -> Option<Instant> {
    let mut last = Instant::now();
    for (from, to) in [(&ends.client, &ends.server), (&ends.server, &ends.client)] {
        for _ in 0..15 {
            sleep(LIMIT / 14).await;
            let pause = last.elapsed();
            last = Instant::now();
            let moved = moves(from, to).await;
            if pause + last.elapsed() > LIMIT / 2 {
                return None;
            }
            assert!(moved, "ended while it was used");
        }
    }
    Some(last)
}

/// Which deadline has ended the connection.
async fn late(passed: JoinHandle<Passed>) -> Deadline {
    let passed = timeout(LATE, passed).await.expect("ended in time");
    DeadlineElapsed::of(&passed.unwrap().unwrap_err()).expect("a deadline")
}

#[test]
fn a_connection_on_which_nothing_moves_is_ended_and_one_that_is_used_is_not() {
    let either = |copy| async move {
        for _ in 0..30 {
            let ends = through(Deadlines::new().idle(LIMIT), copy).await;
            let Some(begin) = used(&ends).await else {
                continue;
            };
            assert_eq!(late(ends.passed).await, Deadline::Idle);
            assert!(begin.elapsed() >= LIMIT, "too early");
            for end in [&ends.client, &ends.server] {
                let (n, _) = timeout(LATE, end.read(vec![0; 1])).await.unwrap();
                assert_eq!(n.unwrap(), 0, "the end");
            }
            return;
        }
        panic!("the machine is too busy to tell");
    };
    run(zip(either(false), either(true)));
}

#[test]
fn a_client_that_does_not_read_is_cut_off_and_one_that_reads_slowly_is_not() {
    for copy in [false, true] {
        run(async {
            for _ in 0..30 {
                if stalled(copy).await {
                    return;
                }
            }
            panic!("the machine is too busy to tell");
        });
    }
}

/// False if the machine itself has stood still for too long.
async fn stalled(copy: bool) -> bool {
    const LEN: usize = 128 << 20;
    let ends = through(Deadlines::new().write(LIMIT), copy).await;
    let server = ends.server;
    let sending = spawn(async move { server.write_all(vec![7; LEN]).await.0 });
    let Some(mut taken) = read_slowly(&ends.client).await else {
        return false;
    };
    assert!(!ends.passed.is_finished() && !sending.is_finished());
    assert_eq!(late(ends.passed).await, Deadline::Write);
    // Nor does what is on its way linger for the ten seconds that a dropped write may. One op that
    // nobody waits for is the core's own: it waits for wakes by other threads.
    let gone = async {
        while stats().unwrap().orphans > 1 {
            sleep(LIMIT / 70).await;
        }
    };
    let gone = timeout(LATE / 3, gone).await;
    gone.expect("it is not sent any more");
    let sent = timeout(LATE, sending).await.expect("told in time").unwrap();
    let error = sent.unwrap_err().kind();
    let told = [io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe];
    assert!(told.contains(&error), "{error:?}");
    // What the client has not taken is gone with the connection.
    let rest = async {
        loop {
            let (n, _) = ends.client.read(vec![0; 1 << 20]).await;
            match n {
                Ok(0) => return io::ErrorKind::UnexpectedEof,
                Ok(n) => taken += n,
                Err(error) => return error.kind(),
            }
        }
    };
    let rest = timeout(LATE, rest).await.expect("ended in time");
    assert_eq!(rest, io::ErrorKind::ConnectionReset);
    assert!(taken < LEN);
    true
}

/// Takes something at all times, for longer than the limit; how much.
async fn read_slowly(client: &TcpStream) -> Option<usize> {
    let (begin, mut taken) = (Instant::now(), 0);
    while begin.elapsed() < 2 * LIMIT {
        let pause = Instant::now();
        let (n, _) = client.read(vec![0; 512 << 10]).await;
        sleep(LIMIT / 70).await;
        if pause.elapsed() > LIMIT / 2 {
            return None;
        }
        taken += n.expect("it is read from");
    }
    Some(taken)
}

#[test]
fn a_client_that_has_ended_its_half_gets_the_answer_in_time() {
    for copy in [false, true] {
        run(async {
            let deadlines = Deadlines::new().idle(LATE).write(LATE);
            let ends = through(deadlines, copy).await;
            ends.client.write_all("question").await.0.unwrap();
            ends.client.shutdown(Shutdown::Write).await.unwrap();
            let mut question = Vec::new();
            (&ends.server).read_to_end(&mut question, 99).await.unwrap();
            assert_eq!(question, b"question");
            sleep(LIMIT / 3).await;
            ends.server.write_all("answer").await.0.unwrap();
            sleep(LIMIT / 3).await;
            ends.server.shutdown(Shutdown::Write).await.unwrap();
            let mut answer = Vec::new();
            (&ends.client).read_to_end(&mut answer, 99).await.unwrap();
            assert_eq!(answer, b"answer");
            assert_eq!(ends.passed.await.unwrap().unwrap(), (8, 6));
        });
    }
}

#[test]
fn a_client_that_says_nothing_is_cut_off_before_the_server_is_asked() {
    run(async {
        let (listener, server) = (listen().await, listen().await);
        let passing = Passing {
            to: address(&server),
            connect: LATE,
            first_byte: Some(LIMIT),
            deadlines: Deadlines::new(),
            copy: false,
        };
        let client = TcpStream::connect(address(&listener)).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let begin = Instant::now();
        let passed = spawn(async move { pass(stream, &passing).await });
        assert_eq!(late(passed).await, Deadline::FirstByte);
        assert!(begin.elapsed() >= LIMIT, "too early");
        let (n, _) = timeout(LATE, client.read(vec![0; 1])).await.unwrap();
        assert_eq!(n.unwrap(), 0);
        assert!(timeout(LIMIT / 9, server.accept()).await.is_err());
    });
}
