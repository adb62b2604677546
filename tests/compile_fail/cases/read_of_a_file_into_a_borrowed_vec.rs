//! A worker thread of the kernel may still copy into the vector.

use corering::fs::File;

fn read(file: &File) {
    let mut bytes = Vec::with_capacity(64);
    drop(file.read_at(&mut bytes, 0));
}

fn main() {}
