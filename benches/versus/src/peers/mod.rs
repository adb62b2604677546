//! The other runtimes, each in its own way: one task per connection that reads into a buffer which
//! it keeps and writes back what came, on one thread, with the options that the runtime offers for
//! that.

pub(crate) mod compio;
pub(crate) mod glommio;
pub(crate) mod monoio;
pub(crate) mod tokio;
pub(crate) mod tokio_uring;

/// Entries of the submission queue of every peer that has one; of `raw` too.
pub(crate) const SQ_ENTRIES: u32 = 1024;
