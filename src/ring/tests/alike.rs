//! Submission by submission, the simulated kernel completes what Linux completes.
//!
//! Completions are compared as results and flags, in order of their user data: which of several
//! ops is first is open on both.

mod chains;
mod stage;

use std::fmt::Write;
use std::net::Shutdown;

use socket2::{Domain, SockAddr, Type};

use self::stage::{DESCRIPTORS, GROUP, accept, alike, cancel, poll, receive_many, send, send_zc};
use super::super::{Config, Fd, RawSqe, Ring, opcode};
use super::{filled, nop};

#[test]
fn cancels_say_the_same() {
    alike(|stage, _| {
        let (client, server) = stage.pair();
        let mut buf = vec![0_u8; 64];
        let into = buf.as_mut_ptr();
        // SAFETY: the buffer lives until the receive was cancelled.
        let receive = unsafe {
            filled(5, |sqe| {
                sqe.op(opcode::RECV).fd(&server).lend_mut(into, 64);
            })
        };
        stage.push(&receive);
        stage.drain("it waits");
        stage.push(&cancel(5, 6));
        stage.drain("cancelled");
        stage.push(&cancel(5, 7));
        stage.push(&nop(8));
        stage.push(&cancel(8, 9));
        stage.drain("there is nothing to cancel");
        stage.push(&receive);
        stage.push(&RawSqe::cancel(5, 10));
        stage.drain("in one batch, without a word");
        stage.push(&poll(&server, 11, libc::POLLIN));
        stage.push(&accept(&client, DESCRIPTORS, 0));
        stage.push(&RawSqe::cancel_all(12));
        stage.drain("all");
        drop(buf);
    });
}

#[test]
fn multishot_receives_say_the_same() {
    alike(|stage, _| {
        let (client, server) = stage.pair();
        let buffers = stage.buffers(3, false);
        stage.push(&receive_many(&server, 20));
        stage.drain("armed");
        stage.say(&client, "short");
        stage.say(&client, "longer than one buffer");
        stage.say(&client, "there is no buffer left");
        stage.push(&receive_many(&server, 21));
        stage.drain("armed without buffers");
        stage.ring.unregister_buf_ring(GROUP).unwrap();
        drop(buffers);
        let buffers = stage.buffers(4, false);
        stage.push(&receive_many(&server, 22));
        stage.drain("armed with others");
        client.shutdown(Shutdown::Write).unwrap();
        stage.drain("the end");
        stage.push(&receive_many(&server, 23));
        stage.drain("armed at the end");
        stage.ring.unregister_buf_ring(GROUP).unwrap();
        stage.push(&receive_many(&client, 24));
        stage.drain("without a group");
        drop(buffers);
    });
}

#[test]
fn a_multishot_receive_is_cancelled_alike() {
    alike(|stage, _| {
        let (client, server) = stage.pair();
        let buffers = stage.buffers(3, false);
        stage.push(&receive_many(&server, 20));
        stage.say(&client, "first");
        stage.push(&cancel(20, 30));
        stage.drain("cancelled");
        stage.say(&client, "late");
        stage.push(&receive_many(&server, 21));
        stage.drain("armed again");
        drop(client);
        stage.drain("the peer is gone");
        stage.ring.unregister_buf_ring(GROUP).unwrap();
        drop(buffers);
    });
}

#[test]
fn incremental_buffers_are_used_alike() {
    alike(|stage, _| {
        if !stage.ring.features().incremental {
            // Every other simulated kernel is an older one: Linux's lines are all that is wanted.
            stage.log = RECORDED.with(|log| log.borrow().clone());
            return;
        }
        let (client, server) = stage.pair();
        let buffers = stage.buffers(2, true);
        stage.push(&receive_many(&server, 20));
        stage.drain("armed");
        stage.say(&client, "short");
        stage.say(&client, "shorter");
        stage.say(&client, "beyond the end");
        stage.say(&client, "and then there is none");
        stage.ring.unregister_buf_ring(GROUP).unwrap();
        drop(buffers);
        RECORDED.with(|log| log.borrow_mut().clone_from(&stage.log));
    });
}

thread_local! {
    static RECORDED: std::cell::RefCell<String> = const { std::cell::RefCell::new(String::new()) };
}

#[test]
fn accepts_say_the_same() {
    alike(|stage, _| {
        let (listener, address) = stage.listener();
        let address = Box::new(SockAddr::from(address));
        stage.push(&accept(&listener, DESCRIPTORS, opcode::ACCEPT_MULTISHOT));
        stage.drain("armed");
        let clients: Vec<Fd> = (0..3)
            .map(|_| stage.ring.socket(Domain::IPV4, Type::STREAM, None).unwrap())
            .collect();
        for (at, client) in clients.iter().enumerate() {
            // SAFETY: the address lives until the completions were taken.
            let connect = unsafe {
                filled(at as u64, |sqe| {
                    sqe.op(opcode::CONNECT)
                        .fd(client)
                        .lend(address.as_ptr().cast(), 0)
                        .offset(u64::from(address.len()));
                })
            };
            stage.push(&connect);
        }
        stage.drain("connected");
        stage.push(&cancel(DESCRIPTORS, 40));
        stage.drain("cancelled");
        stage.push(&accept(&clients[0], DESCRIPTORS, opcode::ACCEPT_MULTISHOT));
        stage.drain("on a connection");
        let fresh = stage.ring.socket(Domain::IPV4, Type::STREAM, None).unwrap();
        stage.push(&accept(&fresh, DESCRIPTORS, 0));
        stage.drain("on a fresh socket");
        stage.push(&send(&fresh, 41, "nobody"));
        stage.push(&send(&listener, 42, "nobody"));
        stage.drain("sends to nobody");
    });
}

/// More than two sockets hold.
static LARGE: [u8; 16 << 20] = [0; 16 << 20];

#[test]
fn zero_copy_sends_say_the_same() {
    alike(|stage, _| {
        let (client, server) = stage.pair();
        stage.push(&send_zc(&client, 50, "some"));
        stage.drain("sent");
        stage.push(&send_zc(&client, 51, ""));
        stage.drain("nothing sent");
        // The other direction is filled up.
        for user_data in 54..56 {
            // SAFETY: the memory lives for ever. So may the first send: its notification comes
            // when the peer has acknowledged what it does not read.
            let fill = unsafe {
                filled(user_data, |sqe| {
                    sqe.op(opcode::SEND_ZC)
                        .fd(&server)
                        .lend(LARGE.as_ptr(), LARGE.len())
                        .op_flags((libc::MSG_NOSIGNAL | libc::MSG_WAITALL) as u32);
                })
            };
            stage.push(&fill);
        }
        stage.push(&cancel(55, 56));
        stage.ring.submit().map(drop).unwrap();
        let mut seen = Vec::new();
        while seen.len() < 3 {
            let cqe = super::reap_one(&mut stage.ring);
            seen.push((cqe.user_data, cqe.res, cqe.flags));
        }
        seen.sort_unstable();
        let _ = writeln!(stage.log, "cancelled while it waits: {seen:?}");
        client.shutdown(Shutdown::Write).unwrap();
        stage.push(&send_zc(&client, 52, "late"));
        stage.push(&send(&client, 53, "late"));
        stage.drain("after the end");
        drop(server);
    });
}

#[test]
fn polls_say_the_same() {
    alike(|stage, _| {
        let (client, server) = stage.pair();
        stage.push(&poll(&server, 60, libc::POLLIN));
        stage.push(&poll(&server, 61, libc::POLLOUT));
        stage.push(&poll(&server, 62, libc::POLLIN | libc::POLLOUT));
        stage.drain("writable");
        stage.say(&client, "readable");
        let event = stage.ring.eventfd().unwrap();
        stage.push(&poll(&event, 63, libc::POLLIN));
        stage.drain("an eventfd at rest");
        event.eventfd_write();
        stage.drain("and kicked");
        stage.push(&poll(&event, 64, libc::POLLIN | libc::POLLOUT));
        stage.drain("and polled again");
        stage.push(&poll(&client, 65, libc::POLLIN));
        drop(server);
        stage.drain("reset");
        stage.push(&poll(&client, 66, libc::POLLIN | libc::POLLOUT));
        stage.drain("afterwards");
    });
}

#[test]
fn messages_to_other_rings_are_the_same() {
    alike(|stage, door| {
        let other = Ring::open(door, &Config::default()).unwrap();
        let message = |user_data: u64, fd: i32| {
            // SAFETY: nothing is lent.
            unsafe {
                filled(user_data, |sqe| {
                    sqe.op(opcode::MSG_RING).raw_fd(fd).len(7).offset(77);
                })
            }
        };
        stage.push(&message(70, other.raw_fd()));
        let silent = RawSqe {
            flags: opcode::SKIP_SUCCESS,
            ..message(71, other.raw_fd())
        };
        stage.push(&silent);
        stage.drain("sent");
        let (client, _server) = stage.pair();
        // SAFETY: nothing is lent.
        let nowhere = unsafe {
            filled(72, |sqe| {
                sqe.op(opcode::MSG_RING).fd(&client).len(7).offset(77);
            })
        };
        stage.push(&nowhere);
        stage.drain("to a socket");
        stage.ring = other;
        stage.drain("received");
    });
}

#[test]
fn what_cannot_be_done_is_refused_alike() {
    alike(|stage, _| {
        let code = |opcode: u8, user_data: u64| RawSqe {
            opcode,
            user_data,
            ..RawSqe::default()
        };
        let silent = RawSqe {
            flags: opcode::SKIP_SUCCESS,
            ..nop(80)
        };
        stage.push(&silent);
        stage.push(&code(29, 81)); // OPENAT2, which no ring of ours allows
        stage.drain("silent, and not allowed");
        for (at, op) in [opcode::RECV, opcode::READ, opcode::FSYNC, opcode::ACCEPT]
            .iter()
            .enumerate()
        {
            let sqe = RawSqe {
                fd: -1,
                ..code(*op, 90 + at as u64)
            };
            stage.push(&sqe);
        }
        stage.drain("no descriptor");
        let (client, _server) = stage.pair();
        // SAFETY: nothing is lent.
        let sync = unsafe {
            filled(100, |sqe| {
                sqe.op(opcode::FSYNC).fd(&client);
            })
        };
        stage.push(&sync);
        stage.drain("not a file");
    });
}

#[test]
fn a_full_completion_queue_ends_a_multishot_alike() {
    const TEXT: &str = "sixteen bytes...sixteen bytes...sixteen bytes...sixteen bytes...\
                        sixteen bytes...sixteen bytes...sixteen bytes...sixteen bytes...\
                        sixteen bytes...sixteen bytes...sixteen bytes...sixteen bytes...";
    alike(|stage, _| {
        let (client, server) = stage.pair();
        let buffers = stage.buffers(16, false);
        stage.say(&client, TEXT);
        stage.push(&receive_many(&server, 20));
        stage.drain("more than the queue holds");
        let _ = writeln!(stage.log, "overflows {}", stage.ring.overflows() > 0);
        stage.ring.unregister_buf_ring(GROUP).unwrap();
        drop(buffers);
    });
}
