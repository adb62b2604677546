//! A server under test: this program again, in a process of its own on its own CPU.
//!
//! The listening socket is made here and handed down as the child's standard input, so that it
//! has the same options for every column, and the load can connect before the child is up.
//! Accepted sockets inherit TCP_NODELAY and the congestion control from it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};
use tempfile::TempDir;

use crate::columns::Column;
use crate::load::CONGESTION;
use crate::sys::{self, CpuClock};

const BACKLOG: i32 = 4096;

/// What a server does.
#[derive(Clone, Copy, Debug, Default, PartialEq, ValueEnum)]
pub(crate) enum Service {
    /// Echoes on TCP connections
    #[default]
    Echo,
    /// Echoes on connections of a Unix socket
    Unix,
    /// Echoes datagrams
    Udp,
    /// The same, where the kernel hands over trains of them
    UdpTrains,
    /// Passes on what comes on either of two connections to the other
    Copy,
    /// Passes what comes on a TCP connection on to another server, and back
    Proxy,
    /// Answers GET and SET of the Redis protocol from a table: for benches/kv.sh
    Store,
    /// Echoes on TCP connections beside tasks that are always ready, and says how late a heartbeat
    /// is
    Fairness,
}

impl Service {
    fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Unix => "unix",
            Self::Udp => "udp",
            Self::UdpTrains => "udp-trains",
            Self::Copy => "copy",
            Self::Proxy => "proxy",
            Self::Store => "store",
            Self::Fairness => "fairness",
        }
    }
}

/// What a server is told.
#[derive(Args, Clone, Debug)]
pub(crate) struct ServeOptions {
    /// What it does
    #[arg(long, value_enum, default_value_t)]
    pub(crate) service: Service,
    /// Open descriptors of the sockets that it works on, where it does not listen
    #[arg(long, value_delimiter = ',')]
    pub(crate) sockets: Vec<RawFd>,
    /// Bytes of the buffer that a connection reads into, where the column has one; of copy: 0 for
    /// what is the column's default
    #[arg(long, default_value_t = 4096)]
    pub(crate) buffer: usize,
    /// The server behind a proxy
    #[arg(long)]
    pub(crate) upstream: Option<SocketAddr>,
    /// Run on the CPU of the load
    #[arg(long)]
    pub(crate) beside_load: bool,
    /// Sleep as soon as there is nothing to do, even if the column's default is to spin first
    #[arg(long)]
    pub(crate) no_spin: bool,
    /// Heartbeats of fairness
    #[arg(long, default_value_t = 0)]
    pub(crate) beats: u32,
    /// Exit after this many echoes
    #[arg(long)]
    pub(crate) exit_after: Option<u64>,
    /// Run under SCHED_FIFO
    #[arg(long)]
    pub(crate) real_time: bool,
}

impl ServeOptions {
    /// For messages of this many bytes: a read takes a whole one.
    pub(crate) fn for_messages(bytes: usize, real_time: bool) -> Self {
        Self {
            service: Service::Echo,
            sockets: Vec::new(),
            buffer: bytes.max(4096),
            upstream: None,
            beside_load: false,
            no_spin: false,
            beats: 0,
            exit_after: None,
            real_time,
        }
    }

    fn arguments(&self) -> Vec<String> {
        let mut list = vec!["--buffer".into(), self.buffer.to_string()];
        // Not said where it is the default: so a build that knows no other can be measured too.
        if self.service != Service::default() {
            list.extend(["--service".into(), self.service.name().into()]);
        }
        if !self.sockets.is_empty() {
            let numbers: Vec<_> = self.sockets.iter().map(RawFd::to_string).collect();
            list.extend(["--sockets".into(), numbers.join(",")]);
        }
        if let Some(address) = self.upstream {
            list.extend(["--upstream".into(), address.to_string()]);
        }
        if self.beside_load {
            list.push("--beside-load".into());
        }
        if self.no_spin {
            list.push("--no-spin".into());
        }
        if self.beats > 0 {
            list.extend(["--beats".into(), self.beats.to_string()]);
        }
        if let Some(echoes) = self.exit_after {
            list.extend(["--exit-after".into(), echoes.to_string()]);
        }
        if self.real_time {
            list.push("--real-time".into());
        }
        list
    }
}

/// A running server; killed when dropped.
pub(crate) struct Server {
    child: Child,
    clock: CpuClock,
}

/// A server that listens.
pub(crate) struct Listening {
    pub(crate) server: Server,
    pub(crate) address: SockAddr,
    /// Where a Unix socket has its name; removed with it.
    _folder: Option<TempDir>,
}

impl Listening {
    pub(crate) fn start(column: &Column, options: &ServeOptions) -> io::Result<Self> {
        Self::start_under(&[], column, options)
    }

    /// Starts it as the argument of another program.
    pub(crate) fn start_under(
        wrapper: &[String],
        column: &Column,
        options: &ServeOptions,
    ) -> io::Result<Self> {
        let (socket, folder) = match options.service {
            Service::Unix => {
                let (socket, folder) = listen_unix()?;
                (socket, Some(folder))
            }
            _ => (listen_tcp()?, None),
        };
        let address = socket.local_addr()?;
        Ok(Self {
            server: Server::start(wrapper, column, options, OwnedFd::from(socket).into())?,
            address,
            _folder: folder,
        })
    }
}

impl Server {
    /// Starts one that works on sockets which are open already.
    pub(crate) fn start_on(
        column: &Column,
        options: &ServeOptions,
        sockets: Vec<OwnedFd>,
    ) -> io::Result<Self> {
        for socket in &sockets {
            // They are closed here as soon as the child has them, and it starts no other.
            SockRef::from(socket).set_cloexec(false)?;
        }
        let options = ServeOptions {
            sockets: sockets.iter().map(AsRawFd::as_raw_fd).collect(),
            ..options.clone()
        };
        Self::start(&[], column, &options, Stdio::null())
    }

    fn start(
        wrapper: &[String],
        column: &Column,
        options: &ServeOptions,
        input: Stdio,
    ) -> io::Result<Self> {
        let (own, name) = column.program()?;
        let mut command = match wrapper {
            [] => Command::new(own),
            [program, arguments @ ..] => {
                let mut command = Command::new(program);
                command.args(arguments).arg(own);
                command
            }
        };
        command.args(["serve", name]).args(options.arguments());
        if options.service == Service::Fairness {
            command.stdout(Stdio::piped());
        }
        let child = command.stdin(input).spawn()?;
        let clock = CpuClock::of(child.id())?;
        Ok(Self { child, clock })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// CPU time of the process so far.
    pub(crate) fn cpu_ns(&self) -> io::Result<u64> {
        self.clock.now_ns()
    }

    /// What it says, if it is one that says something.
    pub(crate) fn output(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Whether it has ended by itself, and well, before `patience` has.
    pub(crate) fn has_ended(&mut self, patience: Duration) -> io::Result<bool> {
        let since = Instant::now();
        while since.elapsed() < patience {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status.success());
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(false)
    }

    pub(crate) fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Errors mean that it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn listen_tcp() -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_congestion(CONGESTION)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

fn listen_unix() -> io::Result<(Socket, TempDir)> {
    let folder = tempfile::tempdir()?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(folder.path().join("echo"))?)?;
    socket.listen(BACKLOG)?;
    Ok((socket, folder))
}

static ECHOES_LEFT: AtomicU64 = AtomicU64::new(u64::MAX);

/// Called by every column after every echo; ends the process after the last that was asked for.
#[inline]
pub(crate) fn echoed() {
    // Two plain moves and a compare: one thread echoes, so nothing needs a locked instruction,
    // which would cost what is measured here.
    let left = ECHOES_LEFT.load(Ordering::Relaxed) - 1;
    ECHOES_LEFT.store(left, Ordering::Relaxed);
    if left == 0 {
        exit();
    }
}

/// Echoes so far, where no number of them was asked for.
pub(crate) fn echoes() -> u64 {
    u64::MAX - ECHOES_LEFT.load(Ordering::Relaxed)
}

#[cold]
fn exit() -> ! {
    std::process::exit(0)
}

/// The child's side: serves until it is killed.
///
/// # Errors
///
/// Whatever the column cannot go on from.
pub(crate) fn serve(column: &Column, options: &ServeOptions) -> io::Result<()> {
    sys::die_with_parent()?;
    sys::pin(match options.beside_load {
        true => sys::LOAD_CPU,
        false => sys::SERVER_CPU,
    })?;
    // A heartbeat takes care of that itself.
    if options.real_time && options.service != Service::Fairness {
        sys::real_time()?;
    }
    if let Some(echoes) = options.exit_after {
        ECHOES_LEFT.store(echoes, Ordering::Relaxed);
    }
    let unable = || io::Error::from(io::ErrorKind::Unsupported);
    match options.service {
        Service::Echo => (column.serve)(sys::inherited_socket()?.into(), options),
        Service::Unix => {
            let serve = column.unix.ok_or_else(unable)?;
            serve(sys::inherited_socket()?.into(), options)
        }
        Service::Udp => (column.udp.ok_or_else(unable)?)(handed_down(options), options),
        Service::UdpTrains => {
            (column.udp_trains.ok_or_else(unable)?)(handed_down(options), options)
        }
        Service::Copy => {
            let [a, b] = handed_down(options).try_into().map_err(|_| unable())?;
            (column.copy.ok_or_else(unable)?)(a, b, options)
        }
        Service::Proxy => {
            let serve = column.proxy.ok_or_else(unable)?;
            serve(sys::inherited_socket()?.into(), options)
        }
        Service::Store => {
            let serve = column.store.ok_or_else(unable)?;
            serve(sys::inherited_socket()?.into(), options)
        }
        Service::Fairness => {
            let serve = column.fairness.ok_or_else(unable)?;
            serve(sys::inherited_socket()?.into(), options)
        }
    }
}

/// What every proxy sets on its connection to the other server.
pub(crate) fn as_others<'s>(socket: impl Into<SockRef<'s>>) -> io::Result<()> {
    let socket = socket.into();
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_congestion(CONGESTION)
}

fn handed_down<T: From<OwnedFd>>(options: &ServeOptions) -> Vec<T> {
    let sockets = options.sockets.iter().copied();
    sockets
        .map(|number| sys::handed_down(number).into())
        .collect()
}
