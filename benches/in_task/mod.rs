//! Where benchmarks run: inside a task, as a program's code does. The future of `block_on` itself
//! is woken by other means.

use std::time::Duration;

use corering::Runtime;

/// Gives what `measured`, a task of its own, has measured.
pub(crate) fn run(
    runtime: &Runtime,
    measured: impl Future<Output = Duration> + 'static,
) -> Duration {
    let joined = runtime.block_on(async { corering::spawn(measured).await });
    joined.expect("a benchmark does not panic")
}
