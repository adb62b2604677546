//! There is no pool of workers that an option could size.

#[corering::main(worker_threads = 4)]
async fn main() {}
