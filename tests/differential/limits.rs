//! What a program sees that has no descriptors left.

use std::time::Duration;

use corering::fs::File;
use corering::net::{TcpListener, TcpSocket};
use corering::spawn;
use corering::time::timeout;

use super::common::localhost;
use super::stage::{Script, Stage, connected, received, script, settle};

pub(crate) fn scripts() -> Vec<Script> {
    vec![script("no_descriptor_is_left", no_descriptor_is_left)]
}

async fn no_descriptor_is_left(stage: Stage) {
    File::create(stage.path("a")).await.unwrap();
    let listener = TcpListener::bind(localhost()).await.unwrap();
    let client = connected(listener.local_addr().unwrap()).await;
    stage.limit_descriptors();
    let mut taken = Vec::new();
    let end = loop {
        match TcpSocket::new_v4() {
            Ok(socket) => taken.push(socket),
            Err(e) => break e,
        }
    };
    stage.told::<()>("socket", &Err(end));
    stage.told("open", &File::open(stage.path("a")).await.map(drop));
    stage.told("create", &File::create(stage.path("b")).await.map(drop));
    let mut accepting = spawn(async move { listener.accept().await });
    settle().await;
    stage.saw("accept waits", !accepting.is_finished());
    client.write_all("in the backlog").await.0.unwrap();
    taken.pop();
    let accepted = timeout(Duration::from_secs(5), &mut accepting).await;
    let (server, _) = accepted.unwrap().unwrap().unwrap();
    stage.saw("received", received(&server).await);
    stage.told("socket beside it", &TcpSocket::new_v4().map(drop));
    drop((server, client));
    settle().await;
    stage.told("socket again", &TcpSocket::new_v4().map(drop));
    // Was the file made whose opening has failed?
    stage.told("created", &File::open(stage.path("b")).await.map(drop));
}
