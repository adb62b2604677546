//! UDP sockets: options.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::socket::UdpSocket;
use crate::ring::{MessageOption, SocketOption};

/// Options. All report what
/// [`setsockopt(2)`](https://man7.org/linux/man-pages/man2/setsockopt.2.html) does; what one does
/// not say otherwise stands in [`ip(7)`](https://man7.org/linux/man-pages/man7/ip.7.html),
/// [`ipv6(7)`](https://man7.org/linux/man-pages/man7/ipv6.7.html) and
/// [`socket(7)`](https://man7.org/linux/man-pages/man7/socket.7.html).
impl UdpSocket {
    /// Whether it may send to broadcast addresses.
    ///
    /// # Errors
    ///
    /// As `getsockopt(2)`.
    pub fn broadcast(&self) -> io::Result<bool> {
        Ok(self.number(MessageOption::Broadcast)? != 0)
    }

    /// Lets it send to broadcast addresses, which is `EACCES` otherwise.
    ///
    /// # Errors
    ///
    /// As `setsockopt(2)`.
    pub fn set_broadcast(&self, on: bool) -> io::Result<()> {
        self.set_number(MessageOption::Broadcast, on.into())
    }

    /// How many routers a datagram passes at most.
    ///
    /// # Errors
    ///
    /// As `getsockopt(2)`.
    pub fn ttl(&self) -> io::Result<u32> {
        self.number(self.either(MessageOption::Ttl, MessageOption::HopsV6)?)
    }

    /// Sets how many routers a datagram passes at most, 1 to 255.
    ///
    /// # Errors
    ///
    /// `EINVAL`: it is out of range.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.set_number(self.either(MessageOption::Ttl, MessageOption::HopsV6)?, ttl)
    }

    /// The size of the kernel's buffer for datagrams that came, in bytes, its bookkeeping
    /// included.
    ///
    /// # Errors
    ///
    /// As `getsockopt(2)`.
    pub fn recv_buffer_size(&self) -> io::Result<usize> {
        self.socket().fd().option(SocketOption::RecvBuffer)
    }

    /// Sets the size of the kernel's buffer for datagrams that came. The kernel doubles it, for its
    /// bookkeeping, and caps it at `net.core.rmem_max`.
    ///
    /// # Errors
    ///
    /// As `setsockopt(2)`.
    pub fn set_recv_buffer_size(&self, bytes: usize) -> io::Result<()> {
        self.socket()
            .fd()
            .set_option(SocketOption::RecvBuffer, bytes)
    }

    /// The size of the kernel's buffer for datagrams that are to leave, in bytes.
    ///
    /// # Errors
    ///
    /// As `getsockopt(2)`.
    pub fn send_buffer_size(&self) -> io::Result<usize> {
        self.socket().fd().option(SocketOption::SendBuffer)
    }

    /// Sets the size of the kernel's buffer for datagrams that are to leave. The kernel doubles it
    /// and caps it at `net.core.wmem_max`.
    ///
    /// # Errors
    ///
    /// As `setsockopt(2)`.
    pub fn set_send_buffer_size(&self, bytes: usize) -> io::Result<()> {
        self.socket()
            .fd()
            .set_option(SocketOption::SendBuffer, bytes)
    }

    /// Sets how many bytes of control data a datagram may bring, 256 unless it is told, and at most
    /// 16 KiB. What has no room is cut, and
    /// [`Control::truncated`](crate::net::Control::truncated) says so.
    pub fn set_control_room(&self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.socket().set_control_room(bytes);
    }

    /// Has each datagram bring the time at which it came:
    /// [`Control::timestamp`](crate::net::Control::timestamp).
    ///
    /// # Errors
    ///
    /// As `setsockopt(2)`.
    pub fn set_recv_timestamp(&self, on: bool) -> io::Result<()> {
        self.set_number(MessageOption::TimestampNs, on.into())
    }

    /// Has each datagram bring the address and interface of this host that it came to:
    /// [`Control::packet_info`](crate::net::Control::packet_info).
    ///
    /// # Errors
    ///
    /// As `setsockopt(2)`.
    pub fn set_recv_packet_info(&self, on: bool) -> io::Result<()> {
        let option = self.either(MessageOption::PacketInfoV4, MessageOption::PacketInfoV6)?;
        self.set_number(option, on.into())
    }

    /// Has each datagram bring its congestion mark: [`Control::ecn`](crate::net::Control::ecn).
    ///
    /// # Errors
    ///
    /// As `setsockopt(2)`.
    pub fn set_recv_traffic_class(&self, on: bool) -> io::Result<()> {
        if self.local_addr()?.is_ipv6() {
            // What comes by IPv4 to such a socket has it in its own place.
            self.set_number(MessageOption::TrafficClassV6, on.into())?;
        }
        self.set_number(MessageOption::TrafficClassV4, on.into())
    }

    /// Lets the kernel join datagrams of one sender that came one after the other and are of one
    /// length (`UDP_GRO`): many for the price of little more than one.
    /// [`Control::segment_size`](crate::net::Control::segment_size) says where they were joined.
    ///
    /// # Errors
    ///
    /// `ENOPROTOOPT`: the kernel is older than 5.0.
    pub fn set_gro(&self, on: bool) -> io::Result<()> {
        self.set_number(MessageOption::Gro, on.into())
    }

    /// Has an IPv6 socket not take IPv4 datagrams. Before it is bound only, so of one of std's.
    ///
    /// # Errors
    ///
    /// `EINVAL`: it is bound.
    pub fn only_v6(&self) -> io::Result<bool> {
        Ok(self.number(MessageOption::OnlyV6)? != 0)
    }

    /// Joins a multicast group, at the interface that has this address; `UNSPECIFIED` is any.
    ///
    /// # Errors
    ///
    /// `EINVAL`: it is no multicast address. `EADDRINUSE`: the socket is a member already.
    /// `ENODEV`: there is no such interface. `ENOBUFS`: `net.ipv4.igmp_max_memberships`.
    pub fn join_multicast_v4(&self, group: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
        self.socket().fd().set_member_v4(group, interface, true)
    }

    /// Leaves a multicast group that was joined at this interface.
    ///
    /// # Errors
    ///
    /// `EADDRNOTAVAIL`: the socket is no member.
    pub fn leave_multicast_v4(&self, group: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
        self.socket().fd().set_member_v4(group, interface, false)
    }

    /// Joins a multicast group, at the interface with this index; 0 is any.
    ///
    /// # Errors
    ///
    /// As [`join_multicast_v4`](UdpSocket::join_multicast_v4).
    pub fn join_multicast_v6(&self, group: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.set_member((*group).into(), interface, true)
    }

    /// Leaves a multicast group that was joined at this interface.
    ///
    /// # Errors
    ///
    /// `EADDRNOTAVAIL`: the socket is no member.
    pub fn leave_multicast_v6(&self, group: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.set_member((*group).into(), interface, false)
    }

    /// Whether multicast datagrams that it sends come back to members on this host, too.
    ///
    /// # Errors
    ///
    /// As `getsockopt(2)`.
    pub fn multicast_loop(&self) -> io::Result<bool> {
        Ok(self.number(self.multicast_loop_option()?)? != 0)
    }

    /// Sets whether multicast datagrams that it sends come back to members on this host, too. So it
    /// is unless it is told.
    ///
    /// # Errors
    ///
    /// As `setsockopt(2)`.
    pub fn set_multicast_loop(&self, on: bool) -> io::Result<()> {
        self.set_number(self.multicast_loop_option()?, on.into())
    }

    /// How many routers a multicast datagram passes at most.
    ///
    /// # Errors
    ///
    /// As `getsockopt(2)`.
    pub fn multicast_ttl(&self) -> io::Result<u32> {
        self.number(self.multicast_ttl_option()?)
    }

    /// Sets how many routers a multicast datagram passes at most, 0 to 255. 1 unless it is told:
    /// it stays in the network.
    ///
    /// # Errors
    ///
    /// `EINVAL`: it is out of range.
    pub fn set_multicast_ttl(&self, ttl: u32) -> io::Result<()> {
        self.set_number(self.multicast_ttl_option()?, ttl)
    }

    /// Sets the interface, by its address, that multicast datagrams leave from.
    ///
    /// # Errors
    ///
    /// `EADDRNOTAVAIL`: no interface has it.
    pub fn set_multicast_if_v4(&self, interface: &Ipv4Addr) -> io::Result<()> {
        self.socket().fd().set_multicast_interface_v4(*interface)
    }

    /// Sets the interface, by its index, that multicast datagrams leave from; 0 is any.
    ///
    /// # Errors
    ///
    /// `ENODEV`: there is no such interface.
    pub fn set_multicast_if_v6(&self, interface: u32) -> io::Result<()> {
        self.set_number(MessageOption::MulticastInterfaceV6, interface)
    }

    fn multicast_loop_option(&self) -> io::Result<MessageOption> {
        self.either(
            MessageOption::MulticastLoopV4,
            MessageOption::MulticastLoopV6,
        )
    }

    fn multicast_ttl_option(&self) -> io::Result<MessageOption> {
        self.either(
            MessageOption::MulticastTtlV4,
            MessageOption::MulticastHopsV6,
        )
    }

    fn set_member(&self, group: IpAddr, interface: u32, joins: bool) -> io::Result<()> {
        self.socket().fd().set_member(group, interface, joins)
    }

    /// The option of the socket's own family.
    fn either(&self, v4: MessageOption, v6: MessageOption) -> io::Result<MessageOption> {
        Ok(if self.local_addr()?.is_ipv6() { v6 } else { v4 })
    }

    fn number(&self, option: MessageOption) -> io::Result<u32> {
        self.socket().fd().message_option(option)
    }

    fn set_number(&self, option: MessageOption, value: u32) -> io::Result<()> {
        self.socket().fd().set_message_option(option, value)
    }
}
