//! Longer texts, on running code.
//!
//! * [`models`]: one service as threads, callbacks, goroutines and tasks, and why completions need
//!   results that have an owner.
//! * [`blocking`]: what blocks a core, how to see it, and what to do instead.
//! * [`cores`]: one service on every core, messages between them, and how all of it stops.
//! * [`cancellation`]: ending an operation before it has completed, and what becomes of it.
//! * [`overload`]: a service on every core that has limits and deadlines, and stops in order.
#![cfg_attr(
    feature = "sim",
    doc = "* [`simulation`]: testing a service under seeds and faults."
)]

#[doc = include_str!("../docs/guide/models.md")]
pub mod models {}

#[doc = include_str!("../docs/guide/blocking.md")]
pub mod blocking {}

#[doc = include_str!("../docs/guide/cores.md")]
pub mod cores {}

#[doc = include_str!("../docs/guide/cancellation.md")]
pub mod cancellation {}

#[doc = include_str!("../docs/guide/overload.md")]
pub mod overload {}

#[cfg(feature = "sim")]
#[doc = include_str!("../docs/guide/simulation.md")]
pub mod simulation {}
