//! A buffer that was handed over, of whatever type.
#![allow(unsafe_code)]

use std::any::Any;

use corering_buffers::{IoBuf, Lease};

/// A buffer that lies somewhere until it is sent.
pub(crate) struct Held {
    start: *const u8,
    len: usize,
    _buf: Kept,
}

/// What is sent on is nearly always a lease, for which nothing is allocated.
#[expect(dead_code, reason = "they keep the bytes")]
enum Kept {
    Lease(Lease),
    Other(Box<dyn IoBuf>),
}

impl Held {
    /// Asks the buffer where its bytes are: user code, and for the last time.
    #[inline]
    pub(crate) fn new<B: IoBuf>(buf: B) -> Held {
        let mut buf = Some(buf);
        let lease = (&mut buf as &mut dyn Any).downcast_mut::<Option<Lease>>();
        if let Some(lease) = lease.and_then(Option::take) {
            let (start, len) = lease.parts();
            let buf = Kept::Lease(lease);
            return Held {
                start,
                len,
                _buf: buf,
            };
        }
        let buf: Box<dyn IoBuf> = Box::new(buf.expect("it was no lease"));
        let (start, len) = buf.parts();
        let buf = Kept::Other(buf);
        Held {
            start,
            len,
            _buf: buf,
        }
    }
}

// SAFETY: `parts` returns what the buffer has said, which stays true when the buffer is moved, as
// `IoBuf` promises; nobody takes it by `&mut` or by value any more.
unsafe impl IoBuf for Held {
    #[inline]
    fn parts(&self) -> (*const u8, usize) {
        (self.start, self.len)
    }
}
