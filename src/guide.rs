//! Longer texts, on running code.
//!
//! * [`cancellation`]: ending an operation before it has completed, and what becomes of it.
#![cfg_attr(
    feature = "sim",
    doc = "* [`simulation`]: testing a service under seeds and faults."
)]

#[doc = include_str!("../docs/guide/cancellation.md")]
pub mod cancellation {}

#[cfg(feature = "sim")]
#[doc = include_str!("../docs/guide/simulation.md")]
pub mod simulation {}
