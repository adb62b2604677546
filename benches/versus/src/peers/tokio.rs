//! tokio: one thread, epoll.

use std::io;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixListener;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::runtime::{Builder, Runtime};

use crate::coordination::{coordination, ended};
use crate::exec::{BATCH, Executor};
use crate::fairness::{self, Heart};
use crate::server::{ServeOptions, as_others, echoed};

pub(crate) fn serve(listener: TcpListener, options: &ServeOptions) -> io::Result<()> {
    runtime()?.block_on(accept(listener, options.buffer))
}

async fn accept(listener: TcpListener, buffer: usize) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(echo(stream, buffer));
    }
}

pub(crate) fn serve_unix(listener: UnixListener, options: &ServeOptions) -> io::Result<()> {
    let buffer = options.buffer;
    listener.set_nonblocking(true)?;
    runtime()?.block_on(async move {
        let listener = tokio::net::UnixListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(echo(stream, buffer));
        }
    })
}

async fn echo(mut stream: impl AsyncRead + AsyncWrite + Unpin, buffer: usize) -> io::Result<()> {
    let mut buffer = vec![0; buffer];
    loop {
        let length = stream.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..length]).await?;
        echoed();
    }
}

/// Echoes datagrams, each socket in a task.
pub(crate) fn serve_udp(sockets: Vec<UdpSocket>, options: &ServeOptions) -> io::Result<()> {
    let buffer = options.buffer;
    runtime()?.block_on(async move {
        let mut tasks = Vec::new();
        for socket in sockets {
            socket.set_nonblocking(true)?;
            let socket = tokio::net::UdpSocket::from_std(socket)?;
            tasks.push(tokio::spawn(echo_datagrams(socket, buffer)));
        }
        for task in tasks {
            task.await??;
        }
        Ok(())
    })
}

async fn echo_datagrams(socket: tokio::net::UdpSocket, buffer: usize) -> io::Result<()> {
    let mut buffer = vec![0; buffer];
    loop {
        let (length, from) = socket.recv_from(&mut buffer).await?;
        socket.send_to(&buffer[..length], from).await?;
        echoed();
    }
}

pub(crate) fn serve_copy(a: TcpStream, b: TcpStream, options: &ServeOptions) -> io::Result<()> {
    let size = options.buffer;
    runtime()?.block_on(async move {
        let task = tokio::spawn(async move {
            a.set_nonblocking(true)?;
            b.set_nonblocking(true)?;
            let mut a = tokio::net::TcpStream::from_std(a)?;
            let mut b = tokio::net::TcpStream::from_std(b)?;
            let copied = if size == 0 {
                tokio::io::copy_bidirectional(&mut a, &mut b).await
            } else {
                tokio::io::copy_bidirectional_with_sizes(&mut a, &mut b, size, size).await
            };
            copied.map(drop)
        });
        task.await?
    })
}

/// With the buffers that its copy has by itself.
pub(crate) fn serve_proxy(listener: TcpListener, options: &ServeOptions) -> io::Result<()> {
    let upstream = options.upstream.expect("a proxy is told of it");
    listener.set_nonblocking(true)?;
    runtime()?.block_on(async move {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        loop {
            let (mut near, _) = listener.accept().await?;
            let mut far = tokio::net::TcpStream::connect(upstream).await?;
            as_others(&far)?;
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut near, &mut far).await });
        }
    })
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// Its executor.
pub(crate) struct Tokio;

impl Executor for Tokio {
    fn block_on<F: Future>(future: F) -> io::Result<F::Output> {
        Ok(runtime()?.block_on(future))
    }

    fn spawn_yields(times: u32) -> impl Future<Output = ()> {
        let task = tokio::spawn(async move {
            for _ in 0..times {
                tokio::task::yield_now().await;
            }
        });
        async { task.await.expect("it does not panic") }
    }

    fn spawn_joins(times: u32) -> impl Future<Output = ()> {
        let task = tokio::spawn(async move {
            for _ in 0..times {
                let tasks: Vec<_> = (0..BATCH).map(|_| tokio::spawn(async {})).collect();
                for task in tasks {
                    task.await.expect("it does not panic");
                }
            }
        });
        async { task.await.expect("it does not panic") }
    }

    fn spawn_sleep(time: Duration) -> impl Future<Output = ()> {
        let task = tokio::spawn(tokio::time::sleep(time));
        async { task.await.expect("it does not panic") }
    }

    coordination!(tokio::spawn, tokio::task::yield_now, tokio);

    fn spawn_ready() -> impl Future<Output = ()> {
        ended(tokio::spawn(fairness::ready(tokio::task::yield_now)))
    }

    fn spawn_heart(heart: Heart) -> impl Future<Output = ()> {
        ended(tokio::spawn(heart.beat(tokio::time::sleep)))
    }

    fn accept(listener: TcpListener, buffer: usize) -> impl Future<Output = io::Result<()>> {
        accept(listener, buffer)
    }

    fn sleep(time: Duration) -> impl Future<Output = ()> {
        tokio::time::sleep(time)
    }
}
