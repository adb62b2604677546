//! Generic I/O on the simulated kernel: under every order, delay and short count that it may come
//! up with, frames that are read with dropped futures and copied by a proxy are those that were
//! sent.

use std::rc::Rc;
use std::time::Duration;

use corering::fs::{FileCursor, OpenOptions};
use corering::io::{
    AsyncBufRead, AsyncRead, AsyncWrite, BufReader, BufWriter, FramedRead, FramedWrite,
    LengthCodec, copy_bidirectional,
};
use corering::net::{OwnedReadHalf, TcpListener, TcpStream};
use corering::sim::{Check, Sim};
use corering::time::{sleep, timeout};

const FRAMES: u32 = 15;

async fn connect(address: &str) -> TcpStream {
    loop {
        match TcpStream::connect(address).await {
            Ok(stream) => return stream,
            Err(_) => sleep(Duration::from_millis(1)).await,
        }
    }
}

/// The next frame, asked for by futures of which most are dropped.
async fn next(sim: &Sim, frames: &mut FramedRead<OwnedReadHalf, LengthCodec>) -> Option<Vec<u8>> {
    loop {
        let patience = Duration::from_micros(sim.random(300));
        if let Ok(frame) = timeout(patience, frames.next()).await {
            return frame.unwrap().map(|frame| frame.to_vec());
        }
    }
}

async fn echo(sim: Sim) {
    let listener = TcpListener::bind("0.0.0.0:7").await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let (reader, writer) = stream.into_split();
    let mut frames = FramedRead::new(reader, LengthCodec::new());
    let mut replies = FramedWrite::new(writer, LengthCodec::new());
    while let Some(frame) = next(&sim, &mut frames).await {
        replies.feed(frame).await.unwrap();
        if sim.chance(0.5) {
            replies.flush().await.unwrap();
        }
    }
    replies.shutdown().await.unwrap();
    sleep(Duration::from_secs(1)).await;
}

async fn proxy() {
    let listener = TcpListener::bind("0.0.0.0:8").await.unwrap();
    let (near, _) = listener.accept().await.unwrap();
    let far = connect("echo:7").await;
    let (there, back) = copy_bidirectional(&near, &far).await.unwrap();
    assert_eq!(there, back);
    sleep(Duration::from_secs(1)).await;
}

fn frame(sim: &Sim, number: u32) -> Vec<u8> {
    let len = match sim.random(3) {
        0 => sim.random(10),
        1 => sim.random(2_000),
        _ => sim.random(60_000),
    };
    (0..len as u32).map(|at| (at * 7 + number) as u8).collect()
}

async fn through_a_proxy(sim: Sim) {
    let other = sim.clone();
    sim.host("echo").run(move || echo(other.clone()));
    sim.host("proxy").run(proxy);
    let (reader, writer) = connect("proxy:8").await.into_split();
    let sent: Rc<Vec<_>> = Rc::new((0..FRAMES).map(|number| frame(&sim, number)).collect());
    let frames = Rc::clone(&sent);
    let sending = corering::spawn(async move {
        let mut writer = FramedWrite::new(writer, LengthCodec::new());
        for frame in frames.iter() {
            writer.send(frame).await.unwrap();
        }
        writer.shutdown().await.unwrap();
    });
    let mut replies = FramedRead::new(reader, LengthCodec::new());
    for frame in sent.iter() {
        assert_eq!(next(&sim, &mut replies).await.as_ref(), Some(frame));
    }
    assert_eq!(next(&sim, &mut replies).await, None);
    sending.await.unwrap();
}

#[test]
fn frames_through_a_proxy_come_back_as_they_were_sent() {
    let report = Check::new().seeds(200).run(through_a_proxy).unwrap();
    eprintln!("{report}");
}

/// Sends numbers as lines, and behind each as many bytes.
async fn numbers(sim: Sim) {
    let listener = TcpListener::bind("0.0.0.0:7").await.unwrap();
    let (mut stream, _) = listener.accept().await.unwrap();
    for _ in 0..FRAMES {
        let len = sim.random(20_000) as usize;
        let mut bytes = format!("{len}\r\n").into_bytes();
        bytes.extend((0..len).map(|at| at as u8));
        // In two parts, so that a number may be cut.
        let rest = bytes.split_off(sim.random(bytes.len() as u64) as usize);
        stream.write_all_vectored((bytes, rest)).await.0.unwrap();
    }
    AsyncWrite::shutdown(&mut stream).await.unwrap();
    sleep(Duration::from_secs(1)).await;
}

async fn lines_and_exact_reads(sim: Sim) {
    let other = sim.clone();
    sim.host("numbers").run(move || numbers(other.clone()));
    let mut stream = connect("numbers:7").await;
    let mut count = 0;
    loop {
        let patience = Duration::from_micros(sim.random(300));
        let Ok(line) = timeout(patience, stream.read_line(10)).await else {
            continue;
        };
        let Some(line) = line.unwrap() else {
            break;
        };
        let len: usize = line.parse().unwrap();
        let bytes = loop {
            let patience = Duration::from_micros(sim.random(300));
            let body = vec![0; len].into_boxed_slice();
            if let Ok((result, bytes)) = timeout(patience, stream.read_exact(body)).await {
                result.unwrap();
                break bytes;
            }
        };
        assert!((0..len).all(|at| bytes[at] == at as u8));
        count += 1;
    }
    assert_eq!(count, FRAMES);
}

#[test]
fn lines_and_exact_reads_that_are_dropped_lose_nothing() {
    Check::new().seeds(200).run(lines_and_exact_reads).unwrap();
}

async fn greeted(sim: Sim) {
    sim.host("server").run(|| async {
        let listener = TcpListener::bind("0.0.0.0:7").await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        stream.write_all("welcome\n").await.0.unwrap();
        sleep(Duration::from_secs(1)).await;
    });
    let mut stream = connect("server:7").await;
    assert_eq!(
        stream.read_line(100).await.unwrap().as_deref(),
        Some("welcome")
    );
}

#[test]
fn a_server_that_speaks_first_is_heard() {
    Check::new().seeds(200).run(greeted).unwrap();
}

async fn a_file_of_lines(sim: Sim) {
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true).create(true);
    let mut writer = BufWriter::new(FileCursor::new(options.open("/lines").await.unwrap()));
    let lines: Vec<_> = (0..500).map(|_| sim.random(u64::MAX).to_string()).collect();
    for line in &lines {
        writer.write_all(format!("{line}\n")).await.0.unwrap();
    }
    writer.flush().await.unwrap();
    let mut cursor = writer.into_inner();
    cursor.set_position(0);
    let mut reader = BufReader::new(cursor);
    for line in &lines {
        let read = loop {
            let patience = Duration::from_micros(sim.random(300));
            if let Ok(read) = timeout(patience, reader.read_line(100)).await {
                break read;
            }
        };
        assert_eq!(read.unwrap().as_ref(), Some(line));
    }
    assert_eq!(reader.read_line(100).await.unwrap(), None);
}

#[test]
fn a_file_reads_as_it_was_written_through_buffers() {
    Check::new().seeds(200).run(a_file_of_lines).unwrap();
}
