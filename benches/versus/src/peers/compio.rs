//! compio: one ring, one-shot receives into the task's buffer.

use std::io;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixListener;
use std::time::Duration;

use compio::BufResult;
use compio::driver::ProactorBuilder;
use compio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use compio::runtime::{JoinHandle, Runtime, RuntimeBuilder};

use crate::coordination::{coordination, ended};
use crate::exec::{self, BATCH, Executor};
use crate::fairness::{self, Heart};
use crate::peers::SQ_ENTRIES;
use crate::server::{ServeOptions, echoed};

pub(crate) fn serve(listener: TcpListener, options: &ServeOptions) -> io::Result<()> {
    runtime()?.block_on(accept(listener, options.buffer))
}

async fn accept(listener: TcpListener, buffer: usize) -> io::Result<()> {
    let listener = compio::net::TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        compio::runtime::spawn(echo(stream, buffer)).detach();
    }
}

pub(crate) fn serve_unix(listener: UnixListener, options: &ServeOptions) -> io::Result<()> {
    let buffer = options.buffer;
    runtime()?.block_on(async move {
        let listener = compio::net::UnixListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            compio::runtime::spawn(echo(stream, buffer)).detach();
        }
    })
}

async fn echo(mut stream: impl AsyncRead + AsyncWrite, buffer: usize) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(buffer);
    loop {
        // It would stay as long as the longest read so far, and be written back that long.
        buffer.clear();
        let read;
        BufResult(read, buffer) = stream.read(buffer).await;
        if read? == 0 {
            return Ok(());
        }
        let written;
        BufResult(written, buffer) = stream.write_all(buffer).await;
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
            let socket = compio::net::UdpSocket::from_std(socket)?;
            tasks.push(compio::runtime::spawn(echo_datagrams(socket, buffer)));
        }
        for task in tasks {
            task.await.expect("it does not panic")?;
        }
        Ok(())
    })
}

async fn echo_datagrams(socket: compio::net::UdpSocket, buffer: usize) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(buffer);
    loop {
        // As for streams.
        buffer.clear();
        let received;
        BufResult(received, buffer) = socket.recv_from(buffer).await;
        let (_, from) = received?;
        let sent;
        BufResult(sent, buffer) = socket.send_to(buffer, from).await;
        sent?;
        echoed();
    }
}

pub(crate) fn serve_copy(a: TcpStream, b: TcpStream, options: &ServeOptions) -> io::Result<()> {
    let size = options.buffer;
    runtime()?.block_on(async move {
        let task = compio::runtime::spawn(async move {
            let a = compio::net::TcpStream::from_std(a)?;
            let b = compio::net::TcpStream::from_std(b)?;
            let (there, back) = if size == 0 {
                compio::io::util::copy_bidirectional(a, b).await
            } else {
                compio::io::util::copy_bidirectional_with_sizes(a, b, size, size).await
            };
            there.and(back).map(drop)
        });
        task.await.expect("it does not panic")
    })
}

fn runtime() -> io::Result<Runtime> {
    let mut ring = ProactorBuilder::new();
    // Off by default; without them every completion interrupts the thread.
    ring.capacity(SQ_ENTRIES)
        .coop_taskrun(true)
        .taskrun_flag(true)
        .single_issuer(true);
    RuntimeBuilder::new().with_proactor(ring).build()
}

/// Its executor.
pub(crate) struct Compio;

async fn joined(task: JoinHandle<()>) {
    task.await.expect("it does not panic");
}

impl Executor for Compio {
    fn block_on<F: Future>(future: F) -> io::Result<F::Output> {
        Ok(runtime()?.block_on(future))
    }

    fn spawn_yields(times: u32) -> impl Future<Output = ()> {
        joined(compio::runtime::spawn(async move {
            for _ in 0..times {
                exec::yield_now().await;
            }
        }))
    }

    fn spawn_joins(times: u32) -> impl Future<Output = ()> {
        joined(compio::runtime::spawn(async move {
            for _ in 0..times {
                let tasks: Vec<_> = (0..BATCH)
                    .map(|_| compio::runtime::spawn(async {}))
                    .collect();
                for task in tasks {
                    joined(task).await;
                }
            }
        }))
    }

    fn spawn_sleep(time: Duration) -> impl Future<Output = ()> {
        joined(compio::runtime::spawn(compio::time::sleep(time)))
    }

    coordination!(compio::runtime::spawn, exec::yield_now, compio);

    fn spawn_ready() -> impl Future<Output = ()> {
        ended(compio::runtime::spawn(fairness::ready(exec::yield_now)))
    }

    fn spawn_heart(heart: Heart) -> impl Future<Output = ()> {
        ended(compio::runtime::spawn(heart.beat(compio::time::sleep)))
    }

    fn accept(listener: TcpListener, buffer: usize) -> impl Future<Output = io::Result<()>> {
        accept(listener, buffer)
    }

    fn sleep(time: Duration) -> impl Future<Output = ()> {
        compio::time::sleep(time)
    }
}
