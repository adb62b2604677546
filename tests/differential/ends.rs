//! How connections end: in order, in halves, and with a reset.

use std::net::Shutdown;
use std::time::Duration;

use corering::io::Operation;
use corering::net::TcpStream;
use corering::spawn;

use super::stage::{Script, Stage, pair, received, rest_as_text, script, settle};

pub(crate) fn scripts() -> Vec<Script> {
    vec![
        script("one_half_after_the_other", one_half_after_the_other),
        script("a_half_is_shut_twice", a_half_is_shut_twice),
        script("the_read_half_is_shut", the_read_half_is_shut),
        script("a_reader_that_waits_is_shut", a_reader_that_waits_is_shut),
        script("both_halves_are_shut_at_once", both_halves_are_shut_at_once),
        script("closed_with_bytes_unread", closed_with_bytes_unread),
        script(
            "closed_with_bytes_unread_after_some",
            closed_with_bytes_unread_after_some,
        ),
        script("a_write_is_told_of_the_reset", a_write_is_told_of_the_reset),
        script("a_reader_that_waits_is_reset", a_reader_that_waits_is_reset),
        script("a_writer_that_waits_is_reset", a_writer_that_waits_is_reset),
        script("a_write_to_who_is_gone", a_write_to_who_is_gone),
        script(
            "a_read_after_a_write_to_who_is_gone",
            a_read_after_a_write_to_who_is_gone,
        ),
        script(
            "the_last_bytes_of_who_reads_no_more",
            the_last_bytes_of_who_reads_no_more,
        ),
        script(
            "a_peer_that_leaves_in_order_has_a_name",
            a_peer_that_leaves_in_order_has_a_name,
        ),
        script(
            "a_connection_that_is_over_has_no_peer",
            a_connection_that_is_over_has_no_peer,
        ),
        script(
            "a_reset_connection_has_no_peer",
            a_reset_connection_has_no_peer,
        ),
        script("close_returns_what_is_unread", close_returns_what_is_unread),
        script("halves_end_apart", halves_end_apart),
        script("a_shut_stream_is_dropped", a_shut_stream_is_dropped),
    ]
}

/// Resets the connection: the peer's bytes are closed over.
async fn reset(stream: TcpStream, peer: &TcpStream) {
    peer.write_all("nobody reads that").await.0.unwrap();
    settle().await;
    drop(stream);
    settle().await;
}

async fn one_half_after_the_other(stage: Stage) {
    let (client, server) = pair().await;
    client.write_all("question").await.0.unwrap();
    stage.told("shut", &client.shutdown(Shutdown::Write).await);
    stage.saw("server reads", rest_as_text(&server).await);
    stage.told("client writes", &client.write_all("more").await.0);
    stage.told("server writes", &server.write_all("answer").await.0);
    stage.told("shut back", &server.shutdown(Shutdown::Write).await);
    stage.saw("client reads", rest_as_text(&client).await);
    stage.told("server writes more", &server.write_all("more").await.0);
    stage.saw("client reads on", received(&client).await);
    stage.saw("server reads on", received(&server).await);
}

async fn a_half_is_shut_twice(stage: Stage) {
    let (client, server) = pair().await;
    stage.told("write", &client.shutdown(Shutdown::Write).await);
    stage.told("write again", &client.shutdown(Shutdown::Write).await);
    stage.told("read", &client.shutdown(Shutdown::Read).await);
    stage.told("read again", &client.shutdown(Shutdown::Read).await);
    stage.told("both", &client.shutdown(Shutdown::Both).await);
    stage.saw("server reads", received(&server).await);
    drop(client);
    settle().await;
    stage.told("server's", &server.shutdown(Shutdown::Write).await);
}

async fn the_read_half_is_shut(stage: Stage) {
    let (client, server) = pair().await;
    server.write_all("before").await.0.unwrap();
    settle().await;
    stage.told("shut", &client.shutdown(Shutdown::Read).await);
    stage.saw("client reads", rest_as_text(&client).await);
    stage.told("server writes", &server.write_all("after").await.0);
    settle().await;
    stage.told("server writes again", &server.write_all("after").await.0);
    stage.told("client writes", &client.write_all("that goes").await.0);
    stage.saw("server reads", received(&server).await);
}

async fn a_reader_that_waits_is_shut(stage: Stage) {
    let (client, _server) = pair().await;
    let client = std::rc::Rc::new(client);
    let reader = std::rc::Rc::clone(&client);
    let waiting = spawn(async move { received(&reader).await });
    settle().await;
    stage.saw("waits", !waiting.is_finished());
    stage.told("shut", &client.shutdown(Shutdown::Read).await);
    stage.saw("reads", waiting.await.unwrap());
}

async fn both_halves_are_shut_at_once(stage: Stage) {
    let (client, server) = pair().await;
    client.write_all("last words").await.0.unwrap();
    stage.told("shut", &client.shutdown(Shutdown::Both).await);
    stage.saw("client reads", received(&client).await);
    stage.told("client writes", &client.write_all("x").await.0);
    stage.saw("server reads", rest_as_text(&server).await);
    stage.told("server writes", &server.write_all("into the void").await.0);
}

async fn closed_with_bytes_unread(stage: Stage) {
    let (client, server) = pair().await;
    reset(server, &client).await;
    stage.saw("read", received(&client).await);
    stage.saw("read again", received(&client).await);
    stage.told("write", &client.write_all("x").await.0);
    stage.told("write again", &client.write_all("x").await.0);
    stage.told("shut", &client.shutdown(Shutdown::Write).await);
}

async fn closed_with_bytes_unread_after_some(stage: Stage) {
    let (client, server) = pair().await;
    server.write_all("heard").await.0.unwrap();
    settle().await;
    reset(server, &client).await;
    stage.saw("read", rest_as_text(&client).await);
    stage.saw("read again", received(&client).await);
    stage.told("write", &client.write_all("x").await.0);
}

async fn a_write_is_told_of_the_reset(stage: Stage) {
    let (client, server) = pair().await;
    server.write_all("heard").await.0.unwrap();
    settle().await;
    reset(server, &client).await;
    stage.told("write", &client.write_all("x").await.0);
    stage.told("write again", &client.write_all("x").await.0);
    stage.saw("read", rest_as_text(&client).await);
    stage.saw("read again", received(&client).await);
}

async fn a_reader_that_waits_is_reset(stage: Stage) {
    let (client, server) = pair().await;
    let client = std::rc::Rc::new(client);
    let reader = std::rc::Rc::clone(&client);
    let waiting = spawn(async move { received(&reader).await });
    reset(server, &client).await;
    stage.saw("read", waiting.await.unwrap());
    stage.told("write", &client.write_all("x").await.0);
}

async fn a_writer_that_waits_is_reset(stage: Stage) {
    let (client, server) = pair().await;
    let client = std::rc::Rc::new(client);
    let writer = std::rc::Rc::clone(&client);
    let waiting = spawn(async move { writer.write_all(vec![1; 12 << 20]).await.0 });
    settle().await;
    stage.saw("waits", !waiting.is_finished());
    drop(server);
    let end = waiting.await.unwrap();
    let gone = end.map_err(|e| e.raw_os_error());
    // Which of both depends on whether the kernel had sent a part of this call when it was reset.
    let is_gone = matches!(gone, Err(Some(libc::ECONNRESET | libc::EPIPE)));
    stage.saw("is told", is_gone);
    stage.saw("read", received(&client).await != "end");
}

async fn a_write_to_who_is_gone(stage: Stage) {
    let (client, server) = pair().await;
    drop(server);
    settle().await;
    stage.told("write", &client.write_all("nobody is there").await.0);
    settle().await;
    stage.told("write again", &client.write_all("nobody was there").await.0);
    stage.saw("read", received(&client).await);
    stage.saw("read again", received(&client).await);
}

async fn a_read_after_a_write_to_who_is_gone(stage: Stage) {
    let (client, server) = pair().await;
    server.write_all("farewell").await.0.unwrap();
    drop(server);
    settle().await;
    stage.told("write", &client.write_all("nobody is there").await.0);
    settle().await;
    stage.saw("read", rest_as_text(&client).await);
    stage.told("write again", &client.write_all("nobody was there").await.0);
}

async fn the_last_bytes_of_who_reads_no_more(stage: Stage) {
    let (client, server) = pair().await;
    client.write_all("request").await.0.unwrap();
    settle().await;
    server.write_all("answer").await.0.unwrap();
    stage.told("shut", &server.shutdown(Shutdown::Write).await);
    settle().await;
    // The end has arrived before the reset.
    drop(server);
    settle().await;
    stage.saw("read", rest_as_text(&client).await);
    stage.told("write", &client.write_all("x").await.0);
}

async fn a_peer_that_leaves_in_order_has_a_name(stage: Stage) {
    let (client, server) = pair().await;
    drop(server);
    settle().await;
    stage.told("peer", &client.peer_addr().map(drop));
    stage.told("local", &client.local_addr().map(drop));
    stage.saw("read", received(&client).await);
    stage.told("peer after the end", &client.peer_addr().map(drop));
}

async fn a_connection_that_is_over_has_no_peer(stage: Stage) {
    let (client, server) = pair().await;
    client.shutdown(Shutdown::Write).await.unwrap();
    stage.saw("server reads", received(&server).await);
    stage.told("peer of a half", &client.peer_addr().map(drop));
    server.shutdown(Shutdown::Write).await.unwrap();
    settle().await;
    stage.told("peer of the first", &client.peer_addr().map(drop));
    stage.told("peer of the second", &server.peer_addr().map(drop));
    stage.told("local", &client.local_addr().map(drop));
    stage.told("shut", &client.shutdown(Shutdown::Read).await);
    stage.told("shut the second", &server.shutdown(Shutdown::Read).await);
    stage.saw("client reads", received(&client).await);
    stage.told("client writes", &client.write_all("x").await.0);
}

async fn a_reset_connection_has_no_peer(stage: Stage) {
    let (client, server) = pair().await;
    reset(server, &client).await;
    stage.told("peer", &client.peer_addr().map(drop));
    stage.told("local", &client.local_addr().map(drop));
    stage.told("shut", &client.shutdown(Shutdown::Read).await);
}

async fn close_returns_what_is_unread(stage: Stage) {
    let (client, server) = pair().await;
    client.write_all("one two three").await.0.unwrap();
    let (_, buf) = server.read(Vec::with_capacity(4)).await;
    let mut bytes = buf;
    settle().await;
    let leases = server.close().await;
    stage.told(
        "close",
        &leases.as_ref().map(drop).map_err(|e| e.kind().into()),
    );
    for lease in leases.unwrap() {
        bytes.extend_from_slice(&lease);
    }
    // What the kernel had, and nobody asked for, is not among it; what there is, is in order.
    stage.saw("in order", b"one two three".starts_with(&bytes));
}

async fn halves_end_apart(stage: Stage) {
    let (client, server) = pair().await;
    let (read, write) = client.into_split();
    write.write_all("half").await.0.unwrap();
    drop(write);
    stage.saw("server reads", rest_as_text(&server).await);
    server.write_all("whole").await.0.unwrap();
    drop(server);
    let mut bytes = Vec::new();
    while let Some(lease) = read.recv().await.unwrap() {
        bytes.extend_from_slice(&lease);
    }
    stage.saw("client reads", String::from_utf8_lossy(&bytes));
}

async fn a_shut_stream_is_dropped(stage: Stage) {
    let (client, server) = pair().await;
    let early = server.recv().timeout(Duration::from_millis(10)).await;
    stage.saw("nothing yet", early.is_err());
    server.write_all("farewell").await.0.unwrap();
    settle().await;
    stage.told("shut", &server.shutdown(Shutdown::Write).await);
    settle().await;
    client.write_all("unread").await.0.unwrap();
    // What a lack of buffers leaves in the kernel would reset the connection.
    while server.fill_buf().await.unwrap().len() < "unread".len() {
        server.fill_more().await.unwrap();
    }
    settle().await;
    drop(server);
    settle().await;
    stage.told("write", &client.write_all("more").await.0);
    settle().await;
    stage.saw("read", rest_as_text(&client).await);
    stage.told("write again", &client.write_all("more").await.0);
    settle().await;
    stage.told("write once more", &client.write_all("more").await.0);
}
