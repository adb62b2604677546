//! Clients and an echo server, with the proxy between them.

use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use corering::Runtime;
use corering::io::AsyncRead;
use corering::net::{TcpListener, TcpStream};
use corering::time::timeout;
use futures_lite::future::try_zip;

use super::Options;
use super::metrics::Metrics;

const CLIENTS: usize = 64;
/// More than the proxy may have at a time.
const LIMIT: usize = 24;
/// What a client sends, in messages of 16 KiB.
const BYTES: usize = 1 << 20;
const MESSAGE: usize = 16 * 1024;
const PATIENCE: Duration = Duration::from_secs(40);

pub(crate) fn run(options: &Options) -> io::Result<()> {
    let runtime = Runtime::new()?;
    let metrics = Arc::new(Metrics::default());
    runtime.block_on(async {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let options = Options {
            listen: free_address()?,
            to: server.local_addr()?,
            max_connections: LIMIT,
            ..options.clone()
        };
        let address = options.listen;
        corering::spawn(echo(server));
        let running = super::start(options, &metrics)?;
        let stop = running.handle();

        let begin = Instant::now();
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| corering::spawn(ask(address, number)))
            .collect();
        let all = async {
            for client in clients {
                client.await.map_err(io::Error::other)??;
            }
            Ok::<_, io::Error>(())
        };
        timeout(PATIENCE, all).await.map_err(io::Error::other)??;
        let seconds = begin.elapsed().as_secs_f64();
        let mib = (2 * CLIENTS * BYTES) as f64 / f64::from(1 << 20);
        println!(
            "{CLIENTS} clients, {LIMIT} at a time: {:.0} MiB/s",
            mib / seconds
        );

        stop.stop();
        let ended = corering::task::spawn_blocking(move || super::end(running));
        ended.await.map_err(io::Error::other)??;
        println!("{metrics}");
        assert_eq!(metrics.connections(), (0, CLIENTS as u64));
        println!("every byte came back, and every end");
        Ok(())
    })
}

/// A port that is free now.
fn free_address() -> io::Result<SocketAddr> {
    std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

async fn echo(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        corering::spawn(async move {
            let copied = corering::io::copy(&mut &stream, &mut &stream).await;
            if copied.is_ok() {
                // Ends its half only now: a half-close comes all the way.
                let _ = stream.shutdown(Shutdown::Write).await;
            }
        });
    }
}

/// Connects, as soon as the proxy listens.
async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let begin = Instant::now();
    loop {
        match TcpStream::connect(address).await {
            Err(error) if begin.elapsed() > PATIENCE => return Err(error),
            Err(_) => corering::time::sleep(Duration::from_millis(5)).await,
            connected => return connected,
        }
    }
}

fn message(number: usize, at: usize) -> Vec<u8> {
    let byte = |place: usize| (((number + at + place) * 31) >> 3) as u8;
    (0..MESSAGE).map(byte).collect()
}

/// Sends everything, then its end, and takes back the same.
async fn ask(address: SocketAddr, number: usize) -> io::Result<()> {
    let stream = connect(address).await?;
    let send = async {
        for at in 0..BYTES / MESSAGE {
            stream.write_all(message(number, at)).await.0?;
        }
        stream.shutdown(Shutdown::Write).await
    };
    let receive = async {
        for at in 0..BYTES / MESSAGE {
            let (done, bytes) = (&stream).read_exact(vec![0; MESSAGE]).await;
            done?;
            assert!(bytes == message(number, at), "other bytes than were sent");
        }
        let (n, _) = stream.read(vec![0; 1]).await;
        assert_eq!(n?, 0, "more than was sent");
        Ok(())
    };
    try_zip(send, receive).await.map(drop)
}
