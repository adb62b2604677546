//! A server under test: this program again, in a process of its own on its own CPU.
//!
//! The listening socket is made here and handed down as the child's standard input, so that it
//! has the same options for every column, and the load can connect before the child is up.
//! Accepted sockets inherit TCP_NODELAY and the congestion control from it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicU64, Ordering};

use clap::Args;
use socket2::{Domain, Protocol, Socket, Type};

use crate::columns::Column;
use crate::load::CONGESTION;
use crate::sys::{self, CpuClock};

const BACKLOG: i32 = 4096;

/// What a server is told.
#[derive(Args, Clone, Debug)]
pub(crate) struct ServeOptions {
    /// Bytes of the buffer that a connection reads into, where the column has one
    #[arg(long, default_value_t = 4096)]
    pub(crate) buffer: usize,
    /// Sleep as soon as there is nothing to do, even if the column's default is to spin first
    #[arg(long)]
    pub(crate) no_spin: bool,
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
            buffer: bytes.max(4096),
            no_spin: false,
            exit_after: None,
            real_time,
        }
    }

    fn arguments(&self) -> Vec<String> {
        let mut list = vec!["--buffer".into(), self.buffer.to_string()];
        if self.no_spin {
            list.push("--no-spin".into());
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
    address: SocketAddr,
    clock: CpuClock,
}

impl Server {
    pub(crate) fn start(column: &Column, options: &ServeOptions) -> io::Result<Self> {
        Self::start_under(&[], column, options)
    }

    /// Starts it as the argument of another program.
    pub(crate) fn start_under(
        wrapper: &[String],
        column: &Column,
        options: &ServeOptions,
    ) -> io::Result<Self> {
        let (listener, address) = listen()?;
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
        let child = command.stdin(OwnedFd::from(listener)).spawn()?;
        let clock = CpuClock::of(child.id())?;
        Ok(Self {
            child,
            address,
            clock,
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// CPU time of the process so far.
    pub(crate) fn cpu_ns(&self) -> io::Result<u64> {
        self.clock.now_ns()
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

fn listen() -> io::Result<(TcpListener, SocketAddr)> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_congestion(CONGESTION)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    socket.listen(BACKLOG)?;
    let listener = TcpListener::from(socket);
    let address = listener.local_addr()?;
    Ok((listener, address))
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
    sys::pin(sys::SERVER_CPU)?;
    if options.real_time {
        sys::real_time()?;
    }
    if let Some(echoes) = options.exit_after {
        ECHOES_LEFT.store(echoes, Ordering::Relaxed);
    }
    (column.serve)(sys::inherited_listener()?, options)
}
