//! What the runtime promises, on a kernel that does everything that a kernel may do.
//!
//! Each test is a small program with an oracle of its own, run with hundreds of seeds. Those of
//! `ci/planted/` that only an unkind kernel shows are caught here.

#[path = "adversary/connections.rs"]
mod connections;
#[path = "adversary/files.rs"]
mod files;
#[path = "adversary/streams.rs"]
mod streams;
#[path = "adversary/times.rs"]
mod times;

use std::env;
use std::future::Future;

use corering::net::{TcpListener, TcpStream};
use corering::sim::{Check, Faults, Sim};

/// Set while bugs are planted, of which the first seed is wanted and no explanation.
const PLANTED: &str = "CORERING_PLANTED";

/// Runs `test` with `seeds` seeds.
fn check<F>(seeds: u64, faults: Faults, test: impl Fn(Sim) -> F)
where
    F: Future<Output = ()> + 'static,
{
    let shrinks = env::var_os(PLANTED).is_none();
    let check = Check::new().seeds(seeds).faults(faults).shrink(shrinks);
    if let Err(failure) = check.run(test) {
        panic!("{failure}");
    }
}

/// Two ends of a connection.
async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let client = TcpStream::connect(address).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    (client, server)
}
