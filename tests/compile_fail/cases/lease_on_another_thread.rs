//! A lease gives its buffer back to the core's own buffer ring, without a lock.

use corering::buffers::Lease;

fn give_away(lease: Lease) {
    std::thread::spawn(move || drop(lease));
}

fn main() {}
