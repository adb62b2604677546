//! TCP streams carry every byte, in order, and say when they end.

mod common;

use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr};

use corering::buffers::IoBufExt;
use corering::net::{TcpListener, TcpSocket, TcpStream};
use corering::runtime::Builder;
use corering::spawn;

use common::{errno, localhost, pair, pattern, read_exactly, run, spawn_echo_server};

#[test]
fn what_is_written_is_received_with_leases() {
    run(async {
        let (client, server) = pair().await;
        let sent = pattern(1, 3 << 20);
        let copy = sent.clone();
        let writer = spawn(async move {
            client.write_all(copy).await.0.unwrap();
            client.shutdown(Shutdown::Write).await.unwrap();
            client
        });
        let mut got = Vec::new();
        while let Some(lease) = server.recv().await.unwrap() {
            got.extend_from_slice(&lease);
        }
        assert!(got == sent);
        assert!(
            server.recv().await.unwrap().is_none(),
            "the end of the stream stays"
        );
        drop(writer.await.unwrap());
    });
}

/// Sends messages of several lengths to an echo server and compares what comes back.
async fn echoes(stream: &TcpStream, seed: u32) {
    for len in [1, 100, 5000, 70_000] {
        let (sent, buf) = stream.write_all(pattern(seed, len)).await;
        sent.unwrap();
        assert!(read_exactly(stream, len).await == buf, "{len}");
    }
}

#[test]
fn an_echo_comes_back() {
    run(async {
        let listener = TcpListener::bind(localhost()).await.unwrap();
        let address = listener.local_addr().unwrap();
        spawn_echo_server(listener);
        echoes(&TcpStream::connect(address).await.unwrap(), 1).await;
    });
}

#[test]
fn an_echo_comes_back_through_small_queues() {
    let mut builder = Builder::new();
    builder = builder.ring_entries(2).completion_entries(4);
    builder.build().unwrap().block_on(async {
        let listener = TcpListener::bind(localhost()).await.unwrap();
        let address = listener.local_addr().unwrap();
        spawn_echo_server(listener);
        let clients = (0..20).map(|seed| {
            spawn(async move {
                echoes(&TcpStream::connect(address).await.unwrap(), seed).await;
            })
        });
        for client in clients.collect::<Vec<_>>() {
            client.await.unwrap();
        }
    });
}

#[test]
fn connections_do_not_see_each_other_s_bytes() {
    run(async {
        let listener = TcpListener::bind(localhost()).await.unwrap();
        let address = listener.local_addr().unwrap();
        spawn_echo_server(listener);
        let clients = (0..100).map(|seed| {
            spawn(async move {
                let stream = TcpStream::connect(address).await.unwrap();
                for round in 0..5 {
                    echoes(&stream, seed * 10 + round).await;
                }
            })
        });
        for client in clients.collect::<Vec<_>>() {
            client.await.unwrap();
        }
    });
}

#[test]
fn a_part_of_a_lease_can_be_sent_on() {
    run(async {
        let (client, server) = pair().await;
        client.write_all("head and body").await.0.unwrap();
        let lease = server.recv().await.unwrap().unwrap();
        let (sent, part) = server.write_all(lease.slice(9..)).await;
        sent.unwrap();
        assert_eq!(&part[..], b"body");
        assert_eq!(&part.into_inner()[..4], b"head");
        assert_eq!(read_exactly(&client, 4).await, b"body");
    });
}

#[test]
fn both_ends_know_each_other_s_address() {
    run(async {
        let (client, server) = pair().await;
        assert_eq!(client.peer_addr().unwrap(), server.local_addr().unwrap());
        assert_eq!(server.peer_addr().unwrap(), client.local_addr().unwrap());
    });
}

#[test]
fn the_newer_internet_protocol_works_as_well() {
    run(async {
        let any = SocketAddr::from((Ipv6Addr::LOCALHOST, 0));
        let listener = match TcpListener::bind(any).await {
            Ok(listener) => listener,
            Err(e) => {
                println!("skipped: no IPv6 on loopback: {e}");
                return;
            }
        };
        let address = listener.local_addr().unwrap();
        assert!(address.is_ipv6());
        spawn_echo_server(listener);
        echoes(&TcpStream::connect(address).await.unwrap(), 6).await;
        let socket = TcpSocket::new_v6().unwrap();
        let refused = socket.connect(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)));
        assert!(refused.await.is_err());
    });
}

#[test]
fn an_address_has_one_listener_unless_they_share_it() {
    run(async {
        let alone = TcpListener::bind(localhost()).await.unwrap();
        let taken = TcpListener::bind(alone.local_addr().unwrap()).await;
        assert_eq!(errno(taken), libc::EADDRINUSE);

        let share = |address| {
            let socket = TcpSocket::new_v4()?.reuse_port()?.bind(address)?;
            socket.listen(16)
        };
        let first: TcpListener = share(localhost()).unwrap();
        let address = first.local_addr().unwrap();
        let second = share(address).unwrap();
        assert_eq!(second.local_addr().unwrap(), address);
        spawn_echo_server(first);
        spawn_echo_server(second);
        for seed in 0..20 {
            echoes(&TcpStream::connect(address).await.unwrap(), seed).await;
        }
    });
}

#[test]
fn where_nobody_listens_a_connect_is_refused() {
    run(async {
        // Bound, and not listening.
        let socket = TcpSocket::new_v4().unwrap().bind(localhost()).unwrap();
        let nobody = socket.local_addr().unwrap();
        let refused = TcpStream::connect(nobody).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    });
}
