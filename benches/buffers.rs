//! What it costs to have a buffer, without any I/O.
//!
//! * `lease/plain`: 64 bytes arrive in a provided buffer, become a lease, and the lease is dropped,
//!   which gives the buffer back to the kernel's ring.
//! * `lease/incremental`: the same where the kernel fills a buffer of 64 KiB bit by bit.
//! * `lease/into_bytes`: the 64 bytes are copied out of the ring, to be kept.
//! * `pool`: a buffer of 4 KiB is taken from a pool and given back.
//! * `slice`: a `Vec` is bounded for one operation and unwrapped.
//!
//! Against `vec`: a `Vec` of 64 bytes or 4 KiB is allocated and freed, which is what a read without
//! leases and pools does.
//!
//!     cargo bench --bench buffers
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed};
use std::hint::black_box;
use std::ptr::NonNull;
use std::rc::Rc;

use corering::buffers::{BufRing, IoBuf, IoBufExt, Lease, Pool, RingConfig, RingMemory};
use criterion::Criterion;

const MESSAGE: usize = 64;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("buffers");
    let mut plain = Arrivals::new(RingConfig::new(256, 4 * 1024));
    group.bench_function("lease/plain", |b| b.iter(|| drop(plain.next())));
    let mut incremental = Arrivals::new(RingConfig::new(16, 64 * 1024).incremental(true));
    group.bench_function("lease/incremental", |b| b.iter(|| drop(incremental.next())));
    group.bench_function("lease/into_bytes", |b| {
        b.iter(|| incremental.next().into_bytes())
    });
    let pool = Pool::new(16, 4096);
    group.bench_function("pool/4096", |b| b.iter(|| drop(black_box(pool.take()))));
    for size in [64, 4096] {
        group.bench_function(format!("vec/{size}"), |b| {
            b.iter(|| drop(black_box(Vec::<u8>::with_capacity(size))));
        });
    }
    let mut buf = vec![0; MESSAGE];
    group.bench_function("slice", |b| {
        b.iter(|| {
            let part = std::mem::take(&mut buf).slice(8..24);
            black_box(part.parts());
            buf = part.into_inner();
        });
    });
    group.finish();
    criterion.final_summary();
}

/// A ring of buffers that nobody but this program fills.
struct Arrivals {
    ring: Rc<BufRing>,
    config: RingConfig,
    buffer: u16,
    offset: usize,
}

impl Arrivals {
    fn new(config: RingConfig) -> Arrivals {
        let memory = RingMemory {
            ring: zeroed(usize::from(config.entries) * 16),
            data: zeroed(usize::from(config.bufs) * config.buf_size as usize),
            keep: Box::new(()),
        };
        // SAFETY: the memory is zeroed, as large as the configuration says, and never freed; no
        // kernel knows of it.
        let ring = unsafe { BufRing::new(memory, config) };
        Arrivals {
            ring,
            config,
            buffer: 0,
            offset: 0,
        }
    }

    /// The kernel takes the buffers in turn, and each is back before its turn comes again.
    #[inline]
    fn next(&mut self) -> Lease {
        self.offset += MESSAGE;
        let kept = self.config.incremental && self.offset < self.config.buf_size as usize;
        // SAFETY: this buffer is at the ring's head, has room for the message, and was not leased
        // since; its bytes are initialised.
        let lease = unsafe { self.ring.lease(self.buffer, MESSAGE, kept) };
        if !kept {
            self.buffer = (self.buffer + 1) % self.config.bufs;
            self.offset = 0;
        }
        lease
    }
}

fn zeroed(bytes: usize) -> NonNull<u8> {
    let layout = Layout::from_size_align(bytes, 4096).expect("a page is a power of two");
    // SAFETY: no ring is without entries or buffers, so there is at least a byte.
    NonNull::new(unsafe { alloc_zeroed(layout) }).expect("there is memory")
}
