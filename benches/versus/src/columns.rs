//! The columns: which there are, and what each can do.

use std::fmt;
use std::io;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::OnceLock;

use crate::corering;
use crate::exec::{self, Executor};
use crate::fairness;
use crate::peers::{compio, glommio, monoio, tokio, tokio_uring};
use crate::raw;
use crate::server::ServeOptions;

type ServeTcp = fn(TcpListener, &ServeOptions) -> io::Result<()>;
type ServeUdp = fn(Vec<UdpSocket>, &ServeOptions) -> io::Result<()>;
type ServeCopy = fn(TcpStream, TcpStream, &ServeOptions) -> io::Result<()>;
type ServeUnix = fn(UnixListener, &ServeOptions) -> io::Result<()>;

/// What a column is to the others.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Role {
    /// This project.
    Own,
    /// What the machine can do.
    Limit,
    /// Another runtime.
    Peer,
}

/// One column.
pub(crate) struct Column {
    pub(crate) name: &'static str,
    pub(crate) package: &'static str,
    pub(crate) role: Role,
    /// Whether a run without `--columns` has it.
    pub(crate) by_default: bool,
    /// Echoes what comes until the process is killed.
    pub(crate) serve: ServeTcp,
    /// The same on a Unix socket.
    pub(crate) unix: Option<ServeUnix>,
    /// Echoes datagrams.
    pub(crate) udp: Option<ServeUdp>,
    /// The same with GSO and GRO.
    pub(crate) udp_trains: Option<ServeUdp>,
    /// Copies between two streams in both directions, until both have ended.
    pub(crate) copy: Option<ServeCopy>,
    /// Passes connections on to another server.
    pub(crate) proxy: Option<ServeTcp>,
    /// A table behind GET and SET of the Redis protocol.
    pub(crate) store: Option<ServeTcp>,
    /// Echoes on TCP beside ready tasks and a heartbeat; `None` where `exec` is.
    pub(crate) fairness: Option<ServeTcp>,
    /// Measures a row of `exec`; `None` of a column without tasks, or with another's.
    pub(crate) exec: Option<fn(&str) -> io::Result<f64>>,
    /// The column that it is in the program of `--before`, if that is what it measures.
    before: Option<&'static str>,
}

/// Another build of this program, whose columns are measured beside those of this one.
static BEFORE: OnceLock<PathBuf> = OnceLock::new();

/// Has the columns `before-…` measured by `program`.
pub(crate) fn set_before(program: PathBuf) {
    BEFORE.get_or_init(|| program);
}

impl fmt::Debug for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Column {
    const fn new(name: &'static str, role: Role, serve: ServeTcp) -> Self {
        Self {
            name,
            package: name,
            role,
            by_default: true,
            serve,
            unix: None,
            udp: None,
            udp_trains: None,
            copy: None,
            proxy: None,
            store: None,
            fairness: None,
            exec: None,
            before: None,
        }
    }

    const fn before(mut self, name: &'static str) -> Self {
        self.before = Some(name);
        self.on_demand()
    }

    /// The program that measures it, and what the column is called there.
    ///
    /// # Errors
    ///
    /// A column of another build, and nobody said which.
    pub(crate) fn program(&self) -> io::Result<(PathBuf, &'static str)> {
        let Some(name) = self.before else {
            return Ok((std::env::current_exe()?, self.name));
        };
        let program = BEFORE.get().cloned();
        let text = "--before PROGRAM is missing: a build of versus from another commit";
        let program = program.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, text))?;
        Ok((program, name))
    }

    const fn of(mut self, package: &'static str) -> Self {
        self.package = package;
        self
    }

    const fn with_executor<E: Executor>(mut self) -> Self {
        self.exec = Some(exec::measure::<E>);
        self.fairness = Some(fairness::serve::<E>);
        self
    }

    const fn with_unix(mut self, serve: ServeUnix) -> Self {
        self.unix = Some(serve);
        self
    }

    const fn with_udp(mut self, serve: ServeUdp) -> Self {
        self.udp = Some(serve);
        self
    }

    const fn with_udp_trains(mut self, serve: ServeUdp) -> Self {
        self.udp_trains = Some(serve);
        self
    }

    const fn with_copy(mut self, serve: ServeCopy) -> Self {
        self.copy = Some(serve);
        self
    }

    const fn with_proxy(mut self, serve: ServeTcp) -> Self {
        self.proxy = Some(serve);
        self
    }

    const fn with_store(mut self, serve: ServeTcp) -> Self {
        self.store = Some(serve);
        self
    }

    const fn on_demand(mut self) -> Self {
        self.by_default = false;
        self
    }
}

/// In the order of the report.
pub(crate) static COLUMNS: [Column; 12] = [
    CORERING_RECV,
    CORERING_READ,
    CORERING_SPLICE,
    Column {
        name: "before-recv",
        ..CORERING_RECV.before("corering-recv")
    },
    Column {
        name: "before-read",
        ..CORERING_READ.before("corering-read")
    },
    Column::new("raw", Role::Limit, raw::serve)
        .of("io-uring")
        .with_unix(raw::serve_unix)
        .with_udp(raw::serve_udp)
        .with_udp_trains(raw::serve_udp_trains)
        .with_copy(raw::serve_copy)
        .with_store(raw::serve_store),
    Column::new("raw-spin", Role::Limit, raw::serve_spinning)
        .of("io-uring")
        .on_demand(),
    Column::new("tokio", Role::Peer, tokio::serve)
        .with_unix(tokio::serve_unix)
        .with_udp(tokio::serve_udp)
        .with_copy(tokio::serve_copy)
        .with_proxy(tokio::serve_proxy)
        .with_executor::<tokio::Tokio>(),
    Column::new("monoio", Role::Peer, monoio::serve)
        .with_unix(monoio::serve_unix)
        .with_udp(monoio::serve_udp)
        .with_copy(monoio::serve_copy)
        .with_executor::<monoio::Monoio>(),
    Column::new("compio", Role::Peer, compio::serve)
        .with_unix(compio::serve_unix)
        .with_udp(compio::serve_udp)
        .with_copy(compio::serve_copy)
        .with_executor::<compio::Compio>(),
    Column::new("glommio", Role::Peer, glommio::serve)
        .with_unix(glommio::serve_unix)
        .with_udp(glommio::serve_udp)
        .with_copy(glommio::serve_copy)
        .with_executor::<glommio::Glommio>(),
    Column::new("tokio-uring", Role::Peer, tokio_uring::serve)
        .with_unix(tokio_uring::serve_unix)
        .with_udp(tokio_uring::serve_udp)
        .with_copy(tokio_uring::serve_copy)
        .with_executor::<tokio_uring::TokioUring>(),
];

const CORERING_RECV: Column = Column::new("corering-recv", Role::Own, corering::serve_recv)
    .of("corering")
    .with_unix(corering::serve_unix_recv)
    .with_udp(corering::serve_udp_recv)
    .with_udp_trains(corering::serve_udp_trains)
    .with_copy(corering::serve_copy_recv)
    .with_proxy(corering::serve_proxy)
    .with_executor::<corering::Corering>();

const CORERING_READ: Column = Column::new("corering-read", Role::Own, corering::serve_read)
    .of("corering")
    .with_unix(corering::serve_unix_read)
    .with_udp(corering::serve_udp_read)
    .with_copy(corering::serve_copy_read);

/// Of proxies alone: `proxy` has it wherever it has the first one.
const CORERING_SPLICE: Column = Column::new("corering-splice", Role::Own, corering::serve_recv)
    .of("corering")
    .with_proxy(corering::serve_splice)
    .on_demand();

/// The column of that name.
///
/// # Errors
///
/// A sentence that lists the names there are.
pub(crate) fn find(name: &str) -> Result<&'static Column, String> {
    COLUMNS
        .iter()
        .find(|column| column.name == name)
        .ok_or_else(|| {
            let names: Vec<_> = COLUMNS.iter().map(|column| column.name).collect();
            format!("the columns are {}", names.join(", "))
        })
}

/// The columns of a run without `--columns`.
pub(crate) fn defaults() -> Vec<&'static Column> {
    COLUMNS.iter().filter(|column| column.by_default).collect()
}

/// The version that a column's package was built in, as Cargo.lock has it.
pub(crate) fn version(package: &str) -> Option<&'static str> {
    const LOCK: &str = include_str!("../../../Cargo.lock");
    let name = format!("name = \"{package}\"");
    let mut lines = LOCK.lines();
    let mut newest = None;
    while let Some(line) = lines.next() {
        if line == name {
            newest = lines.next();
        }
    }
    // Of several the last: the file is sorted, and ours is the newest of each.
    newest?.strip_prefix("version = \"")?.strip_suffix('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_package_has_a_version() {
        for column in &COLUMNS {
            let version = version(column.package).expect(column.package);
            assert!(
                version.starts_with(|c: char| c.is_ascii_digit()),
                "{version}"
            );
        }
    }

    #[test]
    fn names_are_unique_and_found() {
        for column in &COLUMNS {
            let found = find(column.name).unwrap_or_else(|error| panic!("{error}"));
            assert!(
                std::ptr::eq(found, column),
                "{} is there twice",
                column.name
            );
        }
        assert!(find("node").is_err());
    }
}
