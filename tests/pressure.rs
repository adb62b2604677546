//! Slow readers, and users who keep what they are lent, cost others nothing but speed.

mod common;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream as StdStream};
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use corering::net::{TcpListener, TcpSocket, TcpStream};
use corering::runtime::stats;
use corering::time::sleep;
use corering::{Lease, spawn};
use socket2::{Domain, Socket, Type};

use common::{
    allow_descriptors, alone, load, localhost, pattern, read_exactly, resident, run, sleeps,
    spawn_echo_server, thread_cpu, until,
};

const FAST: usize = 1000;
const MIB: u64 = 1 << 20;

/// Runs `count` connections of `rounds` echoes of `len` bytes each, all at once.
async fn echoes(address: SocketAddr, count: usize, rounds: usize, len: usize) {
    let clients = (0..count as u32).map(|seed| {
        spawn(async move {
            let stream = TcpStream::connect(address).await.expect("a connection");
            let mut sent = pattern(seed, len);
            for _ in 0..rounds {
                let result;
                (result, sent) = stream.write_all(sent).await;
                result.expect("it is sent");
                assert!(read_exactly(&stream, len).await == sent);
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.expect("no client panics");
    }
}

/// Processor time of this thread while `work` is done.
async fn cost(work: impl Future<Output = ()>) -> Duration {
    let before = thread_cpu();
    work.await;
    thread_cpu() - before
}

/// Connects with small socket buffers, so that little fits between the two ends.
fn narrow_client(address: SocketAddr) -> StdStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket
        .set_recv_buffer_size(16 * 1024)
        .expect("an option that all have");
    socket
        .set_send_buffer_size(16 * 1024)
        .expect("an option that all have");
    socket.connect(&address.into()).expect("a connection");
    socket.into()
}

/// A listener whose connections have small socket buffers.
fn narrow_listener() -> TcpListener {
    let socket = TcpSocket::new_v4().and_then(|socket| socket.send_buffer_size(16 * 1024));
    let socket = socket.and_then(|socket| socket.recv_buffer_size(16 * 1024));
    let bound = socket.and_then(|socket| socket.bind(localhost()));
    bound
        .and_then(|socket| socket.listen(1024))
        .expect("a listener")
}

/// Writes `bytes` to every client until none takes more for a while. Returns what each took.
fn stuff(clients: &mut [StdStream], bytes: &[u8]) -> Vec<usize> {
    let (mut taken, mut idle) = (vec![0; clients.len()], 0);
    for client in clients.iter() {
        client.set_nonblocking(true).expect("a socket");
    }
    while idle < 30 {
        let before = taken.clone();
        for (client, taken) in clients.iter_mut().zip(&mut taken) {
            *taken += client.write(&bytes[*taken..]).unwrap_or(0);
        }
        if before == taken {
            idle += 1;
            thread::sleep(Duration::from_millis(10));
        } else {
            idle = 0;
        }
    }
    for client in clients {
        client.set_nonblocking(false).expect("a socket");
    }
    taken
}

type Hoard = Rc<RefCell<Vec<Vec<Lease>>>>;

/// Receives all that `count` peers send, and keeps it as it came.
async fn hoard(count: usize, message: &[u8]) -> (Hoard, Vec<StdStream>) {
    let listener = TcpListener::bind(localhost()).await.expect("a listener");
    let address = listener.local_addr().expect("its address");
    let mut clients = Vec::new();
    let held = Rc::new(RefCell::new(vec![Vec::new(); count]));
    for number in 0..count {
        clients.push(StdStream::connect(address).expect("a connection"));
        let (stream, _) = listener.accept().await.expect("its other end");
        let held = Rc::clone(&held);
        spawn(async move {
            while let Ok(Some(lease)) = stream.recv().await {
                held.borrow_mut()[number].push(lease);
            }
        });
    }
    let writers: io::Result<Vec<_>> = clients.iter().map(StdStream::try_clone).collect();
    let (writers, bytes) = (writers.expect("copies"), message.to_vec());
    let sender = thread::spawn(move || {
        for mut writer in writers {
            writer.write_all(&bytes).expect("it is received");
        }
    });
    let total = count * message.len();
    let all = || {
        let held = held.borrow();
        let lengths = held.iter().flatten().map(|lease| lease.len());
        lengths.sum::<usize>() == total
    };
    until("all is held", all).await;
    sender.join().expect("it has sent all");
    (held, clients)
}

#[test]
fn a_slow_reader_harms_none_of_a_thousand_fast_ones() {
    alone(|| {
        if !allow_descriptors(2 * FAST + 100) {
            return println!("skipped: not enough descriptors");
        }
        run(async {
            let listener = TcpListener::bind(localhost()).await.unwrap();
            let address = listener.local_addr().unwrap();
            spawn_echo_server(listener);
            echoes(address, FAST, 1, 512).await;
            let alone = cost(echoes(address, FAST, 2, 512)).await;
            let before = resident();

            let slow = TcpListener::bind(localhost()).await.unwrap();
            let peer = StdStream::connect(slow.local_addr().unwrap()).unwrap();
            let (stream, _) = slow.accept().await.unwrap();
            let (read, done) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(false)));
            let writer = thread::spawn({
                let mut peer = peer.try_clone().unwrap();
                move || peer.write_all(&vec![9; 64 << 20]).is_err()
            });
            let reader = spawn({
                let (read, done) = (Rc::clone(&read), Rc::clone(&done));
                async move {
                    while !done.get() {
                        read.set(read.get() + stream.recv().await.unwrap().unwrap().len());
                        sleep(Duration::from_millis(50)).await;
                    }
                }
            });
            until("the slow one has begun", || read.get() > 0).await;
            let beside = cost(echoes(address, FAST, 2, 512)).await;
            sleep(Duration::from_millis(200)).await;
            // The writer's own bytes are 64 MiB.
            let grown = resident().saturating_sub(before) / MIB;
            assert!(grown < 64 + 24, "{grown} MiB for one connection");
            done.set(true);
            reader.await.unwrap();
            let _ = peer.shutdown(std::net::Shutdown::Both);
            assert!(writer.join().unwrap(), "the writer was held up");
            assert!(read.get() < 48 << 20, "{} bytes", read.get());
            // It costs what it reads; a fast one that is starved would wait for ever.
            assert!(
                beside < 3 * alone,
                "{alone:?} alone, {beside:?} beside a slow one"
            );
        });
    });
}

#[test]
fn streams_that_nobody_reads_hold_little_and_leave_room_for_others() {
    const SLOW: usize = 200;
    alone(|| {
        if !allow_descriptors(2 * SLOW + 200) {
            return println!("skipped: not enough descriptors");
        }
        run(async {
            let idle = load().await;
            let listener = narrow_listener();
            let address = listener.local_addr().unwrap();
            let echo = TcpListener::bind(localhost()).await.unwrap();
            let echo_address = echo.local_addr().unwrap();
            spawn_echo_server(echo);
            let writers = thread::spawn(move || {
                let bytes = pattern(5, 2 << 20);
                let mut clients: Vec<_> = (0..SLOW).map(|_| narrow_client(address)).collect();
                let taken = stuff(&mut clients, &bytes);
                (clients, taken, bytes)
            });
            let mut streams = Vec::new();
            let before = resident();
            while streams.len() < SLOW {
                let (stream, _) = listener.accept().await.unwrap();
                let first = stream.fill_buf().await.unwrap();
                assert!(!first.is_empty());
                streams.push(stream);
            }
            until("no stream takes more", || writers.is_finished()).await;
            let (mut clients, taken, bytes) = writers.join().unwrap();
            // One that met a lack of buffers waits for its reader, and holds less.
            let most = *taken.iter().max().unwrap();
            assert!(most > 256 << 10, "no inbox is full: {most} bytes");
            assert!(most < 512 << 10, "an inbox took {most} bytes");
            let grown = resident().saturating_sub(before) / MIB;
            assert!(grown < 100, "{grown} MiB for {SLOW} inboxes of 1/4 MiB");
            echoes(echo_address, 16, 20, 4096).await;
            sleeps(idle).await;
            for ((stream, client), taken) in streams.iter().zip(&mut clients).zip(taken) {
                client.shutdown(std::net::Shutdown::Write).unwrap();
                let mut got = Vec::new();
                while let Some(lease) = stream.recv().await.unwrap() {
                    got.extend_from_slice(&lease);
                }
                assert!(got == bytes[..taken], "what came is there, in order");
            }
        });
    });
}

#[test]
fn traffic_goes_on_while_a_user_holds_every_lease() {
    const HOARDED: usize = 256;
    alone(|| {
        if !allow_descriptors(3 * HOARDED + 200) {
            return println!("skipped: not enough descriptors");
        }
        run(async {
            let idle = load().await;
            let message = pattern(6, 64 * 1024);
            let (held, clients) = hoard(HOARDED, &message).await;
            assert!(
                held.borrow()
                    .iter()
                    .flatten()
                    .any(|lease| !lease.is_owned())
            );
            let before = stats().unwrap();
            assert!(before.buffers_free < before.buffers / 3, "{before:?}");

            let listener = TcpListener::bind(localhost()).await.unwrap();
            let address = listener.local_addr().unwrap();
            spawn_echo_server(listener);
            echoes(address, 64, 20, 4096).await;
            echoes(address, 4, 2, 256 * 1024).await;
            sleeps(idle).await;
            for leases in held.borrow().iter() {
                let bytes: Vec<u8> = leases.iter().flat_map(|lease| lease.to_vec()).collect();
                assert!(bytes == message, "nobody wrote into a buffer that is held");
            }
            drop(clients);
            held.take();
            let all = || stats().is_some_and(|stats| stats.buffers_free == stats.buffers);
            until("all buffers are the kernel's again", all).await;
        });
    });
}

#[test]
fn a_burst_of_more_than_all_buffers_loses_nothing() {
    const HOARDED: usize = 256;
    const BURST: usize = 64;
    alone(|| {
        if !allow_descriptors(3 * HOARDED + 2 * BURST + 100) {
            return println!("skipped: not enough descriptors");
        }
        run(async {
            let held = hoard(HOARDED, &pattern(6, 64 * 1024)).await;
            let listener = TcpListener::bind(localhost()).await.unwrap();
            let address = listener.local_addr().unwrap();
            let mut clients = Vec::new();
            let mut readers = Vec::new();
            let message = pattern(7, 512 * 1024);
            for _ in 0..BURST {
                clients.push(StdStream::connect(address).unwrap());
                let (stream, _) = listener.accept().await.unwrap();
                let len = message.len();
                readers.push(spawn(async move { read_exactly(&stream, len).await }));
            }
            // Every receive is armed before the first byte comes, and the kernel fills buffers
            // only when the core comes back to it.
            sleep(Duration::from_millis(20)).await;
            let writer = thread::spawn({
                let (mut clients, message) = (clients, message.clone());
                move || {
                    let taken = stuff(&mut clients, &message);
                    for (client, taken) in clients.iter_mut().zip(taken) {
                        client.write_all(&message[taken..]).unwrap();
                    }
                    clients
                }
            });
            thread::sleep(Duration::from_millis(200));
            for reader in readers {
                assert!(reader.await.unwrap() == message);
            }
            until("all is sent", || writer.is_finished()).await;
            assert!(stats().unwrap().enobufs > 0, "there were enough buffers");
            drop((held, writer.join().unwrap()));
        });
    });
}

#[test]
fn two_hundred_slow_peers_that_are_sent_leases_do_not_stop_the_others() {
    const SLOW: usize = 200;
    alone(|| {
        if !allow_descriptors(2 * SLOW + 200) {
            return println!("skipped: not enough descriptors");
        }
        run(async {
            let idle = load().await;
            let listener = narrow_listener();
            let address = listener.local_addr().unwrap();
            spawn_echo_server(listener);
            let slow = thread::spawn(move || {
                let bytes = pattern(8, 1 << 20);
                let mut clients: Vec<_> = (0..SLOW).map(|_| narrow_client(address)).collect();
                let taken = stuff(&mut clients, &bytes);
                (clients, taken, bytes)
            });
            until("every peer is stuck", || slow.is_finished()).await;
            let (clients, taken, bytes) = slow.join().unwrap();
            let stuck = stats().unwrap();
            assert!(stuck.in_flight >= SLOW, "a send of each: {stuck:?}");
            assert!(taken.iter().all(|&taken| taken < bytes.len()), "{taken:?}");

            echoes(address, 64, 20, 4096).await;
            sleeps(idle).await;
            let readers = thread::spawn(move || {
                for (mut client, taken) in clients.into_iter().zip(taken) {
                    client.shutdown(std::net::Shutdown::Write).unwrap();
                    let mut got = Vec::new();
                    client.read_to_end(&mut got).unwrap();
                    assert!(got == bytes[..taken], "what was sent comes back, in order");
                }
            });
            until("the peers have read all", || readers.is_finished()).await;
            readers.join().unwrap();
            let all = || stats().is_some_and(|s| s.buffers_free == s.buffers);
            until("all buffers are the kernel's again", all).await;
        });
    });
}
