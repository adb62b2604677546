//! What is asked of the kernel by a path, without an open file.
//!
//! Where it is submitted is known when it is first polled: to the runtime that runs there.

use std::ffi::CString;
use std::future::Future;
use std::io;
use std::mem;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::driver::{Driver, Op, Submit};

pub(super) enum Asking<T: Op> {
    /// Not polled yet; or what cannot be asked of the kernel.
    Unasked(io::Result<T>),
    Asked(Submit<T>, Rc<Driver>),
    Taken,
}

impl<T: Op> Asking<T> {
    pub(super) fn new(op: io::Result<T>) -> Asking<T> {
        Asking::Unasked(op)
    }

    /// One that belongs to a file is submitted where that is.
    pub(super) fn of_file(op: T, driver: &Rc<Driver>) -> Asking<T> {
        Asking::Asked(op.submit(driver), Rc::clone(driver))
    }

    /// Polls the op with `poll`, which is to end it or not.
    pub(super) fn poll_with<R>(
        &mut self,
        poll: impl FnOnce(&mut Submit<T>, &Rc<Driver>) -> Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        if let Asking::Unasked(_) = self
            && let Asking::Unasked(op) = mem::replace(self, Asking::Taken)
        {
            let (op, driver) = (op?, Driver::current()?);
            *self = Asking::Asked(op.submit(&driver), driver);
        }
        match self {
            Asking::Asked(submit, driver) => poll(submit, driver),
            _ => panic!("polled after completion"),
        }
    }
}

impl<R, T: Op<Output = io::Result<R>>> Asking<T> {
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<R>> {
        self.poll_with(|submit, _| Pin::new(submit).poll(cx))
    }

    pub(super) fn poll_cancel(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<R>> {
        self.poll_with(|submit, _| submit.poll_cancel(cx))
    }
}

/// A path as the kernel reads it.
///
/// # Errors
///
/// `InvalidInput`: there is a NUL in it.
pub(super) fn c_string(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}
