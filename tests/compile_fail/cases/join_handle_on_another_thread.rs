//! The outcome of a task is left where it has run, without a lock.

fn give_away(handle: corering::task::JoinHandle<u32>) {
    std::thread::spawn(move || drop(handle));
}

fn main() {}
