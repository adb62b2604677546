//! One switch between loom's types and others, for what cores share.

#[cfg(not(loom))]
pub(super) use std::sync::{
    Arc, Mutex, OnceLock,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

#[cfg(not(loom))]
pub(super) use atomic_waker::AtomicWaker;
#[cfg(loom)]
pub(super) use loom::{
    future::AtomicWaker,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};
#[cfg(loom)]
pub(super) use std::sync::OnceLock;
