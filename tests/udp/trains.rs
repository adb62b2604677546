//! Datagrams that are handed over together go together, and come apart.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use corering::net::UdpSocket;
use corering::runtime::stats;
use corering::task::yield_now;
use corering::time::{sleep, timeout};
use corering::{IoBuf, Runtime};
use proptest::collection::vec;
use proptest::prelude::prop_oneof;
use proptest::proptest;
use socket2::SockRef;

use super::{pair, run};

/// What a submission asks of the kernel from here to the next turn.
async fn submissions(hand_over: impl FnOnce()) -> u64 {
    let sqes = || stats().expect("inside a runtime").sqes;
    yield_now().await;
    let before = sqes();
    hand_over();
    yield_now().await;
    sqes() - before
}

/// Hands over datagrams of these lengths, each of a byte of its own.
fn hand_over(socket: &UdpSocket, to: SocketAddr, lengths: &[usize]) {
    for (number, &len) in (0..).zip(lengths) {
        let handed = socket.try_send_to(vec![number; len], to);
        assert!(handed.is_ok(), "{number}: {handed:?}");
    }
}

/// The datagrams of [`hand_over`] are next, and each is by itself.
async fn come(socket: &UdpSocket, lengths: &[usize]) -> io::Result<()> {
    for (number, &len) in (0..).zip(lengths) {
        let datagram = socket.recv().await?;
        assert!(datagram.payload[..] == vec![number; len], "{number}");
        assert_eq!(datagram.control.segment_size(), None);
    }
    Ok(())
}

#[test]
fn datagrams_of_one_length_to_one_address_are_one_submission() {
    run(async {
        let (a, b) = pair().await?;
        let to = b.local_addr()?;
        let trains: [(&[usize], u64); 6] = [
            (&[100; 40], 1),
            (&[100, 100, 100, 30], 1),
            // Whatever follows a shorter one.
            (&[100, 100, 30, 100, 100, 30], 2),
            (&[100, 100, 30, 30], 2),
            (&[30, 100], 2),
            // No longer than a message may be.
            (&[30_000, 30_000, 30_000], 2),
        ];
        for (lengths, expected) in trains {
            let count = submissions(|| hand_over(&a, to, lengths)).await;
            assert_eq!(count, expected, "{lengths:?}");
            come(&b, lengths).await?;
        }
        Ok(())
    });
}

#[test]
fn each_address_has_a_train_of_its_own() {
    run(async {
        let a = UdpSocket::bind("127.0.0.1:0").await?;
        let b = UdpSocket::bind("127.0.0.1:0").await?;
        let c = UdpSocket::bind("127.0.0.1:0").await?;
        let (of_b, of_c) = (b.local_addr()?, c.local_addr()?);
        let count = submissions(|| {
            hand_over(&a, of_b, &[10, 10]);
            hand_over(&a, of_c, &[10, 10, 10]);
        });
        assert_eq!(count.await, 2);
        come(&b, &[10, 10]).await?;
        come(&c, &[10, 10, 10]).await
    });
}

#[test]
fn trains_go_by_ipv6_as_well() {
    run(async {
        let a = UdpSocket::bind("[::1]:0").await?;
        let b = UdpSocket::bind("[::1]:0").await?;
        let to = b.local_addr()?;
        assert_eq!(submissions(|| hand_over(&a, to, &[20; 10])).await, 1);
        come(&b, &[20; 10]).await
    });
}

#[test]
fn every_member_of_a_group_gets_each_datagram_by_itself() {
    run(async {
        let group = Ipv4Addr::new(239, 255, 42, 97);
        let one = UdpSocket::bind_reuse_address("0.0.0.0:0").await?;
        let port = one.local_addr()?.port();
        let two = UdpSocket::bind_reuse_address(("0.0.0.0", port)).await?;
        let sender = UdpSocket::bind("127.0.0.1:0").await?;
        sender.set_multicast_if_v4(&Ipv4Addr::LOCALHOST)?;
        for member in [&one, &two] {
            member.join_multicast_v4(group, Ipv4Addr::LOCALHOST)?;
        }
        hand_over(&sender, (group, port).into(), &[40, 40, 40, 7]);
        for member in [&one, &two] {
            come(member, &[40, 40, 40, 7]).await?;
        }
        Ok(())
    });
}

#[test]
fn empty_datagrams_between_others_come_as_such() {
    run(async {
        let (a, b) = pair().await?;
        let lengths = [0, 0, 5, 0, 5, 5, 0];
        hand_over(&a, b.local_addr()?, &lengths);
        come(&b, &lengths).await
    });
}

#[test]
fn a_send_that_is_awaited_overtakes_none_that_were_handed_over() {
    run(async {
        let (a, b) = pair().await?;
        hand_over(&a, b.local_addr()?, &[7, 7]);
        a.send(vec![2; 7]).await.0?;
        come(&b, &[7, 7, 7]).await
    });
}

#[allow(unsafe_code)]
fn set_option(socket: &impl AsFd, level: i32, name: i32, value: libc::c_int) {
    // SAFETY: the option is a number, which is read during the call.
    let result = unsafe {
        let (place, len) = ((&raw const value).cast(), size_of_val(&value) as u32);
        libc::setsockopt(socket.as_fd().as_raw_fd(), level, name, place, len)
    };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
}

/// Has the kernel refuse trains, and nothing else: datagrams without checksums are not cut.
fn without_checksums(socket: &UdpSocket) {
    set_option(socket, libc::SOL_SOCKET, libc::SO_NO_CHECK, 1);
}

#[test]
fn trains_that_are_refused_in_one_turn_count_as_one() {
    run(async {
        let a = UdpSocket::bind("127.0.0.1:0").await?;
        let b = UdpSocket::bind("127.0.0.1:0").await?;
        let c = UdpSocket::bind("127.0.0.1:0").await?;
        without_checksums(&a);
        let (of_b, of_c) = (b.local_addr()?, c.local_addr()?);
        let mut counts = Vec::new();
        for _ in 0..4 {
            let both = || {
                hand_over(&a, of_b, &[9; 16]);
                hand_over(&a, of_c, &[9; 16]);
            };
            counts.push(submissions(both).await);
            come(&b, &[9; 16]).await?;
            come(&c, &[9; 16]).await?;
        }
        // Two in vain, 64 alone, and two again.
        assert_eq!(counts, [34, 32, 32, 34]);
        Ok(())
    });
}

#[test]
fn a_socket_that_cuts_its_datagrams_already_sends_each_alone() {
    run(async {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
        set_option(&socket, libc::SOL_UDP, libc::UDP_SEGMENT, 1_000);
        let socket = UdpSocket::from_std(socket)?;
        let receiver = UdpSocket::bind("127.0.0.1:0").await?;
        let to = receiver.local_addr()?;
        let count = submissions(|| hand_over(&socket, to, &[2_500, 2_500]));
        assert_eq!(count.await, 2);
        for len in [1_000, 1_000, 500, 1_000, 1_000, 500] {
            assert_eq!(receiver.recv().await?.payload.len(), len);
        }
        Ok(())
    });
}

#[test]
fn a_socket_of_std_makes_trains_as_well() {
    run(async {
        let socket = UdpSocket::from_std(std::net::UdpSocket::bind("127.0.0.1:0")?)?;
        let receiver = UdpSocket::bind("127.0.0.1:0").await?;
        let to = receiver.local_addr()?;
        assert_eq!(submissions(|| hand_over(&socket, to, &[8; 9])).await, 1);
        come(&receiver, &[8; 9]).await
    });
}

#[test]
fn where_trains_are_refused_datagrams_go_one_by_one_and_none_is_lost() {
    run(async {
        let (a, b) = pair().await?;
        let to = b.local_addr()?;
        without_checksums(&a);
        let lengths = [50; 16];
        let mut counts = Vec::new();
        for _ in 0..1 + 4 + 1 + 8 + 1 {
            counts.push(submissions(|| hand_over(&a, to, &lengths)).await);
            come(&b, &lengths).await?;
        }
        // One in vain and each again, then for a while each alone; for twice as long the next time.
        let (tried, alone) = ([17], [16; 4]);
        assert_eq!(
            counts,
            [&tried[..], &alone, &tried, &alone, &alone, &tried].concat()
        );
        Ok(())
    });
}

#[test]
fn an_icmp_error_that_a_train_was_told_costs_none_of_its_datagrams() {
    run(async {
        let (a, b) = pair().await?;
        b.close().await?;
        a.send("nobody").await.0?;
        sleep(Duration::from_millis(5)).await;
        // The kernel tells the next call, which sends nothing.
        let c = UdpSocket::bind("127.0.0.1:0").await?;
        let to = c.local_addr()?;
        let count = submissions(|| hand_over(&a, to, &[9; 5])).await;
        assert_eq!(count, 1 + 5, "none of it was sent");
        let error = a.recv().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        come(&c, &[9; 5]).await?;
        let later = timeout(Duration::from_millis(20), a.recv()).await;
        assert!(later.is_err(), "it was told once: {later:?}");
        // That says nothing against trains.
        assert_eq!(submissions(|| hand_over(&a, to, &[9; 5])).await, 1);
        Ok(())
    });
}

#[test]
fn what_was_handed_over_leaves_when_its_runtime_ends_at_once() -> io::Result<()> {
    let receiver = std::net::UdpSocket::bind("127.0.0.1:0")?;
    receiver.set_read_timeout(Some(Duration::from_secs(5)))?;
    let to = receiver.local_addr()?;
    for is_refused in [false, true] {
        let runtime = Runtime::new()?;
        let socket = runtime.block_on(UdpSocket::bind("127.0.0.1:0"))?;
        if is_refused {
            without_checksums(&socket);
        }
        // Not inside of it, which would end with a turn.
        hand_over(&socket, to, &[3, 3]);
        drop(runtime);
        for number in [0, 1] {
            let mut buf = [9; 9];
            assert_eq!(receiver.recv(&mut buf)?, 3);
            assert_eq!(buf[..3], [number; 3]);
        }
    }
    Ok(())
}

#[test]
fn a_closed_socket_has_sent_what_was_handed_to_it() {
    run(async {
        let (a, b) = pair().await?;
        hand_over(&a, b.local_addr()?, &[4; 10]);
        a.close().await?;
        // So they are in the other's buffer now.
        let mut buf = [std::mem::MaybeUninit::uninit(); 9];
        for _ in 0..10 {
            let socket = SockRef::from(&b);
            let received = socket.recv_with_flags(&mut buf, libc::MSG_DONTWAIT)?;
            assert_eq!(received, 4);
        }
        Ok(())
    });
}

/// Panics when it is asked where its bytes are.
struct Lost;

// SAFETY: it never says where anything is.
#[allow(unsafe_code)]
unsafe impl IoBuf for Lost {
    fn parts(&self) -> (*const u8, usize) {
        panic!("as a hostile buffer may");
    }
}

#[test]
fn a_buffer_that_panics_takes_no_turn_and_harms_no_other() {
    run(async {
        let (a, b) = pair().await?;
        for _ in 0..100 {
            let panics = AssertUnwindSafe(|| a.try_send(Lost).is_ok());
            assert!(catch_unwind(panics).is_err());
        }
        let lengths = [8; 64];
        hand_over(&a, b.local_addr()?, &lengths);
        come(&b, &lengths).await
    });
}

proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(40))]

    #[test]
    fn datagrams_of_any_lengths_come_whole_and_in_order(
        lengths in vec(prop_oneof![0_usize..4, 97_usize..103, 1_400_usize..1_402], 0..60),
    ) {
        run(async {
            let (a, b) = pair().await?;
            b.set_recv_buffer_size(1 << 20)?;
            hand_over(&a, b.local_addr()?, &lengths);
            come(&b, &lengths).await
        });
    }
}
