//! A ring on either kernel, what is submitted to it, and what comes out.

use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, SockAddr, Type};

use super::super::super::sim::faults::Faults;
use super::super::super::sim::{Place, Setup, World};
use super::super::super::{Config, Door, Fd, Pages, RawSqe, Ring, Wait, Workers, opcode};
use super::super::filled;

pub(super) const GROUP: u16 = 3;
const QUIET: Duration = Duration::from_millis(20);

/// A ring, and what has come out of it.
pub(super) struct Stage {
    pub(super) ring: Ring,
    pub(super) log: String,
}

/// Plays `script` on Linux and on simulated kernels.
pub(super) fn alike(script: impl Fn(&mut Stage, &Door)) {
    let play = |door: Door| {
        let config = Config {
            entries: 8,
            cq_entries: 8,
            workers: Workers::DEFAULT,
        };
        let ring = Ring::open(&door, &config).expect("a ring");
        let mut stage = Stage {
            ring,
            log: String::new(),
        };
        script(&mut stage, &door);
        stage.log
    };
    let real = play(Door::Linux);
    for seed in 0..8 {
        let world = World::new(Setup {
            seed,
            faults: Faults::none(),
            ..Setup::default()
        });
        let host = world.add_host("alone");
        let simulated = play(Door::Simulated(Place { world, host }));
        assert_eq!(
            real, simulated,
            "Linux, and the simulation with seed {seed}"
        );
    }
}

impl Stage {
    pub(super) fn push(&mut self, sqe: &RawSqe) {
        self.ring.push(sqe).expect("there is room");
    }

    /// Enters until nothing comes any more.
    pub(super) fn drain(&mut self, label: &str) {
        let mut all = Vec::new();
        loop {
            let _ = self.ring.enter(Wait::For(QUIET)).expect("enter");
            let before = all.len();
            all.extend(std::iter::from_fn(|| self.ring.pop().copied()));
            if all.len() == before {
                break;
            }
        }
        all.sort_by_key(|cqe| cqe.user_data);
        let _ = writeln!(self.log, "{label}");
        for cqe in all {
            let (data, res, flags) = (cqe.user_data, cqe.res, cqe.flags);
            // How many connections are there at once is open, too.
            let (res, flags) = match data {
                DESCRIPTORS.. => (res.min(0), flags & !SOCK_NONEMPTY),
                _ => (res, flags),
            };
            let _ = writeln!(self.log, "  {data}: {res} flags {flags:x}");
        }
    }

    /// Two connected sockets.
    pub(super) fn pair(&mut self) -> (Fd, Fd) {
        let (listener, address) = self.listener();
        let client = self.ring.socket(Domain::IPV4, Type::STREAM, None).unwrap();
        let address = Box::new(SockAddr::from(address));
        // SAFETY: the address lives until the completion was taken.
        let connect = unsafe {
            filled(1, |sqe| {
                sqe.op(opcode::CONNECT)
                    .fd(&client)
                    .lend(address.as_ptr().cast(), 0)
                    .offset(u64::from(address.len()));
            })
        };
        self.push(&connect);
        self.push(&accept(&listener, DESCRIPTORS, 0));
        let mut server = None;
        for _ in 0..2 {
            let cqe = super::super::reap_one(&mut self.ring);
            match cqe.user_data {
                DESCRIPTORS => server = Some(cqe.descriptor().expect("accepted")),
                _ => assert_eq!(cqe.res, 0, "connected"),
            }
        }
        (client, server.expect("accepted"))
    }

    pub(super) fn listener(&self) -> (Fd, SocketAddr) {
        let listener = self.ring.socket(Domain::IPV4, Type::STREAM, None).unwrap();
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        listener.bind(&SockAddr::from(any)).unwrap();
        listener.listen(8).unwrap();
        let address = listener.getsockname().unwrap().as_socket().unwrap();
        (listener, address)
    }

    /// Buffers of 16 bytes, which nobody gives back. They have to outlive their registration.
    pub(super) fn buffers(&mut self, count: u16, incremental: bool) -> [Pages; 2] {
        let (ring, data) = (Pages::new(16 * 16).unwrap(), Pages::new(16 * 16).unwrap());
        let start = data.as_ptr().expose_provenance() as u64;
        for at in 0..count {
            let entry = [start + u64::from(at) * 16, 16 | u64::from(at) << 32];
            // SAFETY: 16 entries of two words each fit into the pages, which nobody reads yet.
            unsafe { ring.as_ptr().cast::<[u64; 2]>().add(at.into()).write(entry) };
        }
        // The tail is the last field of the first entry.
        // SAFETY: as above; it is aligned.
        unsafe { ring.as_ptr().add(14).cast::<u16>().write(count) };
        let address = ring.as_ptr().expose_provenance() as u64;
        // SAFETY: the pages are long enough; the tests unregister the ring before they drop them.
        let registered = unsafe { self.ring.register_buf_ring(address, 16, GROUP, incremental) };
        registered.expect("registered");
        [ring, data]
    }

    pub(super) fn say(&mut self, fd: &Fd, text: &'static str) {
        self.push(&send(fd, 900, text));
        self.drain("said");
    }
}

/// From here on results are descriptors, whose numbers do not count.
pub(super) const DESCRIPTORS: u64 = 1000;
const SOCK_NONEMPTY: u32 = 1 << 2;

pub(super) fn accept(listener: &Fd, user_data: u64, ioprio: u16) -> RawSqe {
    // SAFETY: nothing is lent.
    unsafe {
        filled(user_data, |sqe| {
            sqe.op(opcode::ACCEPT).fd(listener).ioprio(ioprio);
        })
    }
}

pub(super) fn send(fd: &Fd, user_data: u64, text: &'static str) -> RawSqe {
    // SAFETY: the text lives for ever.
    unsafe {
        filled(user_data, |sqe| {
            sqe.op(opcode::SEND)
                .fd(fd)
                .lend(text.as_ptr(), text.len())
                .op_flags(libc::MSG_NOSIGNAL as u32);
        })
    }
}

pub(super) fn send_zc(fd: &Fd, user_data: u64, text: &'static str) -> RawSqe {
    RawSqe {
        opcode: opcode::SEND_ZC,
        ..send(fd, user_data, text)
    }
}

pub(super) fn receive_many(fd: &Fd, user_data: u64) -> RawSqe {
    // SAFETY: the buffers are the ring's.
    unsafe {
        filled(user_data, |sqe| {
            sqe.op(opcode::RECV)
                .fd(fd)
                .ioprio(opcode::RECV_MULTISHOT)
                .buffer_group(GROUP);
        })
    }
}

pub(super) fn poll(fd: &Fd, user_data: u64, events: i16) -> RawSqe {
    // SAFETY: nothing is lent.
    unsafe {
        filled(user_data, |sqe| {
            sqe.op(opcode::POLL_ADD).fd(fd).op_flags(events as u32);
        })
    }
}

/// With a completion of its own, whatever it says.
pub(super) fn cancel(target: u64, user_data: u64) -> RawSqe {
    RawSqe {
        flags: 0,
        ..RawSqe::cancel(target, user_data)
    }
}
