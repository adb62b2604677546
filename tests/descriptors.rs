//! When no descriptor is left, connections wait in the kernel's backlog and the core sleeps.

mod common;

use std::cell::RefCell;
use std::error::Error;
use std::fs::File;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use corering::net::{TcpListener, TcpStream};
use corering::runtime::{Cause, Unavailable};
use corering::signal::ctrl_c;
use corering::time::{sleep, timeout};
use corering::{Runtime, spawn};

use common::{alone, descriptors, errno, leave_descriptors, load, localhost, run, sleeps, until};

const CLIENTS: usize = 100;
const LEFT: usize = 10;

type Accepted = Rc<RefCell<Vec<TcpStream>>>;

fn connect(address: SocketAddr) -> Vec<std::net::TcpStream> {
    let connect = |_| std::net::TcpStream::connect(address).expect("the backlog has room");
    (0..CLIENTS).map(connect).collect()
}

/// Accepts for ever, and greets.
fn spawn_acceptor(listener: TcpListener) -> Accepted {
    let accepted = Accepted::default();
    let streams = Rc::clone(&accepted);
    spawn(async move {
        loop {
            let (stream, _) = listener
                .accept()
                .await
                .expect("no lack of anything is fatal");
            stream.write_all("!").await.0.expect("the peer is there");
            streams.borrow_mut().push(stream);
        }
    });
    accepted
}

fn greeted(client: &mut std::net::TcpStream) -> bool {
    let mut byte = [0];
    client.read(&mut byte).expect("the connection is served") == 1
}

#[test]
fn accept_sleeps_while_no_descriptor_is_left_and_resumes_when_one_is_freed() {
    alone(|| {
        run(async {
            let idle = load().await;
            let listener = TcpListener::bind(localhost()).await.unwrap();
            let mut clients = connect(listener.local_addr().unwrap());
            let taken = leave_descriptors(LEFT);
            let accepted = spawn_acceptor(listener);
            until("all descriptors are used", || {
                accepted.borrow().len() == LEFT
            })
            .await;
            sleeps(idle).await;
            assert_eq!(accepted.borrow().len(), LEFT, "there was no descriptor");
            let first = accepted.borrow_mut().pop();
            drop(first);
            until("the freed one is used", || accepted.borrow().len() == LEFT).await;
            // Each one that is freed serves the next.
            let mut served = LEFT + 1;
            while served < CLIENTS {
                let streams = accepted.take();
                drop(streams);
                until("it goes on", || !accepted.borrow().is_empty()).await;
                sleep(Duration::from_millis(100)).await;
                served += accepted.borrow().len();
            }
            assert_eq!(served, CLIENTS);
            assert!(clients.iter_mut().all(greeted), "every one was served");
            drop(taken);
        });
    });
}

#[test]
fn all_are_served_once_there_are_descriptors_again() {
    alone(|| {
        run(async {
            let listener = TcpListener::bind(localhost()).await.unwrap();
            let mut clients = connect(listener.local_addr().unwrap());
            let taken = leave_descriptors(0);
            let accepted = spawn_acceptor(listener);
            sleep(Duration::from_millis(200)).await;
            assert_eq!(accepted.borrow().len(), 0);
            // A process may be given more while it runs, but it needs one to count them.
            drop(taken);
            assert!(common::allow_descriptors(2 * CLIENTS));
            until("all are accepted", || accepted.borrow().len() == CLIENTS).await;
            assert!(clients.iter_mut().all(greeted));
        });
    });
}

#[test]
fn an_accept_that_is_dropped_while_no_descriptor_is_left_loses_nothing() {
    alone(|| {
        run(async {
            let listener = TcpListener::bind(localhost()).await.unwrap();
            let address = listener.local_addr().unwrap();
            let client = std::net::TcpStream::connect(address).unwrap();
            let taken = leave_descriptors(0);
            for _ in 0..3 {
                let late = timeout(Duration::from_millis(20), listener.accept()).await;
                assert!(late.is_err(), "there was no descriptor");
            }
            drop(taken);
            let (_, peer) = listener.accept().await.unwrap();
            assert_eq!(peer, client.local_addr().unwrap());
        });
    });
}

#[test]
fn whatever_needs_a_descriptor_says_that_there_is_none() {
    alone(|| {
        run(async {
            let listener = TcpListener::bind(localhost()).await.unwrap();
            let address = listener.local_addr().unwrap();
            let taken = leave_descriptors(0);
            assert_eq!(errno(TcpStream::connect(address).await), libc::EMFILE);
            assert_eq!(errno(TcpListener::bind(localhost()).await), libc::EMFILE);
            assert_eq!(errno(ctrl_c().await), libc::EMFILE);
            let path = env!("CARGO_MANIFEST_DIR").to_owned() + "/Cargo.toml";
            assert_eq!(errno(corering::fs::File::open(&path).await), libc::EMFILE);
            drop(taken);
            let client = TcpStream::connect(address).await.unwrap();
            let (server, _) = listener.accept().await.unwrap();
            drop((client, server));
        });
    });
}

#[test]
fn a_runtime_without_descriptors_says_so() {
    alone(|| {
        let before = descriptors();
        for left in 0..8 {
            let taken = leave_descriptors(left);
            let result = Runtime::new();
            let open = || File::open("/dev/null").map(drop);
            match result {
                Ok(runtime) => {
                    assert!(left >= 2, "a ring and an eventfd are two");
                    drop(runtime);
                    drop(taken);
                    return;
                }
                Err(error) => explained(&error, left),
            }
            assert_eq!(open().is_ok(), left > 0, "what it took is free again");
            drop(taken);
            assert_eq!(descriptors(), before);
        }
        panic!("eight descriptors were not enough");
    });
}

fn explained(error: &io::Error, left: usize) {
    let inner = error
        .get_ref()
        .and_then(|inner| <dyn Error>::downcast_ref::<Unavailable>(inner));
    match inner {
        Some(reason) => {
            assert_eq!(reason.cause(), Cause::Descriptors);
            let text = reason.to_string();
            assert!(
                text.contains("EMFILE") && text.contains("ulimit -n"),
                "{text}"
            );
        }
        None => assert_eq!(
            error.raw_os_error(),
            Some(libc::EMFILE),
            "{left} left: {error}"
        ),
    }
}
