//! Sockets of one core take turns at its buffers.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use corering::net::UdpSocket;
use corering::spawn;
use corering::task::yield_now;
use futures_lite::future::poll_once;

use super::run;

const SOCKETS: usize = 64;
/// On the way at once at each socket: together many more than there are buffers.
const OUTSTANDING: usize = 16;
const EACH: usize = 400;

/// Sends what it receives to itself, and counts.
async fn go_round(socket: Rc<UdpSocket>, counts: Rc<RefCell<Vec<usize>>>, own: usize) {
    let address = socket.local_addr().expect("it is bound");
    while let Ok(datagram) = socket.recv().await {
        counts.borrow_mut()[own] += 1;
        let (sent, _) = socket.send_to(datagram.payload, address).await;
        sent.expect("loopback takes it");
    }
}

#[test]
fn sockets_that_always_have_datagrams_are_served_in_turn() {
    run(async {
        let counts = Rc::new(RefCell::new(vec![0; SOCKETS]));
        let sockets: Vec<_> = full_sockets().await?.into_iter().map(Rc::new).collect();
        let tasks = (0..).zip(&sockets);
        let tasks = tasks.map(|(own, socket)| {
            let socket = Rc::clone(socket);
            spawn(go_round(socket, Rc::clone(&counts), own))
        });
        let tasks: Vec<_> = tasks.collect();
        while counts.borrow().iter().sum::<usize>() < SOCKETS * EACH {
            yield_now().await;
        }
        let worst = counts.borrow().iter().copied().min();
        assert!(worst > Some(EACH / 2), "{:?}", counts.borrow());
        drop(tasks);
        Ok(())
    });
}

#[test]
fn a_socket_in_line_for_buffers_is_closed_when_close_says_so() {
    run(async {
        let sockets = full_sockets().await?;
        let mut receives: Vec<_> = sockets.iter().map(|socket| socket.recv()).collect();
        for receive in &mut receives {
            assert!(poll_once(receive).await.is_none());
        }
        // The first ones get all buffers, the others stand in line.
        yield_now().await;
        drop(receives);
        for socket in sockets {
            let address = socket.local_addr()?;
            socket.close().await?;
            UdpSocket::bind(address).await?;
        }
        Ok(())
    });
}

async fn full_sockets() -> io::Result<Vec<UdpSocket>> {
    let mut sockets = Vec::new();
    for _ in 0..SOCKETS {
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        for _ in 0..OUTSTANDING {
            let address = socket.local_addr()?;
            socket.send_to(vec![7; 1400], address).await.0?;
        }
        sockets.push(socket);
    }
    Ok(sockets)
}
