//! Whoever promises that memory stays in place cannot promise it for borrowed memory.

use corering::buffers::IoBuf;

struct Borrowed<'a>(&'a [u8]);

unsafe impl IoBuf for Borrowed<'_> {
    fn parts(&self) -> (*const u8, usize) {
        (self.0.as_ptr(), self.0.len())
    }
}

fn main() {}
