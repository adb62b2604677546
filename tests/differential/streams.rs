//! Bytes on connections that live.

use std::net::Shutdown;
use std::time::Duration;

use corering::spawn;
use corering::time::timeout;

use super::common::{pattern, read_exactly};
use super::stage::{Script, Stage, fill, pair, received, rest, rest_as_text, script, settle};

pub(crate) fn scripts() -> Vec<Script> {
    vec![
        script("bytes_arrive_in_order", bytes_arrive_in_order),
        script(
            "reads_are_as_large_as_their_buffer",
            reads_are_as_large_as_their_buffer,
        ),
        script("nothing_is_written", nothing_is_written),
        script(
            "nothing_is_written_to_a_full_socket",
            nothing_is_written_to_a_full_socket,
        ),
        script("a_reader_is_slow", a_reader_is_slow),
        script("a_socket_is_filled", a_socket_is_filled),
        script(
            "several_buffers_are_one_write",
            several_buffers_are_one_write,
        ),
        script(
            "more_buffers_than_one_write_takes",
            more_buffers_than_one_write_takes,
        ),
        script("zero_copy_is_a_write", zero_copy_is_a_write),
        script("both_directions_at_once", both_directions_at_once),
        script("the_inbox_is_looked_at", the_inbox_is_looked_at),
    ]
}

async fn bytes_arrive_in_order(stage: Stage) {
    let (client, server) = pair().await;
    for word in ["one ", "two ", "three"] {
        let (written, buf) = client.write_all(word).await;
        stage.told(format!("write {word:?}"), &written);
        stage.saw("buffer", buf);
    }
    drop(client);
    stage.saw("read", rest_as_text(&server).await);
    stage.saw("read at the end", received(&server).await);
}

async fn reads_are_as_large_as_their_buffer(stage: Stage) {
    let (client, server) = pair().await;
    client.write_all("0123456789").await.0.unwrap();
    settle().await;
    let (n, buf) = server.read(Vec::with_capacity(4)).await;
    stage.told("4", &n);
    stage.saw("what", format!("{buf:?}"));
    let (n, _) = server.read(Vec::<u8>::new()).await;
    stage.told("no room", &n);
    client.shutdown(Shutdown::Write).await.unwrap();
    settle().await;
    let mut left = Vec::new();
    loop {
        let (n, buf) = server.read(Vec::with_capacity(100)).await;
        if n.unwrap() == 0 {
            break;
        }
        left.extend_from_slice(&buf);
    }
    stage.saw("left", String::from_utf8_lossy(&left));
    stage.told("at the end", &server.read(Vec::with_capacity(4)).await.0);
    stage.told("no room at the end", &server.read(Vec::<u8>::new()).await.0);
}

async fn nothing_is_written(stage: Stage) {
    let (client, server) = pair().await;
    stage.told("write_all", &client.write_all("").await.0);
    stage.told("write", &client.write(Vec::<u8>::new()).await.0);
    stage.told(
        "write_vectored",
        &client.write_vectored(Vec::<Vec<u8>>::new()).await.0,
    );
    let empty = vec![Vec::<u8>::new(), Vec::new()];
    stage.told(
        "write_vectored of nothing",
        &client.write_vectored(empty).await.0,
    );
    stage.told("write_zero_copy", &client.write_zero_copy("").await.0);
    let early = timeout(Duration::from_millis(20), server.recv()).await;
    stage.saw("nothing has come", early.is_err());
    client.shutdown(Shutdown::Write).await.unwrap();
    stage.saw("end", received(&server).await);
    stage.told("write_all after the end", &client.write_all("").await.0);
    stage.told(
        "write after the end",
        &client.write(Vec::<u8>::new()).await.0,
    );
}

async fn nothing_is_written_to_a_full_socket(stage: Stage) {
    let (client, server) = pair().await;
    let bytes = fill(&client).await;
    let early = timeout(Duration::from_millis(50), client.write_all("")).await;
    stage.saw("it waits", early.is_err());
    let reading = spawn(async move { read_exactly(&server, bytes).await.len() == bytes });
    stage.saw("all arrive", reading.await.unwrap());
}

async fn a_reader_is_slow(stage: Stage) {
    let (client, server) = pair().await;
    let large = pattern(1, 12 << 20);
    let expected = large.clone();
    let writing = spawn(async move {
        let (sent, buf) = client.write_all(large).await;
        (sent.is_ok(), buf.len())
    });
    settle().await;
    stage.saw("the writer waits", !writing.is_finished());
    let (bytes, end) = rest(&server).await;
    stage.saw("all arrives", bytes == expected);
    stage.told("end", &end);
    stage.saw("the writer ends", format!("{:?}", writing.await.unwrap()));
}

async fn a_socket_is_filled(stage: Stage) {
    let (client, server) = pair().await;
    let mut sent = vec![7; fill(&client).await];
    stage.saw("it takes some", !sent.is_empty());
    // TCP makes room for some more now and then, by packing what is there more densely.
    let mut takes_more = true;
    for _ in 0..20 {
        let waiting = timeout(Duration::from_millis(50), client.write("x")).await;
        takes_more = waiting.is_ok();
        if !takes_more {
            break;
        }
        sent.push(b'x');
    }
    stage.saw("it takes no more", !takes_more);
    // That one is committed: it is sent when there is room.
    let read = read_exactly(&server, sent.len()).await;
    stage.saw("what was taken", read == sent);
    client.shutdown(Shutdown::Write).await.unwrap();
    stage.saw("and the last", rest_as_text(&server).await);
}

async fn several_buffers_are_one_write(stage: Stage) {
    let (client, server) = pair().await;
    let bufs = vec![
        "one ".to_owned(),
        String::new(),
        "two ".to_owned(),
        "three".to_owned(),
    ];
    let (n, bufs) = client.write_vectored(bufs).await;
    let n = n.unwrap();
    stage.saw("some", n > 0);
    stage.saw("buffers", format!("{bufs:?}"));
    let left = bufs.concat()[n..].to_owned();
    client.write_all(left).await.0.unwrap();
    drop(client);
    stage.saw("read", rest_as_text(&server).await);
}

async fn more_buffers_than_one_write_takes(stage: Stage) {
    let (client, server) = pair().await;
    let bufs: Vec<Vec<u8>> = (0..1500).map(|n| vec![n as u8]).collect();
    let (n, _) = client.write_vectored(bufs).await;
    let n = n.unwrap();
    stage.saw("as many as it takes", (1..=1024).contains(&n));
    drop(client);
    let (bytes, _) = rest(&server).await;
    let expected: Vec<u8> = (0..n).map(|n| n as u8).collect();
    stage.saw("in order", bytes == expected);
}

async fn zero_copy_is_a_write(stage: Stage) {
    let (client, server) = pair().await;
    let bytes = pattern(3, 3000);
    let (n, buf) = client.write_zero_copy(bytes.clone()).await;
    let n = n.unwrap();
    stage.saw("some", n > 0);
    stage.saw("the buffer is back", buf == bytes);
    drop(client);
    stage.saw("read", rest(&server).await.0 == bytes[..n]);
}

async fn both_directions_at_once(stage: Stage) {
    let (client, server) = pair().await;
    let (there, back) = (pattern(5, 3 << 20), pattern(6, 3 << 20));
    let (sent, expected) = (there.clone(), back.clone());
    let one = spawn(async move {
        let (written, read) = futures_lite::future::zip(
            client.write_all(sent),
            read_exactly(&client, expected.len()),
        )
        .await;
        written.0.is_ok() && read == expected
    });
    let other =
        futures_lite::future::zip(server.write_all(back), read_exactly(&server, there.len())).await;
    stage.saw("there", other.0.0.is_ok() && other.1 == there);
    stage.saw("back", one.await.unwrap());
}

async fn the_inbox_is_looked_at(stage: Stage) {
    let (client, server) = pair().await;
    client.write_all("line one\nline").await.0.unwrap();
    while server.fill_buf().await.unwrap().len() < 13 {
        server.fill_more().await.unwrap();
    }
    stage.saw(
        "seen",
        String::from_utf8_lossy(&server.fill_buf().await.unwrap()),
    );
    server.consume(9);
    stage.saw(
        "then",
        String::from_utf8_lossy(&server.fill_buf().await.unwrap()),
    );
    drop(client);
    settle().await;
    stage.told("no more", &server.fill_more().await.map(drop));
    server.consume(4);
    stage.told("the end", &server.fill_buf().await.map(|bytes| bytes.len()));
}
