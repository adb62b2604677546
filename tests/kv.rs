//! The example `kv`: what it answers, what it limits, and how it stops.

#[path = "kv/differential.rs"]
mod differential;
#[path = "kv/generator.rs"]
mod generator;
#[path = "kv/limits.rs"]
mod limits;
#[path = "kv/random.rs"]
mod random;
#[path = "kv/replies.rs"]
mod replies;
#[path = "../examples/kv/server/mod.rs"]
mod server;
#[path = "kv/service.rs"]
mod service;
