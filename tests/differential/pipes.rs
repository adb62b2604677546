//! Pipes, and what is spliced through them.

use std::net::Shutdown;
use std::time::Duration;

use corering::io::Operation;
use corering::net::pipe::{Receiver, Sender, pipe};
use corering::net::{UnixStream, splice, splice_bidirectional};
use corering::spawn;
use corering::time::timeout;

use super::common::{pattern, read_exactly};
use super::stage::{Script, Stage, fill, pair, rest, rest_as_text, script, settle};

pub(crate) fn scripts() -> Vec<Script> {
    vec![
        script("a_pipe_carries_bytes", a_pipe_carries_bytes),
        script("a_pipe_has_pages", a_pipe_has_pages),
        script("a_pipe_without_a_reader", a_pipe_without_a_reader),
        script("reads_of_a_pipe_end_early", reads_of_a_pipe_end_early),
        script("a_large_write_to_a_pipe", a_large_write_to_a_pipe),
        script("a_stream_is_spliced", a_stream_is_spliced),
        script("both_directions_are_spliced", both_directions_are_spliced),
        script("a_splice_to_nobody", a_splice_to_nobody),
        script("a_splice_from_a_reset", a_splice_from_a_reset),
        script("a_splice_to_a_slow_peer", a_splice_to_a_slow_peer),
        script("unix_streams_are_spliced", unix_streams_are_spliced),
    ]
}

/// Reads `len` bytes, or to the end: no kernel promises that they come at once.
async fn read(receiver: &Receiver, len: usize) -> String {
    let mut all = Vec::new();
    while all.len() < len {
        let (n, buf) = receiver.read(Vec::with_capacity(len - all.len())).await;
        match n {
            Ok(0) => break,
            Ok(_) => all.extend_from_slice(&buf),
            Err(e) => return super::stage::errno_of(&e),
        }
    }
    format!("{:?}", String::from_utf8_lossy(&all))
}

async fn a_pipe_carries_bytes(stage: Stage) {
    let (sender, receiver) = pipe().unwrap();
    stage.told("write", &sender.write("one").await.0);
    stage.told("write nothing", &sender.write("").await.0);
    stage.told("write_all", &sender.write_all(" two").await.0);
    stage.saw("a part", read(&receiver, 5).await);
    stage.saw("the rest", read(&receiver, 2).await);
    stage.told("no room", &receiver.read(Vec::<u8>::new()).await.0);
    sender.write_all("last").await.0.unwrap();
    drop(sender);
    stage.saw("what is left", read(&receiver, 50).await);
    stage.saw("the end", read(&receiver, 50).await);
    stage.saw("the end again", read(&receiver, 50).await);
}

/// Writes pieces until one does not go: how many bytes went.
async fn filled(sender: &Sender, piece: usize) -> usize {
    let mut bytes = 0;
    loop {
        let write = sender
            .write(vec![7; piece])
            .timeout(Duration::from_millis(20));
        match write.await.0 {
            Ok(n) => bytes += n,
            Err(_) => return bytes,
        }
    }
}

async fn a_pipe_has_pages(stage: Stage) {
    for piece in [2_048, 2_049, 4_095, 4_096] {
        let (sender, receiver) = pipe().unwrap();
        stage.saw(format!("filled by {piece}"), filled(&sender, piece).await);
        // A page is free when all of it was read.
        read(&receiver, 4_000).await;
        stage.saw(format!("then by {piece}"), filled(&sender, piece).await);
        read(&receiver, 100).await;
        stage.saw(format!("and by {piece}"), filled(&sender, piece).await);
    }
    // What is longer than a page may be written in parts.
    let (sender, _receiver) = pipe().unwrap();
    stage.saw("filled at once", filled(&sender, 100_000).await);
}

async fn a_pipe_without_a_reader(stage: Stage) {
    let (sender, receiver) = pipe().unwrap();
    sender.write_all("unread").await.0.unwrap();
    drop(receiver);
    settle().await;
    stage.told("write", &sender.write("x").await.0);
    stage.told("and again", &sender.write("x").await.0);
    let (sender, receiver) = pipe().unwrap();
    let writing = spawn(async move { sender.write_all(vec![1; 200_000]).await.0 });
    settle().await;
    drop(receiver);
    stage.told("one that waits", &writing.await.unwrap());
}

async fn reads_of_a_pipe_end_early(stage: Stage) {
    let (sender, receiver) = pipe().unwrap();
    for _ in 0..3 {
        let dropped = timeout(Duration::from_millis(1), receiver.read(vec![0; 9])).await;
        stage.saw("dropped", dropped.is_err());
    }
    let read_early = receiver.read(vec![0; 9]).timeout(Duration::from_millis(1));
    stage.told("timed out", &read_early.await.0);
    sender.write_all("all").await.0.unwrap();
    stage.saw("then", read(&receiver, 3).await);
}

async fn a_large_write_to_a_pipe(stage: Stage) {
    let (sender, receiver) = pipe().unwrap();
    let sent = pattern(1, 1 << 20);
    let expected = sent.clone();
    let writing = spawn(async move { sender.write_all(sent).await.0 });
    let mut all = Vec::new();
    loop {
        let (n, part) = receiver.read(Vec::with_capacity(50_000)).await;
        if n.unwrap() == 0 {
            break;
        }
        all.extend_from_slice(&part);
    }
    stage.saw("all arrives", all == expected);
    stage.told("written", &writing.await.unwrap());
}

async fn a_stream_is_spliced(stage: Stage) {
    let (client, near) = pair().await;
    let (far, server) = pair().await;
    client.write_all("first ").await.0.unwrap();
    near.fill_buf().await.unwrap();
    let moving = spawn(async move { (splice(&near, &far).await, far) });
    settle().await;
    client.write_all("second").await.0.unwrap();
    stage.saw(
        "in order",
        String::from_utf8_lossy(&read_exactly(&server, 12).await),
    );
    client.shutdown(Shutdown::Write).await.unwrap();
    let (moved, far) = moving.await.unwrap();
    stage.told("moved", &moved);
    far.write_all(" third").await.0.unwrap();
    drop(far);
    stage.saw("then", rest_as_text(&server).await);
}

async fn both_directions_are_spliced(stage: Stage) {
    let (client, near) = pair().await;
    let (far, server) = pair().await;
    let proxy = spawn(async move { splice_bidirectional(&near, &far).await });
    let (there, back) = (pattern(1, 1 << 20), pattern(2, 1 << 20));
    let (sent, expected) = (there.clone(), back.clone());
    let asking = spawn(async move {
        client.write_all(sent).await.0.unwrap();
        client.shutdown(Shutdown::Write).await.unwrap();
        rest(&client).await.0 == expected
    });
    stage.saw("there", rest(&server).await.0 == there);
    server.write_all(back).await.0.unwrap();
    drop(server);
    stage.saw("back", asking.await.unwrap());
    stage.told("moved", &proxy.await.unwrap());
}

async fn a_splice_to_nobody(stage: Stage) {
    let (client, near) = pair().await;
    let (far, server) = pair().await;
    far.shutdown(Shutdown::Write).await.unwrap();
    client.write_all("for nobody").await.0.unwrap();
    stage.told("shut", &splice(&near, &far).await);
    drop(server);
    stage.saw("still there", rest_of_some(&near).await);
}

async fn rest_of_some(stream: &corering::net::TcpStream) -> String {
    String::from_utf8_lossy(&read_exactly(stream, 10).await).into_owned()
}

async fn a_splice_from_a_reset(stage: Stage) {
    let (client, near) = pair().await;
    let (far, _server) = pair().await;
    let moving = spawn(async move { (splice(&near, &far).await, near) });
    settle().await;
    client.set_zero_linger().unwrap();
    drop(client);
    let (moved, near) = moving.await.unwrap();
    stage.told("moved", &moved);
    stage.told("and received", &near.recv().await.map(drop));
}

async fn a_splice_to_a_slow_peer(stage: Stage) {
    let (client, near) = pair().await;
    let (far, server) = pair().await;
    let before = fill(&far).await;
    server.shutdown(Shutdown::Write).await.unwrap();
    let proxy = spawn(async move {
        let moved = splice(&near, &far).await;
        far.shutdown(Shutdown::Write).await.unwrap();
        moved
    });
    let sent = pattern(3, 300_000);
    let expected = sent.clone();
    let writing = spawn(async move { client.write_all(sent).await.0 });
    settle().await;
    stage.saw(
        "what was there",
        read_exactly(&server, before).await.len() == before,
    );
    stage.saw("the rest", rest(&server).await.0 == expected);
    stage.told("written", &writing.await.unwrap());
    stage.told("moved", &proxy.await.unwrap());
}

async fn unix_streams_are_spliced(stage: Stage) {
    let (client, near) = UnixStream::pair().unwrap();
    let (far, server) = UnixStream::pair().unwrap();
    let proxy = spawn(async move { splice_bidirectional(&near, &far).await });
    client.write_all("hello").await.0.unwrap();
    client.shutdown(Shutdown::Write).await.unwrap();
    let mut there = Vec::new();
    while let Some(bytes) = server.recv().await.unwrap() {
        there.extend_from_slice(&bytes);
    }
    stage.saw("there", String::from_utf8_lossy(&there));
    server.write_all("good bye").await.0.unwrap();
    drop(server);
    let mut back = Vec::new();
    while let Some(bytes) = client.recv().await.unwrap() {
        back.extend_from_slice(&bytes);
    }
    stage.saw("back", String::from_utf8_lossy(&back));
    stage.told("moved", &proxy.await.unwrap());
}
