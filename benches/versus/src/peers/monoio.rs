//! monoio: one ring, one-shot receives into the task's buffer.

use std::io;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixListener;
use std::time::Duration;

use monoio::io::{AsyncReadRent, AsyncWriteRent, AsyncWriteRentExt, Splitable};
use monoio::time::TimeDriver;
use monoio::{IoUringDriver, Runtime, RuntimeBuilder};

use crate::coordination::{coordination, ended};
use crate::exec::{self, BATCH, Executor};
use crate::fairness::{self, Heart};
use crate::peers::SQ_ENTRIES;
use crate::server::{ServeOptions, echoed};

pub(crate) fn serve(listener: TcpListener, options: &ServeOptions) -> io::Result<()> {
    runtime()?.block_on(accept(listener, options.buffer))
}

async fn accept(listener: TcpListener, buffer: usize) -> io::Result<()> {
    let listener = monoio::net::TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        monoio::spawn(echo(stream, buffer));
    }
}

pub(crate) fn serve_unix(listener: UnixListener, options: &ServeOptions) -> io::Result<()> {
    let buffer = options.buffer;
    runtime()?.block_on(async move {
        let listener = monoio::net::UnixListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            monoio::spawn(echo(stream, buffer));
        }
    })
}

async fn echo(mut stream: impl AsyncReadRent + AsyncWriteRent, buffer: usize) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(buffer);
    loop {
        let read;
        (read, buffer) = stream.read(buffer).await;
        if read? == 0 {
            return Ok(());
        }
        let written;
        (written, buffer) = stream.write_all(buffer).await;
        written?;
        echoed();
    }
}

/// Echoes datagrams, each socket in a task.
pub(crate) fn serve_udp(sockets: Vec<UdpSocket>, options: &ServeOptions) -> io::Result<()> {
    let buffer = options.buffer;
    runtime()?.block_on(async move {
        let mut tasks = Vec::new();
        for socket in sockets {
            let socket = monoio::net::udp::UdpSocket::from_std(socket)?;
            tasks.push(monoio::spawn(echo_datagrams(socket, buffer)));
        }
        for task in tasks {
            task.await?;
        }
        Ok(())
    })
}

async fn echo_datagrams(socket: monoio::net::udp::UdpSocket, buffer: usize) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(buffer);
    loop {
        let received;
        (received, buffer) = socket.recv_from(buffer).await;
        let (_, from) = received?;
        let sent;
        (sent, buffer) = socket.send_to(buffer, from).await;
        sent?;
        echoed();
    }
}

/// What it has splices 4 KiB at a time, and is behind a feature; this is what is there by default.
pub(crate) fn serve_copy(a: TcpStream, b: TcpStream, options: &ServeOptions) -> io::Result<()> {
    let size = options.buffer;
    runtime()?.block_on(async move {
        let a = monoio::net::TcpStream::from_std(a)?;
        let b = monoio::net::TcpStream::from_std(b)?;
        let (from_a, to_a) = a.into_split();
        let (from_b, to_b) = b.into_split();
        let there = monoio::spawn(pass_on(from_a, to_b, size));
        let back = monoio::spawn(pass_on(from_b, to_a, size));
        there.await.and(back.await)
    })
}

async fn pass_on(
    mut from: impl AsyncReadRent,
    mut to: impl AsyncWriteRent,
    size: usize,
) -> io::Result<()> {
    if size == 0 {
        monoio::io::copy(&mut from, &mut to).await?;
        return to.shutdown().await;
    }
    let mut buffer = Vec::with_capacity(size);
    loop {
        let read;
        (read, buffer) = from.read(buffer).await;
        if read? == 0 {
            return to.shutdown().await;
        }
        let written;
        (written, buffer) = to.write_all(buffer).await;
        written?;
    }
}

fn runtime() -> io::Result<Runtime<TimeDriver<IoUringDriver>>> {
    let mut ring = io_uring_06::IoUring::builder();
    // Off by default; without them every completion interrupts the thread.
    ring.setup_coop_taskrun().setup_single_issuer();
    RuntimeBuilder::<IoUringDriver>::new()
        .with_entries(SQ_ENTRIES)
        .uring_builder(ring)
        .enable_timer()
        .build()
}

/// Its executor.
pub(crate) struct Monoio;

impl Executor for Monoio {
    fn block_on<F: Future>(future: F) -> io::Result<F::Output> {
        Ok(runtime()?.block_on(future))
    }

    fn spawn_yields(times: u32) -> impl Future<Output = ()> {
        monoio::spawn(async move {
            for _ in 0..times {
                exec::yield_now().await;
            }
        })
    }

    fn spawn_joins(times: u32) -> impl Future<Output = ()> {
        monoio::spawn(async move {
            for _ in 0..times {
                let tasks: Vec<_> = (0..BATCH).map(|_| monoio::spawn(async {})).collect();
                for task in tasks {
                    task.await;
                }
            }
        })
    }

    fn spawn_sleep(time: Duration) -> impl Future<Output = ()> {
        monoio::spawn(monoio::time::sleep(time))
    }

    coordination!(monoio::spawn, exec::yield_now, local_sync);

    fn spawn_ready() -> impl Future<Output = ()> {
        ended(monoio::spawn(fairness::ready(exec::yield_now)))
    }

    fn spawn_heart(heart: Heart) -> impl Future<Output = ()> {
        ended(monoio::spawn(heart.beat(monoio::time::sleep)))
    }

    fn accept(listener: TcpListener, buffer: usize) -> impl Future<Output = io::Result<()>> {
        accept(listener, buffer)
    }

    fn sleep(time: Duration) -> impl Future<Output = ()> {
        monoio::time::sleep(time)
    }
}
