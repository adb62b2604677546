//! Deadlines, to the millisecond, on a kernel that is as slow as it likes.

use std::cell::Cell;
use std::io::{self, ErrorKind};
use std::rc::Rc;
use std::time::Duration;

use corering::buffers::IoBufExt;
use corering::io::AsyncRead;
use corering::net::{Deadline, DeadlineElapsed, Deadlines, Guarded, TcpStream};
use corering::sim::Sim;
use corering::spawn;
use corering::task::JoinHandle;
use corering::time::{Instant, sleep, timeout};

use super::{check, pair};

const SEEDS: u64 = 30;
const SECOND: Duration = Duration::from_secs(1);
/// What the network, the kernel and the timers may add.
const SLACK: Duration = Duration::from_millis(60);

/// The deadline that has ended an operation, and only that.
fn deadline_of<T>(result: io::Result<T>) -> Deadline {
    let error = result.err().expect("an error");
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
    DeadlineElapsed::of(&error).expect("one of the deadlines")
}

#[track_caller]
fn lasted(begin: Instant, expected: Duration) {
    let spent = begin.elapsed();
    assert!(spent >= expected, "after {spent:?} already");
    assert!(spent <= expected + SLACK, "after {spent:?} only");
}

/// Reads so many bytes, which may come in parts.
async fn read_exactly(mut stream: &TcpStream, len: usize) {
    let (result, _) = stream
        .read_exact(Vec::with_capacity(len).slice(..len))
        .await;
    result.unwrap();
}

/// Sends a byte again and again.
fn drip(stream: TcpStream, pause: Duration) -> JoinHandle<TcpStream> {
    spawn(async move {
        while stream.write_all("x").await.0.is_ok() {
            sleep(pause).await;
        }
        stream
    })
}

/// Receives until an error, and returns how much has come by then.
async fn receive(stream: &Guarded<TcpStream>) -> (usize, io::Error) {
    let mut received = 0;
    loop {
        match stream.recv().await {
            Ok(lease) => received += lease.expect("the client goes on").len(),
            Err(error) => return (received, error),
        }
    }
}

#[test]
fn a_silent_client_is_given_up_at_the_first_byte_deadline() {
    check(SEEDS, |_| async {
        let (_client, server) = pair().await;
        let begin = Instant::now();
        let stream = Deadlines::new()
            .first_byte(SECOND)
            .idle(5 * SECOND)
            .guard(server);
        assert_eq!(deadline_of(stream.recv().await), Deadline::FirstByte);
        lasted(begin, SECOND);
        // A buffer comes back, and the server may still say why.
        let (result, buf) = stream.read(Vec::with_capacity(99)).await;
        assert_eq!(deadline_of(result), Deadline::FirstByte);
        assert_eq!(buf.capacity(), 99);
        stream.write_all("too slow").await.0.unwrap();
    });
}

#[test]
fn a_connection_without_traffic_is_given_up_when_it_was_idle() {
    check(SEEDS, |sim: Sim| async move {
        let (client, server) = pair().await;
        let stream = Deadlines::new()
            .first_byte(3 * SECOND)
            .idle(SECOND)
            .guard(server);
        let rounds = 5;
        let asking = spawn(async move {
            for _ in 0..rounds {
                sleep(Duration::from_millis(sim.random(900))).await;
                client.write_all("request").await.0.unwrap();
                read_exactly(&client, 6).await;
            }
            (client, Instant::now())
        });
        let mut answers = 0;
        let error = loop {
            match stream.read_exact(Box::new([0; 7])).await.0 {
                Ok(()) => {}
                Err(error) => break error,
            }
            stream.write_all("answer").await.0.unwrap();
            answers += 1;
        };
        let (_client, last) = asking.await.unwrap();
        assert_eq!(answers, rounds);
        assert_eq!(deadline_of::<()>(Err(error)), Deadline::Idle);
        assert!(last.elapsed() <= SECOND + SLACK);
        assert!(last.elapsed() >= SECOND - SLACK);
    });
}

#[test]
fn a_client_that_drips_is_given_up_at_its_rate_and_not_without_one() {
    check(SEEDS, |_| async {
        let (client, server) = pair().await;
        let client = drip(client, SECOND / 2);
        let slow = Deadlines::new()
            .idle(SECOND)
            .min_rate(10, 2 * SECOND, 3 * SECOND);
        let (begin, stream) = (Instant::now(), slow.guard(server));
        let (received, error) = receive(&stream).await;
        assert_eq!(deadline_of::<()>(Err(error)), Deadline::MinRate);
        lasted(begin, 5 * SECOND);
        assert!((9..=11).contains(&received), "{received} bytes");
        client.abort();

        let (client, server) = pair().await;
        let client = drip(client, SECOND / 2);
        let stream = Deadlines::new().idle(SECOND).guard(server);
        assert!(timeout(60 * SECOND, receive(&stream)).await.is_err());
        client.abort();

        // As fast as it has to be.
        let (client, server) = pair().await;
        let client = drip(client, SECOND / 20);
        let stream = slow.guard(server);
        assert!(timeout(60 * SECOND, receive(&stream)).await.is_err());
        client.abort();
    });
}

#[test]
fn between_two_requests_there_is_no_rate() {
    check(SEEDS, |_| async {
        let (client, server) = pair().await;
        let stream = Deadlines::new()
            .min_rate(1000, SECOND, SECOND)
            .guard(server);
        let asking = spawn(async move {
            for _ in 0..5 {
                sleep(10 * SECOND).await;
                client.write_all("request").await.0.unwrap();
                read_exactly(&client, 6).await;
            }
            // Half a request.
            client.write_all("requ").await.0.unwrap();
            (client, Instant::now())
        });
        for _ in 0..5 {
            stream.read_exact(Box::new([0; 7])).await.0.unwrap();
            stream.write_all("answer").await.0.unwrap();
        }
        let (received, error) = receive(&stream).await;
        let (_client, begin) = asking.await.unwrap();
        assert_eq!(
            (received, deadline_of::<()>(Err(error))),
            (4, Deadline::MinRate)
        );
        assert!(begin.elapsed() <= 2 * SECOND + SLACK);
        stream.message_done();
        assert!(
            timeout(60 * SECOND, stream.recv()).await.is_err(),
            "no message has begun"
        );
    });
}

#[test]
fn what_the_program_does_between_reads_is_not_the_peers_fault() {
    check(SEEDS, |_| async {
        let (client, server) = pair().await;
        let deadlines = Deadlines::new().first_byte(SECOND).idle(SECOND);
        let stream = deadlines.min_rate(1, SECOND, SECOND).guard(server);
        client.write_all("one").await.0.unwrap();
        let head = stream.fill_buf().await.unwrap();
        assert!(!head.is_empty());
        stream.consume(head.len());
        sleep(30 * SECOND).await; // it works
        let asking = spawn(async move {
            sleep(SECOND / 2).await;
            client.write_all("two").await.0.unwrap();
            client
        });
        assert!(stream.recv().await.unwrap().is_some());
        asking.await.unwrap();
    });
}

#[test]
fn reads_that_are_dropped_gain_no_time() {
    check(SEEDS, |sim: Sim| async move {
        let (client, server) = pair().await;
        client.write_all("x").await.0.unwrap();
        let stream = Deadlines::new().idle(SECOND).guard(server);
        stream.recv().await.unwrap().expect("a byte");
        let begin = Instant::now();
        let deadline = loop {
            let patience = Duration::from_millis(1 + sim.random(90));
            if let Ok(received) = timeout(patience, stream.recv()).await {
                break deadline_of(received);
            }
        };
        assert_eq!(deadline, Deadline::Idle);
        lasted(begin, SECOND);
        // And no byte is lost.
        client.write_all("late").await.0.unwrap();
        read_exactly(&stream.into_stream(), 4).await;
    });
}

#[test]
fn a_write_that_nobody_reads_is_given_up_and_a_slow_one_is_not() {
    check(SEEDS / 2, |_| async {
        const LEN: usize = 2 << 20;
        let (client, server) = pair().await;
        let stream = Deadlines::new().write(SECOND).guard(server);
        let begin = Instant::now();
        let (result, buf) = stream.write_all(vec![1; LEN]).await;
        assert_eq!((deadline_of(result), buf.len()), (Deadline::Write, LEN));
        lasted(begin, SECOND);
        let error = stream.write_all("more").await.0.unwrap_err();
        assert_eq!(
            error.kind(),
            ErrorKind::BrokenPipe,
            "half a message is sent"
        );
        drop(client);

        let (client, server) = pair().await;
        let stream = Deadlines::new().write(SECOND).guard(server);
        let reading = spawn(async move {
            let mut total = 0;
            while total < LEN {
                // Every second read may be the first to receive again.
                sleep(SECOND / 3).await;
                let (n, _) = client.read(Vec::with_capacity(LEN / 8)).await;
                total += n.unwrap();
            }
            total
        });
        let begin = Instant::now();
        stream.write_all(vec![1; LEN]).await.0.unwrap();
        assert!(begin.elapsed() > SECOND, "{:?}", begin.elapsed());
        assert_eq!(reading.await.unwrap(), LEN);
    });
}

#[test]
fn everybody_who_waits_is_told_also_behind_one_that_is_gone() {
    check(SEEDS, |sim: Sim| async move {
        let (_client, server) = pair().await;
        let stream = Rc::new(
            Deadlines::new()
                .first_byte(SECOND)
                .write(SECOND)
                .guard(server),
        );
        let begin = Instant::now();
        let told = Rc::new(Cell::new(0));
        let mut tasks = Vec::new();
        for number in 0..6 {
            let (stream, told) = (Rc::clone(&stream), Rc::clone(&told));
            tasks.push(spawn(async move {
                let deadline = match number % 2 {
                    0 => deadline_of(stream.recv().await),
                    _ => deadline_of(stream.write_all(vec![1; 1 << 20]).await.0),
                };
                lasted(begin, SECOND);
                told.set(told.get() + 1);
                deadline
            }));
        }
        sleep(Duration::from_millis(1 + sim.random(900))).await;
        // Some go, among them the one whose timer it is.
        for task in &tasks[..2] {
            task.abort();
        }
        sleep(3 * SECOND).await;
        assert_eq!(told.get(), 4);
        for (number, task) in tasks.into_iter().enumerate().skip(2) {
            let expected = [Deadline::FirstByte, Deadline::Write][number % 2];
            assert_eq!(task.await.unwrap(), expected);
        }
    });
}

#[test]
fn a_lifetime_ends_whatever_goes_on() {
    check(SEEDS, |_| async {
        let (client, server) = pair().await;
        let client = drip(client, SECOND / 10);
        let begin = Instant::now();
        let stream = Deadlines::new()
            .idle(SECOND)
            .lifetime(10 * SECOND)
            .guard(server);
        let (_, error) = receive(&stream).await;
        assert_eq!(deadline_of::<()>(Err(error)), Deadline::Lifetime);
        lasted(begin, 10 * SECOND);
        client.abort();
    });
}
