//! What blocks runs elsewhere, and the core goes on.

mod common;

use std::io::{ErrorKind, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use corering::Runtime;
use corering::net::{TcpListener, TcpStream, ToSocketAddrs, lookup_host};
use corering::task::spawn_blocking;
use corering::time::sleep;
use futures_lite::future::poll_once;

use common::{localhost, pair_with_std, run, until};

#[test]
fn a_blocking_call_runs_on_another_thread_and_its_value_comes_back() {
    run(async {
        let here = thread::current().id();
        let there = spawn_blocking(|| thread::current().id()).await.unwrap();
        assert_ne!(here, there);
    });
}

#[test]
fn the_core_goes_on_while_something_blocks() {
    run(async {
        let (stream, mut peer) = pair_with_std().await;
        let (release, gate) = mpsc::channel::<()>();
        let blocked = spawn_blocking(move || gate.recv().unwrap());
        for n in 0..50 {
            peer.write_all(&[n]).unwrap();
            assert_eq!(stream.recv().await.unwrap().unwrap()[..], [n]);
        }
        sleep(Duration::from_millis(5)).await;
        assert!(!blocked.is_finished());
        release.send(()).unwrap();
        blocked.await.unwrap();
    });
}

#[test]
fn the_result_ends_the_sleep_of_the_core() {
    run(async {
        for _ in 0..20 {
            let start = Instant::now();
            spawn_blocking(|| thread::sleep(Duration::from_millis(2)))
                .await
                .unwrap();
            assert!(start.elapsed() < Duration::from_secs(20));
        }
    });
}

#[test]
fn a_panic_is_reported_and_the_pool_goes_on() {
    run(async {
        let error = spawn_blocking(|| panic!("in the pool")).await.unwrap_err();
        assert!(error.is_panic());
        assert_eq!(spawn_blocking(|| 2 + 2).await.unwrap(), 4);
    });
}

#[test]
fn a_call_whose_handle_is_dropped_runs_to_its_end() {
    run(async {
        let done = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&done);
        drop(spawn_blocking(move || flag.store(true, Ordering::SeqCst)));
        until("it has run", || done.load(Ordering::SeqCst)).await;
    });
}

#[test]
fn a_call_that_hangs_does_not_hold_up_the_end_of_the_runtime() {
    let (release, gate) = mpsc::channel::<()>();
    let (tell, told) = mpsc::channel();
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let blocked = spawn_blocking(move || {
            tell.send(()).unwrap();
            let _ = gate.recv();
        });
        assert!(poll_once(blocked).await.is_none());
        told.recv().unwrap();
    });
    let start = Instant::now();
    drop(runtime);
    assert!(start.elapsed() < Duration::from_secs(20));
    drop(release);
}

async fn found(host: impl ToSocketAddrs) -> Vec<SocketAddr> {
    lookup_host(host).await.unwrap().collect()
}

#[test]
fn addresses_need_no_lookup() {
    run(async {
        let v4 = SocketAddr::from((Ipv4Addr::LOCALHOST, 80));
        let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, 80));
        assert_eq!(found(v4).await, [v4]);
        assert_eq!(found("[::1]:80").await, [v6]);
        assert_eq!(found("127.0.0.1:80".to_owned()).await, [v4]);
        assert_eq!(found(("::1", 80)).await, [v6]);
        let ip = IpAddr::from(Ipv4Addr::LOCALHOST);
        assert_eq!(found((ip, 80)).await, [v4]);
        assert_eq!(found(&[v6, v4][..]).await, [v6, v4]);
    });
}

#[test]
fn names_are_looked_up() {
    run(async {
        let found: Vec<_> = lookup_host("localhost:4321").await.unwrap().collect();
        assert!(!found.is_empty());
        assert!(
            found
                .iter()
                .all(|a| a.ip().is_loopback() && a.port() == 4321)
        );
        let by_parts: Vec<_> = lookup_host(("localhost", 4321)).await.unwrap().collect();
        assert_eq!(by_parts, found);
    });
}

#[test]
fn what_is_no_address_is_an_error() {
    run(async {
        for text in ["localhost", "localhost:", "", "127.0.0.1"] {
            let kind = lookup_host(text).await.map(drop).unwrap_err().kind();
            assert_eq!(kind, ErrorKind::InvalidInput, "{text:?}");
        }
        assert!(lookup_host("name.invalid:1").await.is_err());
        let nothing: &[SocketAddr] = &[];
        let kind = TcpStream::connect(nothing).await.unwrap_err().kind();
        assert_eq!(kind, ErrorKind::InvalidInput);
    });
}

#[test]
fn the_first_address_that_answers_is_taken() {
    run(async {
        let bound = std::net::TcpListener::bind(localhost()).unwrap();
        let nobody = bound.local_addr().unwrap();
        drop(bound);
        let listener = TcpListener::bind("localhost:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stream = TcpStream::connect(&[nobody, address][..]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), address);
        let refused = TcpStream::connect(&[nobody][..]).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    });
}
