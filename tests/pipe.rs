//! Pipes: bytes in order, and none lost by who lets go.

mod common;

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{alone, descriptors, errno, pattern, run};
use corering::io::Operation;
use corering::net::pipe::{Receiver, Sender, pipe};
use corering::spawn;
use corering::time::{sleep, timeout};

/// Many times what a pipe holds.
const LARGE: usize = 4 << 20;

async fn rest(receiver: &Receiver) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let (n, part) = receiver.read(Vec::with_capacity(10_000)).await;
        if n.expect("no error") == 0 {
            return all;
        }
        all.extend_from_slice(&part);
    }
}

#[test]
fn all_that_is_written_is_read_and_then_the_end() {
    run(async {
        let (sender, receiver) = pipe().unwrap();
        let sent = pattern(1, LARGE);
        let expected = sent.clone();
        let writing = spawn(async move { sender.write_all(sent).await.0 });
        assert!(rest(&receiver).await == expected);
        writing.await.unwrap().unwrap();
        assert_eq!(receiver.read(vec![0; 9]).await.0.unwrap(), 0, "it stays");
    });
}

#[test]
fn dropped_reads_lose_nothing() {
    run(async {
        let (sender, receiver) = pipe().unwrap();
        let sent = pattern(2, 200_000);
        let expected = sent.clone();
        spawn(async move {
            for part in sent.chunks(700) {
                sender.write_all(part.to_vec()).await.0.unwrap();
                sleep(Duration::from_micros(100)).await;
            }
        });
        let (mut all, mut early) = (Vec::new(), 0);
        loop {
            let read = receiver.read(Vec::with_capacity(1_000));
            match timeout(Duration::from_micros(60), read).await {
                Ok((n, _)) if n.as_ref().is_ok_and(|n| *n == 0) => break,
                Ok((_, part)) => all.extend_from_slice(&part),
                Err(_) => early += 1,
            }
        }
        assert!(early > 10, "{early} reads were dropped");
        assert!(all == expected);
    });
}

#[test]
fn a_read_is_cancelled_with_its_buffer() {
    run(async {
        let (sender, receiver) = pipe().unwrap();
        let read = receiver.read(Vec::with_capacity(77));
        let (n, buf) = read.timeout(Duration::from_millis(5)).await;
        assert_eq!(n.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
        assert_eq!(buf.capacity(), 77);
        sender.write_all("late").await.0.unwrap();
        let (n, buf) = receiver.read(buf).await;
        assert_eq!((n.unwrap(), &buf[..]), (4, &b"late"[..]));
    });
}

#[test]
fn readers_are_served_in_order() {
    run(async {
        let (sender, receiver) = pipe().unwrap();
        let receiver = std::rc::Rc::new(receiver);
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let receiver = std::rc::Rc::clone(&receiver);
                spawn(async move { receiver.read(Vec::with_capacity(1)).await.1 })
            })
            .collect();
        sleep(Duration::from_millis(2)).await;
        sender.write_all("abc").await.0.unwrap();
        for (reader, byte) in readers.into_iter().zip(*b"abc") {
            assert_eq!(reader.await.unwrap(), [byte]);
        }
    });
}

#[test]
fn a_dropped_write_is_written_to_its_end() {
    alone(|| {
        run(async {
            let before = descriptors();
            let (sender, receiver) = pipe().unwrap();
            let sent = pattern(3, 300_000);
            let early = timeout(Duration::from_millis(5), sender.write_all(sent.clone())).await;
            assert!(early.is_err(), "it does not fit");
            drop(sender);
            assert!(rest(&receiver).await == sent);
            drop(receiver);
            common::until("both are closed", || descriptors() == before).await;
        });
    });
}

#[test]
fn a_write_to_nobody_is_an_error_that_stays() {
    run(async {
        let (sender, receiver) = pipe().unwrap();
        let waiting = spawn(async move {
            let all = sender.write_all(vec![1; 1 << 20]).await.0;
            (errno(all), errno(sender.write("x").await.0))
        });
        sleep(Duration::from_millis(5)).await;
        drop(receiver);
        assert_eq!(waiting.await.unwrap(), (libc::EPIPE, libc::EPIPE));
    });
}

#[test]
fn another_program_reads_and_writes() {
    run(async {
        let mut cat = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("cat");
        let sender = Sender::from_owned_fd(cat.stdin.take().unwrap().into()).unwrap();
        let receiver = Receiver::from_owned_fd(cat.stdout.take().unwrap().into()).unwrap();
        let sent = pattern(4, 1 << 20);
        let expected = sent.clone();
        let writing = spawn(async move { sender.write_all(sent).await.0 });
        assert!(rest(&receiver).await == expected);
        writing.await.unwrap().unwrap();
        assert!(cat.wait().unwrap().success());
    });
}

#[test]
fn std_has_the_other_end() {
    run(async {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let receiver = Receiver::from_owned_fd(reader.into()).unwrap();
        let late = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(10));
            writer.write_all(b"from a thread").unwrap();
        });
        assert_eq!(rest(&receiver).await, b"from a thread");
        late.join().unwrap();

        let (mut reader, writer) = std::io::pipe().unwrap();
        let sender = Sender::from_owned_fd(writer.into()).unwrap();
        sender.write_all("to a thread").await.0.unwrap();
        drop(sender);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "to a thread");
    });
}
