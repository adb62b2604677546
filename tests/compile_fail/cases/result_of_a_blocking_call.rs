//! What a blocking call returns comes from another thread.

use std::rc::Rc;

use corering::task::spawn_blocking;

fn share() {
    spawn_blocking(|| Rc::new(5));
}

fn main() {}
