//! corering, in the two forms that a stream can be read: what the kernel filled as it is, or into
//! a buffer of the task's own.

use std::io;
use std::net::{Shutdown, TcpListener};
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::rc::Rc;
use std::time::Duration;

use corering::cores::{self, Core};
use corering::io::copy_bidirectional;
use corering::net::{Control, TcpStream, UdpSocket, UnixStream, splice_bidirectional};
use corering::runtime::{Builder, Spin};
use corering::{Cores, Runtime};

use crate::coordination::{coordination, ended};
use crate::cross;
use crate::exec::{BATCH, Executor};
use crate::fairness::{self, Heart};
use crate::server::{ServeOptions, as_others, echoed};

pub(crate) fn serve_recv(listener: TcpListener, options: &ServeOptions) -> io::Result<()> {
    serve(listener, options, |stream, _| echo_leases(stream))
}

pub(crate) fn serve_read(listener: TcpListener, options: &ServeOptions) -> io::Result<()> {
    serve(listener, options, echo_buffer)
}

pub(crate) fn serve_unix_recv(listener: UnixListener, options: &ServeOptions) -> io::Result<()> {
    serve_unix(listener, options, |stream, _| echo_unix_leases(stream))
}

pub(crate) fn serve_unix_read(listener: UnixListener, options: &ServeOptions) -> io::Result<()> {
    serve_unix(listener, options, echo_unix_buffer)
}

fn serve<F: Future<Output = io::Result<()>> + 'static>(
    listener: TcpListener,
    options: &ServeOptions,
    echo: impl Fn(TcpStream, usize) -> F,
) -> io::Result<()> {
    runtime(options)?.block_on(accept(listener, options.buffer, echo))
}

async fn accept<F: Future<Output = io::Result<()>> + 'static>(
    listener: TcpListener,
    buffer: usize,
    echo: impl Fn(TcpStream, usize) -> F,
) -> io::Result<()> {
    let listener = corering::net::TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        corering::spawn(echo(stream, buffer));
    }
}

fn serve_unix<F: Future<Output = io::Result<()>> + 'static>(
    listener: UnixListener,
    options: &ServeOptions,
    echo: impl Fn(UnixStream, usize) -> F + 'static,
) -> io::Result<()> {
    let buffer = options.buffer;
    runtime(options)?.block_on(async move {
        let listener = corering::net::UnixListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            corering::spawn(echo(stream, buffer));
        }
    })
}

fn runtime(options: &ServeOptions) -> io::Result<Runtime> {
    let builder = Builder::new();
    if options.no_spin {
        return builder.spin(Spin::Never).build();
    }
    builder.build()
}

/// Written down for each kind of stream, as a program would have it.
macro_rules! echo {
    ($leases:ident, $buffer:ident, $stream:ty) => {
        async fn $leases(stream: $stream) -> io::Result<()> {
            while let Some(lease) = stream.recv().await? {
                stream.write_all(lease).await.0?;
                echoed();
            }
            Ok(())
        }

        async fn $buffer(stream: $stream, buffer: usize) -> io::Result<()> {
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
    };
}

echo!(echo_leases, echo_buffer, TcpStream);
echo!(echo_unix_leases, echo_unix_buffer, UnixStream);

pub(crate) fn serve_udp_recv(
    sockets: Vec<std::net::UdpSocket>,
    options: &ServeOptions,
) -> io::Result<()> {
    serve_udp(sockets, options, |socket, _| echo_datagrams(socket))
}

pub(crate) fn serve_udp_read(
    sockets: Vec<std::net::UdpSocket>,
    options: &ServeOptions,
) -> io::Result<()> {
    serve_udp(sockets, options, echo_into_buffer)
}

pub(crate) fn serve_udp_trains(
    sockets: Vec<std::net::UdpSocket>,
    options: &ServeOptions,
) -> io::Result<()> {
    serve_udp(sockets, options, |socket, _| echo_trains(socket))
}

fn serve_udp<F: Future<Output = io::Result<()>> + 'static>(
    sockets: Vec<std::net::UdpSocket>,
    options: &ServeOptions,
    echo: impl Fn(UdpSocket, usize) -> F,
) -> io::Result<()> {
    let buffer = options.buffer;
    runtime(options)?.block_on(async move {
        let mut tasks = Vec::new();
        for socket in sockets {
            let socket = UdpSocket::from_std(socket)?;
            tasks.push(corering::spawn(echo(socket, buffer)));
        }
        for task in tasks {
            task.await.expect("it does not panic")?;
        }
        Ok(())
    })
}

async fn echo_datagrams(socket: UdpSocket) -> io::Result<()> {
    loop {
        let datagram = socket.recv().await?;
        if let Err((_, payload)) = socket.try_send_to(datagram.payload, datagram.from) {
            socket.send_to(payload, datagram.from).await.0?;
        }
        echoed();
    }
}

async fn echo_into_buffer(socket: UdpSocket, buffer: usize) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(buffer);
    loop {
        let received;
        (received, buffer) = socket.recv_from(buffer).await;
        let from = received?.from;
        let sent;
        (sent, buffer) = socket.send_to(buffer, from).await;
        sent?;
        echoed();
    }
}

async fn echo_trains(socket: UdpSocket) -> io::Result<()> {
    socket.set_gro(true)?;
    loop {
        let train = socket.recv().await?;
        let mut control = Control::new();
        if let Some(bytes) = train.control.segment_size() {
            control.set_segment_size(bytes);
        }
        let to = Some(train.from);
        socket.send_msg(train.payload, to, control).await.0?;
        echoed();
    }
}

/// What it receives goes on as it is: there is no buffer that could have a size.
pub(crate) fn serve_copy_recv(
    a: std::net::TcpStream,
    b: std::net::TcpStream,
    options: &ServeOptions,
) -> io::Result<()> {
    runtime(options)?.block_on(async move {
        let a = TcpStream::from_std(a)?;
        let b = TcpStream::from_std(b)?;
        let task = corering::spawn(async move { copy_bidirectional(&a, &b).await });
        task.await.expect("it does not panic").map(drop)
    })
}

pub(crate) fn serve_proxy(listener: TcpListener, options: &ServeOptions) -> io::Result<()> {
    serve_passing(listener, options, async |a, b| {
        copy_bidirectional(a, b).await
    })
}

pub(crate) fn serve_splice(listener: TcpListener, options: &ServeOptions) -> io::Result<()> {
    serve_passing(listener, options, async |a, b| {
        splice_bidirectional(a, b).await
    })
}

fn serve_passing(
    listener: TcpListener,
    options: &ServeOptions,
    pass: impl AsyncFn(&TcpStream, &TcpStream) -> io::Result<(u64, u64)> + Copy + 'static,
) -> io::Result<()> {
    let upstream = options.upstream.expect("a proxy is told of it");
    runtime(options)?.block_on(async move {
        let listener = corering::net::TcpListener::from_std(listener)?;
        loop {
            let (near, _) = listener.accept().await?;
            let far = TcpStream::connect(upstream).await?;
            as_others(&far.as_fd())?;
            corering::spawn(async move { pass(&near, &far).await });
        }
    })
}

/// By buffers of tasks of its own, one for each direction.
pub(crate) fn serve_copy_read(
    a: std::net::TcpStream,
    b: std::net::TcpStream,
    options: &ServeOptions,
) -> io::Result<()> {
    let size = options.buffer;
    runtime(options)?.block_on(async move {
        let a = Rc::new(TcpStream::from_std(a)?);
        let b = Rc::new(TcpStream::from_std(b)?);
        let there = corering::spawn(pass_buffer_on(Rc::clone(&a), Rc::clone(&b), size));
        let back = corering::spawn(pass_buffer_on(b, a, size));
        let there = there.await.expect("it does not panic");
        there.and(back.await.expect("nor does it"))
    })
}

async fn pass_buffer_on(from: Rc<TcpStream>, to: Rc<TcpStream>, size: usize) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(if size == 0 { 8192 } else { size });
    loop {
        let read;
        (read, buffer) = from.read(buffer).await;
        if read? == 0 {
            return to.shutdown(Shutdown::Write).await;
        }
        let written;
        (written, buffer) = to.write_all(buffer).await;
        written?;
    }
}

/// Its executor.
pub(crate) struct Corering;

impl Executor for Corering {
    fn block_on<F: Future>(future: F) -> io::Result<F::Output> {
        Ok(Runtime::new()?.block_on(future))
    }

    fn spawn_yields(times: u32) -> impl Future<Output = ()> {
        let task = corering::spawn(async move {
            for _ in 0..times {
                corering::task::yield_now().await;
            }
        });
        async { task.await.expect("it does not panic") }
    }

    fn spawn_joins(times: u32) -> impl Future<Output = ()> {
        let task = corering::spawn(async move {
            for _ in 0..times {
                let tasks: Vec<_> = (0..BATCH).map(|_| corering::spawn(async {})).collect();
                for task in tasks {
                    task.await.expect("it does not panic");
                }
            }
        });
        async { task.await.expect("it does not panic") }
    }

    fn spawn_sleep(time: Duration) -> impl Future<Output = ()> {
        let task = corering::spawn(corering::time::sleep(time));
        async { task.await.expect("it does not panic") }
    }

    coordination!(corering::spawn, corering::task::yield_now, own);

    fn spawn_ready() -> impl Future<Output = ()> {
        ended(corering::spawn(fairness::ready(corering::task::yield_now)))
    }

    fn spawn_heart(heart: Heart) -> impl Future<Output = ()> {
        ended(corering::spawn(heart.beat(corering::time::sleep)))
    }

    fn accept(listener: TcpListener, buffer: usize) -> impl Future<Output = io::Result<()>> {
        accept(listener, buffer, |stream, _| echo_leases(stream))
    }

    fn sleep(time: Duration) -> impl Future<Output = ()> {
        corering::time::sleep(time)
    }

    fn cross(row: &str) -> io::Result<f64> {
        let row = row.to_owned();
        let cores = Cores::on(cross::CPUS)?;
        let running = cores.start(move |core| measure_cross(core, row.clone()))?;
        // The other core's main ends with the stop, and has nothing to say.
        let ended = running.join().swap_remove(0);
        ended.output.map_err(io::Error::other)?
    }
}

/// What each of the two cores does for a row of `cross`.
async fn measure_cross(core: Core, row: String) -> io::Result<f64> {
    let _ready = (row == "cross_busy").then(Corering::spawn_ready);
    if core.index() != 0 {
        core.stopping().await;
        return Ok(0.0);
    }
    let measured = match row.as_str() {
        "cross_ping" | "cross_parked" | "cross_busy" => {
            let (mut there, mut arrives) = cores::channel(1);
            let (mut back, mut returns) = cores::channel(1);
            let echo = core.spawn_on(1, move || async move {
                while let Some(value) = arrives.recv().await {
                    if back.send(value).await.is_err() {
                        break;
                    }
                }
            });
            let trip = async |value: u64| {
                there.send(value).await.expect("it is received");
                assert_eq!(returns.recv().await, Some(value));
            };
            let measured = match row.as_str() {
                "cross_parked" => cross::parked(trip, corering::time::sleep).await,
                _ => cross::many(trip).await,
            };
            drop(there);
            echo.await.map_err(io::Error::other)?;
            measured
        }
        _ => {
            let trip = async |value: u64| {
                let sent = core.spawn_on(1, move || async move { value });
                assert_eq!(sent.await.ok(), Some(value));
            };
            match row.as_str() {
                "spawn_on_spinning" => cross::many(trip).await,
                _ => cross::parked(trip, corering::time::sleep).await,
            }
        }
    };
    core.stop();
    Ok(measured)
}
