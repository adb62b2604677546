//! A file belongs to the ring of its core.

use corering::fs::File;

fn share(file: &File) {
    std::thread::scope(|scope| {
        scope.spawn(|| file);
    });
}

fn main() {}
