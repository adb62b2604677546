//! UDP between hosts: ports, and the way of a datagram.

use std::net::SocketAddr;

use super::connect::{has_family, is_loopback, loopback, reached, unspecified};
use super::faults::Fault;
use super::kernel::{Event, HostId, Kernel};
use super::messages::{Datagram, MessageSocket};
use super::object::OpenFile;
use super::table::Id;

/// The first of the ports that the kernel chooses.
const EPHEMERAL: u16 = 32_768;

impl Kernel {
    pub(super) fn bind_messages(&mut self, id: Id, mut address: SocketAddr) -> Result<(), i32> {
        let host = self.objects.find(id).ok_or(libc::EBADF)?.host;
        let socket = self.messages(id)?;
        if socket.local.is_some() {
            return Err(libc::EINVAL);
        }
        has_family(address, socket.is_v6)?;
        let ip = address.ip();
        if !ip.is_unspecified() && !is_loopback(ip) && ip != self.hosts[host].ip {
            return Err(libc::EADDRNOTAVAIL);
        }
        if address.port() == 0 {
            address.set_port(self.free_udp_port(host)?);
        } else if !self.may_share_udp(host, id, address) {
            return Err(libc::EADDRINUSE);
        }
        let ports = &mut self.hosts[host].udp_ports;
        ports.entry(address.port()).or_default().push(id);
        self.messages_mut(id)?.local = Some(address);
        Ok(())
    }

    fn free_udp_port(&mut self, host: HostId) -> Result<u16, i32> {
        let host = &mut self.hosts[host];
        for _ in EPHEMERAL..=u16::MAX {
            let port = host.next_port;
            host.next_port = port.checked_add(1).unwrap_or(EPHEMERAL);
            if !host.udp_ports.contains_key(&port) {
                return Ok(port);
            }
        }
        Err(libc::EADDRINUSE)
    }

    fn may_share_udp(&self, host: HostId, id: Id, address: SocketAddr) -> bool {
        let holders = self.hosts[host].udp_ports.get(&address.port());
        let Ok(newcomer) = self.messages(id) else {
            return false;
        };
        holders.into_iter().flatten().all(|holder| {
            let Ok(holder) = self.messages(*holder) else {
                return true;
            };
            let apart = holder.local.is_some_and(|local| {
                let any = local.ip().is_unspecified() || address.ip().is_unspecified();
                !any && local.ip() != address.ip()
            });
            apart
                || newcomer.reuse_port && holder.reuse_port
                || newcomer.reuse_address && holder.reuse_address
        })
    }

    pub(super) fn forget_udp_port(&mut self, id: Id, host: HostId, socket: &MessageSocket) {
        let Some(port) = socket.local.map(|local| local.port()) else {
            return;
        };
        let ports = &mut self.hosts[host].udp_ports;
        if let Some(holders) = ports.get_mut(&port) {
            holders.retain(|holder| *holder != id);
            if holders.is_empty() {
                ports.remove(&port);
            }
        }
    }

    pub(super) fn connect_messages(&mut self, id: Id, address: SocketAddr) -> Result<(), i32> {
        let is_v6 = self.messages(id)?.is_v6;
        has_family(address, is_v6)?;
        let address = reached(address);
        let local = self.source(id, address)?;
        let socket = self.messages_mut(id)?;
        socket.local = Some(local);
        socket.peer = Some(address);
        Ok(())
    }

    /// The address that a datagram to `to` comes from. A socket without a port gets one.
    pub(super) fn source(&mut self, id: Id, to: SocketAddr) -> Result<SocketAddr, i32> {
        let socket = self.messages(id)?;
        if socket.local.is_none() {
            self.bind_messages(id, unspecified(socket.is_v6))?;
        }
        let host = self.objects.find(id).ok_or(libc::EBADF)?.host;
        let mut from = self.messages(id)?.local.ok_or(libc::EINVAL)?;
        if from.ip().is_unspecified() {
            from.set_ip(if is_loopback(to.ip()) {
                loopback(to.is_ipv6())
            } else {
                self.hosts[host].ip
            });
        }
        Ok(from)
    }

    /// Lets a datagram go that a socket has sent with an op of this kind.
    pub(super) fn emit(&mut self, sender: Id, code: u8, datagram: Datagram) {
        let Some(here) = self.objects.find(sender).map(|object| object.host) else {
            return;
        };
        // Nobody answers for an address that is no host's.
        let Some(there) = self.host_at(datagram.to.ip(), here) else {
            return;
        };
        if there == here {
            return self.arrive(here, there, sender, datagram);
        }
        if self.links.cut.contains(&(here, there)) || self.adversary.strikes(Fault::Lost, code) {
            return;
        }
        let twice = self.adversary.strikes(Fault::Duplicated, code);
        for _ in 0..=u8::from(twice) {
            let delay = self.latency(here, there);
            let event = Event::Datagram(here, there, sender, Box::new(datagram.clone()));
            self.after(delay, event);
        }
    }

    /// A datagram has come to a host.
    pub(super) fn arrive(&mut self, here: HostId, there: HostId, sender: Id, datagram: Datagram) {
        if self.hosts[there].is_down {
            return;
        }
        match self.receiver(there, &datagram) {
            Some(receiver) => {
                if let Ok(socket) = self.messages_mut(receiver) {
                    socket.arrive(datagram);
                }
                self.stir(receiver);
            }
            None if here == there => self.refuse(sender, datagram.to),
            None if self.links.cut.contains(&(there, here)) => {}
            None => {
                let delay = self.latency(there, here);
                self.after(delay, Event::Refused(sender, datagram.to));
            }
        }
    }

    /// The socket that a datagram is for: the one that suits it best, the last bound of several.
    fn receiver(&self, host: HostId, datagram: &Datagram) -> Option<Id> {
        let holders = self.hosts[host].udp_ports.get(&datagram.to.port())?;
        let suits = |id: &&Id| {
            let socket = self.messages(**id).ok()?;
            let local = socket.local?.ip();
            let is_peer = socket.peer.is_none_or(|peer| peer == datagram.from);
            let is_here = local.is_unspecified() || local == datagram.to.ip();
            let fits = is_peer && is_here && socket.is_v6 == datagram.to.is_ipv6();
            fits.then_some((socket.peer.is_some(), !local.is_unspecified()))
        };
        let best = holders.iter().filter_map(|id| suits(&id)).max()?;
        let mut equal = holders.iter().filter(|id| suits(id) == Some(best));
        let group = self.messages(*equal.clone().next()?).ok()?;
        if group.reuse_port {
            // Always the same one for one sender.
            let count = equal.clone().count();
            return equal
                .nth(usize::from(datagram.from.port()) % count)
                .copied();
        }
        equal.next_back().copied()
    }

    /// ICMP says that nobody has the port of an earlier datagram. Only who has it for its peer is
    /// told.
    pub(super) fn refuse(&mut self, sender: Id, to: SocketAddr) {
        let Ok(socket) = self.messages_mut(sender) else {
            return;
        };
        if socket.peer == Some(to) {
            socket.error = Some(libc::ECONNREFUSED);
            self.stir(sender);
        }
    }

    pub(super) fn has_messages(&self, id: Id) -> bool {
        let object = self.objects.find(id);
        object.is_some_and(|object| matches!(object.file, OpenFile::Messages(_)))
    }
}
