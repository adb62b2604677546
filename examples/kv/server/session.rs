//! What a connection knows of itself.

/// What a connection knows of itself.
#[derive(Debug)]
pub(crate) struct Session {
    /// Its place among the clients of its core.
    pub(crate) slot: usize,
    /// Nothing more is read, and the connection ends when its replies are written.
    pub(crate) closing: bool,
}
