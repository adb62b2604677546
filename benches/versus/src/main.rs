//! The same workloads on corering and on others.

fn main() {}
