//! Connections: each is accepted once, and what waits ends when it is told to.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use corering::io::Operation;
use corering::net::{TcpListener, TcpSocket, TcpStream};
use corering::sim::{Fault, Faults, Sim};
use corering::spawn;
use corering::time::{Instant, sleep, timeout};

use super::check;

const CLIENTS: u8 = 12;

/// Accepts, now and then in vain.
async fn accept(sim: &Sim, listener: &TcpListener) -> Option<TcpStream> {
    let shortly = Duration::from_micros(sim.random(400));
    match sim.random(3) {
        0 => timeout(shortly, listener.accept()).await.ok()?.ok(),
        1 => listener.accept().timeout(shortly).await.ok(),
        _ => listener.accept().await.ok(),
    }
    .map(|accepted| accepted.0)
}

#[test]
fn every_connection_is_accepted_once() {
    check(300, Faults::default(), |sim| async move {
        let listener = Rc::new(TcpListener::bind("127.0.0.1:0").await.unwrap());
        let address = listener.local_addr().unwrap();
        let seen = Rc::new(RefCell::new(Vec::new()));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|id| {
                let sim = sim.clone();
                spawn(async move {
                    sleep(Duration::from_micros(sim.random(2000))).await;
                    let stream = TcpStream::connect(address).await.unwrap();
                    stream.write_all(vec![id]).await.0.unwrap();
                    let reply = stream.recv().await.unwrap().expect("a reply");
                    assert_eq!(reply[..], [id]);
                })
            })
            .collect();
        let acceptors: Vec<_> = (0..3)
            .map(|_| {
                let (sim, listener) = (sim.clone(), Rc::clone(&listener));
                let seen = Rc::clone(&seen);
                spawn(async move {
                    while seen.borrow().len() < CLIENTS.into() {
                        let Some(stream) = accept(&sim, &listener).await else {
                            continue;
                        };
                        let id = stream.recv().await.unwrap().expect("its number")[0];
                        seen.borrow_mut().push(id);
                        stream.write_all(vec![id]).await.0.unwrap();
                    }
                })
            })
            .collect();
        for client in clients {
            client.await.unwrap();
        }
        drop(
            acceptors
                .into_iter()
                .map(|acceptor| acceptor.abort())
                .collect::<Vec<_>>(),
        );
        seen.borrow_mut().sort_unstable();
        assert_eq!(*seen.borrow(), (0..CLIENTS).collect::<Vec<_>>());
    });
}

#[test]
fn what_is_cancelled_ends_soon() {
    // Nine in a row that miss are given up, which happens in about one run of a million.
    let faults = Faults::default()
        .rate(Fault::Busy, 0.2)
        .rate(Fault::CancelMissed, 0.15);
    check(300, faults, |_| async move {
        let socket = TcpSocket::new_v4().unwrap();
        let listener = socket
            .bind("127.0.0.1:0".parse().unwrap())
            .unwrap()
            .listen(0)
            .unwrap();
        let address = listener.local_addr().unwrap();
        // Nobody else gets into the backlog.
        let _first = TcpStream::connect(address).await.unwrap();
        let begin = Instant::now();
        let connects: Vec<_> = (0..40)
            .map(|_| {
                spawn(async move {
                    let connect = TcpSocket::new_v4().unwrap().connect(address);
                    connect.timeout(Duration::from_millis(5)).await
                })
            })
            .collect();
        for connect in connects {
            let error = connect.await.unwrap().expect_err("nobody accepts");
            assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
        }
        let spent = begin.elapsed();
        assert!(spent < Duration::from_millis(500), "it took {spent:?}");
    });
}

#[test]
fn every_acceptor_is_woken() {
    check(300, Faults::default(), |_| async move {
        let listener = Rc::new(TcpListener::bind("127.0.0.1:0").await.unwrap());
        let address = listener.local_addr().unwrap();
        let acceptors: Vec<_> = (0..6)
            .map(|_| {
                let listener = Rc::clone(&listener);
                spawn(async move { listener.accept().await.unwrap() })
            })
            .collect();
        let clients: Vec<_> = (0..6)
            .map(|_| spawn(async move { TcpStream::connect(address).await.unwrap() }))
            .collect();
        for acceptor in acceptors {
            acceptor.await.unwrap();
        }
        for client in clients {
            client.await.unwrap();
        }
    });
}
