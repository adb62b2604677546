//! Values that belong to a task, or to a part of one, and are found without being handed down.
//!
//! The values of the scopes that are being polled on a thread are on a stack, the innermost last.
//! A scope puts its value there for each poll, and for the drop of its future.

use std::{
    any::Any,
    cell::RefCell,
    error::Error,
    fmt,
    marker::PhantomData,
    pin::Pin,
    ptr,
    rc::Rc,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;

/// A value that a future and all that it calls can look up: the number of a request, who asks.
///
/// A task that is spawned inside does not have it: hand it over, or open a scope there, too.
///
/// # Examples
///
/// ```
/// use corering::task;
///
/// static REQUEST: task::Local<u64> = task::Local::new();
///
/// async fn answer() -> String {
///     // Deep in the calls, and after any number of awaits.
///     task::yield_now().await;
///     REQUEST.with(|number| format!("this is request {number}"))
/// }
///
/// # fn main() -> std::io::Result<()> {
/// corering::Runtime::new()?.block_on(async {
///     let one = corering::spawn(REQUEST.scope(1, answer()));
///     let other = corering::spawn(REQUEST.scope(2, answer()));
///     assert_eq!(one.await.unwrap(), "this is request 1");
///     assert_eq!(other.await.unwrap(), "this is request 2");
/// });
/// # Ok(())
/// # }
/// ```
pub struct Local<T> {
    /// The address tells one from another, so it has to take up some memory.
    _address: u8,
    _value: PhantomData<fn() -> T>,
}

/// The addresses of `Local`s with the values that they have at the moment.
type Scopes = Vec<(*const (), Rc<dyn Any>)>;

thread_local! {
    /// Borrowed to push, pop or look up, and never while a value is used or dropped.
    static SCOPES: RefCell<Scopes> = const { RefCell::new(Vec::new()) };
}

impl<T: 'static> Local<T> {
    /// For a `static`.
    #[must_use]
    pub const fn new() -> Local<T> {
        Local {
            _address: 0,
            _value: PhantomData,
        }
    }

    /// Runs `future` with this value, which it has also while it is dropped. A scope inside of it
    /// may have another.
    ///
    /// # Cancellation
    ///
    /// Dropped, it drops `future`, and then the value.
    pub fn scope<F: Future>(&'static self, value: T, future: F) -> Scope<F> {
        Scope {
            future: Some(future),
            entry: Entry {
                address: self.address(),
                value: Rc::new(value),
            },
        }
    }

    /// Runs `f` with this value.
    pub fn sync_scope<R>(&'static self, value: T, f: impl FnOnce() -> R) -> R {
        let entry = Entry {
            address: self.address(),
            value: Rc::new(value),
        };
        entry.run(f)
    }

    /// What `f` makes of the value.
    ///
    /// # Panics
    ///
    /// Outside of every [`scope`](Self::scope).
    #[track_caller]
    pub fn with<R>(&'static self, f: impl FnOnce(&T) -> R) -> R {
        match self.try_with(f) {
            Ok(result) => result,
            Err(error) => panic!("{error}"),
        }
    }

    /// What `f` makes of the value.
    ///
    /// # Errors
    ///
    /// [`LocalError`] outside of every [`scope`](Self::scope).
    pub fn try_with<R>(&'static self, f: impl FnOnce(&T) -> R) -> Result<R, LocalError> {
        let address = self.address();
        let found = SCOPES.try_with(|scopes| {
            let scopes = scopes.borrow();
            let mut inner_first = scopes.iter().rev();
            let entry = inner_first.find(|(other, _)| ptr::eq(*other, address));
            entry.map(|(_, value)| Rc::clone(value))
        });
        let value = found.ok().flatten().ok_or(LocalError(()))?;
        // An address is one variable's, which has one type.
        let value = value.downcast_ref::<T>().ok_or(LocalError(()))?;
        Ok(f(value))
    }

    fn address(&'static self) -> *const () {
        ptr::from_ref(self).cast()
    }
}

impl<T: 'static> Default for Local<T> {
    fn default() -> Local<T> {
        Local::new()
    }
}

impl<T> fmt::Debug for Local<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local").finish_non_exhaustive()
    }
}

/// One value of one `Local`.
struct Entry {
    address: *const (),
    value: Rc<dyn Any>,
}

impl Entry {
    fn run<R>(&self, f: impl FnOnce() -> R) -> R {
        let value = Rc::clone(&self.value);
        let pushed = SCOPES.try_with(|scopes| scopes.borrow_mut().push((self.address, value)));
        // A thread that is being torn down has no stack, and finds no values.
        let _popped = pushed.is_ok().then_some(Pop);
        f()
    }
}

/// Takes the innermost value off the stack, also when there is a panic.
struct Pop;

impl Drop for Pop {
    fn drop(&mut self) {
        // A binding of its own, so that the borrow has ended when the value is dropped.
        let value = SCOPES.try_with(|scopes| scopes.borrow_mut().pop());
        drop(value);
    }
}

pin_project! {
    /// The future of [`Local::scope`].
    ///
    /// # Cancellation
    ///
    /// Dropped, it drops the future that it runs, with the value there, and then the value.
    #[must_use = "futures do nothing unless polled"]
    pub struct Scope<F> {
        // `None` once it is dropped.
        #[pin]
        future: Option<F>,
        entry: Entry,
    }

    impl<F> PinnedDrop for Scope<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            this.entry.run(|| this.future.set(None));
        }
    }
}

impl<F: Future> Future for Scope<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let future = this.future.as_pin_mut();
        this.entry
            .run(|| future.map_or(Poll::Pending, |future| future.poll(cx)))
    }
}

impl<F> fmt::Debug for Scope<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").finish_non_exhaustive()
    }
}

/// There is no value: this is outside of every scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalError(());

impl fmt::Display for LocalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a task-local value was looked up outside of every scope of it")
    }
}

impl Error for LocalError {}
