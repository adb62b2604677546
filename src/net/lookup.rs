//! Names and addresses.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use crate::driver::Driver;
use crate::task::spawn_blocking;

/// What a socket address can be made of: an address, or a name with a port, as in
/// [`std::net::ToSocketAddrs`]. Only names are looked up, on the blocking pool.
///
/// This trait is sealed: std's types implement it.
pub trait ToSocketAddrs: sealed::Sealed {}

mod sealed {
    /// Gives the addresses, or the name to look up.
    pub trait Sealed {
        fn target(self) -> super::Target;
    }
}

/// What is known of a host.
#[derive(Debug)]
pub enum Target {
    Known(Vec<SocketAddr>),
    /// A host and a port, in one text or apart.
    Text(String),
    Name(String, u16),
}

/// Looks up the addresses of a host, in the resolver's order.
///
/// An address that needs no lookup comes back as it is. A name is looked up by the system's
/// resolver (`getaddrinfo(3)`) on the blocking pool, so a slow name server holds no core.
///
/// # Errors
///
/// What the resolver reports; `InvalidInput` for a text without a port; `Other` if the blocking
/// pool is full.
///
/// # Cancellation
///
/// Dropping the future forgets the answer. The lookup itself runs on to its end.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// # corering::Runtime::new()?.block_on(async {
/// let mut addresses = corering::net::lookup_host("localhost:80").await?;
/// assert!(addresses.next().is_some_and(|address| address.ip().is_loopback()));
/// # Ok(()) })
/// # }
/// ```
pub async fn lookup_host(host: impl ToSocketAddrs) -> io::Result<impl Iterator<Item = SocketAddr>> {
    resolve(host).await.map(Vec::into_iter)
}

pub(super) async fn resolve(host: impl ToSocketAddrs) -> io::Result<Vec<SocketAddr>> {
    let target = host.target();
    if let Target::Known(addresses) = target {
        return Ok(addresses);
    }
    if let Some(known) = simulated(&target) {
        return known;
    }
    let lookup = spawn_blocking(move || match target {
        Target::Known(addresses) => Ok(addresses),
        Target::Text(text) => {
            std::net::ToSocketAddrs::to_socket_addrs(&text).map(Iterator::collect)
        }
        Target::Name(name, port) => {
            std::net::ToSocketAddrs::to_socket_addrs(&(name, port)).map(Iterator::collect)
        }
    });
    lookup.await.map_err(io::Error::other)?
}

/// What a simulated kernel knows of a name. `None` on a real one.
fn simulated(target: &Target) -> Option<io::Result<Vec<SocketAddr>>> {
    let (name, port) = match target {
        Target::Known(_) => return None,
        Target::Text(text) => text.rsplit_once(':').unwrap_or((text, "")),
        Target::Name(name, port) => (name.as_str(), &*port.to_string()),
    };
    let driver = Driver::current().ok()?;
    let found = driver.with_ring(|ring| Ok(ring.lookup(name))).ok()??;
    let port = port.parse::<u16>().map_err(|_| {
        let text = "a name needs a port, as in \"localhost:80\"";
        io::Error::new(io::ErrorKind::InvalidInput, text)
    });
    Some(found.and_then(|ips| {
        let port = port?;
        Ok(ips
            .into_iter()
            .map(|ip| SocketAddr::new(ip, port))
            .collect())
    }))
}

/// Calls `attempt` with each address until one succeeds; the last error otherwise.
pub(super) async fn first_that<T>(
    host: impl ToSocketAddrs,
    mut attempt: impl AsyncFnMut(SocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    let mut last = io::Error::new(io::ErrorKind::InvalidInput, "the host has no address");
    for address in resolve(host).await? {
        match attempt(address).await {
            Ok(value) => return Ok(value),
            Err(e) => last = e,
        }
    }
    Err(last)
}

impl ToSocketAddrs for SocketAddr {}

impl sealed::Sealed for SocketAddr {
    fn target(self) -> Target {
        Target::Known(vec![self])
    }
}

impl ToSocketAddrs for SocketAddrV4 {}

impl sealed::Sealed for SocketAddrV4 {
    fn target(self) -> Target {
        SocketAddr::from(self).target()
    }
}

impl ToSocketAddrs for SocketAddrV6 {}

impl sealed::Sealed for SocketAddrV6 {
    fn target(self) -> Target {
        SocketAddr::from(self).target()
    }
}

impl ToSocketAddrs for (IpAddr, u16) {}

impl sealed::Sealed for (IpAddr, u16) {
    fn target(self) -> Target {
        SocketAddr::from(self).target()
    }
}

impl ToSocketAddrs for (Ipv4Addr, u16) {}

impl sealed::Sealed for (Ipv4Addr, u16) {
    fn target(self) -> Target {
        SocketAddr::from(self).target()
    }
}

impl ToSocketAddrs for (Ipv6Addr, u16) {}

impl sealed::Sealed for (Ipv6Addr, u16) {
    fn target(self) -> Target {
        SocketAddr::from(self).target()
    }
}

impl ToSocketAddrs for (&str, u16) {}

impl sealed::Sealed for (&str, u16) {
    fn target(self) -> Target {
        let (name, port) = self;
        match name.parse::<IpAddr>() {
            Ok(ip) => SocketAddr::new(ip, port).target(),
            Err(_) => Target::Name(name.to_owned(), port),
        }
    }
}

impl ToSocketAddrs for &str {}

impl sealed::Sealed for &str {
    fn target(self) -> Target {
        match self.parse::<SocketAddr>() {
            Ok(address) => address.target(),
            Err(_) => Target::Text(self.to_owned()),
        }
    }
}

impl ToSocketAddrs for String {}

impl sealed::Sealed for String {
    fn target(self) -> Target {
        self.as_str().target()
    }
}

impl ToSocketAddrs for &String {}

impl sealed::Sealed for &String {
    fn target(self) -> Target {
        self.as_str().target()
    }
}

impl ToSocketAddrs for &[SocketAddr] {}

impl sealed::Sealed for &[SocketAddr] {
    fn target(self) -> Target {
        Target::Known(self.to_vec())
    }
}
