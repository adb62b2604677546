//! Control data: what comes beside the bytes of a message.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::time::{Duration, SystemTime};

use crate::ring::{ControlData, Fd};

/// Control data of a message: what the kernel says of one that was received, or what is asked of it
/// for one that is to be sent.
///
/// Each kind comes only to a socket that was told to report it, but for descriptors. Descriptors
/// belong to the value: those that nobody takes are closed when it is dropped.
///
/// # Examples
///
/// ```
/// use corering::net::Control;
///
/// let mut control = Control::new();
/// control.set_ecn(1).set_segment_size(1200);
/// assert_eq!(control.ecn(), Some(1));
/// assert!(!control.truncated());
/// ```
///
/// # Source
///
/// [`cmsg(3)`](https://man7.org/linux/man-pages/man3/cmsg.3.html)
#[derive(Default)]
pub struct Control {
    /// Boxed, since most messages bring none.
    data: Option<Box<ControlData>>,
    truncated: bool,
}

/// Where a message was sent to, or is to be sent from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct PacketInfo {
    /// The address of this host.
    pub address: IpAddr,
    /// The index of the network interface, 0 for any.
    pub interface: u32,
}

impl PacketInfo {
    /// An address of this host, at any interface.
    pub fn new(address: IpAddr) -> PacketInfo {
        PacketInfo {
            address,
            interface: 0,
        }
    }

    /// The same, at the interface with this index.
    pub fn with_interface(self, interface: u32) -> PacketInfo {
        PacketInfo { interface, ..self }
    }
}

impl Control {
    /// No control data.
    pub fn new() -> Control {
        Control::default()
    }

    pub(super) fn received(flags: i32, data: Option<Box<ControlData>>) -> Control {
        Control {
            data,
            truncated: flags & libc::MSG_CTRUNC != 0,
        }
    }

    pub(super) fn into_data(self) -> Option<Box<ControlData>> {
        self.data
    }

    /// Whether there was more than the socket had room for (`MSG_CTRUNC`): what did not fit is
    /// lost, and descriptors among it are closed.
    pub fn truncated(&self) -> bool {
        self.truncated
    }

    /// When the message came, if the socket reports that (`SO_TIMESTAMPNS`).
    pub fn timestamp(&self) -> Option<SystemTime> {
        let content = self.find(libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS)?;
        let seconds = i64::from_ne_bytes(*content.first_chunk()?);
        let nanoseconds = i64::from_ne_bytes(*content.get(8..)?.first_chunk()?);
        let since = Duration::new(seconds.try_into().ok()?, nanoseconds.try_into().ok()?);
        SystemTime::UNIX_EPOCH.checked_add(since)
    }

    /// Which address and interface of this host the message was sent to, if the socket reports that
    /// (`IP_PKTINFO`, `IPV6_RECVPKTINFO`).
    pub fn packet_info(&self) -> Option<PacketInfo> {
        if let Some(content) = self.find(libc::IPPROTO_IP, libc::IP_PKTINFO) {
            // Index, the address it came to, the address in its header.
            let interface = u32::from_ne_bytes(*content.first_chunk()?);
            let address = Ipv4Addr::from(*content.get(8..)?.first_chunk::<4>()?).into();
            return Some(PacketInfo { address, interface });
        }
        let content = self.find(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO)?;
        let address = Ipv6Addr::from(*content.first_chunk::<16>()?).into();
        let interface = u32::from_ne_bytes(*content.get(16..)?.first_chunk()?);
        Some(PacketInfo { address, interface })
    }

    /// The message's congestion mark (ECN), 0 to 3, if the socket reports it (`IP_RECVTOS`,
    /// `IPV6_RECVTCLASS`).
    pub fn ecn(&self) -> Option<u8> {
        self.traffic_class().map(|class| class & 3)
    }

    /// The whole byte that the congestion mark is part of: the type of service of IPv4, the traffic
    /// class of IPv6.
    pub fn traffic_class(&self) -> Option<u8> {
        let content = self
            .find(libc::IPPROTO_IP, libc::IP_TOS)
            .or_else(|| self.find(libc::IPPROTO_IPV6, libc::IPV6_TCLASS))?;
        match content {
            // A byte of what came by IPv4, elsewhere a number.
            &[class] => Some(class),
            content => u8::try_from(i32::from_ne_bytes(*content.first_chunk()?)).ok(),
        }
    }

    /// How long each datagram was that the kernel has joined to this message, but for the last,
    /// which may be shorter, if the socket has them joined (`UDP_GRO`). Of a single one the kernel
    /// may say nothing.
    pub fn segment_size(&self) -> Option<u16> {
        // A number where it is received, 16 bits where it is sent.
        if let Some(content) = self.find(libc::SOL_UDP, libc::UDP_GRO) {
            return u16::try_from(i32::from_ne_bytes(*content.first_chunk()?)).ok();
        }
        let content = self.find(libc::SOL_UDP, libc::UDP_SEGMENT)?;
        Some(u16::from_ne_bytes(*content.first_chunk()?))
    }

    /// How many descriptors came with the message and are still here.
    pub fn descriptors(&self) -> usize {
        self.data.as_ref().map_or(0, |data| data.descriptors.len())
    }

    /// Takes the descriptors that came with the message, in order. They are closed on `exec`.
    pub fn take_descriptors(&mut self) -> Vec<OwnedFd> {
        let data = self.data.as_mut();
        let taken = data.map(|data| std::mem::take(&mut data.descriptors));
        taken.into_iter().flatten().map(Fd::into_owned).collect()
    }

    /// The entries but for descriptors, as the kernel has them: level, type, content.
    pub fn entries(&self) -> impl Iterator<Item = (i32, i32, &[u8])> {
        self.data.iter().flat_map(|data| data.entries())
    }

    /// Has the message carry this congestion mark (ECN), 0 to 3.
    pub fn set_ecn(&mut self, ecn: u8) -> &mut Control {
        self.set_traffic_class(ecn & 3)
    }

    /// Has the message carry this type of service, or traffic class.
    pub fn set_traffic_class(&mut self, class: u8) -> &mut Control {
        // Each is ignored by the sockets of the other.
        let class = i32::from(class).to_ne_bytes();
        self.push(libc::IPPROTO_IP, libc::IP_TOS, &class);
        self.push(libc::IPPROTO_IPV6, libc::IPV6_TCLASS, &class)
    }

    /// Has the kernel cut the message into datagrams of `bytes` each, the last one shorter: at most
    /// 64 of them, 128 since 6.9 (`UDP_SEGMENT`).
    pub fn set_segment_size(&mut self, bytes: u16) -> &mut Control {
        self.push(libc::SOL_UDP, libc::UDP_SEGMENT, &bytes.to_ne_bytes())
    }

    /// Has the message leave from this address and interface of this host (`IP_PKTINFO`,
    /// `IPV6_PKTINFO`).
    pub fn set_packet_info(&mut self, info: PacketInfo) -> &mut Control {
        let index = info.interface.to_ne_bytes();
        match info.address {
            IpAddr::V4(address) => {
                let content = [&index[..], &address.octets(), &[0; 4]].concat();
                self.push(libc::IPPROTO_IP, libc::IP_PKTINFO, &content)
            }
            IpAddr::V6(address) => {
                let content = [&address.octets()[..], &index].concat();
                self.push(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &content)
            }
        }
    }

    /// Sends a descriptor along, which is closed here when the message was sent. Unix sockets only.
    pub fn add_descriptor(&mut self, descriptor: OwnedFd) -> &mut Control {
        let data = self.data.get_or_insert_default();
        data.descriptors.push(Fd::from(descriptor));
        self
    }

    /// Adds an entry that has no method here.
    pub fn push(&mut self, level: i32, kind: i32, content: &[u8]) -> &mut Control {
        let data = self.data.get_or_insert_default();
        data.push(level, kind, content);
        self
    }

    fn find(&self, level: i32, kind: i32) -> Option<&[u8]> {
        self.data.as_ref()?.find(level, kind)
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control")
            .field("data", &self.data)
            .field("truncated", &self.truncated)
            .finish()
    }
}
