//! Connections within a limit.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::Duration;

use corering::io::Operation;
use corering::net::{ConnectionLimit, TcpSocket};
use corering::runtime::stats;
use corering::time::{sleep, timeout};
use corering::{Runtime, spawn};
use futures_lite::future::{pending, poll_once, ready};

use super::{connect, listener};
use crate::common::{asleep_once, localhost, run, until};

const SHORTLY: Duration = Duration::from_millis(20);

#[test]
fn nothing_is_accepted_beyond_the_limit_and_all_is_in_order() {
    run(async {
        let (listener, address) = listener().await;
        asleep_once().await;
        let idle = stats().unwrap().in_flight;
        let limit = ConnectionLimit::new(3);
        let clients: Vec<_> = (0..20).map(|_| connect(address)).collect();
        let mut open = std::collections::VecDeque::new();
        for client in &clients {
            if open.len() == 3 {
                let late = timeout(SHORTLY, listener.accept_within(&limit)).await;
                assert!(late.is_err(), "a fourth one was accepted");
                assert_eq!(stats().unwrap().in_flight, idle, "an accept is armed");
                open.pop_front();
            }
            let (stream, peer, permit) = listener.accept_within(&limit).await.unwrap();
            assert_eq!(peer, client.local_addr().unwrap(), "not in order");
            open.push_back((stream, permit));
            assert_eq!(limit.in_use(), open.len());
        }
        drop(open);
        assert_eq!(limit.in_use(), 0);
    });
}

#[test]
fn nothing_is_accepted_ahead_of_who_waits() {
    run(async {
        let (listener, address) = listener().await;
        asleep_once().await;
        let idle = stats().unwrap().in_flight;
        let limit = ConnectionLimit::new(10);
        let _clients: Vec<_> = (0..5).map(|_| connect(address)).collect();
        let _first = listener.accept_within(&limit).await.unwrap();
        sleep(SHORTLY).await;
        assert_eq!(stats().unwrap().in_flight, idle, "an accept is armed");
        let untaken = listener.close().await.unwrap();
        assert_eq!(untaken.len(), 0, "connections were accepted ahead");
    });
}

#[test]
fn a_dropped_accept_gives_its_permit_back_and_keeps_the_connection() {
    run(async {
        let (listener, address) = listener().await;
        let limit = ConnectionLimit::new(1);
        let mut dropped = listener.accept_within(&limit);
        assert!(poll_once(&mut dropped).await.is_none());
        assert_eq!(
            limit.in_use(),
            1,
            "the permit is taken before the accept is armed"
        );
        let before = stats().unwrap().cqes;
        let client = connect(address);
        until("the accept has ended", || stats().unwrap().cqes > before).await;
        drop(dropped);
        assert_eq!(limit.in_use(), 0);
        let (_, peer, _permit) = listener.accept_within(&limit).await.unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
    });
}

#[test]
fn a_waiting_accept_goes_on_when_a_permit_comes_back() {
    run(async {
        let (listener, address) = listener().await;
        let limit = ConnectionLimit::new(1);
        let held = limit.acquire().await;
        let _client = connect(address);
        let accepting = spawn({
            let limit = limit.clone();
            async move { listener.accept_within(&limit).await.map(drop) }
        });
        sleep(SHORTLY).await;
        assert!(!accepting.is_finished());
        drop(held);
        accepting.await.unwrap().unwrap();
        assert_eq!(limit.in_use(), 0);
    });
}

#[test]
fn an_accept_within_ends_by_cancel_timeout_and_stop() {
    run(async {
        let (listener, address) = listener().await;
        let limit = ConnectionLimit::new(1);
        let late = listener.accept_within(&limit).timeout(SHORTLY).await;
        assert_eq!(late.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
        assert_eq!(limit.in_use(), 0);

        let stopped = listener.accept_within(&limit).until(ready(())).await;
        assert!(stopped.unwrap().is_none());

        let held = limit.try_acquire().unwrap();
        let _client = connect(address);
        let late = listener.accept_within(&limit).timeout(SHORTLY).await;
        assert_eq!(late.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
        let stopped = listener.accept_within(&limit).until(ready(())).await;
        assert!(stopped.unwrap().is_none());
        drop(held);
        let accepted = listener.accept_within(&limit).until(pending::<()>()).await;
        assert!(accepted.unwrap().is_some());
        assert_eq!(limit.in_use(), 0);
    });
}

#[test]
fn permits_go_to_who_has_waited_longest_and_past_who_is_gone() {
    run(async {
        let limit = ConnectionLimit::new(1);
        let held = limit.acquire().await;
        let (mut first, mut second, mut third) =
            (limit.acquire(), limit.acquire(), limit.acquire());
        assert!(poll_once(&mut first).await.is_none());
        assert!(poll_once(&mut second).await.is_none());
        assert!(poll_once(&mut third).await.is_none());
        drop(first);
        drop(held);
        assert!(limit.try_acquire().is_none(), "it is handed over already");
        assert!(poll_once(&mut third).await.is_none(), "it overtakes");
        // Handed to one that is dropped before it knows.
        drop(second);
        let permit = poll_once(&mut third).await.expect("it is the first now");
        assert_eq!(limit.in_use(), 1);
        drop(permit);
        drop(third);
        assert_eq!(limit.in_use(), 0);
        assert!(limit.try_acquire().is_some(), "nobody waits any more");
    });
}

/// Counts how often it is woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn who_polled_last_is_told_of_a_permit() {
    let limit = ConnectionLimit::new(1);
    let permit = limit.try_acquire().expect("nobody has it");
    let mut waits = pin!(limit.acquire());
    let tasks = [(); 2].map(|()| Arc::<Woken>::default());
    for task in &tasks {
        let waker = Waker::from(Arc::clone(task));
        assert!(
            waits
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
    }
    drop(permit);
    let woken = tasks.map(|task| task.0.load(Ordering::Relaxed));
    assert_eq!(woken, [0, 1]);
}

#[test]
fn a_child_counts_in_its_parent_and_gives_back_to_both() {
    run(async {
        let process = ConnectionLimit::new(3);
        let (a, b) = (process.child(2), process.child(2));
        let held = [a.acquire().await, a.acquire().await, b.acquire().await];
        assert_eq!((a.in_use(), b.in_use(), process.in_use()), (2, 1, 3));
        assert!(b.try_acquire().is_none());
        assert_eq!(b.in_use(), 1, "what was taken in vain is given back");
        // It has the child's, and waits for the parent's.
        let mut waits = b.acquire();
        assert!(poll_once(&mut waits).await.is_none());
        assert_eq!(b.in_use(), 2);
        drop(waits);
        assert_eq!(b.in_use(), 1);
        let mut waits = b.acquire();
        assert!(poll_once(&mut waits).await.is_none());
        let [first, second, third] = held;
        drop(first);
        let fourth = poll_once(&mut waits).await.expect("the parent's is free");
        assert_eq!((a.in_use(), b.in_use(), process.in_use()), (1, 2, 3));
        drop((second, third, fourth));
        assert_eq!((a.in_use(), b.in_use(), process.in_use()), (0, 0, 0));
    });
}

/// Two cores, each with a shard of the port and many short connections.
#[test]
fn a_limit_holds_for_all_cores_together() {
    const LIMIT: usize = 6;
    const CLIENTS: usize = 400;
    let (limit, open) = (ConnectionLimit::new(LIMIT), Arc::new(AtomicUsize::new(0)));
    let (served, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let shard = |port| {
        let address = ([127, 0, 0, 1], port).into();
        let socket = TcpSocket::new_v4().unwrap().reuse_port().unwrap();
        socket.bind(address).unwrap().listen(1024).unwrap()
    };
    let (tell, told) = std::sync::mpsc::channel();
    let serve = |port, tell: std::sync::mpsc::Sender<u16>| {
        let (limit, open) = (limit.clone(), Arc::clone(&open));
        let (served, most) = (Arc::clone(&served), Arc::clone(&most));
        thread::spawn(move || {
            Runtime::new().unwrap().block_on(async {
                let listener = shard(port);
                tell.send(listener.local_addr().unwrap().port()).unwrap();
                let all = async {
                    while served.load(Ordering::Relaxed) < CLIENTS {
                        sleep(Duration::from_millis(1)).await;
                    }
                };
                let mut all = std::pin::pin!(all);
                while let Some((stream, _, permit)) = listener
                    .accept_within(&limit)
                    .until(all.as_mut())
                    .await
                    .unwrap()
                {
                    let (open, served) = (Arc::clone(&open), Arc::clone(&served));
                    most.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    spawn(async move {
                        while let Some(lease) = stream.recv().await.unwrap() {
                            stream.write_all(lease).await.0.unwrap();
                        }
                        served.fetch_add(1, Ordering::Relaxed);
                        open.fetch_sub(1, Ordering::SeqCst);
                        drop(permit);
                    });
                }
            });
        })
    };
    let first = serve(0, tell.clone());
    let port = told.recv().unwrap();
    let second = serve(port, tell);
    assert_eq!(told.recv().unwrap(), port);
    let clients: Vec<_> = (0..40)
        .map(|_| {
            thread::spawn(move || {
                for _ in 0..CLIENTS / 40 {
                    use std::io::{Read, Write};
                    let mut client = connect((localhost().ip(), port).into());
                    client.write_all(b"ping").unwrap();
                    let mut reply = [0; 4];
                    client.read_exact(&mut reply).unwrap();
                }
            })
        })
        .collect();
    for thread in clients.into_iter().chain([first, second]) {
        thread.join().unwrap();
    }
    let most = most.load(Ordering::Relaxed);
    assert!(most <= LIMIT, "{most} connections at a time");
    assert!(most > 1, "the limit was never tried");
    assert_eq!(limit.in_use(), 0);
}

/// Threads that take and give back as fast as they can, some of which give up.
#[test]
fn no_permit_is_lost_or_doubled_between_threads() {
    let limit = ConnectionLimit::new(2);
    let held = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..4)
        .map(|number| {
            let (limit, held) = (limit.child(2), Arc::clone(&held));
            thread::spawn(move || {
                Runtime::new().unwrap().block_on(async {
                    for round in 0..3000 {
                        let permit = if (round + number) % 3 == 0 {
                            match poll_once(limit.acquire()).await {
                                Some(permit) => permit,
                                None => continue,
                            }
                        } else {
                            limit.acquire().await
                        };
                        let others = held.fetch_add(1, Ordering::SeqCst);
                        assert!(others < 2, "{others} others have a permit");
                        held.fetch_sub(1, Ordering::SeqCst);
                        drop(permit);
                    }
                });
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(limit.in_use(), 0);
    assert!(limit.try_acquire().is_some());
}
