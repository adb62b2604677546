//! tokio-uring: one ring under tokio's reactor, one-shot receives into the task's buffer.

use std::io;
use std::net::{Shutdown, TcpListener, UdpSocket};
use std::os::unix::net::UnixListener;
use std::rc::Rc;
use std::time::Duration;

use tokio_uring::buf::BoundedBuf;
use tokio_uring::net::{TcpStream, UnixStream};

use crate::coordination::{coordination, ended};
use crate::exec::{BATCH, Executor};
use crate::fairness::{self, Heart};
use crate::peers::SQ_ENTRIES;
use crate::server::{ServeOptions, echoed};

pub(crate) fn serve(listener: TcpListener, options: &ServeOptions) -> io::Result<()> {
    builder().start(accept(listener, options.buffer))
}

async fn accept(listener: TcpListener, buffer: usize) -> io::Result<()> {
    let listener = tokio_uring::net::TcpListener::from_std(listener);
    loop {
        let (stream, _) = listener.accept().await?;
        tokio_uring::spawn(echo(stream, buffer));
    }
}

/// Its own listener only binds: this one is tokio's, under which it runs.
pub(crate) fn serve_unix(listener: UnixListener, options: &ServeOptions) -> io::Result<()> {
    let buffer = options.buffer;
    listener.set_nonblocking(true)?;
    builder().start(async move {
        let listener = tokio::net::UnixListener::from_std(listener)?;
        loop {
            let stream = listener.accept().await?.0.into_std()?;
            // Its ring would give up where it has to wait.
            stream.set_nonblocking(false)?;
            tokio_uring::spawn(echo_unix(UnixStream::from_std(stream), buffer));
        }
    })
}

/// There is no trait that both kinds of stream have.
macro_rules! echo {
    ($name:ident, $stream:ty) => {
        async fn $name(stream: $stream, buffer: usize) -> io::Result<()> {
            let mut buffer = vec![0; buffer];
            loop {
                let read;
                (read, buffer) = stream.read(buffer).await;
                let length = read?;
                if length == 0 {
                    return Ok(());
                }
                let (written, slice) = stream.write_all(buffer.slice(..length)).await;
                written?;
                buffer = slice.into_inner();
                echoed();
            }
        }
    };
}

echo!(echo, TcpStream);
echo!(echo_unix, UnixStream);

/// Echoes datagrams, each socket in a task.
pub(crate) fn serve_udp(sockets: Vec<UdpSocket>, options: &ServeOptions) -> io::Result<()> {
    let buffer = options.buffer;
    builder().start(async move {
        let mut tasks = Vec::new();
        for socket in sockets {
            let socket = tokio_uring::net::UdpSocket::from_std(socket);
            tasks.push(tokio_uring::spawn(echo_datagrams(socket, buffer)));
        }
        for task in tasks {
            task.await??;
        }
        Ok(())
    })
}

async fn echo_datagrams(socket: tokio_uring::net::UdpSocket, buffer: usize) -> io::Result<()> {
    let mut buffer = vec![0; buffer];
    loop {
        let received;
        (received, buffer) = socket.recv_from(buffer).await;
        let (length, from) = received?;
        let (sent, slice) = socket.send_to(buffer.slice(..length), from).await;
        sent?;
        buffer = slice.into_inner();
        echoed();
    }
}

/// It has no copy of its own: its examples read and write back.
pub(crate) fn serve_copy(
    a: std::net::TcpStream,
    b: std::net::TcpStream,
    options: &ServeOptions,
) -> io::Result<()> {
    // As long as other copies have them.
    let size = if options.buffer == 0 {
        8192
    } else {
        options.buffer
    };
    builder().start(async move {
        let a = Rc::new(TcpStream::from_std(a));
        let b = Rc::new(TcpStream::from_std(b));
        let there = tokio_uring::spawn(pass_on(Rc::clone(&a), Rc::clone(&b), size));
        let back = tokio_uring::spawn(pass_on(b, a, size));
        there.await?.and(back.await?)
    })
}

async fn pass_on(from: Rc<TcpStream>, to: Rc<TcpStream>, size: usize) -> io::Result<()> {
    let mut buffer = vec![0; size];
    loop {
        let read;
        (read, buffer) = from.read(buffer).await;
        let length = read?;
        if length == 0 {
            return to.shutdown(Shutdown::Write);
        }
        let (written, slice) = to.write_all(buffer.slice(..length)).await;
        written?;
        buffer = slice.into_inner();
    }
}

fn builder() -> tokio_uring::Builder {
    let mut ring = tokio_uring::uring_builder();
    // Off by default; without them every completion interrupts the thread.
    ring.setup_coop_taskrun().setup_single_issuer();
    let mut builder = tokio_uring::builder();
    builder.entries(SQ_ENTRIES).uring_builder(&ring);
    builder
}

/// Its executor, which is tokio's with another reactor.
pub(crate) struct TokioUring;

impl Executor for TokioUring {
    fn block_on<F: Future>(future: F) -> io::Result<F::Output> {
        Ok(builder().start(future))
    }

    fn spawn_yields(times: u32) -> impl Future<Output = ()> {
        let task = tokio_uring::spawn(async move {
            for _ in 0..times {
                tokio::task::yield_now().await;
            }
        });
        async { task.await.expect("it does not panic") }
    }

    fn spawn_joins(times: u32) -> impl Future<Output = ()> {
        let task = tokio_uring::spawn(async move {
            for _ in 0..times {
                let tasks: Vec<_> = (0..BATCH).map(|_| tokio_uring::spawn(async {})).collect();
                for task in tasks {
                    task.await.expect("it does not panic");
                }
            }
        });
        async { task.await.expect("it does not panic") }
    }

    fn spawn_sleep(time: Duration) -> impl Future<Output = ()> {
        let task = tokio_uring::spawn(tokio::time::sleep(time));
        async { task.await.expect("it does not panic") }
    }

    coordination!(tokio_uring::spawn, tokio::task::yield_now, tokio);

    fn spawn_ready() -> impl Future<Output = ()> {
        ended(tokio_uring::spawn(fairness::ready(tokio::task::yield_now)))
    }

    fn spawn_heart(heart: Heart) -> impl Future<Output = ()> {
        ended(tokio_uring::spawn(heart.beat(tokio::time::sleep)))
    }

    fn accept(listener: TcpListener, buffer: usize) -> impl Future<Output = io::Result<()>> {
        accept(listener, buffer)
    }

    fn sleep(time: Duration) -> impl Future<Output = ()> {
        tokio::time::sleep(time)
    }
}
