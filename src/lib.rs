//! An io_uring completion-based async runtime for Linux.

mod driver;
pub mod fs;
pub mod net;
mod op;
mod ring;
pub mod runtime;
pub mod signal;
pub mod task;
pub mod time;

pub use corering_buffers as buffers;
pub use corering_buffers::{BufResult, IoBuf, IoBufMut, IoBufs, Lease};
pub use corering_macros::{main, test};
pub use runtime::Runtime;
pub use task::spawn;
