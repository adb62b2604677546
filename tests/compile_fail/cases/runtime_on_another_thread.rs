//! A ring may be used by the thread that has made it, and by no other.

fn give_away(runtime: corering::Runtime) {
    std::thread::spawn(move || runtime.block_on(async {}));
}

fn main() {}
