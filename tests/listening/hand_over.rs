//! Connections that go from one core to another.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use corering::Runtime;
use corering::cores::{Balance, Core, Cores};
use corering::net::{ConnectionLimit, Detached, TcpStream, UnixStream};
use corering::runtime::stats;
use corering::time::timeout;

use super::{connect, listener};
use crate::common::{
    alone, asleep_once, descriptors, echo, errno, pair_with_std, read_exactly, run, until,
};

/// What a core of its own makes of the connection.
fn elsewhere<T: Send + 'static>(
    detached: Detached,
    then: impl AsyncFnOnce(TcpStream) -> T + Send + 'static,
) -> T {
    let core = thread::spawn(move || {
        let runtime = Runtime::new().unwrap();
        runtime.block_on(async { then(detached.attach().unwrap()).await })
    });
    core.join().unwrap()
}

#[test]
fn a_fresh_connection_is_served_by_another_core_with_its_permit() {
    let limit = ConnectionLimit::new(1);
    let (mut client, detached, permit) = run(async {
        let (listener, address) = listener().await;
        let client = connect(address);
        let (stream, _, permit) = listener.accept_within(&limit).await.unwrap();
        (client, stream.detach().await, permit)
    });
    client.write_all(b"ping").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    elsewhere(detached, async move |stream| {
        echo(stream).await.unwrap();
        drop(permit);
    });
    let mut reply = String::new();
    client.read_to_string(&mut reply).unwrap();
    assert_eq!(reply, "ping");
    assert_eq!(limit.in_use(), 0);
}

#[test]
fn what_was_received_and_not_read_goes_along() {
    let (mut peer, detached) = run(async {
        let (stream, mut peer) = pair_with_std().await;
        peer.write_all(b"one two ").unwrap();
        assert_eq!(read_exactly(&stream, 4).await, b"one ");
        // Something is in the inbox, and a receive is armed.
        assert_eq!(&*stream.fill_buf().await.unwrap(), b"two ");
        peer.write_all(b"three").unwrap();
        (peer, stream.detach().await)
    });
    peer.write_all(b" four").unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    let bytes = elsewhere(detached, async |stream| {
        let mut bytes = Vec::new();
        while let Some(lease) = stream.recv().await.unwrap() {
            bytes.extend_from_slice(&lease);
        }
        bytes
    });
    assert_eq!(bytes, b"two three four");
}

#[test]
fn a_committed_write_is_sent_before_the_stream_goes() {
    const LEN: usize = 8 << 20;
    let (reader, detached) = run(async {
        let (stream, mut peer) = pair_with_std().await;
        let long = stream.write_all(vec![7; LEN]);
        assert!(timeout(Duration::from_millis(20), long).await.is_err());
        let reader = thread::spawn(move || {
            let mut bytes = Vec::new();
            peer.read_to_end(&mut bytes).unwrap();
            bytes
        });
        (reader, stream.detach().await)
    });
    elsewhere(detached, async |stream| {
        stream.write_all("end").await.0.unwrap()
    });
    let bytes = reader.join().unwrap();
    assert_eq!(bytes.len(), LEN + 3);
    assert!(bytes[..LEN].iter().all(|byte| *byte == 7) && bytes.ends_with(b"end"));
}

#[test]
fn both_ends_stay_as_they_were() {
    let (_peer, detached) = run(async {
        let (stream, peer) = pair_with_std().await;
        peer.shutdown(Shutdown::Write).unwrap();
        assert!(stream.recv().await.unwrap().is_none());
        stream.shutdown(Shutdown::Write).await.unwrap();
        (peer, stream.detach().await)
    });
    elsewhere(detached, async |stream| {
        assert!(stream.recv().await.unwrap().is_none());
        let sent = stream.write_all("late").await.0;
        assert_eq!(errno(sent), libc::EPIPE);
    });
}

#[test]
fn a_detached_stream_that_nobody_attaches_is_closed() {
    alone(|| {
        run(async {
            asleep_once().await;
            let (before, idle) = (descriptors(), stats().unwrap().in_flight);
            let (stream, mut peer) = pair_with_std().await;
            let detached = stream.detach().await;
            drop(detached);
            assert_eq!(peer.read(&mut [0; 8]).unwrap(), 0, "it is closed");
            drop(peer);

            let (stream, mut peer) = pair_with_std().await;
            drop(stream.detach()); // never polled
            assert_eq!(peer.read(&mut [0; 8]).unwrap(), 0, "it is closed");
            drop(peer);
            until("all is closed", || descriptors() == before).await;
            assert_eq!(stats().unwrap().in_flight, idle);
        });
    });
}

#[test]
fn a_unix_stream_goes_to_another_core_too() {
    let (detached, peer) = run(async {
        let (a, b) = UnixStream::pair().unwrap();
        b.write_all("from there").await.0.unwrap();
        (a.detach().await, b.into_std().await.unwrap().0)
    });
    let text = thread::spawn(move || {
        Runtime::new().unwrap().block_on(async {
            let stream = detached.attach().unwrap();
            stream.write_all("from here").await.0.unwrap();
            stream.recv().await.unwrap().unwrap().to_vec()
        })
    });
    assert_eq!(text.join().unwrap(), b"from there");
    let mut text = String::new();
    (&peer).read_to_string(&mut text).unwrap();
    assert_eq!(text, "from here");
}

#[test]
fn attaching_outside_a_runtime_is_an_error() {
    let (_peer, detached) = run(async {
        let (stream, peer) = pair_with_std().await;
        (peer, stream.detach().await)
    });
    let error = detached.attach().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::NotConnected);
}

#[test]
fn one_acceptor_gives_each_connection_to_the_core_with_the_fewest() {
    const EACH: usize = 10;
    let balance = Balance::new(2);
    let (tell, told) = std::sync::mpsc::channel();
    let running = {
        let balance = balance.clone();
        let main = move |core: Core| {
            let (balance, tell) = (balance.clone(), tell.clone());
            async move {
                if core.index() > 0 {
                    return core.stopping().await;
                }
                let (listener, address) = listener().await;
                tell.send(address).unwrap();
                while let Some((stream, _)) = listener.accept_until(core.stopping()).await.unwrap()
                {
                    let (load, stream) = (balance.least(), stream.detach().await);
                    drop(core.spawn_on(load.core(), move || async move {
                        let here = Core::current().expect("one of them").index();
                        assert_eq!(here, load.core());
                        let stream = stream.attach().unwrap();
                        stream.write_all(vec![here as u8]).await.0.unwrap();
                        let end = stream.recv().await.unwrap();
                        assert!(end.is_none());
                        drop(load);
                    }));
                }
            }
        };
        Cores::count(2).unwrap().pinned(false).start(main).unwrap()
    };
    let address = told.recv().unwrap();
    let ask = || {
        let mut client = connect(address);
        let mut core = [9];
        client.read_exact(&mut core).unwrap();
        (client, core[0])
    };
    let clients: Vec<_> = (0..2 * EACH).map(|_| ask()).collect();
    assert_eq!(balance.counts(), [EACH, EACH]);
    // Those of one core go, and the next ones go there.
    let stays: Vec<_> = clients.into_iter().filter(|it| it.1 == 0).collect();
    assert_eq!(stays.len(), EACH);
    let begin = std::time::Instant::now();
    while balance.counts() != [EACH, 0] {
        assert!(begin.elapsed() < Duration::from_secs(10), "{balance:?}");
        thread::sleep(Duration::from_millis(1));
    }
    let new: Vec<_> = (0..EACH).map(|_| ask()).collect();
    assert!(new.iter().all(|it| it.1 == 1));
    drop((stays, new));
    running.handle().stop();
    for ended in running.join() {
        ended.output.unwrap();
    }
}
