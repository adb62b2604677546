//! Limits, stops, hand-overs and deadlines on the simulated kernel, in virtual time: whatever the
//! schedule, no connection is lost, none comes that may not, and deadlines pass when they should.

#[path = "sim_listening/connections.rs"]
mod connections;
#[path = "sim_listening/deadlines.rs"]
mod deadlines;

use std::env;
use std::future::Future;

use corering::net::{TcpListener, TcpStream};
use corering::sim::{Check, Faults, Sim};

/// Set while bugs are planted, of which the first seed is wanted and no explanation.
const PLANTED: &str = "CORERING_PLANTED";

/// Runs `test` with `seeds` seeds.
fn check<F>(seeds: u64, test: impl Fn(Sim) -> F)
where
    F: Future<Output = ()> + 'static,
{
    let shrinks = env::var_os(PLANTED).is_none();
    let check = Check::new().seeds(seeds).shrink(shrinks);
    if let Err(failure) = check.faults(Faults::default()).run(test) {
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
