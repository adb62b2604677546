//! Connections, each of which is to be served once.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use corering::io::Operation;
use corering::net::{
    ConnectionLimit, ConnectionPermit, Detached, TcpListener, TcpSocket, TcpStream,
};
use corering::sim::Sim;
use corering::spawn;
use corering::sync::watch;
use corering::task::JoinHandle;
use corering::time::{sleep, timeout};

use super::check;

const CLIENTS: u8 = 12;

/// Clients that come at random times and want their number back.
fn clients(sim: &Sim, address: std::net::SocketAddr) -> Vec<JoinHandle<()>> {
    (0..CLIENTS)
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
        .collect()
}

async fn serve(sim: &Sim, stream: TcpStream) -> u8 {
    let id = stream.recv().await.unwrap().expect("its number")[0];
    sleep(Duration::from_micros(sim.random(300))).await;
    stream.write_all(vec![id]).await.0.unwrap();
    id
}

/// Accepts within the limit, now and then in vain.
async fn accept(
    sim: &Sim,
    listener: &TcpListener,
    limit: &ConnectionLimit,
) -> Option<(TcpStream, ConnectionPermit)> {
    let shortly = Duration::from_micros(sim.random(400));
    let accepting = listener.accept_within(limit);
    let accepted = match sim.random(4) {
        0 => timeout(shortly, accepting).await.ok()?.ok(),
        1 => accepting.timeout(shortly).await.ok(),
        2 => accepting.until(sleep(shortly)).await.unwrap(),
        _ => accepting.await.ok(),
    };
    accepted.map(|(stream, _, permit)| (stream, permit))
}

#[test]
fn every_connection_is_served_within_the_limit() {
    check(300, |sim| async move {
        let listener = Rc::new(TcpListener::bind("127.0.0.1:0").await.unwrap());
        let clients = clients(&sim, listener.local_addr().unwrap());
        let limit = ConnectionLimit::new(1 + sim.random(4) as usize);
        let max = limit.max();
        let (open, served) = (Rc::new(Cell::new(0)), Rc::new(RefCell::new(Vec::new())));
        let acceptors: Vec<_> = (0..1 + sim.random(2))
            .map(|_| {
                let (sim, listener, limit) = (sim.clone(), Rc::clone(&listener), limit.clone());
                let (open, served) = (Rc::clone(&open), Rc::clone(&served));
                spawn(async move {
                    loop {
                        let Some((stream, permit)) = accept(&sim, &listener, &limit).await else {
                            continue;
                        };
                        open.set(open.get() + 1);
                        assert!(open.get() <= max, "{} connections", open.get());
                        let (sim, open) = (sim.clone(), Rc::clone(&open));
                        let served = Rc::clone(&served);
                        spawn(async move {
                            let id = serve(&sim, stream).await;
                            served.borrow_mut().push(id);
                            open.set(open.get() - 1);
                            drop(permit);
                        });
                    }
                })
            })
            .collect();
        for client in clients {
            client.await.unwrap();
        }
        for acceptor in acceptors {
            acceptor.abort();
            let _ = acceptor.await;
        }
        while open.get() > 0 {
            sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(limit.in_use(), 0, "permits are lost");
        served.borrow_mut().sort_unstable();
        assert_eq!(*served.borrow(), (0..CLIENTS).collect::<Vec<_>>());
    });
}

#[test]
fn a_stop_loses_no_connection_that_was_accepted() {
    check(300, |sim| async move {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let clients = clients(&sim, listener.local_addr().unwrap());
        let mut served = Vec::new();
        while served.len() < CLIENTS.into() {
            // A listener that is stopped again and again.
            let (stop, stopping) = watch::channel(false);
            let end = Duration::from_micros(sim.random(600));
            spawn(async move {
                sleep(end).await;
                let _ = stop.send(true);
            });
            let stopped = || {
                let mut stopping = stopping.clone();
                async move { stopping.wait_for(|stop| *stop).await.is_ok() }
            };
            while let Some((stream, _)) = listener.accept_until(stopped()).await.unwrap() {
                let sim = sim.clone();
                served.push(spawn(async move { serve(&sim, stream).await }));
            }
        }
        for client in clients {
            client.await.unwrap();
        }
        let mut ids = Vec::new();
        for served in served {
            ids.push(served.await.unwrap());
        }
        ids.sort_unstable();
        assert_eq!(ids, (0..CLIENTS).collect::<Vec<_>>());
    });
}

#[test]
fn cores_take_turns_at_connections_that_one_of_them_accepts() {
    check(100, |sim| async move {
        let host = sim.host("server");
        let waiting = Rc::new(RefCell::new(VecDeque::<Detached>::new()));
        let (of_host, served) = (sim.clone(), Rc::new(Cell::new([0_u32; 2])));
        let counts = Rc::clone(&served);
        host.run_on_cores(2, move |core| {
            let (sim, waiting) = (of_host.clone(), Rc::clone(&waiting));
            let counts = Rc::clone(&counts);
            async move {
                if core == 0 {
                    let socket = TcpSocket::new_v4().unwrap();
                    let listener = socket.bind("0.0.0.0:7".parse().unwrap()).unwrap();
                    let listener = listener.listen(64).unwrap();
                    spawn(async move {
                        loop {
                            let (stream, _) = listener.accept().await.unwrap();
                            // Some have received already.
                            if sim.chance(0.5) {
                                stream.fill_buf().await.unwrap();
                            }
                            let detached = stream.detach().await;
                            waiting.borrow_mut().push_back(detached);
                        }
                    });
                    sleep(Duration::from_secs(60)).await;
                    return;
                }
                loop {
                    let Some(detached) = waiting.borrow_mut().pop_front() else {
                        sleep(Duration::from_micros(100)).await;
                        continue;
                    };
                    let stream = detached.attach().unwrap();
                    let (sim, counts) = (sim.clone(), Rc::clone(&counts));
                    spawn(async move {
                        serve(&sim, stream).await;
                        let mut both = counts.get();
                        both[core] += 1;
                        counts.set(both);
                    });
                }
            }
        });
        let address = std::net::SocketAddr::from((host.ip(), 7));
        while TcpStream::connect(address).await.is_err() {
            sleep(Duration::from_millis(1)).await;
        }
        for client in clients(&sim, address) {
            client.await.unwrap();
        }
        while served.get()[1] < CLIENTS.into() {
            sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(served.get()[0], 0);
    });
}
