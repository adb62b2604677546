//! What must not compile: each file in `cases/` breaks a promise that the types keep, and
//! the `.stderr` beside it is what the compiler says.
//!
//! Another compiler says it in other words. After a look at what has changed, this writes the files
//! again:
//!
//! ```sh
//! TRYBUILD=overwrite cargo test --test compile_fail
//! ```

#[test]
fn what_would_be_unsound_does_not_compile() {
    trybuild::TestCases::new().compile_fail("cases/*.rs");
}
