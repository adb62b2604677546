//! What waits is cancelled, timed out or dropped, and what comes after it.

use std::time::Duration;

use corering::fs::OpenOptions;
use corering::io::Operation;
use corering::net::{TcpListener, TcpSocket, TcpStream};
use corering::time::{sleep, timeout};
use futures_lite::future::poll_once;

use super::common::{localhost, read_exactly};
use super::stage::{
    Script, Stage, connected, fill, pair, received, rest, rest_as_text, script, settle, told,
};

pub(crate) fn scripts() -> Vec<Script> {
    vec![
        script("a_receive_is_cancelled", a_receive_is_cancelled),
        script("a_read_is_cancelled", a_read_is_cancelled),
        script("a_receive_is_timed_out", a_receive_is_timed_out),
        script("a_receive_is_dropped", a_receive_is_dropped),
        script(
            "a_receive_is_cancelled_too_late",
            a_receive_is_cancelled_too_late,
        ),
        script("an_accept_is_cancelled", an_accept_is_cancelled),
        script("an_accept_is_dropped", an_accept_is_dropped),
        script("a_connect_is_cancelled", a_connect_is_cancelled),
        script("a_connect_is_dropped", a_connect_is_dropped),
        script("a_write_is_cancelled", a_write_is_cancelled),
        script("a_write_of_all_is_cut", a_write_of_all_is_cut),
        script("a_write_is_dropped", a_write_is_dropped),
        script(
            "a_zero_copy_write_is_cancelled",
            a_zero_copy_write_is_cancelled,
        ),
        script("ops_on_files_are_cancelled", ops_on_files_are_cancelled),
        script(
            "a_stream_is_dropped_while_it_writes",
            a_stream_is_dropped_while_it_writes,
        ),
    ]
}

const SHORTLY: Duration = Duration::from_millis(20);

async fn a_receive_is_cancelled(stage: Stage) {
    let (client, server) = pair().await;
    let mut recv = server.recv();
    stage.saw("waits", poll_once(&mut recv).await.is_none());
    settle().await;
    stage.told("cancelled", &recv.cancel().await.map(drop));
    client.write_all("afterwards").await.0.unwrap();
    stage.saw("then", received(&server).await);
}

async fn a_read_is_cancelled(stage: Stage) {
    let (client, server) = pair().await;
    let mut read = server.read(Vec::with_capacity(100));
    stage.saw("waits", poll_once(&mut read).await.is_none());
    settle().await;
    let (n, buf) = read.cancel().await;
    stage.told("cancelled", &n);
    stage.saw("buffer", buf.capacity() >= 100 && buf.is_empty());
    client.write_all("afterwards").await.0.unwrap();
    stage.saw("then", received(&server).await);
}

async fn a_receive_is_timed_out(stage: Stage) {
    let (client, server) = pair().await;
    stage.told("recv", &server.recv().timeout(SHORTLY).await.map(drop));
    let (n, _) = server.read(Vec::with_capacity(10)).timeout(SHORTLY).await;
    stage.told("read", &n);
    let more = timeout(SHORTLY, server.fill_more()).await;
    stage.saw("fill_more", more.is_err());
    drop(client);
    stage.saw("then", received(&server).await);
}

async fn a_receive_is_dropped(stage: Stage) {
    let (client, server) = pair().await;
    for word in ["one", "two"] {
        let early = timeout(SHORTLY, server.recv()).await;
        stage.saw(format!("nothing before {word}"), early.is_err());
        client.write_all(word).await.0.unwrap();
        stage.saw("then", received(&server).await);
    }
}

async fn a_receive_is_cancelled_too_late(stage: Stage) {
    let (client, server) = pair().await;
    let mut recv = server.recv();
    stage.saw("waits", poll_once(&mut recv).await.is_none());
    settle().await;
    client.write_all("in time").await.0.unwrap();
    settle().await;
    // The bytes are there: they win.
    let bytes = recv
        .cancel()
        .await
        .map(|lease| lease.map(|lease| lease.to_vec()));
    let first = bytes.as_ref().is_ok_and(|bytes| {
        let bytes = bytes.as_deref().unwrap_or_default();
        !bytes.is_empty() && b"in time".starts_with(bytes)
    });
    stage.saw("not cancelled", first);
}

async fn an_accept_is_cancelled(stage: Stage) {
    let listener = TcpListener::bind(localhost()).await.unwrap();
    let mut accept = listener.accept();
    stage.saw("waits", poll_once(&mut accept).await.is_none());
    settle().await;
    stage.told("cancelled", &accept.cancel().await.map(drop));
    stage.told(
        "timed out",
        &listener.accept().timeout(SHORTLY).await.map(drop),
    );
    let client = connected(listener.local_addr().unwrap()).await;
    let (_, peer) = listener.accept().await.unwrap();
    stage.saw("then", peer == client.local_addr().unwrap());
}

async fn an_accept_is_dropped(stage: Stage) {
    let listener = TcpListener::bind(localhost()).await.unwrap();
    stage.saw("waits", timeout(SHORTLY, listener.accept()).await.is_err());
    let first = connected(listener.local_addr().unwrap()).await;
    let second = connected(listener.local_addr().unwrap()).await;
    settle().await;
    for client in [first, second] {
        let (server, peer) = listener.accept().await.unwrap();
        stage.saw("then", peer == client.local_addr().unwrap());
        server.write_all("hello").await.0.unwrap();
        stage.saw("client", received(&client).await);
    }
}

/// A listener whose backlog is full.
async fn full() -> (TcpListener, Vec<TcpStream>) {
    let listener = TcpSocket::new_v4().unwrap().bind(localhost()).unwrap();
    let listener = listener.listen(0).unwrap();
    let client = connected(listener.local_addr().unwrap()).await;
    (listener, vec![client])
}

async fn a_connect_is_cancelled(stage: Stage) {
    let (listener, _clients) = full().await;
    let address = listener.local_addr().unwrap();
    let mut connect = TcpSocket::new_v4().unwrap().connect(address);
    stage.saw("waits", poll_once(&mut connect).await.is_none());
    settle().await;
    stage.told("cancelled", &connect.cancel().await.map(drop));
    let connect = TcpSocket::new_v4().unwrap().connect(address);
    stage.told("timed out", &connect.timeout(SHORTLY).await.map(drop));
    listener.accept().await.unwrap();
    stage.told("then", &TcpStream::connect(address).await.map(drop));
}

async fn a_connect_is_dropped(stage: Stage) {
    let (listener, _clients) = full().await;
    let address = listener.local_addr().unwrap();
    stage.saw(
        "waits",
        timeout(SHORTLY, TcpStream::connect(address)).await.is_err(),
    );
    listener.accept().await.unwrap();
    // Nobody comes: the client has given up.
    let nobody = timeout(Duration::from_millis(1500), listener.accept()).await;
    stage.saw("nobody comes", nobody.is_err());
}

async fn a_write_is_cancelled(stage: Stage) {
    let (client, server) = pair().await;
    let bytes = fill(&client).await;
    let mut write = client.write("not sent");
    stage.saw("waits", poll_once(&mut write).await.is_none());
    settle().await;
    let (n, buf) = write.cancel().await;
    stage.told("cancelled", &n);
    stage.saw("buffer", buf);
    drop(write);
    stage.saw("read", read_exactly(&server, bytes).await.len() == bytes);
    client.write_all("afterwards").await.0.unwrap();
    drop(client);
    stage.saw("then", rest_as_text(&server).await);
}

async fn a_write_of_all_is_cut(stage: Stage) {
    let (client, server) = pair().await;
    let large = vec![7; 12 << 20];
    let (sent, buf) = client
        .write_all(large)
        .timeout(Duration::from_millis(50))
        .await;
    stage.saw("buffer", buf.len());
    let sent = sent.map_err(|e| e.kind());
    stage.saw("some", sent.is_ok_and(|n| n > 0 && n < buf.len()));
    stage.told("write", &client.write_all("x").await.0);
    let reading = async { rest(&server).await };
    let (bytes, end) = futures_lite::future::zip(reading, async {
        sleep(SHORTLY).await;
        drop(client);
    })
    .await
    .0;
    stage.saw("so many arrive", sent.is_ok_and(|n| n == bytes.len()));
    stage.told("end", &end);
}

async fn a_write_is_dropped(stage: Stage) {
    let (client, server) = pair().await;
    let large = vec![7; 12 << 20];
    stage.saw(
        "waits",
        timeout(SHORTLY, client.write_all(large)).await.is_err(),
    );
    // It is committed: all of it comes before what follows.
    let (_, bytes) = futures_lite::future::zip(
        async {
            client.write_all("then").await.0.unwrap();
        },
        read_exactly(&server, (12 << 20) + 4),
    )
    .await;
    stage.saw("all", bytes[..12 << 20].iter().all(|byte| *byte == 7));
    stage.saw("then", String::from_utf8_lossy(&bytes[12 << 20..]));
}

async fn a_zero_copy_write_is_cancelled(stage: Stage) {
    let (client, server) = pair().await;
    let bytes = fill(&client).await;
    let (n, buf) = client.write_zero_copy("not sent").timeout(SHORTLY).await;
    stage.told("timed out", &n);
    stage.saw("buffer", buf);
    stage.saw("read", read_exactly(&server, bytes).await.len() == bytes);
    drop(client);
    stage.saw("then", rest_as_text(&server).await);
}

/// Who wins is open, but there is no third result.
async fn ops_on_files_are_cancelled(stage: Stage) {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true);
    let file = options.open(stage.path("file")).await.unwrap();
    let either =
        |result: String| matches!(result.as_str(), "1" | "2" | "3" | "4" | "()" | "ECANCELED");
    let mut write = file.write_at("four", 0);
    poll_once(&mut write).await;
    stage.saw("write", either(told(&write.cancel().await.0)));
    let mut sync = file.sync_all();
    poll_once(&mut sync).await;
    stage.saw("sync", either(told(&sync.cancel().await)));
    file.write_at("four", 0).await.0.unwrap();
    let mut read = file.read_at(Vec::with_capacity(4), 0);
    poll_once(&mut read).await;
    stage.saw("read", either(told(&read.cancel().await.0)));
    let mut open = options.open(stage.path("file"));
    poll_once(&mut open).await;
    stage.saw("open", either(told(&open.cancel().await.map(drop))));
    drop((write, sync, read));
    stage.told("close", &file.close().await);
}

async fn a_stream_is_dropped_while_it_writes(stage: Stage) {
    let (client, server) = pair().await;
    let large = vec![7; 12 << 20];
    stage.saw(
        "waits",
        timeout(SHORTLY, client.write_all(large)).await.is_err(),
    );
    drop(client);
    let (bytes, end) = rest(&server).await;
    stage.saw("all arrives", bytes.len() == 12 << 20);
    stage.told("end", &end);
}
