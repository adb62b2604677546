//! Binding, listening, connecting, accepting.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use corering::net::{TcpListener, TcpSocket, TcpStream};
use corering::spawn;
use corering::time::timeout;

use super::common::localhost;
use super::stage::{Script, Stage, connected, received, rest_as_text, script, settle};

pub(crate) fn scripts() -> Vec<Script> {
    vec![
        script("nobody_listens", nobody_listens),
        script("the_listener_is_gone", the_listener_is_gone),
        script("a_backlog_is_full", a_backlog_is_full),
        script("an_address_is_in_use", an_address_is_in_use),
        script("an_address_is_reused", an_address_is_reused),
        script("a_port_is_shared", a_port_is_shared),
        script("a_port_of_live_connections", a_port_of_live_connections),
        script("addresses_that_are_none", addresses_that_are_none),
        script("families_do_not_mix", families_do_not_mix),
        script("an_unbound_socket_listens", an_unbound_socket_listens),
        script("both_ends_know_each_other", both_ends_know_each_other),
        script("a_client_that_is_bound", a_client_that_is_bound),
        script("connections_come_in_order", connections_come_in_order),
        script(
            "the_peer_is_gone_before_accept",
            the_peer_is_gone_before_accept,
        ),
        script(
            "a_listener_goes_with_its_backlog",
            a_listener_goes_with_its_backlog,
        ),
        script("options_are_kept", options_are_kept),
        script("a_port_that_waits", a_port_that_waits),
        script("a_socket_connects_to_itself", a_socket_connects_to_itself),
    ]
}

fn bound(address: SocketAddr) -> std::io::Result<TcpSocket> {
    TcpSocket::new_v4().unwrap().bind(address)
}

fn reusing(address: SocketAddr) -> std::io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.reuse_address().unwrap().bind(address)
}

fn sharing(address: SocketAddr) -> std::io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.reuse_port().unwrap().bind(address)
}

fn at(ip: [u8; 4], port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::from(ip), port))
}

async fn nobody_listens(stage: Stage) {
    let socket = bound(localhost()).unwrap();
    let address = socket.local_addr().unwrap();
    stage.told("bound only", &TcpStream::connect(address).await.map(drop));
    drop(socket);
    stage.told("unused", &TcpStream::connect(address).await.map(drop));
    let nowhere = at([127, 0, 0, 1], 0);
    stage.told("port 0", &TcpStream::connect(nowhere).await.map(drop));
}

async fn the_listener_is_gone(stage: Stage) {
    let listener = TcpListener::bind(localhost()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let client = connected(address).await;
    let (server, _) = listener.accept().await.unwrap();
    drop(listener);
    settle().await;
    stage.told("connect", &TcpStream::connect(address).await.map(drop));
    // What was accepted lives on.
    client.write_all("still there").await.0.unwrap();
    stage.saw("received", received(&server).await);
}

async fn a_backlog_is_full(stage: Stage) {
    let listener = bound(localhost()).unwrap().listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let first = connected(address).await;
    let second = connected(address).await;
    let mut third = spawn(TcpStream::connect(address));
    let early = timeout(Duration::from_millis(100), &mut third).await;
    stage.saw("the third waits", early.is_err());
    let (accepted, peer) = listener.accept().await.unwrap();
    stage.saw("the first is first", first.local_addr().unwrap() == peer);
    listener.accept().await.unwrap();
    // Its SYN is sent again after a second.
    let third = timeout(Duration::from_secs(10), third).await;
    stage.saw("the third is let in", third.unwrap().unwrap().is_ok());
    drop((accepted, second));
}

async fn an_address_is_in_use(stage: Stage) {
    let first = bound(localhost()).unwrap();
    let address = first.local_addr().unwrap();
    let port = address.port();
    stage.told("the same", &bound(address).map(drop));
    stage.told("reused by one", &reusing(address).map(drop));
    stage.told("any", &bound(at([0, 0, 0, 0], port)).map(drop));
    stage.told(
        "another of loopback",
        &bound(at([127, 0, 0, 2], port)).map(drop),
    );
    stage.told("twice", &first.bind(localhost()).map(drop));
    stage.told("once it is free", &bound(address).map(drop));
    let all = bound(at([0, 0, 0, 0], 0)).unwrap();
    let port = all.local_addr().unwrap().port();
    stage.told("one of all", &bound(at([127, 0, 0, 1], port)).map(drop));
}

async fn an_address_is_reused(stage: Stage) {
    let first = reusing(localhost()).unwrap();
    let address = first.local_addr().unwrap();
    let second = reusing(address);
    stage.told(
        "while nobody listens",
        &second.as_ref().map(drop).map_err(again),
    );
    let listener = first.listen(1);
    stage.told(
        "the first listens",
        &listener.as_ref().map(drop).map_err(again),
    );
    stage.told("the second listens", &second.unwrap().listen(1).map(drop));
    stage.told("while one listens", &reusing(address).map(drop));
    drop(listener);
    stage.told("afterwards", &reusing(address).unwrap().listen(1).map(drop));
}

fn again(error: &std::io::Error) -> std::io::Error {
    error
        .raw_os_error()
        .map_or_else(|| error.kind().into(), std::io::Error::from_raw_os_error)
}

async fn a_port_is_shared(stage: Stage) {
    let first = sharing(localhost()).unwrap();
    let address = first.local_addr().unwrap();
    let first = first.listen(8).unwrap();
    stage.told("by one alone", &bound(address).map(drop));
    stage.told("by reusing it", &reusing(address).map(drop));
    let second = sharing(address).unwrap().listen(8).unwrap();
    let client = connected(address).await;
    let accepted = futures_lite::future::or(first.accept(), second.accept()).await;
    let peer = accepted.unwrap().1;
    stage.saw("one of them accepts", peer == client.local_addr().unwrap());
}

async fn a_port_of_live_connections(stage: Stage) {
    let listener = bound(localhost()).unwrap().listen(8).unwrap();
    let address = listener.local_addr().unwrap();
    let client = connected(address).await;
    let (server, _) = listener.accept().await.unwrap();
    drop(listener);
    settle().await;
    stage.told("bound", &bound(address).map(drop));
    stage.told("reused", &reusing(address).map(drop));
    // The client's end goes first: nothing is left of the server's.
    drop(client);
    settle().await;
    stage.saw("end", received(&server).await);
    drop(server);
    settle().await;
    stage.told("afterwards", &bound(address).map(drop));
}

async fn addresses_that_are_none(stage: Stage) {
    stage.told("of somebody else", &bound(at([192, 0, 2, 1], 0)).map(drop));
    let any = bound(at([0, 0, 0, 0], 0)).unwrap();
    stage.told("any", &any.local_addr().map(|address| address.ip()));
    let listener = any.listen(8).unwrap();
    let port = listener.local_addr().unwrap().port();
    // As a destination it is this host.
    let client = TcpStream::connect(at([0, 0, 0, 0], port)).await.unwrap();
    stage.told("from", &client.local_addr().map(|address| address.ip()));
    stage.told("to", &client.peer_addr().map(|address| address.ip()));
    let other = connected(at([127, 1, 2, 3], port)).await;
    stage.told(
        "from loopback",
        &other.local_addr().map(|address| address.ip()),
    );
    stage.told(
        "to loopback",
        &other.peer_addr().map(|address| address.ip()),
    );
}

async fn families_do_not_mix(stage: Stage) {
    let v6: SocketAddr = "[::1]:1".parse().unwrap();
    let v4 = at([127, 0, 0, 1], 1);
    let new_v4 = || TcpSocket::new_v4().unwrap();
    stage.told("bind v6 to v4", &new_v4().bind(v6).map(drop));
    stage.told("connect v4 to v6", &new_v4().connect(v6).await.map(drop));
    let Ok(socket) = TcpSocket::new_v6() else {
        return;
    };
    stage.told("bind v4 to v6", &socket.bind(v4).map(drop));
    let socket = TcpSocket::new_v6().unwrap();
    stage.told("connect v6 to v4", &socket.connect(v4).await.map(drop));
}

async fn an_unbound_socket_listens(stage: Stage) {
    let socket = TcpSocket::new_v4().unwrap();
    stage.told("before", &socket.local_addr());
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    stage.saw("ip", address.ip());
    stage.saw("port", address.port() != 0);
    connected(at([127, 0, 0, 1], address.port())).await;
}

async fn both_ends_know_each_other(stage: Stage) {
    let listener = TcpListener::bind(localhost()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let client = connected(address).await;
    let (server, peer) = listener.accept().await.unwrap();
    let (here, there) = (client.local_addr().unwrap(), client.peer_addr().unwrap());
    stage.saw("client", there == address && here != address);
    stage.saw(
        "server",
        server.local_addr().unwrap() == address && peer == here,
    );
    stage.saw("peer of the server", server.peer_addr().unwrap() == here);
    stage.saw("ip", here.ip());
}

async fn a_client_that_is_bound(stage: Stage) {
    let listener = TcpListener::bind(localhost()).await.unwrap();
    let socket = bound(at([127, 0, 0, 9], 0)).unwrap();
    let address = socket.local_addr().unwrap();
    let client = socket
        .connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    stage.saw("local", client.local_addr().unwrap() == address);
    let (_server, peer) = listener.accept().await.unwrap();
    stage.saw("peer", peer == address);
}

async fn connections_come_in_order(stage: Stage) {
    let listener = TcpListener::bind(localhost()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(connected(address).await);
    }
    for (at, client) in clients.iter().enumerate() {
        let (_, peer) = listener.accept().await.unwrap();
        stage.saw(
            format!("connection {at}"),
            peer == client.local_addr().unwrap(),
        );
    }
}

async fn the_peer_is_gone_before_accept(stage: Stage) {
    let listener = TcpListener::bind(localhost()).await.unwrap();
    let client = connected(listener.local_addr().unwrap()).await;
    client.write_all("farewell").await.0.unwrap();
    drop(client);
    settle().await;
    let (server, _) = listener.accept().await.unwrap();
    stage.saw("received", rest_as_text(&server).await);
}

async fn a_listener_goes_with_its_backlog(stage: Stage) {
    let listener = TcpListener::bind(localhost()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let reader = connected(address).await;
    let writer = connected(address).await;
    writer.write_all("nobody reads that").await.0.unwrap();
    drop(listener);
    settle().await;
    stage.saw("read", received(&reader).await);
    stage.saw("read again", received(&reader).await);
    stage.told("write", &writer.write_all("x").await.0);
    stage.told("peer", &writer.peer_addr().map(drop));
}

async fn options_are_kept(stage: Stage) {
    let listener = TcpListener::bind(localhost()).await.unwrap();
    let client = connected(listener.local_addr().unwrap()).await;
    stage.told("nodelay", &client.nodelay());
    stage.told("set", &client.set_nodelay(true));
    stage.told("nodelay now", &client.nodelay());
    stage.told("unset", &client.set_nodelay(false));
    stage.told("nodelay then", &client.nodelay());
    let socket = TcpSocket::new_v4().unwrap().nodelay().unwrap();
    let listener = socket.listen(1).unwrap();
    let port = listener.local_addr().unwrap().port();
    connected(at([127, 0, 0, 1], port)).await;
    let (server, _) = listener.accept().await.unwrap();
    stage.told("as its listener", &server.nodelay());
}

/// Who closes first leaves its port in `TIME_WAIT`.
async fn a_port_that_waits(stage: Stage) {
    let listener = bound(localhost()).unwrap().listen(8).unwrap();
    let address = listener.local_addr().unwrap();
    let client = connected(address).await;
    let (server, _) = listener.accept().await.unwrap();
    drop((server, listener));
    settle().await;
    stage.saw("end", received(&client).await);
    drop(client);
    settle().await;
    stage.told("bound", &bound(address).map(drop));
}

async fn a_socket_connects_to_itself(stage: Stage) {
    let socket = bound(localhost()).unwrap();
    let address = socket.local_addr().unwrap();
    stage.told("connect", &socket.connect(address).await.map(drop));
}
