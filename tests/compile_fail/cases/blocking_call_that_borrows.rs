//! A blocking call goes on when its handle is dropped.

use corering::task::spawn_blocking;

fn count(text: String) {
    let words = text.as_str();
    drop(spawn_blocking(move || words.split(' ').count()));
}

fn main() {}
