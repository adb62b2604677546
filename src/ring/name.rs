//! What a socket is called: the bytes of a `struct sockaddr`.
#![allow(unsafe_code)]

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use socket2::SockAddr;

/// `struct sockaddr_in6`, the longest name of an IP socket.
const INLINE: usize = 28;

/// A socket's name. One of IP lies in place, a longer one on the heap; no name is 0 bytes.
#[derive(Clone, Eq, PartialEq)]
pub(crate) enum Name {
    Short(u8, [u8; INLINE]),
    Long(Box<[u8]>),
}

// It lies in a slot with the op that sends to it.
const _: () = assert!(size_of::<Name>() <= 32);

impl Name {
    /// The most that a name takes: `struct sockaddr_storage`.
    pub(crate) const MAX: usize = size_of::<libc::sockaddr_storage>();

    /// The name that a kernel has written.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Name {
        let bytes = &bytes[..bytes.len().min(Name::MAX)];
        if bytes.len() > INLINE {
            return Name::Long(bytes.into());
        }
        let mut short = [0; INLINE];
        short[..bytes.len()].copy_from_slice(bytes);
        Name::Short(bytes.len() as u8, short)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Name::Short(len, bytes) => &bytes[..usize::from(*len)],
            Name::Long(bytes) => bytes,
        }
    }

    /// The address of an IP socket. `None` for any other name.
    pub(crate) fn ip(&self) -> Option<SocketAddr> {
        let bytes = self.as_bytes();
        let port = u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?);
        match i32::from(u16::from_ne_bytes(*bytes.first_chunk()?)) {
            libc::AF_INET => {
                let ip = Ipv4Addr::from(*bytes.get(4..)?.first_chunk::<4>()?);
                Some(SocketAddrV4::new(ip, port).into())
            }
            libc::AF_INET6 => {
                let flow = u32::from_ne_bytes(*bytes.get(4..)?.first_chunk()?);
                let ip = Ipv6Addr::from(*bytes.get(8..)?.first_chunk::<16>()?);
                let scope = u32::from_ne_bytes(*bytes.get(24..)?.first_chunk()?);
                Some(SocketAddrV6::new(ip, port, flow, scope).into())
            }
            _ => None,
        }
    }

    /// The same as socket2 has it.
    ///
    /// # Errors
    ///
    /// None that a name of at most [`MAX`](Name::MAX) bytes could have.
    #[allow(dead_code, reason = "names of IP sockets are taken apart here")]
    pub(crate) fn to_socket2(&self) -> io::Result<SockAddr> {
        let bytes = self.as_bytes();
        // SAFETY: `storage` has room for MAX bytes, which no name exceeds, and `len` says how many
        // of them were written.
        let init = |storage: *mut socket2::SockAddrStorage, len: *mut libc::socklen_t| unsafe {
            storage
                .cast::<u8>()
                .copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            *len = bytes.len() as libc::socklen_t;
            Ok(())
        };
        // SAFETY: the storage starts as zeroes, and any bytes are a name, if an odd one.
        let ((), address) = unsafe { SockAddr::try_init(init)? };
        Ok(address)
    }
}

/// No name.
impl Default for Name {
    fn default() -> Name {
        Name::Short(0, [0; INLINE])
    }
}

impl From<SocketAddr> for Name {
    fn from(address: SocketAddr) -> Name {
        Name::from(&SockAddr::from(address))
    }
}

impl From<&SockAddr> for Name {
    fn from(address: &SockAddr) -> Name {
        let len = (address.len() as usize).min(Name::MAX);
        // SAFETY: a `SockAddr` has `len` initialised bytes at its pointer.
        Name::from_bytes(unsafe { std::slice::from_raw_parts(address.as_ptr().cast(), len) })
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip() {
            Some(address) => address.fmt(f),
            None => f.debug_tuple("Name").field(&self.as_bytes()).finish(),
        }
    }
}
