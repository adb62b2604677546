//! A service on several cores is stopped while a thousand requests are in flight.

mod common;

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use corering::cores::Core;
use corering::io::AsyncRead;
use corering::net::{TcpSocket, TcpStream};
use corering::time::{sleep, timeout};
use corering::{Cores, Runtime, spawn};
use futures_lite::future::or;
use socket2::{Domain, Socket, Type};

use common::{allow_descriptors, alone, descriptors};

const CONNECTIONS: usize = 1000;
const LONG: Duration = Duration::from_secs(30);
/// What a request takes: so at any time most connections have one in flight.
const WORK: Duration = Duration::from_millis(5);

#[derive(Default)]
struct Counts {
    /// Requests that the service has read.
    taken: AtomicU64,
    /// Of them, those whose answer was written.
    answered: AtomicU64,
    /// Answers that clients have got.
    received: AtomicU64,
    /// Connections that were accepted, and those whose end was seen by their client.
    accepted: AtomicU64,
    ended: AtomicU64,
}

async fn serve(mut stream: TcpStream, core: Core, counts: Arc<Counts>) -> io::Result<()> {
    let mut request = Vec::with_capacity(8);
    loop {
        let next = async {
            let (read, buf) = stream.read_exact(request).await;
            (Some(read), buf)
        };
        let stopped = async {
            core.stopping().await;
            (None, Vec::new())
        };
        let read;
        // A request that is not whole when the stop comes is none.
        (read, request) = or(next, stopped).await;
        match read {
            Some(Ok(())) => counts.taken.fetch_add(1, Relaxed),
            Some(Err(error)) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
            Some(Err(error)) => return Err(error),
            None => break,
        };
        sleep(WORK).await;
        let number = u64::from_le_bytes(request[..].try_into().expect("8 bytes"));
        request.clear();
        let answer = (number + 1).to_le_bytes().to_vec();
        stream.write_all(answer).await.0?;
        counts.answered.fetch_add(1, Relaxed);
    }
    // The client learns that there will be no more, and says so, too: what it has sent is read, or
    // closing would tear answers down that are on their way.
    stream.shutdown(std::net::Shutdown::Write).await?;
    while stream.recv().await?.is_some() {}
    Ok(())
}

async fn run(core: Core, address: SocketAddr, counts: Arc<Counts>) -> io::Result<()> {
    let listener = TcpSocket::new_v4()?
        .reuse_port()?
        .bind(address)?
        .listen(1024)?;
    while let Some((stream, _)) = listener.accept_until(core.stopping()).await? {
        counts.accepted.fetch_add(1, Relaxed);
        let (core, counts) = (core.clone(), Arc::clone(&counts));
        spawn(async move { serve(stream, core, counts).await.expect("no error") });
    }
    for (stream, _) in listener.close().await? {
        counts.accepted.fetch_add(1, Relaxed);
        stream.close().await?;
    }
    core.drain(LONG).await
}

/// Asks as fast as it gets answers, until there are no more.
async fn ask(address: SocketAddr, counts: Arc<Counts>) -> io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    let mut answer = Vec::with_capacity(8);
    for number in 0_u64.. {
        // The service may have gone meanwhile; what it has answered was read before.
        if stream
            .write_all(number.to_le_bytes().to_vec())
            .await
            .0
            .is_err()
        {
            break;
        }
        let read;
        (read, answer) = stream.read_exact(answer).await;
        if read.is_err() {
            break;
        }
        assert_eq!(answer[..], (number + 1).to_le_bytes());
        answer.clear();
        counts.received.fetch_add(1, Relaxed);
    }
    counts.ended.fetch_add(1, Relaxed);
    Ok(())
}

fn clients(address: SocketAddr, counts: &Arc<Counts>) {
    let counts = Arc::clone(counts);
    Runtime::new().unwrap().block_on(async move {
        let asking: Vec<_> = (0..CONNECTIONS)
            .map(|_| spawn(ask(address, Arc::clone(&counts))))
            .collect();
        for task in asking {
            // One that has not been accepted is refused when the listeners are gone.
            let _ = timeout(LONG, task).await.expect("an end").unwrap();
        }
    });
}

#[test]
fn a_stop_under_load_answers_what_was_taken_and_leaves_nothing() {
    alone(|| {
        if !allow_descriptors(2 * CONNECTIONS + 100) {
            println!("skipped: too few descriptors are allowed");
            return;
        }
        let before = descriptors();
        let counts = Arc::new(Counts::default());
        // Holds the port for the listeners of the cores.
        let holder = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        holder.set_reuse_port(true).unwrap();
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        holder.bind(&any.into()).unwrap();
        let address = holder.local_addr().unwrap().as_socket().unwrap();
        let theirs = Arc::clone(&counts);
        let (bound, binds) = mpsc::channel();
        let running = Cores::count(2).unwrap().start(move |core| {
            let (counts, bound) = (Arc::clone(&theirs), bound.clone());
            async move {
                let serving = run(core, address, counts);
                // It listens after its first poll.
                spawn(async move { bound.send(()).expect("it is waited for") });
                serving.await
            }
        });
        let running = running.unwrap();
        for _ in 0..2 {
            binds.recv_timeout(LONG).unwrap();
        }
        let theirs = Arc::clone(&counts);
        let asking = thread::spawn(move || clients(address, &theirs));
        let start = Instant::now();
        while counts.received.load(Relaxed) < 3 * CONNECTIONS as u64 && start.elapsed() < LONG {
            thread::sleep(Duration::from_millis(1));
        }
        let stop = Instant::now();
        running.handle().stop();
        for ended in running.join() {
            ended.output.unwrap().expect("nothing was left");
            assert!(ended.aborted_tasks == 0 && ended.leftover.is_empty());
        }
        let took = stop.elapsed();
        asking.join().unwrap();
        drop(holder);
        let of = |count: &AtomicU64| count.load(Relaxed);
        println!(
            "{} connections, {} requests taken, {} answered, {} received, stopped in {took:?}",
            of(&counts.accepted),
            of(&counts.taken),
            of(&counts.answered),
            of(&counts.received),
        );
        assert_eq!(of(&counts.accepted), CONNECTIONS as u64);
        assert_eq!(of(&counts.taken), of(&counts.answered));
        assert_eq!(of(&counts.answered), of(&counts.received));
        assert_eq!(of(&counts.ended), CONNECTIONS as u64);
        assert!(took < LONG / 3, "{took:?}");
        assert_eq!(descriptors(), before);
    });
}
