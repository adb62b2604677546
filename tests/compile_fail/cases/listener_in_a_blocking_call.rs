//! A blocking call runs on another thread.

use corering::net::TcpListener;
use corering::task::spawn_blocking;

fn give_away(listener: TcpListener) {
    spawn_blocking(move || drop(listener));
}

fn main() {}
