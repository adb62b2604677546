//! What the driver counts, for `Runtime::stats`.

/// What the driver has counted since it was built.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) enters: u64,
    pub(crate) sqes: u64,
    pub(crate) cqes: u64,
    pub(crate) cancels: u64,
    pub(crate) enobufs: u64,
    pub(crate) overflows: u32,
    pub(crate) in_flight: usize,
    pub(crate) orphans: usize,
}
