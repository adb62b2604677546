//! The simulated kernel runs what the real one runs, and the same seed runs the same.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use corering::fs::{self, File, OpenOptions};
use corering::net::{Keepalive, TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};
use corering::sim::{Check, Fault, Faults, Sim};
use corering::time::{Instant, sleep, timeout};

async fn connect(address: &str) -> TcpStream {
    loop {
        match TcpStream::connect(address).await {
            Ok(stream) => return stream,
            Err(_) => sleep(Duration::from_millis(1)).await,
        }
    }
}

async fn echo_server() {
    let listener = TcpListener::bind("0.0.0.0:7").await.unwrap();
    while let Ok((stream, _)) = listener.accept().await {
        corering::spawn(async move {
            while let Ok(Some(bytes)) = stream.recv().await {
                if stream.write_all(bytes).await.0.is_err() {
                    return;
                }
            }
        });
    }
}

async fn echo_client(sim: Sim) {
    let stream = connect("server:7").await;
    for round in 0..20_usize {
        let len = 1 + sim.random(20_000) as usize;
        let message: Vec<u8> = (0..len).map(|at| (at * 7 + round) as u8).collect();
        stream.write_all(message.clone()).await.0.unwrap();
        let mut back = Vec::new();
        while back.len() < message.len() {
            let bytes = stream.recv().await.unwrap().expect("the server echoes");
            back.extend_from_slice(&bytes);
        }
        assert_eq!(back, message);
    }
}

async fn echo(sim: Sim) {
    sim.host("server").run(echo_server);
    let clients: Vec<_> = (0..4)
        .map(|_| corering::spawn(echo_client(sim.clone())))
        .collect();
    for client in clients {
        client.await.unwrap();
    }
}

#[test]
fn an_echo_loses_and_changes_no_byte() {
    let report = Check::new().seeds(100).run(echo).unwrap();
    eprintln!("{report}\n{}", report.coverage());
}

#[test]
fn the_same_seeds_run_the_same() {
    let check = Check::new().seeds(10);
    let (first, second) = (check.run(echo).unwrap(), check.run(echo).unwrap());
    assert_eq!(first.digest(), second.digest());
    let other = Check::new().first_seed(10).seeds(10).run(echo).unwrap();
    assert_ne!(first.digest(), other.digest());
}

/// Serves until it is interrupted, and tells each client that it was.
async fn polite_server() {
    let listener = TcpListener::bind("0.0.0.0:7").await.unwrap();
    let mut stopping = std::pin::pin!(corering::signal::ctrl_c());
    let mut clients = Vec::new();
    loop {
        let next =
            futures_lite::future::or(async { Some(listener.accept().await.unwrap().0) }, async {
                stopping.as_mut().await.unwrap();
                None
            });
        match next.await {
            Some(client) => clients.push(client),
            None => break,
        }
    }
    for client in &clients {
        client.write_all("goodbye").await.0.unwrap();
    }
}

#[test]
fn a_service_that_is_interrupted_ends_in_order() {
    let test = |sim: Sim| async move {
        let server = sim.host("server");
        server.run(polite_server);
        let client = connect("server:7").await;
        sleep(Duration::from_millis(5)).await;
        assert!(server.is_running());
        server.interrupt();
        let mut heard = Vec::new();
        while let Some(bytes) = client.recv().await.unwrap() {
            heard.extend_from_slice(&bytes);
        }
        assert_eq!(heard, b"goodbye");
        while server.is_running() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    Check::new().seeds(100).run(test).unwrap();
}

#[test]
fn a_program_that_asks_for_no_interrupt_is_ended_by_one() {
    let test = |sim: Sim| async move {
        let host = sim.host("deaf");
        host.run(std::future::pending::<()>);
        sleep(Duration::from_millis(1)).await;
        host.interrupt();
        assert!(!host.is_running());
        // From the first call on it is not, whether anybody waits or not.
        host.run(|| async {
            let asked = timeout(Duration::from_millis(1), corering::signal::ctrl_c());
            assert!(asked.await.is_err());
            sleep(Duration::from_secs(1)).await;
        });
        sleep(Duration::from_millis(10)).await;
        let before = host.open_descriptors();
        host.interrupt();
        sleep(Duration::from_millis(10)).await;
        assert!(host.is_running());
        assert_eq!(
            (before, host.open_descriptors()),
            (2, 2),
            "no waiter is left"
        );
    };
    Check::new().seeds(50).run(test).unwrap();
}

#[test]
fn every_core_of_a_host_sees_an_interrupt() {
    let test = |sim: Sim| async move {
        let host = sim.host("cores");
        host.run_on_cores(3, |_| async { corering::signal::ctrl_c().await.unwrap() });
        let other = sim.host("other");
        other.run(|| async { corering::signal::ctrl_c().await.unwrap() });
        sleep(Duration::from_millis(5)).await;
        host.interrupt();
        sleep(Duration::from_millis(5)).await;
        assert!(!host.is_running() && other.is_running());
    };
    Check::new().seeds(50).run(test).unwrap();
}

#[test]
fn a_unix_connect_waits_for_room_in_the_backlog() {
    let test = |sim: Sim| async move {
        sim.host("test").set_nofile(4096);
        let listener = UnixListener::bind("/s").unwrap();
        let mut clients = Vec::new();
        // One more than the backlog, as on Linux.
        for _ in 0..=1024 {
            clients.push(UnixStream::connect("/s").await.unwrap());
        }
        let mut late = Box::pin(UnixStream::connect("/s"));
        assert!(timeout(Duration::from_secs(1), &mut late).await.is_err());
        let dropped = timeout(Duration::from_secs(1), UnixStream::connect("/s"));
        assert!(dropped.await.is_err());
        drop(listener.accept().await.unwrap());
        clients.push(late.await.unwrap());
        // The listener has taken several at once.
        let more = loop {
            let more = corering::spawn(UnixStream::connect("/s"));
            sleep(Duration::from_millis(10)).await;
            match more.is_finished() {
                true => clients.push(more.await.unwrap().unwrap()),
                false => break more,
            }
        };
        drop(listener);
        let refused = more.await.unwrap().unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::ECONNREFUSED));
    };
    Check::new().seeds(3).run(test).unwrap();
}

#[test]
fn a_host_that_is_killed_ends_its_unix_sockets_and_leaves_their_files() {
    let test = |sim: Sim| async move {
        let host = sim.host("machine");
        host.run(|| async {
            let _listener = UnixListener::bind("/s").unwrap();
            std::future::pending::<()>().await;
        });
        sleep(Duration::from_millis(5)).await;
        host.kill();
        host.run(|| async {
            let refused = UnixStream::connect("/s").await.unwrap_err();
            assert_eq!(refused.raw_os_error(), Some(libc::ECONNREFUSED));
            fs::remove_file("/s").await.unwrap();
            UnixListener::bind("/s").unwrap();
        });
        sleep(Duration::from_millis(20)).await;
        assert!(!host.is_running());
        // Another host has names of its own.
        let missing = UnixStream::connect("/s").await.unwrap_err();
        assert_eq!(missing.raw_os_error(), Some(libc::ENOENT));
    };
    Check::new().seeds(50).run(test).unwrap();
}

#[test]
fn time_is_virtual() {
    let begin = std::time::Instant::now();
    let test = |_| async {
        let begin = Instant::now();
        sleep(Duration::from_secs(600)).await;
        assert!(begin.elapsed() >= Duration::from_secs(600));
    };
    let report = Check::new().seeds(5).faults(Faults::none()).run(test);
    assert!(report.unwrap().simulated() >= Duration::from_secs(3000));
    assert!(begin.elapsed() < Duration::from_secs(60));
}

#[test]
fn a_file_reads_as_it_was_written() {
    let test = |sim: Sim| async move {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .open("/log")
            .await
            .unwrap();
        let content: Vec<u8> = (0..10_000).map(|_| sim.random(256) as u8).collect();
        let mut at = 0;
        while at < content.len() {
            let (n, _) = file.write_at(content[at..].to_vec(), at as u64).await;
            at += n.unwrap();
        }
        file.sync_all().await.unwrap();
        let again = File::open("/log").await.unwrap();
        let mut back = Vec::new();
        loop {
            let (n, buf) = again.read_at(vec![0; 700], back.len() as u64).await;
            match n.unwrap() {
                0 => break,
                n => back.extend_from_slice(&buf[..n]),
            }
        }
        assert_eq!(back, content);
    };
    Check::new().run(test).unwrap();
}

#[test]
fn names_lengths_and_ends_of_files_are_those_of_a_disk() {
    let test = |_: Sim| async move {
        fs::create_dir("/segments").await.unwrap();
        // Reads and writes are cut short now and then: these go on.
        let content: Vec<u8> = (0..5_000_u32).map(|n| n as u8).collect();
        let (written, content) = fs::write("/segments/new", content).await;
        written.unwrap();
        fs::rename("/segments/new", "/segments/1").await.unwrap();
        File::open("/segments")
            .await
            .unwrap()
            .sync_all()
            .await
            .unwrap();
        assert!(fs::metadata("/segments/new").await.is_err());
        assert!(fs::metadata("/segments").await.unwrap().is_dir());
        assert_eq!(fs::read("/segments/1").await.unwrap(), content);

        let mut options = OpenOptions::new();
        let log = options.append(true).open("/segments/1").await.unwrap();
        let (n, _) = log.append("at the end").await;
        let len = content.len() as u64 + n.unwrap() as u64;
        assert_eq!(log.metadata().await.unwrap().len(), len);
        log.set_len(3).await.unwrap();
        // Refused by the ring, and by the plain call after it.
        let read = File::open("/segments/1").await.unwrap();
        let refused = read.set_len(1).await.unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EINVAL));
        assert_eq!(fs::read("/segments/1").await.unwrap(), content[..3]);

        assert!(fs::remove_dir("/segments").await.is_err());
        fs::remove_file("/segments/1").await.unwrap();
        fs::remove_dir("/segments").await.unwrap();
    };
    Check::new().run(test).unwrap();
}

#[test]
fn a_host_runs_or_not_as_soon_as_it_is_told() {
    let test = |sim: Sim| async move {
        let host = sim.host("machine");
        assert!(!host.is_running());
        host.run(std::future::pending::<()>);
        assert!(host.is_running());
        sleep(Duration::from_millis(1)).await;
        for _ in 0..3 {
            host.crash();
            assert!(!host.is_running());
            host.restart();
            assert!(host.is_running());
            host.kill();
            assert!(!host.is_running());
            sleep(Duration::from_millis(1)).await;
            assert!(!host.is_running());
            host.restart();
            sleep(Duration::from_millis(1)).await;
            assert!(host.is_running());
        }
        host.run(|| async {});
        sleep(Duration::from_millis(1)).await;
        assert!(!host.is_running());
    };
    Check::new().seeds(20).run(test).unwrap();
}

/// Replaces a file and does not sync its directory; after the power failure, reads it.
async fn replace_or_read(read: Rc<RefCell<Vec<u8>>>) -> std::io::Result<()> {
    let root = File::open("/").await?;
    if let Ok(bytes) = fs::read("/file").await {
        // The root is still there when it was closed, too.
        drop(root);
        sleep(Duration::from_millis(1)).await;
        File::create("/another").await?;
        *read.borrow_mut() = bytes;
        return Ok(());
    }
    for (path, text) in [("/file", "old"), ("/file.new", "new")] {
        fs::write(path, text).await.0?;
        File::open(path).await?.sync_all().await?;
        root.sync_all().await?;
    }
    fs::rename("/file.new", "/file").await
}

#[test]
fn a_rename_that_a_power_failure_takes_back_brings_back_the_old_file() {
    let seen = Rc::new(RefCell::new(BTreeSet::new()));
    let test = |sim: Sim| {
        let seen = Rc::clone(&seen);
        async move {
            let read = Rc::default();
            let host = sim.host("machine");
            let shared = Rc::clone(&read);
            host.run(move || replace_or_read(Rc::clone(&shared)));
            while host.is_running() {
                sleep(Duration::from_millis(1)).await;
            }
            host.crash();
            host.restart();
            while host.is_running() {
                sleep(Duration::from_millis(1)).await;
            }
            let bytes = read.take();
            assert!(bytes == b"old" || bytes == b"new", "{bytes:?}");
            seen.borrow_mut().insert(bytes);
        }
    };
    Check::new().seeds(50).run(test).unwrap();
    assert_eq!(seen.borrow().len(), 2, "the seeds decide what is left");
}

#[test]
fn a_dropped_write_that_is_cut_short_is_finished() {
    let test = |sim: Sim| async move {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .open("/log")
            .await
            .unwrap();
        let content: Vec<u8> = (0..5_000).map(|_| sim.random(256) as u8).collect();
        let mut write = file.write_at(content.clone(), 3);
        assert!(futures_lite::future::poll_once(&mut write).await.is_none());
        drop(write);
        file.sync_all().await.unwrap();
        let back = fs::read("/log").await.unwrap();
        assert_eq!(back[3..], content);
    };
    let faults = Faults::none().rate(Fault::Short, 0.7);
    Check::new().seeds(50).faults(faults).run(test).unwrap();
}

#[test]
fn a_host_that_is_cut_off_holds_a_connect_up_for_a_quarter_of_a_second() {
    let test = |sim: Sim| async move {
        let (cut, near) = (sim.host("cut"), sim.host("near"));
        cut.run(echo_server);
        near.run(echo_server);
        drop(connect("near:7").await);
        sim.partition(&cut, &sim.host("test"));
        let addresses = [SocketAddr::new(cut.ip(), 7), SocketAddr::new(near.ip(), 7)];
        let begin = Instant::now();
        let stream = TcpStream::connect(&addresses[..]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), addresses[1]);
        let took = begin.elapsed().as_millis();
        assert!((250..300).contains(&took), "{took} ms");
    };
    let check = Check::new().seeds(20).faults(Faults::none());
    check.run(test).unwrap();
}

#[test]
fn options_of_a_simulated_socket_are_those_that_were_set() {
    let test = |sim: Sim| async move {
        sim.host("server").run(echo_server);
        let stream = connect("server:7").await;
        assert_eq!(stream.keepalive().unwrap(), None);
        let keepalive = Keepalive {
            retries: 3,
            ..Keepalive::default()
        };
        stream.set_keepalive(Some(keepalive)).unwrap();
        assert_eq!(stream.keepalive().unwrap(), Some(keepalive));
        assert!(stream.quickack().unwrap());
        let limit = Some(Duration::from_millis(1700));
        stream.set_user_timeout(limit).unwrap();
        assert_eq!(stream.user_timeout().unwrap(), limit);
        let device = TcpSocket::new_v4().unwrap().bind_device("lo");
        assert_eq!(device.unwrap_err().kind(), ErrorKind::Unsupported);
    };
    let check = Check::new().seeds(5).faults(Faults::none());
    check.run(test).unwrap();
}

#[test]
fn a_simulated_stream_without_linger_is_reset_when_it_is_dropped() {
    let test = |linger: bool| {
        move |sim: Sim| async move {
            sim.host("server").run(move || async move {
                let listener = TcpListener::bind("0.0.0.0:7").await.unwrap();
                let (stream, _) = listener.accept().await.unwrap();
                let end = stream.recv().await;
                assert_eq!(end.is_ok(), linger, "{end:?}");
            });
            let stream = connect("server:7").await;
            if !linger {
                stream.set_zero_linger().unwrap();
            }
            drop(stream);
            sleep(Duration::from_secs(1)).await;
        }
    };
    let check = Check::new().seeds(5).faults(Faults::none());
    check.run(test(true)).unwrap();
    check.run(test(false)).unwrap();
}

#[test]
fn classes_have_their_shares_in_a_simulation() {
    use corering::task::{Builder, Priority, yield_now};

    /// Polls of a crowd that is always ready.
    fn crowd(class: Priority, count: usize) -> Rc<RefCell<u64>> {
        let polls = Rc::new(RefCell::new(0));
        for _ in 0..count {
            let polls = Rc::clone(&polls);
            drop(Builder::new().priority(class).spawn(async move {
                for _ in 0..100 {
                    *polls.borrow_mut() += 1;
                    yield_now().await;
                }
            }));
        }
        polls
    }

    let test = |sim: Sim| async move {
        let bulk = crowd(Priority::Bulk, 100);
        let normal = crowd(Priority::Normal, 7);
        while *normal.borrow() < 350 {
            yield_now().await;
        }
        let (normal, bulk) = (*normal.borrow(), *bulk.borrow());
        // Eight others a turn, with this task.
        assert!((90..=110).contains(&bulk), "{bulk} beside {normal}");
        sim.note(format!("{bulk} beside {normal}"));
        // Time goes on for who waits, and the rest of the crowd has its turns.
        sleep(Duration::from_millis(1)).await;
    };
    Check::new().seeds(20).run(test).unwrap();
}
