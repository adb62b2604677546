//! Ports, and how connections come about.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::kernel::{Event, HostId, Kernel};
use super::socket::{Socket, State};
use super::table::Id;

/// A SYN without an answer is sent again after this, twice this, and so on.
const RESEND_NS: u64 = 1_000_000_000;
const RESENDS: u32 = 7;
/// The first of the ports that the kernel chooses.
const EPHEMERAL: u16 = 32_768;

impl Kernel {
    /// The host that has `ip`, seen from `from`.
    pub(super) fn host_at(&self, ip: IpAddr, from: HostId) -> Option<HostId> {
        if is_loopback(ip) {
            return Some(from);
        }
        self.hosts.iter().position(|host| host.ip == ip)
    }

    pub(super) fn bind(&mut self, id: Id, mut address: SocketAddr) -> Result<(), i32> {
        let host = self.objects.find(id).ok_or(libc::EBADF)?.host;
        let socket = self.socket(id)?;
        if socket.local.is_some() || !matches!(socket.state, State::Fresh) {
            return Err(libc::EINVAL);
        }
        has_family(address, socket.is_v6)?;
        let ip = address.ip();
        if !ip.is_unspecified() && !is_loopback(ip) && ip != self.hosts[host].ip {
            return Err(libc::EADDRNOTAVAIL);
        }
        if address.port() == 0 {
            address.set_port(self.free_port(host)?);
        } else if !self.may_share(host, id, address) {
            return Err(libc::EADDRINUSE);
        }
        let ports = &mut self.hosts[host].ports;
        ports.entry(address.port()).or_default().push(id);
        self.socket_mut(id)?.local = Some(address);
        Ok(())
    }

    fn may_share(&self, host: HostId, id: Id, address: SocketAddr) -> bool {
        let host = &self.hosts[host];
        let port = address.port();
        let holders = host.ports.get(&port).into_iter().flatten();
        let accepted = host.accepted.range((port, Id::MIN)..=(port, Id::MAX));
        let mut holders = holders.chain(accepted.map(|(_, id)| id));
        let Ok(newcomer) = self.socket(id) else {
            return false;
        };
        holders.all(|id_of| {
            let Ok(holder) = self.socket(*id_of) else {
                return true;
            };
            let apart = holder.local.is_some_and(|local| {
                !local.ip().is_unspecified()
                    && !address.ip().is_unspecified()
                    && local.ip() != address.ip()
            });
            let (mine, theirs) = (&newcomer.options, &holder.options);
            let listens = matches!(holder.state, State::Listening { .. });
            apart
                || *id_of == id
                || mine.reuse_port && theirs.reuse_port
                || mine.reuse_address && theirs.reuse_address && !listens
        })
    }

    fn free_port(&mut self, host: HostId) -> Result<u16, i32> {
        let host = &mut self.hosts[host];
        for _ in EPHEMERAL..=u16::MAX {
            let port = host.next_port;
            host.next_port = port.checked_add(1).unwrap_or(EPHEMERAL);
            if !host.ports.contains_key(&port) {
                return Ok(port);
            }
        }
        Err(libc::EADDRINUSE)
    }

    pub(super) fn forget_port(&mut self, id: Id, host: HostId, socket: &Socket) {
        let Some(port) = socket.local.map(|local| local.port()) else {
            return;
        };
        let accepted = &mut self.hosts[host].accepted;
        if accepted.remove(&(port, id)) {
            return;
        }
        if let Some(holders) = self.hosts[host].ports.get_mut(&port) {
            holders.retain(|holder| *holder != id);
            if holders.is_empty() {
                self.hosts[host].ports.remove(&port);
            }
        }
    }

    pub(super) fn listen(&mut self, id: Id, backlog: i32) -> Result<(), i32> {
        let socket = self.socket(id)?;
        let is_v6 = socket.is_v6;
        if !matches!(socket.state, State::Fresh | State::Listening { .. }) {
            return Err(libc::EINVAL);
        }
        if socket.local.is_none() {
            self.bind(id, unspecified(is_v6))?;
        }
        // Others that have reused the address may have begun to listen meanwhile.
        if let Some(local) = self.socket(id)?.local
            && !self.may_share(self.objects.find(id).map_or(0, |it| it.host), id, local)
        {
            return Err(libc::EADDRINUSE);
        }
        let backlog = backlog.clamp(0, 4096) as usize;
        let socket = self.socket_mut(id)?;
        match &mut socket.state {
            State::Listening { backlog: limit, .. } => *limit = backlog,
            state => {
                let queue = Default::default();
                *state = State::Listening { backlog, queue };
            }
        }
        Ok(())
    }

    pub(super) fn start_connect(&mut self, id: Id, address: SocketAddr) -> Result<(), i32> {
        let host = self.objects.find(id).ok_or(libc::EBADF)?.host;
        let is_v6 = self.socket(id)?.is_v6;
        has_family(address, is_v6)?;
        let address = reached(address);
        let server = self.host_at(address.ip(), host).ok_or(libc::EHOSTUNREACH)?;
        if self.socket(id)?.local.is_none() {
            self.bind(id, unspecified(is_v6))?;
        }
        let source = if is_loopback(address.ip()) {
            loopback(is_v6)
        } else {
            self.hosts[host].ip
        };
        let socket = self.socket_mut(id)?;
        if let Some(local) = &mut socket.local
            && local.ip().is_unspecified()
        {
            local.set_ip(source);
        }
        socket.peer = Some(address);
        socket.state = State::Connecting;
        let delay = self.latency(host, server);
        self.after(delay, Event::Syn(id, 1));
        Ok(())
    }

    /// A SYN arrives, or would.
    pub(super) fn syn(&mut self, client: Id, times: u32) {
        let Some(here) = self.objects.find(client).map(|object| object.host) else {
            return;
        };
        let Ok(socket) = self.socket(client) else {
            return;
        };
        let (State::Connecting, Some(address)) = (&socket.state, socket.peer) else {
            return;
        };
        let Some(there) = self.host_at(address.ip(), here) else {
            return;
        };
        let cut = &self.links.cut;
        let lost = self.hosts[there].is_down
            || cut.contains(&(here, there))
            || cut.contains(&(there, here));
        let listener = self.listener(there, address);
        match listener {
            _ if lost => self.syn_lost(client, times),
            Some(listener) if self.is_full(listener) => self.syn_lost(client, times),
            Some(listener) => self.establish(client, listener, here, there),
            None => {
                let delay = self.latency(there, here);
                let refused = Event::Answer(client, Err(libc::ECONNREFUSED));
                self.after(delay, refused);
            }
        }
    }

    fn syn_lost(&mut self, client: Id, times: u32) {
        if times < RESENDS {
            let delay = RESEND_NS << (times - 1);
            self.after(delay, Event::Syn(client, times + 1));
        } else {
            self.after(RESEND_NS, Event::Answer(client, Err(libc::ETIMEDOUT)));
        }
    }

    fn is_full(&self, listener: Id) -> bool {
        match self.socket(listener).map(|socket| &socket.state) {
            Ok(State::Listening { backlog, queue }) => queue.len() > *backlog,
            _ => true,
        }
    }

    /// Who listens there: of several that share a port, any.
    fn listener(&mut self, host: HostId, address: SocketAddr) -> Option<Id> {
        let holders = self.hosts[host].ports.get(&address.port())?;
        let listening: Vec<Id> = holders
            .iter()
            .copied()
            .filter(|id| {
                self.socket(*id).is_ok_and(|socket| {
                    let local = socket.local.map(|local| local.ip());
                    let reaches = local.is_some_and(|ip| ip.is_unspecified() || ip == address.ip());
                    reaches && matches!(socket.state, State::Listening { .. })
                })
            })
            .collect();
        if listening.is_empty() {
            return None;
        }
        let any = self
            .adversary
            .below("which listener", listening.len() as u64);
        Some(listening[any as usize])
    }

    /// Makes the server's end of a connection and puts it into the backlog.
    fn establish(&mut self, client: Id, listener: Id, here: HostId, there: HostId) {
        let Ok(socket) = self.socket(client) else {
            return;
        };
        let (local, peer, is_v6) = (socket.peer, socket.local, socket.is_v6);
        let options = self.socket(listener).map(|socket| socket.options.clone());
        let server = self.new_socket(there, is_v6);
        if let Ok(socket) = self.socket_mut(server) {
            socket.local = local;
            socket.peer = peer;
            socket.other = Some(client);
            socket.state = State::Connected;
            if let Ok(options) = options {
                socket.options = options;
            }
        }
        if let Some(object) = self.objects.find_mut(server) {
            object.references = 1;
        }
        // It holds the port, too, and longer than the listener if need be.
        if let Some(port) = local.map(|local| local.port()) {
            let accepted = &mut self.hosts[there].accepted;
            accepted.insert((port, server));
        }
        if let Ok(socket) = self.socket_mut(listener)
            && let State::Listening { queue, .. } = &mut socket.state
        {
            queue.push_back(server);
        }
        self.stir(listener);
        let delay = self.latency(there, here);
        self.after(delay, Event::Answer(client, Ok(server)));
    }

    /// The answer to a SYN, or to what was sent to nobody.
    pub(super) fn answer(&mut self, client: Id, answer: Result<Id, i32>) {
        let Ok(socket) = self.socket_mut(client) else {
            // It has given up: the server's end learns so.
            if let Ok(server) = answer {
                self.reset_both(server);
            }
            return;
        };
        match (&socket.state, answer) {
            (State::Connecting, Ok(server)) => {
                socket.state = State::Connected;
                socket.other = Some(server);
            }
            // After the peer's orderly end a reset only says that it takes nothing more.
            (State::Connected, Err(libc::ECONNRESET)) if socket.has_end => {
                self.close_with(client, libc::EPIPE);
            }
            (State::Connecting | State::Connected, Err(errno)) => self.close_with(client, errno),
            _ => {}
        }
        self.stir(client);
    }
}

/// Where a connect to `address` goes: the unspecified address is this host.
pub(super) fn reached(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        SocketAddr::new(loopback(address.is_ipv6()), address.port())
    } else {
        address
    }
}

/// A socket's own family is looked at first, and one that is too short for an IPv6 address is no
/// address at all.
pub(super) fn has_family(address: SocketAddr, is_v6: bool) -> Result<(), i32> {
    match (is_v6, address.is_ipv6()) {
        (false, true) => Err(libc::EAFNOSUPPORT),
        (true, false) => Err(libc::EINVAL),
        _ => Ok(()),
    }
}

pub(super) fn is_loopback(ip: IpAddr) -> bool {
    ip.is_loopback()
}

pub(super) fn loopback(is_v6: bool) -> IpAddr {
    if is_v6 {
        Ipv6Addr::LOCALHOST.into()
    } else {
        Ipv4Addr::LOCALHOST.into()
    }
}

pub(super) fn unspecified(is_v6: bool) -> SocketAddr {
    let ip: IpAddr = if is_v6 {
        Ipv6Addr::UNSPECIFIED.into()
    } else {
        Ipv4Addr::UNSPECIFIED.into()
    };
    SocketAddr::new(ip, 0)
}
