//! `main` has to be async, or there is nothing to run.

#[corering::main]
fn main() -> std::io::Result<()> {
    Ok(())
}
