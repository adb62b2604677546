//! A round trip through the ring.

use std::io;

use crate::driver::{Driver, Op};
use crate::op;

/// Does nothing, through the kernel: what any operation costs at least.
///
/// # Errors
///
/// `NotConnected`: no runtime runs on this thread.
///
/// # Kernel
///
/// `IORING_OP_NOP`, since 5.1.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// corering::Runtime::new()?.block_on(corering::runtime::nop())
/// # }
/// ```
#[doc(alias = "IORING_OP_NOP")]
pub async fn nop() -> io::Result<()> {
    op::Nop.submit(&Driver::current()?).await
}
