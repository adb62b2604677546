//! glommio: three rings, a plain call first and a poll if it would block.

use std::io;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixListener;
use std::time::Duration;

use futures_lite::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use glommio::net::UnixStream;
use glommio::{LocalExecutor, LocalExecutorBuilder, Placement};

use crate::coordination::{coordination, ended};
use crate::exec::{BATCH, Executor};
use crate::fairness::{self, Heart};
use crate::peers::SQ_ENTRIES;
use crate::server::{ServeOptions, echoed};
use crate::sys;

pub(crate) fn serve(listener: TcpListener, options: &ServeOptions) -> io::Result<()> {
    executor()?.run(accept(listener, options.buffer))
}

async fn accept(listener: TcpListener, buffer: usize) -> io::Result<()> {
    let listener: glommio::net::TcpListener = sys::adopt(listener.into());
    loop {
        let stream = listener.accept().await?;
        glommio::spawn_local(echo(stream, buffer)).detach();
    }
}

/// Its own listener only binds: this one is accepted from on its blocking thread, which sleeps
/// there.
pub(crate) fn serve_unix(listener: UnixListener, options: &ServeOptions) -> io::Result<()> {
    let buffer = options.buffer;
    executor()?.run(async move {
        loop {
            let listener = listener.try_clone()?;
            let accepting = glommio::executor().spawn_blocking(move || listener.accept());
            let (stream, _) = accepting.await?;
            let stream: UnixStream = sys::adopt(stream.into());
            glommio::spawn_local(echo(stream, buffer)).detach();
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
    executor()?.run(async move {
        let mut tasks = Vec::new();
        for socket in sockets {
            let socket: glommio::net::UdpSocket = sys::adopt(socket.into());
            tasks.push(glommio::spawn_local(echo_datagrams(socket, buffer)));
        }
        for task in tasks {
            task.await?;
        }
        Ok(())
    })
}

async fn echo_datagrams(socket: glommio::net::UdpSocket, buffer: usize) -> io::Result<()> {
    let mut buffer = vec![0; buffer];
    loop {
        let (length, from) = socket.recv_from(&mut buffer).await?;
        socket.send_to(&buffer[..length], from).await?;
        echoed();
    }
}

/// Its streams are for the copy of futures-lite, which has no other size.
pub(crate) fn serve_copy(a: TcpStream, b: TcpStream, options: &ServeOptions) -> io::Result<()> {
    let size = options.buffer;
    executor()?.run(async move {
        let a: glommio::net::TcpStream = sys::adopt(a.into());
        let b: glommio::net::TcpStream = sys::adopt(b.into());
        let (from_a, to_a) = futures_lite::io::split(a);
        let (from_b, to_b) = futures_lite::io::split(b);
        let there = glommio::spawn_local(pass_on(from_a, to_b, size));
        let back = glommio::spawn_local(pass_on(from_b, to_a, size));
        there.await.and(back.await)
    })
}

async fn pass_on(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    size: usize,
) -> io::Result<()> {
    if size == 0 {
        futures_lite::io::copy(from, &mut to).await?;
        return to.close().await;
    }
    let mut buffer = vec![0; size];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return to.close().await;
        }
        to.write_all(&buffer[..length]).await?;
    }
}

fn executor() -> io::Result<LocalExecutor> {
    let builder = LocalExecutorBuilder::new(Placement::Unbound);
    Ok(builder.ring_depth(SQ_ENTRIES as usize).make()?)
}

async fn yield_now() {
    glommio::executor().yield_now().await;
}

/// Its executor.
pub(crate) struct Glommio;

impl Executor for Glommio {
    fn block_on<F: Future>(future: F) -> io::Result<F::Output> {
        Ok(executor()?.run(future))
    }

    fn spawn_yields(times: u32) -> impl Future<Output = ()> {
        glommio::spawn_local(async move {
            for _ in 0..times {
                glommio::executor().yield_now().await;
            }
        })
    }

    fn spawn_joins(times: u32) -> impl Future<Output = ()> {
        glommio::spawn_local(async move {
            for _ in 0..times {
                let tasks: Vec<_> = (0..BATCH).map(|_| glommio::spawn_local(async {})).collect();
                for task in tasks {
                    task.await;
                }
            }
        })
    }

    fn spawn_sleep(time: Duration) -> impl Future<Output = ()> {
        glommio::spawn_local(glommio::timer::sleep(time))
    }

    coordination!(glommio::spawn_local, yield_now, glommio);

    fn spawn_ready() -> impl Future<Output = ()> {
        ended(glommio::spawn_local(fairness::ready(yield_now)))
    }

    fn spawn_heart(heart: Heart) -> impl Future<Output = ()> {
        ended(glommio::spawn_local(heart.beat(glommio::timer::sleep)))
    }

    fn accept(listener: TcpListener, buffer: usize) -> impl Future<Output = io::Result<()>> {
        accept(listener, buffer)
    }

    fn sleep(time: Duration) -> impl Future<Output = ()> {
        glommio::timer::sleep(time)
    }
}
