//! An io_uring completion-based async runtime for Linux.
