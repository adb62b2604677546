//! Longer texts, on running code.
//!
//! * [`cancellation`]: ending an operation before it has completed, and what becomes of it.

#[doc = include_str!("../docs/guide/cancellation.md")]
pub mod cancellation {}
