//! A connection that comes late has to find its queue.

use corering::net::TcpListener;

async fn accept(listener: TcpListener) {
    let accept = listener.accept();
    let std = listener.into_std();
    drop((accept.await, std));
}

fn main() {}
