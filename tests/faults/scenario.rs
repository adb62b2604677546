//! A life of a runtime: a bit of everything, every byte checked.

use std::io;
use std::path::Path;
use std::time::Duration;

use corering::fs::File;
use corering::io::Operation;
use corering::net::{TcpListener, TcpStream};
use corering::runtime::{Builder, Spin, nop};
use corering::spawn;
use corering::time::sleep;
use futures_lite::future::poll_once;
use futures_util::future::join_all;

use crate::common::{echo, localhost, pattern};

/// More than three quarters of the receive buffers that a core has at first: those that are held
/// make it map more.
const HOARD: usize = 1 << 20;
const MESSAGES: [usize; 3] = [1, 1000, 20_000];

/// Operations that are submitted at once.
const BURST: usize = 16;

/// Builds a runtime with a submission queue of `entries`, uses it, and ends it.
///
/// # Errors
///
/// Whatever fails first.
pub(crate) fn live(dir: &Path, entries: u32) -> io::Result<()> {
    let builder = Builder::new().ring_entries(entries);
    // Each turn enters then, whatever the time.
    let runtime = builder.spin(Spin::Never).build()?;
    let done = runtime.block_on(everything(dir));
    let left = runtime.shutdown(Duration::from_secs(10));
    assert!(left.is_empty(), "{left}");
    done
}

async fn everything(dir: &Path) -> io::Result<()> {
    let listener = TcpListener::bind(localhost()).await?;
    let client = TcpStream::connect(listener.local_addr()?).await?;
    let (server, _) = listener.accept().await?;
    // Else the last part of a message waits 40 ms for an acknowledgement.
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let echoing = spawn(echo(server));
    for (seed, len) in (1..).zip(MESSAGES) {
        echoed(&client, seed, len).await?;
    }
    cancelled(&client).await?;
    hoard(&client).await?;
    client.close().await?;
    echoing.await.expect("it does not panic")?;
    files(dir).await?;
    let burst = join_all((0..BURST).map(|_| nop())).await;
    burst.into_iter().collect::<io::Result<()>>()?;
    sleep(Duration::from_millis(1)).await;
    Ok(())
}

/// Sends a message, and receives it again with `recv` and `read` in turn.
async fn echoed(client: &TcpStream, seed: u32, len: usize) -> io::Result<()> {
    let (sent, message) = client.write_all(pattern(seed, len)).await;
    sent?;
    let mut got = Vec::new();
    let mut by_recv = true;
    while got.len() < len {
        if by_recv {
            let lease = client.recv().await?.expect("more is to come");
            got.extend_from_slice(&lease);
        } else {
            let (n, part) = client.read(Vec::with_capacity(len - got.len())).await;
            assert_ne!(n?, 0, "more is to come");
            got.extend_from_slice(&part);
        }
        by_recv = !by_recv;
    }
    assert!(got == message, "{len} bytes came back as others");
    Ok(())
}

/// Cancels a read for which nothing comes, and one that the peer has answered.
async fn cancelled(client: &TcpStream) -> io::Result<()> {
    let mut read = client.read(Vec::with_capacity(64 * 1024));
    assert!(poll_once(&mut read).await.is_none());
    sleep(Duration::from_millis(1)).await;
    let (none, buf) = read.cancel().await;
    assert_eq!(
        none.expect_err("nothing came").raw_os_error(),
        Some(libc::ECANCELED)
    );
    assert_eq!(buf.capacity(), 64 * 1024);
    let recv = client.recv();
    let late = recv.timeout(Duration::from_millis(1)).await;
    assert_eq!(
        late.expect_err("nothing came").kind(),
        io::ErrorKind::TimedOut
    );
    Ok(())
}

/// Receives much, and keeps the buffers.
async fn hoard(client: &TcpStream) -> io::Result<()> {
    let message = pattern(9, HOARD);
    let mut write = Box::pin(client.write_all(message.clone()));
    let mut held = Vec::new();
    let mut got = 0;
    let mut sent = poll_once(&mut write).await;
    while got < HOARD {
        let lease = client.recv().await?.expect("more is to come");
        assert!(lease[..] == message[got..got + lease.len()], "at {got}");
        got += lease.len();
        held.push(lease);
    }
    if sent.is_none() {
        sent = Some(write.await);
    }
    sent.expect("it was awaited").0
}

/// Writes a file, makes it durable, and reads it again.
async fn files(dir: &Path) -> io::Result<()> {
    let path = dir.join("file");
    let bytes = pattern(3, 5000);
    let file = File::create(&path).await?;
    let (n, bytes) = file.write_at(bytes, 0).await;
    assert_eq!(n?, bytes.len());
    file.sync_all().await?;
    file.close().await?;
    let file = File::open(&path).await?;
    let (n, back) = file.read_at(Vec::with_capacity(8192), 0).await;
    assert_eq!(n?, bytes.len());
    assert!(back == bytes, "the file has other bytes");
    drop(file);
    Ok(())
}
