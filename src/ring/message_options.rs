//! What can be set on a socket of messages, and plain calls that only those know.
#![allow(unsafe_code)]

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use socket2::{SockAddr, SockRef};

use super::fd::Fd;
#[cfg(feature = "sim")]
use super::sim;

/// An option whose value is one number. A switch is on if it is not 0.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum MessageOption {
    Broadcast,
    Ttl,
    HopsV6,
    MulticastLoopV4,
    MulticastLoopV6,
    MulticastTtlV4,
    MulticastHopsV6,
    /// The index of an interface.
    MulticastInterfaceV6,
    TimestampNs,
    PacketInfoV4,
    PacketInfoV6,
    TrafficClassV4,
    TrafficClassV6,
    Gro,
    /// The length of the datagrams that each send is cut into, 0 for none.
    Segment,
    OnlyV6,
}

impl MessageOption {
    /// Where `setsockopt(2)` has it: level and name.
    fn place(self) -> (libc::c_int, libc::c_int) {
        match self {
            MessageOption::Broadcast => (libc::SOL_SOCKET, libc::SO_BROADCAST),
            MessageOption::Ttl => (libc::IPPROTO_IP, libc::IP_TTL),
            MessageOption::HopsV6 => (libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS),
            MessageOption::MulticastLoopV4 => (libc::IPPROTO_IP, libc::IP_MULTICAST_LOOP),
            MessageOption::MulticastLoopV6 => (libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_LOOP),
            MessageOption::MulticastTtlV4 => (libc::IPPROTO_IP, libc::IP_MULTICAST_TTL),
            MessageOption::MulticastHopsV6 => (libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_HOPS),
            MessageOption::MulticastInterfaceV6 => (libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_IF),
            MessageOption::TimestampNs => (libc::SOL_SOCKET, libc::SO_TIMESTAMPNS),
            MessageOption::PacketInfoV4 => (libc::IPPROTO_IP, libc::IP_PKTINFO),
            MessageOption::PacketInfoV6 => (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
            MessageOption::TrafficClassV4 => (libc::IPPROTO_IP, libc::IP_RECVTOS),
            MessageOption::TrafficClassV6 => (libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS),
            MessageOption::Gro => (libc::SOL_UDP, libc::UDP_GRO),
            MessageOption::Segment => (libc::SOL_UDP, libc::UDP_SEGMENT),
            MessageOption::OnlyV6 => (libc::IPPROTO_IPV6, libc::IPV6_V6ONLY),
        }
    }
}

impl Fd {
    pub(crate) fn set_message_option(&self, option: MessageOption, value: u32) -> io::Result<()> {
        #[cfg(feature = "sim")]
        if let Some(call) = self.simulated() {
            return call.set_message_option(option, value);
        }
        let (level, name) = option.place();
        let value = libc::c_int::try_from(value).unwrap_or(libc::c_int::MAX);
        let len = size_of::<libc::c_int>() as libc::socklen_t;
        // SAFETY: `value` is `len` readable bytes for the duration of the call.
        let result = unsafe {
            let value = (&raw const value).cast();
            libc::setsockopt(self.raw(), level, name, value, len)
        };
        if result == 0 {
            return Ok(());
        }
        Err(io::Error::last_os_error())
    }

    pub(crate) fn message_option(&self, option: MessageOption) -> io::Result<u32> {
        #[cfg(feature = "sim")]
        if let Some(call) = self.simulated() {
            return call.message_option(option);
        }
        let (level, name) = option.place();
        let mut value: libc::c_int = 0;
        let mut len = size_of::<libc::c_int>() as libc::socklen_t;
        // SAFETY: `value` is `len` writable bytes for the duration of the call, and so is `len`.
        let result = unsafe {
            let value = (&raw mut value).cast();
            libc::getsockopt(self.raw(), level, name, value, &raw mut len)
        };
        if result == 0 {
            return Ok(value.cast_unsigned());
        }
        Err(io::Error::last_os_error())
    }

    /// Gives a socket of datagrams its peer. Does not wait: nothing is sent.
    pub(crate) fn connect_datagrams(&self, address: &SockAddr) -> io::Result<()> {
        #[cfg(feature = "sim")]
        if let Some(call) = self.simulated() {
            return call.connect_datagrams(address);
        }
        SockRef::from(self).connect(address)
    }

    /// Joins or leaves a multicast group, at the interface with this index, 0 for any.
    pub(crate) fn set_member(&self, group: IpAddr, interface: u32, joins: bool) -> io::Result<()> {
        #[cfg(feature = "sim")]
        if self.simulated().is_some() {
            return Err(sim::unsupported("multicast groups"));
        }
        let socket = SockRef::from(self);
        let at = socket2::InterfaceIndexOrAddress::Index(interface);
        match (group, joins) {
            (IpAddr::V4(group), true) => socket.join_multicast_v4_n(&group, &at),
            (IpAddr::V4(group), false) => socket.leave_multicast_v4_n(&group, &at),
            (IpAddr::V6(group), true) => socket.join_multicast_v6(&group, interface),
            (IpAddr::V6(group), false) => socket.leave_multicast_v6(&group, interface),
        }
    }

    /// Joins or leaves a multicast group, at the interface that has this address.
    pub(crate) fn set_member_v4(
        &self,
        group: Ipv4Addr,
        interface: Ipv4Addr,
        joins: bool,
    ) -> io::Result<()> {
        #[cfg(feature = "sim")]
        if self.simulated().is_some() {
            return Err(sim::unsupported("multicast groups"));
        }
        let socket = SockRef::from(self);
        if joins {
            socket.join_multicast_v4(&group, &interface)
        } else {
            socket.leave_multicast_v4(&group, &interface)
        }
    }

    /// The interface, by its address, that multicast datagrams leave from.
    pub(crate) fn set_multicast_interface_v4(&self, interface: Ipv4Addr) -> io::Result<()> {
        #[cfg(feature = "sim")]
        if self.simulated().is_some() {
            return Err(sim::unsupported("multicast groups"));
        }
        SockRef::from(self).set_multicast_if_v4(&interface)
    }
}
