//! Bytes: none is lost, doubled, changed or out of place, whatever is dropped.

use std::net::Shutdown;
use std::rc::Rc;
use std::time::Duration;

use corering::buffers::{Fill, Pool, PoolBuf};
use corering::io::Operation;
use corering::net::TcpStream;
use corering::sim::{Faults, Sim};
use corering::spawn;
use corering::time::{sleep, timeout};
use futures_lite::future::poll_once;

use super::{check, pair};

fn byte(position: usize) -> u8 {
    (position.wrapping_mul(2_654_435_761) >> 13) as u8
}

fn bytes(from: usize, len: usize) -> Vec<u8> {
    (from..from + len).map(byte).collect()
}

/// Puts `bytes` into a buffer, whatever it held.
fn filled(mut buf: PoolBuf, bytes: &[u8]) -> PoolBuf {
    buf.clear();
    let mut out = Fill::new(&mut buf);
    out.put(bytes);
    out.finish();
    buf
}

/// Some microseconds.
fn shortly(sim: &Sim) -> Duration {
    Duration::from_micros(sim.random(300))
}

/// Sends `total` bytes in every way there is.
async fn write(sim: Sim, stream: TcpStream, total: usize) {
    let pool = Pool::new(2, 4096);
    let mut at = 0;
    while at < total {
        let len = (1 + sim.random(6000) as usize).min(total - at);
        let part = bytes(at, len);
        at += match sim.random(6) {
            0 => stream.write(part).await.0.unwrap(),
            1 => {
                let half = len / 2;
                let parts = vec![part[..half].to_vec(), part[half..].to_vec()];
                stream.write_vectored(parts).await.0.unwrap()
            }
            2 => {
                let buf = pool.take().expect("no more than two are out");
                let buf = filled(buf, &bytes(at, len.min(4096)));
                stream.write_zero_copy(buf).await.0.unwrap()
            }
            3 => stream
                .write(part)
                .timeout(shortly(&sim))
                .await
                .0
                .unwrap_or(0),
            4 => {
                stream.write_all(part).await.0.unwrap();
                len
            }
            _ => {
                // Its turn comes at once, so that it is committed when it is dropped.
                stream.write_all("").await.0.unwrap();
                let dropped = poll_once(stream.write_all(part)).await;
                assert!(dropped.is_none_or(|(written, _)| written.is_ok()));
                len
            }
        };
    }
    stream.shutdown(Shutdown::Write).await.unwrap();
    assert!(stream.recv().await.unwrap().is_none());
}

/// Reads in every way there is, to the end.
async fn read(sim: Sim, stream: TcpStream, total: usize) {
    let mut at = 0;
    let mut see = |part: &[u8]| {
        assert!(part == bytes(at, part.len()), "other bytes from {at} on");
        at += part.len();
    };
    loop {
        let early = match sim.random(7) {
            0 => timeout(shortly(&sim), stream.recv())
                .await
                .unwrap_or(Ok(Some(Vec::new().into()))),
            1 => stream.recv().timeout(shortly(&sim)).await,
            2 => {
                let capacity = 1 + sim.random(40_000) as usize;
                let (n, buf) = stream.read(Vec::with_capacity(capacity)).await;
                n.map(|n| (n > 0).then(|| buf.into()))
            }
            3 => {
                let read = stream.read(Vec::with_capacity(16_384));
                let (n, buf) = read.timeout(shortly(&sim)).await;
                n.map(|n| (n > 0).then(|| buf.into()))
            }
            4 => {
                let dropped = poll_once(stream.read(Vec::with_capacity(16_384))).await;
                match dropped {
                    Some((n, buf)) => n.map(|n| (n > 0).then(|| buf.into())),
                    None => Ok(Some(Vec::new().into())),
                }
            }
            5 => {
                let len = stream.fill_buf().await.unwrap().len();
                let some = 1 + sim.random(len as u64) as usize;
                let taken = (len > 0).then(|| stream.consume_to_vec(some.min(len)));
                Ok(taken.map(corering::Lease::from))
            }
            _ => stream.recv().await,
        };
        match early {
            Ok(Some(part)) => see(&part),
            Ok(None) => break,
            Err(e) if e.kind() == std::io::ErrorKind::TimedOut => {}
            Err(e) => panic!("at {at}: {e}"),
        }
        if sim.chance(0.05) {
            sleep(Duration::from_millis(1)).await;
        }
    }
    assert_eq!(at, total, "bytes are missing");
}

#[test]
fn a_stream_carries_every_byte_whatever_is_dropped() {
    check(1500, Faults::default(), |sim| async move {
        let (client, server) = pair().await;
        let total = 1 + sim.random(60_000) as usize;
        let writer = spawn(write(sim.clone(), client, total));
        read(sim, server, total).await;
        writer.await.unwrap();
    });
}

#[test]
fn writes_of_several_tasks_are_not_torn() {
    check(300, Faults::default(), |sim| async move {
        let (client, server) = pair().await;
        let client = Rc::new(client);
        let writers: Vec<_> = (0..3_u8)
            .map(|id| {
                let (client, sim) = (Rc::clone(&client), sim.clone());
                spawn(async move {
                    for _ in 0..8 {
                        let len = 2 + sim.random(3000) as usize;
                        let mut record = vec![id; len];
                        record[..2].copy_from_slice(&(len as u16).to_le_bytes());
                        client.write_all(record).await.0.unwrap();
                    }
                })
            })
            .collect();
        drop(client);
        let mut all = Vec::new();
        while let Some(part) = server.recv().await.unwrap() {
            all.extend_from_slice(&part);
        }
        let (mut left, mut records) = (&all[..], 0);
        while !left.is_empty() {
            let len = u16::from_le_bytes([left[0], left[1]]).into();
            let record = &left[2..len];
            assert!(
                record.iter().all(|byte| *byte == record[0]),
                "a torn record"
            );
            left = &left[len..];
            records += 1;
        }
        assert_eq!(records, 24);
        for writer in writers {
            writer.await.unwrap();
        }
    });
}

#[test]
fn memory_of_a_dropped_read_is_not_written_to_later() {
    check(300, Faults::default(), |sim| async move {
        let (client, server) = pair().await;
        let sent = spawn(async move {
            for at in 0..40 {
                client
                    .write_all(bytes(at * 12_000, 12_000))
                    .await
                    .0
                    .unwrap();
            }
            client.shutdown(Shutdown::Write).await.unwrap();
            while client.recv().await.unwrap().is_some() {}
        });
        let pool = Pool::new(3, 12_000);
        let mut received = 0;
        loop {
            let Some(buf) = pool.take() else {
                sleep(Duration::from_micros(50)).await;
                continue;
            };
            let buf = filled(buf, &[]);
            if sim.chance(0.3) {
                // What the kernel has given up is used for something else.
                let buf = filled(buf, &[0xaa; 12_000]);
                sleep(shortly(&sim)).await;
                assert!(buf.iter().all(|byte| *byte == 0xaa), "somebody wrote there");
                continue;
            }
            let read = timeout(shortly(&sim), server.read(buf)).await;
            if let Ok((n, buf)) = read {
                if n.unwrap() == 0 {
                    break;
                }
                assert!(buf[..] == bytes(received, buf.len()), "other bytes");
                received += buf.len();
            }
        }
        assert_eq!(received, 480_000);
        drop(server);
        sent.await.unwrap();
    });
}

#[test]
fn a_dropped_write_is_given_up_after_a_while() {
    const LEN: usize = 4 << 20;
    check(60, Faults::default(), |_| async move {
        let (client, server) = pair().await;
        let dropped = poll_once(client.write_all(vec![7; LEN])).await;
        assert!(dropped.is_none());
        drop(client);
        // The rest of it gets no more time with each part.
        let mut received = 0;
        for _ in 0..30 {
            sleep(Duration::from_secs(1)).await;
            let (n, _) = server.read(Vec::with_capacity(4096)).await;
            received += n.unwrap_or(0);
        }
        while let Ok(Some(part)) = server.recv().await {
            received += part.len();
        }
        assert!(received < LEN, "it was still sent after half a minute");
    });
}

/// A write that lingers, and then a receive that waits longer than it might have.
async fn linger_and_wait(len: usize) {
    let (client, server) = pair().await;
    let dropped = poll_once(client.write_all(vec![7; len])).await;
    assert!(dropped.is_none());
    drop(client);
    let mut received = 0;
    while let Some(part) = server.recv().await.unwrap() {
        received += part.len();
    }
    assert_eq!(received, len);
    drop(server);
    let (client, server) = pair().await;
    let late = spawn(async move {
        sleep(Duration::from_secs(15)).await;
        client.write_all("late").await.0.unwrap();
    });
    assert!(server.recv().await.unwrap().is_some());
    late.await.unwrap();
}

#[test]
fn a_write_that_has_lingered_cancels_nobody_else() {
    check(200, Faults::default(), |sim| async move {
        let all: Vec<_> = (0..12)
            .map(|_| spawn(linger_and_wait(1 + sim.random(100_000) as usize)))
            .collect();
        for one in all {
            one.await.unwrap();
        }
    });
}
