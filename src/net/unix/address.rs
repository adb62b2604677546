//! Names of Unix sockets: paths, abstract names, or none.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::SocketAddr;
use std::path::Path;

use socket2::SockAddr;

use crate::ring::Name;

/// Bytes of a path: 108 with the NUL at its end.
const PATH_MAX: usize = 107;

/// The address of `path`.
pub(super) fn of_path(path: &Path) -> io::Result<SockAddr> {
    let bytes = path.as_os_str().as_bytes();
    let refused = |text: String| Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    if bytes.is_empty() {
        // The kernel would take it for "any abstract name".
        return refused("the path of a Unix socket is empty".to_owned());
    }
    if bytes.contains(&0) {
        // It would be cut there, or be an abstract name.
        return refused(format!(
            "the path of a Unix socket has a NUL in it: {path:?} (an abstract name is an address \
             that SocketAddr::from_abstract_name makes)"
        ));
    }
    if bytes.len() > PATH_MAX {
        return refused(format!(
            "the path of a Unix socket has {} bytes, and may have {PATH_MAX}: {path:?} (a shorter \
             one may lead there from the working directory)",
            bytes.len()
        ));
    }
    SockAddr::unix(path)
}

/// The same name as the kernel takes it.
pub(super) fn of_std(address: &SocketAddr) -> io::Result<SockAddr> {
    if let Some(path) = address.as_pathname() {
        return of_path(path);
    }
    let Some(name) = address.as_abstract_name() else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "this Unix socket has no name",
        ));
    };
    // socket2 takes a path that begins with a NUL for an abstract name.
    let path = [b"\0", name].concat();
    SockAddr::unix(OsStr::from_bytes(&path))
}

/// The name that came with a message, as std has it. One that is none counts as no name.
pub(super) fn of_name(name: &Name) -> SocketAddr {
    let path = name.as_bytes().get(2..).unwrap_or_default();
    let address = match path.strip_prefix(b"\0") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => {
            // A path ends with a NUL, which need not be there if it is as long as it may be.
            let end = path.iter().position(|&byte| byte == 0);
            SocketAddr::from_pathname(OsStr::from_bytes(&path[..end.unwrap_or(path.len())]))
        }
    };
    address.unwrap_or_else(|_| unnamed())
}

fn unnamed() -> SocketAddr {
    SocketAddr::from_pathname("").expect("an empty path is no name")
}

/// The same name as std has it; one without a name, too.
pub(super) fn to_std(address: &SockAddr) -> io::Result<SocketAddr> {
    if let Some(address) = address.as_unix() {
        return Ok(address);
    }
    match address.as_abstract_namespace() {
        Some(name) => SocketAddr::from_abstract_name(name),
        None if address.is_unix() => Ok(unnamed()),
        None => Err(io::Error::from_raw_os_error(libc::EAFNOSUPPORT)),
    }
}
