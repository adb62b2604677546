//! Options of TCP sockets reach the kernel, and a host of many addresses is connected to by the one
//! that answers.
#![allow(unsafe_code)]

mod common;

use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use corering::net::{Keepalive, TcpListener, TcpSocket, TcpStream};
use corering::runtime::Builder;
use corering::task::spawn_blocking;
use corering::time::{Instant, sleep, timeout};
use futures_lite::future::poll_once;
use socket2::SockRef;

use common::{errno, localhost, pair, run};

fn socket() -> TcpSocket {
    TcpSocket::new_v4().unwrap()
}

/// An option at the level of TCP, as the kernel has it.
fn tcp(socket: &impl AsFd, name: libc::c_int) -> libc::c_int {
    let mut value = -1;
    let mut len = 4;
    // SAFETY: `value` is `len` writable bytes for the duration of the call.
    let result = unsafe {
        let value = (&raw mut value).cast();
        let fd = socket.as_fd().as_raw_fd();
        libc::getsockopt(fd, libc::IPPROTO_TCP, name, value, &raw mut len)
    };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    value
}

#[test]
fn a_listener_s_keepalive_is_its_connections_keepalive() {
    run(async {
        let asked = Keepalive {
            time: Duration::from_millis(1500),
            interval: Duration::from_secs(3),
            retries: 4,
        };
        let rounded_up = Keepalive {
            time: Duration::from_secs(2),
            ..asked
        };
        let listener = socket().keepalive(asked).unwrap();
        let listener = listener.bind(localhost()).unwrap().listen(4).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await;
        let client = client.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        assert_eq!(server.keepalive().unwrap(), Some(rounded_up));
        assert_eq!(tcp(&server, libc::TCP_KEEPIDLE), 2);
        assert_eq!(tcp(&server, libc::TCP_KEEPINTVL), 3);
        assert_eq!(tcp(&server, libc::TCP_KEEPCNT), 4);

        assert_eq!(client.keepalive().unwrap(), None);
        client.set_keepalive(Some(asked)).unwrap();
        assert_eq!(client.keepalive().unwrap(), Some(rounded_up));
        client.set_keepalive(None).unwrap();
        assert_eq!(client.keepalive().unwrap(), None);
    });
}

#[test]
fn times_of_a_socket_are_rounded_up() {
    run(async {
        let almost = Duration::from_micros(1_500_001);
        let made = socket().user_timeout(almost).unwrap();
        let made = made.defer_accept(almost).unwrap();
        assert_eq!(tcp(&made, libc::TCP_USER_TIMEOUT), 1501);
        // The kernel counts in retransmissions, of 1, 2, 4 seconds.
        assert!((2..=3).contains(&tcp(&made, libc::TCP_DEFER_ACCEPT)));

        let (client, _server) = pair().await;
        assert_eq!(client.user_timeout().unwrap(), None);
        client.set_user_timeout(Some(almost)).unwrap();
        let set = client.user_timeout().unwrap();
        assert_eq!(set, Some(Duration::from_millis(1501)));
        client.set_user_timeout(None).unwrap();
        assert_eq!(client.user_timeout().unwrap(), None);
    });
}

#[test]
fn switches_of_a_socket_reach_the_kernel() {
    run(async {
        let made = socket().fastopen(7).unwrap().incoming_cpu(1).unwrap();
        assert_eq!(tcp(&made, libc::TCP_FASTOPEN), 7);
        assert_eq!(SockRef::from(&made).cpu_affinity().unwrap(), 1);
        let made = socket().fastopen_connect().unwrap();
        assert_eq!(tcp(&made, libc::TCP_FASTOPEN_CONNECT), 1);

        let (client, _server) = pair().await;
        for on in [true, false] {
            client.set_quickack(on).unwrap();
            assert_eq!(client.quickack().unwrap(), on);
            client.set_nodelay(on).unwrap();
            assert_eq!(client.nodelay().unwrap(), on);
        }
    });
}

#[test]
fn a_stream_without_linger_is_reset_when_it_is_dropped() {
    run(async {
        let (client, server) = pair().await;
        client.set_zero_linger().unwrap();
        drop(client);
        let reset = server.recv().await.unwrap_err();
        assert_eq!(reset.kind(), ErrorKind::ConnectionReset);

        let (client, server) = pair().await;
        drop(client);
        assert!(server.recv().await.unwrap().is_none());
    });
}

#[test]
fn a_deferred_connection_is_accepted_when_it_has_said_something() {
    run(async {
        let limit = Duration::from_secs(60);
        let listener = socket().defer_accept(limit).unwrap();
        let listener = listener.bind(localhost()).unwrap().listen(4).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await;
        let early = timeout(Duration::from_millis(50), listener.accept()).await;
        assert!(early.is_err());
        client.unwrap().write_all("hello").await.0.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        assert_eq!(&*server.recv().await.unwrap().unwrap(), b"hello");
    });
}

#[test]
fn a_socket_is_bound_to_a_device_that_exists() {
    run(async {
        let made = socket().bind_device("lo").unwrap();
        let device = SockRef::from(&made).device().unwrap();
        assert_eq!(device.as_deref(), Some(&b"lo"[..]));
        assert_eq!(errno(socket().bind_device("no-such-device")), libc::ENODEV);
    });
}

#[test]
fn one_port_has_a_listener_for_each_internet_protocol() {
    run(async {
        let both = match TcpSocket::new_v6().and_then(|socket| socket.only_v6()) {
            Ok(socket) => socket.bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))),
            Err(e) => return println!("skipped: no IPv6: {e}"),
        };
        let six = both.unwrap().listen(4).unwrap();
        let port = six.local_addr().unwrap().port();
        let four = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await;
        assert_eq!(four.unwrap().local_addr().unwrap().port(), port);
        assert_eq!(errno(socket().only_v6()), libc::ENOPROTOOPT);
    });
}

/// A listener whose backlog is full: who connects to it hears nothing.
async fn deaf() -> (TcpListener, Vec<TcpStream>) {
    let listener = socket().bind(localhost()).unwrap().listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    loop {
        let one = TcpStream::connect(address);
        match timeout(Duration::from_millis(100), one).await {
            Ok(stream) => waiting.push(stream.unwrap()),
            Err(_) => return (listener, waiting),
        }
    }
}

#[test]
fn an_address_that_does_not_answer_holds_nobody_up() {
    run(async {
        let (deaf, _waiting) = deaf().await;
        let silent = deaf.local_addr().unwrap();
        let listener = TcpListener::bind(localhost()).await.unwrap();
        let good = listener.local_addr().unwrap();

        let start = Instant::now();
        let stream = TcpStream::connect(&[silent, good][..]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good);
        let took = start.elapsed();
        assert!(took >= Duration::from_millis(240), "{took:?}");
        assert!(took < Duration::from_secs(20), "{took:?}");
    });
}

#[test]
fn an_address_that_refuses_is_passed_over_at_once() {
    run(async {
        let nobody = socket().bind(localhost()).unwrap();
        let refuses = nobody.local_addr().unwrap();
        let listener = TcpListener::bind(localhost()).await.unwrap();
        let good = listener.local_addr().unwrap();

        let start = Instant::now();
        let addresses = [refuses, refuses, refuses, good];
        let stream = TcpStream::connect(&addresses[..]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good);
        // To wait for each of them would take 750 ms.
        assert!(start.elapsed() < Duration::from_millis(700));

        let refused = TcpStream::connect(&[refuses, refuses][..]).await;
        assert_eq!(errno(refused), libc::ECONNREFUSED);
        let nothing = TcpStream::connect(&[][..]).await.unwrap_err();
        assert_eq!(nothing.kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn a_connect_is_over_when_its_limit_has_passed() {
    run(async {
        let (deaf, _waiting) = deaf().await;
        let silent = deaf.local_addr().unwrap();
        // What was cancelled before has to come back first.
        sleep(Duration::from_millis(20)).await;
        let orphans = || corering::runtime::stats().unwrap().orphans;
        let before = orphans();
        let start = Instant::now();
        let limit = Duration::from_millis(400);
        let late = TcpStream::connect_timeout(&[silent; 12][..], limit).await;
        assert_eq!(late.unwrap_err().kind(), ErrorKind::TimedOut);
        assert!((limit..limit * 20).contains(&start.elapsed()));
        // Both attempts that were begun are cancelled.
        sleep(Duration::from_millis(20)).await;
        assert_eq!(orphans(), before);
    });
}

#[test]
fn a_resolver_that_never_answers_holds_nobody_up() {
    let runtime = Builder::new().max_blocking_threads(1).build().unwrap();
    let (tell, told) = std::sync::mpsc::channel::<()>();
    runtime.block_on(async {
        // The only thread that could look a name up.
        let mut stuck = spawn_blocking(move || told.recv());
        assert!(poll_once(&mut stuck).await.is_none());
        let limit = Duration::from_millis(50);
        let late = TcpStream::connect_timeout("localhost:1", limit).await;
        assert_eq!(late.unwrap_err().kind(), ErrorKind::TimedOut);
        drop(tell);
        assert!(stuck.await.unwrap().is_err());
    });
}

#[test]
fn a_name_that_nobody_has_is_an_error() {
    run(async {
        // Longer than a label may be, so that no server has to be asked.
        let name = "x".repeat(64);
        let nobody = TcpStream::connect((name.as_str(), 80));
        let failed = timeout(Duration::from_secs(20), nobody).await;
        failed.expect("the resolver answers").unwrap_err();
        let no_port = TcpStream::connect("localhost").await.unwrap_err();
        assert_eq!(no_port.kind(), ErrorKind::InvalidInput);
    });
}
