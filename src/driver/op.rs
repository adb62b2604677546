//! What a single-shot op is, and the futures that run one.
#![allow(unsafe_code)]

use std::future::Future;
use std::marker::PhantomData;
use std::ops::Deref;
use std::pin::Pin;
use std::ptr::NonNull;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::{io, mem, slice};

use bytes::Bytes;
use corering_buffers::IoBufMut;

use super::erased::{Payload, VTable, no_item};
use super::slot::{Mode, Progress};
use super::{Driver, Key};
use crate::ring::{Cqe, RawSqe, Sqe};

/// One io_uring operation: what is lent to the kernel, and what its completion means.
///
/// # Safety
///
/// With the fields set by `fill`, the kernel must touch no memory but what `fill` lent, and on
/// success `complete` must claim no more bytes than the kernel wrote.
pub(crate) unsafe trait Op: Sized + 'static {
    /// What the caller gets back. Dropping it must release everything that the op created.
    type Output;

    /// Whether an op whose future is dropped runs to its end instead of being cancelled.
    const COMMITTED: bool = false;

    /// Describes the op to the kernel. Called once, at the op's final address, so it can lend what
    /// it owns and nothing else.
    fn fill<'op>(&'op mut self, sqe: &mut Sqe<'op>);

    /// Turns the final completion into the output. Errors of submitting take the same way out.
    fn complete(self, cqe: Cqe) -> Self::Output;

    /// The same when nobody waits any more: hands the result to its resource.
    fn orphan(self, cqe: Cqe) {
        drop(self.complete(cqe));
    }

    /// The future of this op. Nothing is submitted before its first poll.
    fn submit(self, driver: &Rc<Driver>) -> Submit<Self> {
        Submit(State::Unsent(Rc::clone(driver), self))
    }
}

/// Claims the bytes that a completed read put into `buf`.
///
/// # Errors
///
/// The kernel's errno.
pub(crate) fn filled<B: IoBufMut>(cqe: Cqe, buf: &mut B) -> io::Result<usize> {
    let n = cqe.result()? as usize;
    // SAFETY: only the ring makes a `Cqe`, and the promise of `Op` says that this op lent `buf`
    // from its start and that the result is the number of bytes written there.
    unsafe { buf.set_init(n) };
    Ok(n)
}

/// Copies the bytes that a completed read put into `buf`, for somebody else than its owner.
///
/// # Errors
///
/// The kernel's errno.
pub(crate) fn copied<B: IoBufMut>(cqe: Cqe, buf: &mut B) -> io::Result<Bytes> {
    let n = cqe.result()? as usize;
    let (start, room) = buf.parts_mut();
    // SAFETY: as in `filled`: the kernel has written `n` bytes from the start, and the promise of
    // `IoBufMut` is that they are where they were lent. The minimum holds against a buffer that
    // answers with less.
    Ok(Bytes::copy_from_slice(unsafe {
        slice::from_raw_parts(start, n.min(room))
    }))
}

struct Table<T>(PhantomData<T>);

impl<T: Op> Table<T> {
    const TABLE: VTable = VTable {
        item: no_item,
        refill: Some(refill::<T>),
        finish: finish::<T>,
    };
}

/// # Safety
///
/// See [`VTable::refill`].
unsafe fn refill<T: Op>(place: NonNull<Payload>, user_data: u64) -> RawSqe {
    let mut sqe = Sqe::new();
    // SAFETY: the caller promises that a `T` is there, at its final address, and that nobody else
    // has it.
    T::fill(unsafe { place.cast::<T>().as_mut() }, &mut sqe);
    // SAFETY: as in `Driver::start`: what the op lent is kept by its slot until it has completed.
    unsafe { sqe.into_raw(user_data) }
}

/// # Safety
///
/// See [`VTable::finish`].
unsafe fn finish<T: Op>(payload: Payload, cqe: Cqe) {
    // SAFETY: the caller promises that the payload holds a `T` and that nobody else reads it.
    unsafe { payload.read::<T>() }.orphan(cqe);
}

/// A claim on an op that was submitted. Dropping it abandons the op.
///
/// It holds its driver as an `Rc`, or borrows it from the resource that it borrows anyway.
#[must_use = "dropping a ticket abandons its op"]
pub(crate) struct Ticket<T: Op, D: Deref<Target = Driver> = Rc<Driver>> {
    /// `None` once the op was taken.
    claim: Option<(D, Key)>,
    op: PhantomData<fn() -> T>,
}

impl<T: Op, D: Deref<Target = Driver>> Ticket<T, D> {
    /// The op's output, once its final completion has come.
    #[inline]
    pub(crate) fn poll(&mut self, cx: &Context<'_>) -> Poll<T::Output> {
        let (op, cqe) = ready!(self.poll_op(cx));
        Poll::Ready(op.complete(cqe))
    }

    /// The op itself with its final completion, for whoever makes something else of it. Inlined,
    /// since an op that is returned from a function is copied at each step.
    #[inline(always)]
    pub(crate) fn poll_op(&mut self, cx: &Context<'_>) -> Poll<(T, Cqe)> {
        let (driver, key) = self.claim.as_ref().expect("polled after completion");
        let mut core = driver.core.borrow_mut();
        match core.slots.done(*key, cx.waker()) {
            Ok(done) => {
                let cqe = done.cqe();
                // SAFETY: a ticket is made by `Driver::submit_from` alone, for a `T`, with an `Rc`
                // of that driver, or a reference to it, and the driver's own key.
                let op = unsafe { done.take::<T>() };
                drop(core);
                self.claim = None;
                Poll::Ready((op, cqe))
            }
            Err(Progress::Pending) => Poll::Pending,
            Err(Progress::OtherWaker) => {
                drop(core);
                driver.rewake(*key, cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Asks the kernel to end the op. Its completion, whatever it says, still comes to this claim.
    pub(crate) fn cancel(&self) {
        if let Some((driver, key)) = &self.claim {
            driver.cancel(*key);
        }
    }

    /// The op's key. `None` once the op was taken.
    pub(crate) fn key(&self) -> Option<Key> {
        self.claim.as_ref().map(|claim| claim.1)
    }
}

impl<T: Op, D: Deref<Target = Driver>> Drop for Ticket<T, D> {
    #[inline]
    fn drop(&mut self) {
        if let Some((driver, key)) = self.claim.take() {
            driver.abandon(key, !T::COMMITTED);
        }
    }
}

/// The future of one op.
#[must_use = "an op is not submitted before it is polled"]
pub(crate) struct Submit<T: Op>(State<T>);

enum State<T: Op> {
    Unsent(Rc<Driver>, T),
    Sent(Ticket<T>),
    Taken,
}

// The op is never pinned inside the future: it moves into a slot before the kernel sees it.
impl<T: Op> Unpin for Submit<T> {}

impl<T: Op> Future for Submit<T> {
    type Output = T::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T::Output> {
        if let State::Sent(ticket) = &mut self.0 {
            let output = ready!(ticket.poll(cx));
            self.0 = State::Taken;
            return Poll::Ready(output);
        }
        let State::Unsent(driver, op) = mem::replace(&mut self.0, State::Taken) else {
            panic!("polled after completion");
        };
        match driver.submit(|| op, cx) {
            Ok(ticket) => {
                self.0 = State::Sent(ticket);
                Poll::Pending
            }
            Err((op, cqe)) => Poll::Ready(op.complete(cqe)),
        }
    }
}

impl<T: Op> Submit<T> {
    /// Polls an op that is to end: the kernel is asked for it the first time.
    pub(crate) fn poll_cancel(&mut self, cx: &mut Context<'_>) -> Poll<T::Output> {
        match mem::replace(&mut self.0, State::Taken) {
            State::Unsent(_, op) => Poll::Ready(op.complete(Cqe::refused(libc::ECANCELED))),
            sent => {
                self.0 = sent;
                if let State::Sent(ticket) = &self.0 {
                    ticket.cancel();
                }
                Pin::new(self).poll(cx)
            }
        }
    }
}

impl Driver {
    /// Makes an op in a slot and stages its SQE. A driver that is shut down gives the op back, with
    /// the completion (`ECANCELED`) that it would have had.
    #[inline]
    pub(crate) fn submit<T: Op>(
        self: &Rc<Self>,
        make: impl FnOnce() -> T,
        cx: &Context<'_>,
    ) -> Result<Ticket<T>, (T, Cqe)> {
        // First: cloning a waker may run user code, and what is moved after it moves only once.
        self.submit_from(make, cx.waker().clone(), || Rc::clone(self))
    }

    /// As [`submit`](Driver::submit), for a future that borrows what holds the driver.
    #[inline(always)]
    pub(crate) fn submit_borrowed<T: Op>(
        &self,
        make: impl FnOnce() -> T,
        waker: Waker,
    ) -> Result<Ticket<T, &Driver>, (T, Cqe)> {
        self.submit_from(make, waker, || self)
    }

    /// `hold` makes what the ticket holds of this very driver.
    #[inline(always)]
    fn submit_from<T: Op, D: Deref<Target = Driver>>(
        &self,
        make: impl FnOnce() -> T,
        waker: Waker,
        hold: impl FnOnce() -> D,
    ) -> Result<Ticket<T, D>, (T, Cqe)> {
        match self.start(make, &Table::<T>::TABLE, Mode::Waited, Some(waker), T::fill) {
            Ok(key) => Ok(Ticket {
                claim: Some((hold(), key)),
                op: PhantomData,
            }),
            Err((make, cqe)) => Err((make(), cqe)),
        }
    }

    /// Submits an op that nobody waits for: it ends in [`Op::orphan`]. `None` if that has happened
    /// already, because the driver is shut down.
    pub(crate) fn submit_detached<T: Op>(&self, op: T) -> Option<Key> {
        match self.start(|| op, &Table::<T>::TABLE, Mode::Detached, None, T::fill) {
            Ok(key) => Some(key),
            Err((make, cqe)) => {
                make().orphan(cqe);
                None
            }
        }
    }

    /// The same for an op that takes the kernel as long to submit as `weight` short ones, which its
    /// SQE does not show.
    pub(crate) fn submit_heavy<T: Op>(&self, op: T, weight: u32) -> Option<Key> {
        let key = self.submit_detached(op)?;
        self.core.borrow_mut().weighs(weight);
        Some(key)
    }

    /// Makes the op in a slot, lets `fill` describe the op at its final address, and stages the
    /// SQE.
    ///
    /// `fill` asks user code for the buffer's address, so the driver is not borrowed meanwhile. If
    /// it panics the slot is freed and the op dropped.
    #[inline(always)]
    pub(super) fn start<T: 'static, M: FnOnce() -> T>(
        &self,
        make: M,
        table: &'static VTable,
        mode: Mode,
        waker: Option<Waker>,
        fill: impl for<'op> FnOnce(&'op mut T, &mut Sqe<'op>),
    ) -> Result<Key, (M, Cqe)> {
        let mut core = self.core.borrow_mut();
        if core.closing {
            drop(core);
            drop(waker); // user code, so not while the driver is borrowed
            return Err((make, Cqe::refused(libc::ECANCELED)));
        }
        let (key, place) = core.slots.insert(make, table, mode, waker);
        drop(core);
        let filling = Filling {
            driver: self,
            key,
            op: PhantomData::<T>,
        };
        let mut sqe = Sqe::new();
        // SAFETY: `place` is the op's address in its slot, slots do not move, and nobody else has
        // the op until its SQE is pushed below.
        fill(unsafe { &mut *place.as_ptr() }, &mut sqe);
        mem::forget(filling);
        // SAFETY: what the op lent lives at or behind its address in the slot, which keeps it until
        // the final completion; the rest is the promise of `Op` and `MultiOp`.
        let raw = unsafe { sqe.into_raw(key.to_user_data()) };
        self.core.borrow_mut().push(raw);
        Ok(key)
    }

    #[cold]
    fn rewake(&self, key: Key, waker: Waker) {
        let old = self.core.borrow_mut().slots.rewake(key, waker);
        drop(old); // may run user code, so not above, where the driver is borrowed
    }
}

/// Frees the slot of an op whose `fill` panics.
struct Filling<'a, T: 'static> {
    driver: &'a Driver,
    key: Key,
    op: PhantomData<T>,
}

impl<T> Drop for Filling<'_, T> {
    fn drop(&mut self) {
        let mut core = self.driver.core.borrow_mut();
        // SAFETY: `start` made this for the `T` that it inserted, and has pushed nothing yet.
        let unfilled = unsafe { core.slots.unfill::<T>(self.key) };
        drop(core);
        drop(unfilled); // user code, so not while the driver is borrowed
    }
}
