//! Nobody would give `main` arguments.

#[corering::main]
async fn main(arguments: Vec<String>) {
    drop(arguments);
}
