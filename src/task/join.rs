//! Waiting for a task, and ending it early.
#![allow(unsafe_code)]

use std::{
    fmt,
    marker::PhantomData,
    mem::MaybeUninit,
    panic::{RefUnwindSafe, UnwindSafe},
    pin::Pin,
    task::{Context, Poll},
};

use super::{
    cell::Header,
    error::JoinError,
    state::{ABORTED, COMPLETE, DETACHED, FINISHED, OUTPUT},
    waker,
};

/// The output of a spawned task, once it is there.
///
/// Resolves to what the future returned, or to a [`JoinError`] if it panicked or was aborted.
///
/// # Cancellation
///
/// Dropping the handle detaches the task: it runs on, and its output is dropped. To end it, call
/// [`abort`](Self::abort). A handle that is dropped after the task is finished drops the output.
///
/// # Panics
///
/// If it is polled after it was ready.
///
/// # Examples
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// corering::Runtime::new()?.block_on(async {
///     let fine = corering::spawn(async { 6 * 7 });
///     let broken = corering::spawn(async { panic!("out of luck") });
///     assert_eq!(fine.await.unwrap(), 42);
///     assert!(broken.await.unwrap_err().is_panic());
/// });
/// # Ok(())
/// # }
/// ```
pub struct JoinHandle<T> {
    task: *const Header,
    // Owns an output. The task is of this thread, hence neither `Send` nor `Sync`.
    _output: PhantomData<(T, *const ())>,
}

impl<T> Unpin for JoinHandle<T> {}
// A panic leaves no half-made state here: outputs are moved in whole.
impl<T> UnwindSafe for JoinHandle<T> {}
impl<T> RefUnwindSafe for JoinHandle<T> {}

impl<T> JoinHandle<T> {
    /// # Safety
    /// The handle's reference of a task whose future has the output `T`.
    #[inline(always)]
    pub(super) unsafe fn new(task: *const Header) -> Self {
        Self {
            task,
            _output: PhantomData,
        }
    }

    pub(super) fn task(&self) -> *const Header {
        self.task
    }

    /// Ends the task: its future is dropped, and the handle yields an error that
    /// [`is_cancelled`](JoinError::is_cancelled).
    ///
    /// The future is dropped by the task's core, when the task's turn comes, and never in here. So
    /// a task may abort itself, and a destructor any task. If the future panics as it is dropped,
    /// the handle yields that panic instead.
    ///
    /// A task that is finished, or that finishes in the poll that calls this, keeps its output; to
    /// abort a task twice is to abort it once.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// corering::Runtime::new()?.block_on(async {
    ///     let endless = corering::spawn(std::future::pending::<()>());
    ///     endless.abort();
    ///     assert!(endless.await.unwrap_err().is_cancelled());
    /// });
    /// # Ok(())
    /// # }
    /// ```
    pub fn abort(&self) {
        // SAFETY: the owner's thread, since handles are `!Send`; the handle is a reference.
        unsafe {
            let ends = (*self.task).own(|own| {
                let ends = !own.state.has(COMPLETE);
                if ends {
                    own.state.set(ABORTED);
                }
                ends
            });
            if ends {
                waker::wake_reference(self.task);
            }
        }
    }

    /// Whether the task is over, so that the handle would yield at once.
    pub fn is_finished(&self) -> bool {
        // SAFETY: the owner's thread, since handles are `!Send`; the handle is a reference.
        unsafe { (*self.task).own(|own| own.state.has(FINISHED)) }
    }

    /// The outcome, if there is one that was not taken yet.
    #[inline(always)]
    pub(super) fn take(&mut self) -> Option<Result<T, JoinError>> {
        // SAFETY: the owner's thread, since handles are `!Send`; the handle is a reference.
        let there = unsafe { (*self.task).own(|own| own.state.take(OUTPUT)) };
        // SAFETY: `OUTPUT` was set and is cleared now.
        there.then(|| unsafe { self.read() })
    }

    /// # Safety
    /// The caller has just cleared `OUTPUT`.
    #[inline(always)]
    unsafe fn read(&self) -> Result<T, JoinError> {
        let mut output = MaybeUninit::<Result<T, JoinError>>::uninit();
        // SAFETY: the caller cleared `OUTPUT`; `new` promised that this is the output's type;
        // `take` writes all of it.
        unsafe {
            ((*self.task).vtable.take)(self.task, output.as_mut_ptr().cast());
            output.assume_init()
        }
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(outcome) = self.take() {
            return Poll::Ready(outcome);
        }
        assert!(
            !self.is_finished(),
            "a JoinHandle was polled after it was ready"
        );
        // SAFETY: the owner's thread; `will_wake` compares addresses and runs no user code.
        let registered = unsafe {
            (*self.task).own(|own| {
                own.joiner
                    .as_ref()
                    .is_some_and(|joiner| joiner.will_wake(context.waker()))
            })
        };
        if registered {
            return Poll::Pending;
        }
        let joiner = context.waker().clone();
        // SAFETY: the owner's thread.
        let before = unsafe { (*self.task).own(|own| own.joiner.replace(joiner)) };
        drop(before);
        // Foreign wakers are user code. If the task has finished meanwhile, nobody else says so.
        self.take().map_or(Poll::Pending, Poll::Ready)
    }
}

impl<T> Drop for JoinHandle<T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the owner's thread, since handles are `!Send`; the handle is a reference, given
        // up here or in `drop_slowly`.
        unsafe {
            let is_empty = (*self.task).own(|own| {
                own.state.set(DETACHED);
                !own.state.has(OUTPUT) && own.joiner.is_none()
            });
            match is_empty {
                true => waker::drop_reference(self.task),
                false => self.drop_slowly(),
            }
        }
    }
}

impl<T> JoinHandle<T> {
    /// With what nobody has asked for. By itself: the usual drop, after the output was taken, then
    /// has nothing to save across a call.
    ///
    /// # Safety
    /// For `drop` alone: the handle's reference is given up.
    #[inline(never)]
    unsafe fn drop_slowly(&mut self) {
        // SAFETY: as in `drop`. Output and joiner are out of the task by then, and dropped last:
        // that is user code, which may panic.
        unsafe {
            let (there, _joiner) =
                (*self.task).own(|own| (own.state.take(OUTPUT), own.joiner.take()));
            let _output = there.then(|| self.read());
            waker::drop_reference(self.task);
        }
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle")
            .field("finished", &self.is_finished())
            .finish()
    }
}
