//! The attributes of `corering`. Use them through that crate: `#[corering::main]` and
//! `#[corering::test]`, where they are shown at work.

mod expand;

use proc_macro::TokenStream;

/// Makes an `async fn main` the program: it builds a runtime and runs the function on it.
///
/// The function keeps its return type, attributes and visibility. Without `cores` it takes no
/// arguments; it has no generics. The attribute is shorthand for
///
/// ```text
/// fn main() -> T {
///     async fn main() -> T { … }
///     match corering::Runtime::new() {
///         Ok(runtime) => runtime.block_on(main()),
///         Err(error) => …
///     }
/// }
/// ```
///
/// # Options
///
/// * `#[main(cores = "all")]` runs the function on every CPU, `#[main(cores = 4)]` on four cores.
///   It takes its core then, and returns `io::Result<()>`: `async fn main(core: Core)`. The same
///   as `Cores::all()?.run(main)`, and `Cores::count(4)?.run(main)`.
/// * `#[main(crate = "path::to::corering")]` where the crate has another name.
///
/// # Errors
///
/// Where no runtime can be built, the program prints `Error: ` with the cause and what to do about
/// it to stderr, and exits with status 1, whatever the function returns.
#[proc_macro_attribute]
pub fn main(options: TokenStream, function: TokenStream) -> TokenStream {
    expand::main(options.into(), function.into()).into()
}

/// Makes an `async fn` a test that runs on a runtime of its own.
///
/// The function keeps its return type and its other attributes, such as `#[should_panic]` and
/// `#[ignore]`; `#[test]` is added. It takes no arguments and has no generics.
///
/// # Options
///
/// `#[test(crate = "path::to::corering")]` where the crate has another name.
///
/// # Errors
///
/// Where no runtime can be built, the test fails with the cause. One that has `#[should_panic]`
/// would pass by that, so it ends the whole test program with status 1 instead.
#[proc_macro_attribute]
pub fn test(options: TokenStream, function: TokenStream) -> TokenStream {
    expand::test(options.into(), function.into()).into()
}
