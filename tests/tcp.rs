//! TCP streams carry every byte, in order, and say when they end.

use std::net::Shutdown;
use std::time::Duration;

use corering::Runtime;
use corering::net::{TcpListener, TcpStream};

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let (server, peer) = listener.accept().await.unwrap();
    assert_eq!(peer, client.local_addr().unwrap());
    (client, server)
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len as u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect()
}

#[test]
fn what_is_written_is_received_with_leases() {
    Runtime::new().unwrap().block_on(async {
        let (client, server) = pair().await;
        let sent = pattern(3 << 20);
        let copy = sent.clone();
        let writer = corering::spawn(async move {
            client.write_all(copy).await.0.unwrap();
            client.shutdown(Shutdown::Write).await.unwrap();
            client
        });
        let mut got = Vec::new();
        while let Some(lease) = server.recv().await.unwrap() {
            got.extend_from_slice(&lease);
        }
        assert!(got == sent);
        assert!(
            server.recv().await.unwrap().is_none(),
            "the end of the stream stays"
        );
        drop(writer.await.unwrap());
    });
}

#[test]
fn an_echo_comes_back() {
    Runtime::new().unwrap().block_on(async {
        let (client, server) = pair().await;
        corering::spawn(async move {
            while let Some(lease) = server.recv().await.unwrap() {
                server.write_all(lease).await.0.unwrap();
            }
        });
        for len in [1, 100, 5000, 70_000] {
            let (sent, buf) = client.write_all(pattern(len)).await;
            sent.unwrap();
            let mut got = Vec::new();
            while got.len() < len {
                let (n, part) = client.read(Vec::with_capacity(16 * 1024)).await;
                assert_eq!(n.unwrap(), part.len());
                got.extend_from_slice(&part);
            }
            assert!(got == buf, "{len}");
        }
    });
    let _ = Duration::ZERO;
}
