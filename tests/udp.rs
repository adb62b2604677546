//! UDP: datagrams come whole, in order, once, with what came beside them, whatever is dropped.

#[path = "udp/beside.rs"]
mod beside;
#[path = "udp/trains.rs"]
mod trains;
#[path = "udp/turns.rs"]
mod turns;
#[path = "udp/unawaited.rs"]
mod unawaited;

use std::future::Future;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use corering::Runtime;
use corering::io::Operation;
use corering::net::UdpSocket;
use corering::time::{sleep, timeout};
use futures_lite::future::poll_once;

fn run<T>(future: impl Future<Output = io::Result<T>>) -> T {
    let limited = async { timeout(Duration::from_secs(20), future).await };
    let done = Runtime::new().unwrap().block_on(limited);
    done.expect("it ends in time").unwrap()
}

/// Two sockets of one host, connected to each other.
async fn pair() -> io::Result<(UdpSocket, UdpSocket)> {
    let a = UdpSocket::bind("127.0.0.1:0").await?;
    let b = UdpSocket::bind("127.0.0.1:0").await?;
    a.connect(b.local_addr()?).await?;
    b.connect(a.local_addr()?).await?;
    Ok((a, b))
}

#[test]
fn a_datagram_comes_with_its_sender_and_can_be_sent_back_as_it_is() {
    for host in ["127.0.0.1:0", "[::1]:0"] {
        run(async {
            let server = UdpSocket::bind(host).await?;
            let client = UdpSocket::bind(host).await?;
            client.send_to("ping", server.local_addr()?).await.0?;
            let datagram = server.recv().await?;
            assert_eq!(&*datagram.payload, b"ping");
            assert_eq!(datagram.from, client.local_addr()?);
            assert!(!datagram.truncated && !datagram.control.truncated());
            let (sent, payload) = server.send_to(datagram.payload, datagram.from).await;
            assert_eq!((sent?, &payload[..]), (4, &b"ping"[..]));
            let (received, buf) = client.recv_from(Vec::with_capacity(10)).await;
            let received = received?;
            assert_eq!((received.len, &buf[..]), (4, &b"ping"[..]));
            assert_eq!(received.from, server.local_addr()?);
            Ok(())
        });
    }
}

#[test]
fn a_datagram_that_is_too_long_is_cut_and_says_so() {
    run(async {
        let (a, b) = pair().await?;
        for text in ["0123456789", "next"] {
            a.send(text).await.0?;
        }
        let (peeked, buf) = b.peek(Vec::with_capacity(3)).await;
        let peeked = peeked?;
        assert_eq!(
            (peeked.len, peeked.truncated, &buf[..]),
            (3, true, &b"012"[..])
        );
        let (received, buf) = b.recv_from(buf).await;
        let received = received?;
        assert_eq!(
            (received.len, received.truncated, &buf[..]),
            (3, true, &b"012"[..])
        );
        // The end of the first is gone: it is not taken for the second.
        let (received, buf) = b.recv_from(Vec::with_capacity(4)).await;
        let received = received?;
        assert_eq!(
            (received.len, received.truncated, &buf[..]),
            (4, false, &b"next"[..])
        );
        Ok(())
    });
}

#[test]
fn a_datagram_without_bytes_is_one_and_not_the_end() {
    run(async {
        let (a, b) = pair().await?;
        for text in ["", "one", "", ""] {
            a.send(text).await.0?;
        }
        for text in ["", "one"] {
            let datagram = b.recv().await?;
            assert_eq!(
                (&*datagram.payload, datagram.truncated),
                (text.as_bytes(), false)
            );
            assert_eq!(datagram.from, a.local_addr()?);
        }
        // Into no room at all, too.
        for _ in 0..2 {
            let (received, _) = b.recv_from(Vec::new()).await;
            let received = received?;
            assert_eq!((received.len, received.truncated), (0, false));
        }
        a.send("after").await.0?;
        let (received, _) = b.recv_from(Vec::new()).await;
        assert!(received?.truncated);
        Ok(())
    });
}

#[test]
fn the_largest_datagram_comes_whole() {
    run(async {
        let (a, b) = pair().await?;
        let bytes: Vec<u8> = (0..65_507_u32).map(|i| (i % 251) as u8).collect();
        let (sent, bytes) = a.send(bytes).await;
        assert_eq!(sent?, 65_507);
        let datagram = b.recv().await?;
        assert!(*datagram.payload == bytes && !datagram.truncated);
        let (error, _) = a.send(vec![0; 65_508]).await;
        assert_eq!(error.unwrap_err().raw_os_error(), Some(libc::EMSGSIZE));
        a.send("still there").await.0?;
        assert_eq!(&*b.recv().await?.payload, b"still there");
        Ok(())
    });
}

#[test]
fn a_peek_leaves_the_datagram_to_the_next_call() {
    run(async {
        let (a, b) = pair().await?;
        let mut peek = b.peek(Vec::with_capacity(9));
        assert!(poll_once(&mut peek).await.is_none());
        a.send("look").await.0?;
        let (peeked, buf) = peek.await;
        assert_eq!((peeked?.from, &buf[..]), (a.local_addr()?, &b"look"[..]));
        assert_eq!(b.peek(buf).await.0?.len, 4);
        assert_eq!(&*b.recv().await?.payload, b"look");
        Ok(())
    });
}

#[test]
fn an_icmp_error_is_told_once_and_the_socket_goes_on() {
    run(async {
        let (a, b) = pair().await?;
        let there = b.local_addr()?;
        b.close().await?;
        // Somebody waits already: the error is for them.
        let mut waiting = pin!(a.recv());
        assert!(poll_once(&mut waiting).await.is_none());
        a.send("nobody").await.0?;
        let error = waiting.await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        let later = timeout(Duration::from_millis(20), a.recv()).await;
        assert!(later.is_err(), "it was told once: {later:?}");

        let again = UdpSocket::bind(there).await?;
        a.send("somebody").await.0?;
        assert_eq!(&*again.recv().await?.payload, b"somebody");
        again.send_to("hello", a.local_addr()?).await.0?;
        assert_eq!(&*a.recv().await?.payload, b"hello");
        Ok(())
    });
}

#[test]
fn an_icmp_error_that_a_dropped_send_was_told_goes_to_the_next_receive() {
    run(async {
        let (a, b) = pair().await?;
        b.close().await?;
        a.send("nobody").await.0?;
        sleep(Duration::from_millis(5)).await;
        // The kernel tells the next call, whatever becomes of its future.
        assert!(poll_once(a.send("dropped")).await.is_none());
        sleep(Duration::from_millis(5)).await;
        let error = a.recv().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        Ok(())
    });
}

#[test]
fn dropped_receives_lose_nothing_and_nothing_comes_twice() {
    run(async {
        let (a, b) = pair().await?;
        let (mut next, mut taken) = (0_u32, 0_u32);
        let mut seed = 1_u64;
        while taken < 4_000 {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1);
            let burst = (seed >> 33) % 8;
            for _ in 0..burst {
                a.send(next.to_ne_bytes().to_vec()).await.0?;
                next += 1;
            }
            for _ in 0..burst {
                seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1);
                match (seed >> 33) % 4 {
                    // Dropped before it is polled, and after.
                    0 => drop(b.recv()),
                    1 => {
                        if let Some(datagram) = poll_once(b.recv()).await {
                            assert_eq!(*datagram?.payload, taken.to_ne_bytes());
                            taken += 1;
                        }
                    }
                    2 => {
                        let outcome = b.recv_from(Vec::with_capacity(9)).cancel().await;
                        if let (Ok(_), buf) = outcome {
                            assert_eq!(buf, taken.to_ne_bytes());
                            taken += 1;
                        }
                    }
                    _ if taken < next => {
                        assert_eq!(*b.recv().await?.payload, taken.to_ne_bytes());
                        taken += 1;
                    }
                    _ => {}
                }
            }
            // No more than the socket has room for.
            while next - taken > 50 {
                assert_eq!(*b.recv().await?.payload, taken.to_ne_bytes());
                taken += 1;
            }
        }
        let unread = b.close().await?;
        let unread: Vec<_> = unread.iter().map(|datagram| &*datagram.payload).collect();
        for payload in unread {
            assert_eq!(payload, taken.to_ne_bytes());
            taken += 1;
        }
        Ok(())
    });
}

#[test]
fn datagrams_that_nobody_takes_stay_in_the_socket_within_its_limits() {
    run(async {
        let (a, b) = pair().await?;
        // Somebody has waited once, so the receive is armed.
        assert!(poll_once(b.recv()).await.is_none());
        for number in 0..400_u32 {
            a.send(number.to_ne_bytes().to_vec()).await.0?;
        }
        // 256 in the inbox, and some in the kernel: it drops only what has no room there.
        for number in 0..400_u32 {
            assert_eq!(*b.recv().await?.payload, number.to_ne_bytes());
        }
        Ok(())
    });
}

#[test]
fn hoarded_datagrams_do_not_keep_others_from_coming() {
    run(async {
        let (a, b) = pair().await?;
        let mut hoard = Vec::new();
        for number in 0..2_000_u32 {
            a.send(number.to_ne_bytes().to_vec()).await.0?;
            hoard.push(b.recv().await?);
        }
        for (number, datagram) in hoard.iter().enumerate() {
            assert_eq!(*datagram.payload, (number as u32).to_ne_bytes());
        }
        Ok(())
    });
}

#[test]
fn many_tasks_send_and_receive_on_one_socket() {
    run(async {
        let (a, b) = pair().await?;
        let (a, b) = (Rc::new(a), Rc::new(b));
        let mut tasks = Vec::new();
        for number in 0..100_u8 {
            let (a, b) = (Rc::clone(&a), Rc::clone(&b));
            tasks.push(corering::spawn(async move {
                a.send(vec![number; 10]).await.0?;
                b.recv().await
            }));
        }
        let mut seen = Vec::new();
        for task in tasks {
            let datagram = task.await.expect("no panic")?;
            assert!(
                datagram
                    .payload
                    .iter()
                    .all(|&byte| byte == datagram.payload[0])
            );
            seen.push(datagram.payload[0]);
        }
        seen.sort_unstable();
        assert!(seen.iter().copied().eq(0..100));
        Ok(())
    });
}

#[test]
fn a_send_that_is_refused_gives_the_buffer_back() {
    run(async {
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        let (error, buf) = socket.send(vec![1, 2, 3]).await;
        assert_eq!(error.unwrap_err().raw_os_error(), Some(libc::EDESTADDRREQ));
        assert_eq!(buf, [1, 2, 3]);
        let port_zero = SocketAddr::from(([127, 0, 0, 1], 0));
        let (error, _) = socket.send_to("x", port_zero).await;
        assert_eq!(error.unwrap_err().raw_os_error(), Some(libc::EINVAL));
        let six = SocketAddr::from((Ipv6Addr::LOCALHOST, 9));
        let (error, _) = socket.send_to("x", six).await;
        assert_eq!(error.unwrap_err().raw_os_error(), Some(libc::EAFNOSUPPORT));
        let broadcast = SocketAddr::from((Ipv4Addr::BROADCAST, 9));
        let (error, _) = socket.send_to("x", broadcast).await;
        assert_eq!(error.unwrap_err().kind(), ErrorKind::PermissionDenied);
        Ok(())
    });
}

#[test]
fn a_socket_of_std_is_taken_over_and_given_back_with_what_was_not_read() {
    run(async {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
        socket.set_nonblocking(true)?;
        let socket = UdpSocket::from_std(socket)?;
        let peer = UdpSocket::bind("127.0.0.1:0").await?;
        assert!(poll_once(socket.recv()).await.is_none());
        peer.send_to("unread", socket.local_addr()?).await.0?;
        sleep(Duration::from_millis(5)).await;
        let (socket, unread) = socket.into_std().await?;
        assert_eq!(unread.len(), 1);
        assert_eq!(
            (&*unread[0].payload, unread[0].from),
            (&b"unread"[..], peer.local_addr()?)
        );
        peer.send_to("later", socket.local_addr()?).await.0?;
        let mut buf = [0; 9];
        assert_eq!(socket.recv(&mut buf)?, 5);
        Ok(())
    });
}

#[test]
fn a_dropped_send_that_was_submitted_arrives() {
    run(async {
        let (a, b) = pair().await?;
        drop(a.send("never polled"));
        assert!(poll_once(a.send("submitted")).await.is_none());
        drop(a);
        assert_eq!(&*b.recv().await?.payload, b"submitted");
        Ok(())
    });
}

#[test]
fn a_socket_that_outlives_its_runtime_says_so() {
    let runtime = Runtime::new().unwrap();
    let (socket, unread) = runtime.block_on(async {
        let (a, b) = pair().await.unwrap();
        assert!(poll_once(b.recv()).await.is_none());
        a.send("lease").await.0.unwrap();
        let datagram = b.recv().await.unwrap();
        (b, datagram)
    });
    drop(runtime);
    assert_eq!(&*unread.payload, b"lease");
    let outcome = Runtime::new().unwrap().block_on(socket.recv());
    assert_eq!(outcome.unwrap_err().raw_os_error(), Some(libc::ECANCELED));
    let (outcome, buf) = Runtime::new().unwrap().block_on(socket.send("x"));
    assert_eq!(outcome.unwrap_err().raw_os_error(), Some(libc::ECANCELED));
    assert_eq!(buf, "x");
}

#[test]
fn datagrams_that_come_together_wake_those_who_wait_in_order() {
    run(async {
        let (a, b) = pair().await?;
        let b = Rc::new(b);
        let order = Rc::new(std::cell::RefCell::new(Vec::new()));
        let tasks: Vec<_> = (0..20_u8)
            .map(|number| {
                let (b, order) = (Rc::clone(&b), Rc::clone(&order));
                corering::spawn(async move {
                    let datagram = b.recv().await.expect("a datagram");
                    order.borrow_mut().push((number, datagram.payload[0]));
                })
            })
            .collect();
        sleep(Duration::from_millis(2)).await;
        let sender = std::net::UdpSocket::from(std::os::fd::AsFd::as_fd(&a).try_clone_to_owned()?);
        for number in 0..20_u8 {
            sender.send(&[number])?;
        }
        let before = corering::runtime::stats().expect("inside a runtime").turns;
        for task in tasks {
            task.await.expect("no panic");
        }
        let turns = corering::runtime::stats().expect("inside a runtime").turns - before;
        assert!(order.borrow().iter().copied().eq((0..20).map(|n| (n, n))));
        assert!(turns < 10, "one turn for each: {turns}");
        Ok(())
    });
}
