//! Listeners that are told to stop, that may not take more than so many connections, and that hand
//! connections over: none is lost, and none comes that may not.

mod common;
#[path = "listening/hand_over.rs"]
mod hand_over;
#[path = "listening/limits.rs"]
mod limits;

use std::cell::Cell;
use std::net::{SocketAddr, TcpStream as StdStream};
use std::rc::Rc;
use std::time::Duration;

use common::{localhost, run, until};
use corering::net::{
    ConnectionLimit, TcpListener, UnixListener, UnixSeqpacket, UnixSeqpacketListener, UnixStream,
};
use corering::runtime::stats;
use corering::spawn;
use corering::sync::Notify;
use corering::time::{Instant, sleep};
use futures_lite::future::{pending, poll_once, ready};

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(localhost()).await.expect("a listener");
    let address = listener.local_addr().expect("its address");
    (listener, address)
}

fn connect(address: SocketAddr) -> StdStream {
    StdStream::connect(address).expect("a connection")
}

#[test]
fn accept_until_accepts_until_it_is_told_to_stop() {
    run(async {
        let (listener, address) = listener().await;
        let stop = Rc::new(Notify::new());
        let told = Rc::clone(&stop);
        spawn(async move {
            sleep(Duration::from_millis(20)).await;
            told.notify_one();
        });
        let client = connect(address);
        let accepted = listener.accept_until(pending::<()>()).await.unwrap();
        let (_stream, peer) = accepted.expect("a connection");
        assert_eq!(peer, client.local_addr().unwrap());
        let begin = Instant::now();
        assert!(
            listener
                .accept_until(stop.notified())
                .await
                .unwrap()
                .is_none()
        );
        assert!(
            begin.elapsed() >= Duration::from_millis(15),
            "it did not wait"
        );
    });
}

#[test]
fn connections_that_were_accepted_before_a_stop_are_returned() {
    run(async {
        let (listener, address) = listener().await;
        let clients: Vec<_> = (0..5).map(|_| connect(address)).collect();
        let mut peers = Vec::new();
        let (first, peer) = listener.accept().await.unwrap();
        peers.push(peer);
        // The multishot accept brings the others, too.
        until("all are accepted", || stats().unwrap().cqes >= 5).await;
        while let Some((_, peer)) = listener.accept_until(ready(())).await.unwrap() {
            peers.push(peer);
        }
        let expected: Vec<_> = clients.iter().map(|it| it.local_addr().unwrap()).collect();
        assert_eq!(peers, expected);

        // What comes later stays in the backlog, and is not lost there.
        let late = connect(address);
        assert!(listener.accept_until(ready(())).await.unwrap().is_none());
        let (_, peer) = listener.accept().await.unwrap();
        assert_eq!(peer, late.local_addr().unwrap());
        drop(first);
    });
}

#[test]
fn a_connection_that_comes_while_the_accept_is_ended_is_returned() {
    run(async {
        let (listener, address) = listener().await;
        assert!(poll_once(listener.accept()).await.is_none());
        // Armed and known to the kernel; the cancel of the drop above is on its way.
        let client = connect(address);
        let mut got = Vec::new();
        while let Some((_, peer)) = listener.accept_until(ready(())).await.unwrap() {
            got.push(peer);
        }
        if got.is_empty() {
            got.push(listener.accept().await.unwrap().1);
        }
        assert_eq!(got, [client.local_addr().unwrap()]);
    });
}

#[test]
fn a_stop_of_one_does_not_stop_others() {
    run(async {
        let (listener, address) = listener().await;
        let listener = Rc::new(listener);
        let (other, got) = (Rc::clone(&listener), Rc::new(Cell::new(0)));
        let count = Rc::clone(&got);
        spawn(async move {
            for _ in 0..3 {
                let _stream = other.accept().await.unwrap();
                count.set(count.get() + 1);
            }
        });
        sleep(Duration::from_millis(5)).await;
        assert!(listener.accept_until(ready(())).await.unwrap().is_none());
        for _ in 0..3 {
            connect(address);
        }
        until("the other one has all", || got.get() == 3).await;
    });
}

#[test]
fn a_dropped_accept_until_keeps_the_connection() {
    run(async {
        let (listener, address) = listener().await;
        let mut dropped = Box::pin(listener.accept_until(pending::<()>()));
        assert!(poll_once(&mut dropped).await.is_none());
        let client = connect(address);
        let before = stats().unwrap().cqes;
        until("the accept has ended", || stats().unwrap().cqes > before).await;
        drop(dropped);
        let (_, peer) = listener.accept().await.unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
    });
}

#[test]
fn unix_listeners_stop_and_have_limits_too() {
    run(async {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let limit = ConnectionLimit::new(1);

        let path = dir.path().join("stream");
        let listener = UnixListener::bind(&path).unwrap();
        let _client = UnixStream::connect(&path).await.unwrap();
        let (_stream, _) = listener
            .accept_until(pending::<()>())
            .await
            .unwrap()
            .unwrap();
        assert!(listener.accept_until(ready(())).await.unwrap().is_none());
        let _client = UnixStream::connect(&path).await.unwrap();
        let (_, _, permit) = listener.accept_within(&limit).await.unwrap();
        assert_eq!(limit.in_use(), 1);
        drop(permit);

        let path = dir.path().join("records");
        let listener = UnixSeqpacketListener::bind(&path).unwrap();
        let _client = UnixSeqpacket::connect(&path).await.unwrap();
        let (_, _) = listener
            .accept_until(pending::<()>())
            .await
            .unwrap()
            .unwrap();
        assert!(listener.accept_until(ready(())).await.unwrap().is_none());
        let _client = UnixSeqpacket::connect(&path).await.unwrap();
        let (_, _, permit) = listener.accept_within(&limit).await.unwrap();
        assert_eq!(limit.in_use(), 1);
        drop(permit);
    });
}
