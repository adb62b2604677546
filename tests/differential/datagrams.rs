//! UDP: what is sent, cut, refused, and said beside the bytes.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use corering::io::Operation;
use corering::net::{Control, Datagram, PacketInfo, UdpSocket};
use corering::time::timeout;
use futures_lite::future::poll_once;

use super::common::{Random, localhost};
use super::stage::{Script, Stage, errno_of, script, settle};

const PROGRAMS: u32 = 60;
const STEPS: usize = 30;

pub(crate) fn scripts() -> Vec<Script> {
    vec![
        script("udp_whole_and_in_order", whole_and_in_order),
        script("udp_cut_to_the_room", cut_to_the_room),
        script("udp_nobody_is_there", nobody_is_there),
        script("udp_what_cannot_be_sent", what_cannot_be_sent),
        script("udp_addresses", addresses),
        script("udp_ports_are_shared", ports_are_shared),
        script("udp_a_peer_and_others", a_peer_and_others),
        script("udp_control_data", control_data),
        script("udp_control_data_is_cut", control_data_is_cut),
        script("udp_segments", segments),
        script("udp_handed_over", handed_over),
        script("udp_receives_are_ended", receives_are_ended),
        script("udp_options", options),
    ]
}

/// Sockets that know each other, used at random.
pub(crate) fn programs() -> Vec<Script> {
    let programs = (0..PROGRAMS).map(|number| {
        let play = move |stage| play(stage, number);
        script(format!("udp {number}"), play)
    });
    programs.collect()
}

/// Room enough that nothing is dropped: each kernel has its own idea of that.
async fn bound() -> UdpSocket {
    let socket = UdpSocket::bind(localhost()).await.unwrap();
    socket.set_recv_buffer_size(200_000).unwrap();
    socket
}

async fn pair() -> (UdpSocket, UdpSocket) {
    let (a, b) = (bound().await, bound().await);
    a.connect(b.local_addr().unwrap()).await.unwrap();
    b.connect(a.local_addr().unwrap()).await.unwrap();
    (a, b)
}

fn told_of(datagram: &io::Result<Datagram<SocketAddr>>) -> String {
    match datagram {
        Ok(datagram) => {
            let text = String::from_utf8_lossy(&datagram.payload);
            let cut = if datagram.truncated { " cut" } else { "" };
            format!("{} {text:.20?}{cut}", datagram.payload.len())
        }
        Err(e) => errno_of(e),
    }
}

/// What comes next: a datagram, an error, or nothing.
async fn next(socket: &UdpSocket) -> String {
    match timeout(Duration::from_millis(20), socket.recv()).await {
        Ok(datagram) => told_of(&datagram),
        Err(_) => "nothing".to_owned(),
    }
}

fn sent(result: &io::Result<usize>) -> String {
    result.as_ref().map_or_else(errno_of, usize::to_string)
}

async fn whole_and_in_order(stage: Stage) {
    let (a, b) = pair().await;
    for len in [1_usize, 0, 1_400, 9_000, 0, 65_507, 3] {
        let (result, _) = a.send(vec![b'x'; len]).await;
        stage.saw("sent", sent(&result));
        stage.saw("came", next(&b).await);
    }
    for text in ["one", "", "two"] {
        a.send(text).await.0.unwrap();
    }
    for _ in 0..4 {
        stage.saw("queued", next(&b).await);
    }
}

async fn cut_to_the_room(stage: Stage) {
    let (a, b) = pair().await;
    for text in ["0123456789", "short", "", "last"] {
        a.send(text).await.0.unwrap();
    }
    for room in [4, 0, 9, 9] {
        let (peeked, buf) = b.peek(Vec::with_capacity(room)).await;
        let peeked = peeked.unwrap();
        stage.saw(
            "peeked",
            format!("{} {} {buf:?}", peeked.len, peeked.truncated),
        );
        let (received, buf) = b.recv_from(buf).await;
        let received = received.unwrap();
        stage.saw(
            "received",
            format!("{} {} {buf:?}", received.len, received.truncated),
        );
        stage.saw("from", received.from == a.local_addr().unwrap());
    }
}

async fn nobody_is_there(stage: Stage) {
    let (a, b) = pair().await;
    let there = b.local_addr().unwrap();
    b.close().await.unwrap();
    stage.saw("sent", sent(&a.send("x").await.0));
    settle().await;
    stage.saw("next send", sent(&a.send("y").await.0));
    stage.saw("and the next", sent(&a.send("z").await.0));
    stage.saw("received", next(&a).await);
    stage.saw("once", next(&a).await);
    // Who waits is told.
    let mut waiting = Box::pin(a.recv());
    assert!(poll_once(&mut waiting).await.is_none());
    stage.saw("sent again", sent(&a.send("x").await.0));
    stage.saw("told", told_of(&waiting.await));
    // Who has no peer is not.
    let alone = bound().await;
    stage.saw("sent alone", sent(&alone.send_to("x", there).await.0));
    stage.saw("not told", next(&alone).await);
    let again = UdpSocket::bind(there).await.unwrap();
    stage.saw("sent to the next", sent(&a.send("hello").await.0));
    stage.saw("came", next(&again).await);
}

/// The next ones. Of several sends in flight one may be late in a simulation.
async fn in_any_order(socket: &UdpSocket, count: usize) -> String {
    let mut all = Vec::new();
    for _ in 0..count {
        all.push(next(socket).await);
    }
    all.sort();
    all.join(", ")
}

async fn handed_over(stage: Stage) {
    let (a, b) = pair().await;
    let there = b.local_addr().unwrap();
    let port_zero = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    for (number, len) in (0_u8..).zip([5, 5, 5, 3, 0, 0, 7, 7, 7]) {
        stage.saw(len, a.try_send(vec![number; len]).is_ok());
    }
    stage.saw("came", in_any_order(&b, 9).await);
    // Of those that cannot be sent nobody is told, and they take nothing with them.
    for to in [there, there, port_zero, port_zero, there] {
        stage.saw("to some", a.try_send_to("x", to).is_ok());
    }
    stage.saw("of some", in_any_order(&b, 4).await);
    stage.saw("nothing is told", next(&a).await);
    b.close().await.unwrap();
    for _ in 0..3 {
        stage.saw("to nobody", a.try_send("x").is_ok());
        settle().await;
    }
    stage.saw("told", next(&a).await);
}

async fn what_cannot_be_sent(stage: Stage) {
    let socket = bound().await;
    let here = socket.local_addr().unwrap();
    stage.saw("no peer", sent(&socket.send("x").await.0));
    stage.saw(
        "no control, no peer",
        sent(&socket.send_msg("x", None, Control::new()).await.0),
    );
    let port_zero = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    stage.saw("port 0", sent(&socket.send_to("x", port_zero).await.0));
    let six = SocketAddr::from((Ipv6Addr::LOCALHOST, 9));
    stage.saw("other family", sent(&socket.send_to("x", six).await.0));
    for len in [65_507, 65_508, 70_000] {
        stage.saw(len, sent(&socket.send_to(vec![0; len], here).await.0));
    }
    let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, here.port()));
    stage.saw("any", sent(&socket.send_to("here", any).await.0));
    stage.saw("the long one", next(&socket).await);
    stage.saw("is here", next(&socket).await);
    let v6 = UdpSocket::bind("[::1]:0").await.unwrap();
    let here = v6.local_addr().unwrap();
    for len in [65_527, 65_528] {
        stage.saw(len, sent(&v6.send_to(vec![0; len], here).await.0));
    }
    stage.saw("by IPv6", next(&v6).await);
}

async fn addresses(stage: Stage) {
    let a = bound().await;
    let address = a.local_addr().unwrap();
    stage.told("the same", &UdpSocket::bind(address).await.map(drop));
    let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
    stage.told("any", &UdpSocket::bind(any).await.map(drop));
    let other = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), address.port()));
    stage.told(
        "another of loopback",
        &UdpSocket::bind(other).await.map(drop),
    );
    stage.told(
        "reused by one",
        &UdpSocket::bind_reuse_port(address).await.map(drop),
    );
    let foreign = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 0));
    stage.told("foreign", &UdpSocket::bind(foreign).await.map(drop));
    stage.told("no peer", &a.peer_addr().map(drop));
    let wide = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await.unwrap();
    stage.saw("wide", wide.local_addr().unwrap().ip());
    wide.connect(address).await.unwrap();
    stage.saw("narrow", wide.local_addr().unwrap().ip());
    stage.saw("peer", wide.peer_addr().unwrap() == address);
    let six = SocketAddr::from((Ipv6Addr::LOCALHOST, 9));
    stage.told("other family", &wide.connect(six).await);
    drop(a);
    stage.told("free again", &UdpSocket::bind(address).await.map(drop));
}

async fn ports_are_shared(stage: Stage) {
    let first = UdpSocket::bind_reuse_address(localhost()).await.unwrap();
    let address = first.local_addr().unwrap();
    let second = UdpSocket::bind_reuse_address(address).await.unwrap();
    let client = bound().await;
    client.send_to("x", address).await.0.unwrap();
    stage.saw("the first", next(&first).await);
    stage.saw("the last", next(&second).await);
    stage.told("not shared", &UdpSocket::bind(address).await.map(drop));
    let one = UdpSocket::bind_reuse_port(localhost()).await.unwrap();
    let address = one.local_addr().unwrap();
    let two = UdpSocket::bind_reuse_port(address).await.unwrap();
    let mut count = 0;
    for _ in 0..10 {
        client.send_to("x", address).await.0.unwrap();
    }
    for socket in [&one, &two] {
        while next(socket).await != "nothing" {
            count += 1;
        }
    }
    stage.saw("both together", count);
}

async fn a_peer_and_others(stage: Stage) {
    let (a, b) = pair().await;
    let other = bound().await;
    other
        .send_to("not the peer", a.local_addr().unwrap())
        .await
        .0
        .unwrap();
    stage.saw("filtered", next(&a).await);
    stage.saw(
        "to another",
        sent(&a.send_to("x", other.local_addr().unwrap()).await.0),
    );
    stage.saw("came to it", next(&other).await);
    a.connect(other.local_addr().unwrap()).await.unwrap();
    other
        .send_to("now the peer", a.local_addr().unwrap())
        .await
        .0
        .unwrap();
    stage.saw("came", next(&a).await);
    b.send("not any more").await.0.unwrap();
    stage.saw("filtered then", next(&a).await);
}

async fn control_data(stage: Stage) {
    for host in ["127.0.0.1:0", "[::1]:0"] {
        let a = UdpSocket::bind(host).await.unwrap();
        let b = UdpSocket::bind(host).await.unwrap();
        let there = b.local_addr().unwrap();
        a.send_to("x", there).await.0.unwrap();
        let plain = b.recv().await.unwrap();
        stage.saw("nothing", plain.control.entries().count());
        b.set_recv_timestamp(true).unwrap();
        b.set_recv_packet_info(true).unwrap();
        b.set_recv_traffic_class(true).unwrap();
        for ecn in [None, Some(1), Some(3)] {
            let mut control = Control::new();
            control.set_packet_info(PacketInfo::new(there.ip()));
            if let Some(ecn) = ecn {
                control.set_ecn(ecn);
            }
            a.send_msg("x", Some(there), control).await.0.unwrap();
            let control = b.recv().await.unwrap().control;
            stage.saw("ecn", format!("{:?}", control.ecn()));
            let info = control.packet_info().unwrap();
            stage.saw("to", info.address);
            stage.saw("interface", info.interface);
            stage.saw("timestamp", control.timestamp().is_some());
            stage.saw("entries", control.entries().count());
            stage.saw("cut", control.truncated());
        }
    }
}

async fn control_data_is_cut(stage: Stage) {
    let (a, b) = pair().await;
    b.set_recv_timestamp(true).unwrap();
    b.set_recv_packet_info(true).unwrap();
    b.set_recv_traffic_class(true).unwrap();
    for room in [0, 8, 16, 24, 32, 48, 60, 64, 72, 96] {
        b.set_control_room(room);
        settle().await;
        a.send("whole").await.0.unwrap();
        let datagram = b.recv().await;
        stage.saw(room, told_of(&datagram));
        let control = datagram.unwrap().control;
        let lens = control.entries().map(|(level, kind, content)| {
            // The time has a width of its own, and its bytes differ.
            format!("{level}/{kind}:{}", content.len())
        });
        let lens: Vec<_> = lens.collect();
        stage.saw(room, format!("{lens:?} {}", control.truncated()));
    }
}

async fn segments(stage: Stage) {
    let (a, b) = pair().await;
    for (len, size) in [
        (10_usize, 4),
        (8, 4),
        (3, 4),
        (640, 10),
        (2_000, 10),
        (5, 0),
    ] {
        let mut control = Control::new();
        control.set_segment_size(size);
        let (result, _) = a.send_msg(vec![b's'; len], None, control).await;
        stage.saw(format!("{len} by {size}"), sent(&result));
        let mut parts = Vec::new();
        while let Ok(Ok(part)) = timeout(Duration::from_millis(10), b.recv()).await {
            parts.push(part.payload.len());
        }
        stage.saw("parts", format!("{parts:?}"));
    }
}

async fn receives_are_ended(stage: Stage) {
    let (a, b) = pair().await;
    let cancelled = b.recv().cancel().await;
    stage.saw("unpolled", told_of(&cancelled));
    let mut waiting = b.recv();
    assert!(poll_once(&mut waiting).await.is_none());
    stage.saw("waiting", told_of(&waiting.cancel().await));
    drop(waiting);
    let early = b
        .recv_from(Vec::with_capacity(9))
        .timeout(Duration::from_millis(5))
        .await;
    stage.saw("in time", format!("{:?}", early.0.unwrap_err().kind()));
    a.send("one").await.0.unwrap();
    settle().await;
    // It may be in the inbox or in the kernel yet: it is there.
    drop(b.recv());
    stage.saw("there", next(&b).await);
    drop(poll_once(b.recv()).await);
    a.send("two").await.0.unwrap();
    a.send("three").await.0.unwrap();
    settle().await;
    drop(b.recv());
    stage.saw("two", next(&b).await);
    stage.saw("three", next(&b).await);
    stage.told("closed", &b.close().await.map(drop));
}

async fn options(stage: Stage) {
    for host in ["127.0.0.1:0", "[::1]:0"] {
        let socket = UdpSocket::bind(host).await.unwrap();
        stage.saw("ttl", socket.ttl().unwrap());
        stage.told("set", &socket.set_ttl(7));
        stage.saw("ttl", socket.ttl().unwrap());
        stage.told("too large", &socket.set_ttl(256));
        stage.saw("broadcast", socket.broadcast().unwrap());
        stage.told("set", &socket.set_broadcast(true));
        stage.saw("broadcast", socket.broadcast().unwrap());
        stage.saw("loop", socket.multicast_loop().unwrap());
        stage.told("set", &socket.set_multicast_loop(false));
        stage.saw("loop", socket.multicast_loop().unwrap());
        stage.saw("multicast ttl", socket.multicast_ttl().unwrap());
        stage.told("set", &socket.set_multicast_ttl(9));
        stage.saw("multicast ttl", socket.multicast_ttl().unwrap());
        stage.told("receive buffer", &socket.set_recv_buffer_size(5_000));
        stage.saw("receive buffer", socket.recv_buffer_size().unwrap());
        stage.told("send buffer", &socket.set_send_buffer_size(1_000));
        stage.saw("send buffer", socket.send_buffer_size().unwrap());
    }
}

async fn play(stage: Stage, number: u32) {
    let mut random = Random::new(number);
    let (a, b) = pair().await;
    let mut sockets = [Some(a), Some(b)];
    let mut waiting = [0_u32; 2];
    for step in 0..STEPS {
        let side = random.below(2);
        let Some(socket) = &sockets[side] else {
            continue;
        };
        match random.below(7) {
            // Few enough that no buffer is ever full.
            0..=2 if waiting[1 - side] < 8 => {
                let len = [0, 1, 40, 700][random.below(4)];
                stage.saw(
                    "send",
                    sent(&socket.send(vec![b'a' + step as u8; len]).await.0),
                );
                waiting[1 - side] += 1;
            }
            3 => {
                stage.saw("recv", next(socket).await);
                waiting[side] = waiting[side].saturating_sub(1);
            }
            4 => {
                let room = random.below(50);
                let (got, buf) = socket
                    .recv_from(Vec::with_capacity(room))
                    .timeout(Duration::from_millis(10))
                    .await;
                let got = got.map(|got| (got.len, got.truncated, buf));
                stage.saw("recv_from", format!("{:?}", got.map_err(|e| e.kind())));
                waiting[side] = waiting[side].saturating_sub(1);
            }
            5 => {
                let (got, _) = socket
                    .peek(Vec::with_capacity(9))
                    .timeout(Duration::from_millis(10))
                    .await;
                let got = got.map(|got| (got.len, got.truncated));
                stage.saw("peek", format!("{:?}", got.map_err(|e| e.kind())));
            }
            6 if random.below(12) == 0 => {
                let socket = sockets[side].take().expect("matched above");
                stage.told("closed", &socket.close().await.map(drop));
                settle().await;
            }
            _ => {}
        }
    }
}
