//! What is beside the bytes: control data, segments, options, groups.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, SystemTime};

use corering::net::{Control, PacketInfo, UdpSocket};
use corering::time::{sleep, timeout};
use futures_lite::future::poll_once;

use crate::{pair, run};

#[test]
fn control_data_says_when_where_and_how_a_datagram_came() {
    for (host, ip) in [
        ("127.0.0.1:0", IpAddr::V4(Ipv4Addr::LOCALHOST)),
        ("[::1]:0", IpAddr::V6(Ipv6Addr::LOCALHOST)),
    ] {
        run(async {
            let a = UdpSocket::bind(host).await?;
            let b = UdpSocket::bind(host).await?;
            b.set_recv_timestamp(true)?;
            b.set_recv_packet_info(true)?;
            b.set_recv_traffic_class(true)?;
            let mut control = Control::new();
            control.set_ecn(2).set_packet_info(PacketInfo::new(ip));
            a.send_msg("x", Some(b.local_addr()?), control).await.0?;
            let control = b.recv().await?.control;
            assert_eq!(control.ecn(), Some(2));
            let info = control.packet_info().expect("it was asked for");
            assert_eq!(info.address, ip);
            assert!(info.interface > 0);
            let age = SystemTime::now().duration_since(control.timestamp().expect("so was this"));
            assert!(age.expect("it came earlier") < Duration::from_secs(5));
            assert!(!control.truncated());
            Ok(())
        });
    }
}

#[test]
fn control_data_that_has_no_room_is_cut_and_says_so() {
    run(async {
        let (a, b) = pair().await?;
        b.set_recv_timestamp(true)?;
        b.set_recv_packet_info(true)?;
        b.set_control_room(32);
        a.send("first").await.0?;
        let datagram = b.recv().await?;
        assert_eq!(
            (&*datagram.payload, datagram.truncated),
            (&b"first"[..], false)
        );
        assert!(datagram.control.truncated());
        assert!(datagram.control.timestamp().is_some() && datagram.control.packet_info().is_none());
        // While a receive is armed, too.
        assert!(poll_once(b.recv()).await.is_none());
        b.set_control_room(256);
        sleep(Duration::from_millis(5)).await;
        a.send("second").await.0?;
        let datagram = b.recv().await?;
        assert!(!datagram.control.truncated() && datagram.control.packet_info().is_some());
        Ok(())
    });
}

#[test]
fn segments_are_cut_and_joined_by_the_kernel() {
    run(async {
        let (a, b) = pair().await?;
        b.set_gro(true)?;
        let bytes: Vec<u8> = (0..2_500_u32).map(|i| (i % 251) as u8).collect();
        let mut control = Control::new();
        control.set_segment_size(1_000);
        let (sent, bytes) = a.send_msg(bytes, None, control).await;
        assert_eq!(sent?, 2_500);
        let joined = b.recv().await?;
        assert_eq!(joined.control.segment_size(), Some(1_000));
        assert_eq!(&*joined.payload, &bytes[..]);
        b.set_gro(false)?;
        let mut control = Control::new();
        control.set_segment_size(1_000);
        a.send_msg(bytes.clone(), None, control).await.0?;
        for part in bytes.chunks(1_000) {
            assert_eq!(&*b.recv().await?.payload, part);
        }
        Ok(())
    });
}

#[test]
fn options_are_set_and_read_back() {
    for host in ["127.0.0.1:0", "[::1]:0"] {
        run(async {
            let socket = UdpSocket::bind(host).await?;
            assert!(!socket.broadcast()?);
            socket.set_broadcast(true)?;
            assert!(socket.broadcast()?);
            socket.set_ttl(7)?;
            assert_eq!(socket.ttl()?, 7);
            socket.set_multicast_loop(false)?;
            assert!(!socket.multicast_loop()?);
            socket.set_multicast_ttl(3)?;
            assert_eq!(socket.multicast_ttl()?, 3);
            socket.set_recv_buffer_size(10_000)?;
            assert_eq!(socket.recv_buffer_size()?, 20_000);
            socket.set_send_buffer_size(10_000)?;
            assert_eq!(socket.send_buffer_size()?, 20_000);
            Ok(())
        });
    }
}

#[test]
fn a_multicast_datagram_comes_to_the_members() {
    run(async {
        let group = Ipv4Addr::new(239, 255, 42, 98);
        let member = UdpSocket::bind_reuse_address("0.0.0.0:0").await?;
        let port = member.local_addr()?.port();
        let other = UdpSocket::bind_reuse_address(("0.0.0.0", port)).await?;
        let sender = UdpSocket::bind("127.0.0.1:0").await?;
        sender.set_multicast_if_v4(&Ipv4Addr::LOCALHOST)?;
        for socket in [&member, &other] {
            socket.join_multicast_v4(group, Ipv4Addr::LOCALHOST)?;
        }
        sender.send_to("all", (group, port)).await.0?;
        for socket in [&member, &other] {
            assert_eq!(&*socket.recv().await?.payload, b"all");
            socket.leave_multicast_v4(group, Ipv4Addr::LOCALHOST)?;
        }
        sender.send_to("nobody", (group, port)).await.0?;
        let later = timeout(Duration::from_millis(20), member.recv()).await;
        assert!(later.is_err());
        Ok(())
    });
}

#[test]
fn sockets_that_share_a_port_share_its_datagrams() {
    run(async {
        let one = UdpSocket::bind_reuse_port("127.0.0.1:0").await?;
        let address = one.local_addr()?;
        let two = UdpSocket::bind_reuse_port(address).await?;
        for _ in 0..50 {
            let client = UdpSocket::bind("127.0.0.1:0").await?;
            client.send_to("x", address).await.0?;
        }
        let mut count = 0;
        for socket in [&one, &two] {
            let mut here = 0;
            while timeout(Duration::from_millis(20), socket.recv())
                .await
                .is_ok()
            {
                here += 1;
            }
            assert!(here > 0, "50 senders all went to the other socket");
            count += here;
        }
        assert_eq!(count, 50);
        Ok(())
    });
}
