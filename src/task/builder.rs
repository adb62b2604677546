//! Tasks with a name, or of a class.
//!
//! The name is kept by the future of a task that was given one; all others pay nothing.

use std::{
    borrow::Cow,
    cell::RefCell,
    fmt,
    panic::Location,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;

use super::{join::JoinHandle, priority::Priority, queue, spawn_at};

/// Spawns tasks with a name, for logs and panic messages, or of a class.
///
/// # Examples
///
/// ```
/// use corering::task::{self, Priority};
///
/// # fn main() -> std::io::Result<()> {
/// corering::Runtime::new()?.block_on(async {
///     let named = task::Builder::new().name("heartbeat").spawn(async {
///         task::current_name().expect("it was given one").to_string()
///     });
///     assert!(named.await.unwrap().starts_with("heartbeat ("));
///
///     let compacting = task::Builder::new().priority(Priority::Bulk).spawn(async {
///         // Much, in pieces, between which others run.
///     });
///     compacting.await.unwrap();
/// });
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Builder {
    name: Option<Cow<'static, str>>,
    priority: Priority,
}

impl Builder {
    /// For a task without a name, of the class [`Normal`](Priority::Normal).
    #[must_use]
    pub fn new() -> Builder {
        Builder::default()
    }

    /// Gives the task a name, which [`current_name`] has then, and the report of a
    /// [`Stall`](crate::runtime::Stall). It need not be the only one of that name.
    #[must_use]
    pub fn name(mut self, name: impl Into<Cow<'static, str>>) -> Builder {
        self.name = Some(name.into());
        self
    }

    /// Sets how soon the task is run beside others.
    #[must_use]
    pub fn priority(mut self, priority: Priority) -> Builder {
        self.priority = priority;
        self
    }

    /// Starts the task, as [`spawn`](super::spawn) does.
    ///
    /// # Cancellation
    ///
    /// Dropping the handle detaches the task.
    ///
    /// # Panics
    ///
    /// Outside of a runtime.
    #[track_caller]
    pub fn spawn<F: Future + 'static>(self, future: F) -> JoinHandle<F::Output> {
        let location = Location::caller();
        let Some(name) = self.name else {
            return spawn_at(future, self.priority, location);
        };
        let name = Name(Arc::new(Label { name, location }));
        spawn_at(Named { future, name }, self.priority, location)
    }
}

/// The name of a task, and where it was spawned; made by [`current_name`].
#[derive(Clone)]
pub struct Name(Arc<Label>);

struct Label {
    name: Cow<'static, str>,
    location: &'static Location<'static>,
}

impl Name {
    /// As it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0.name
    }

    /// Where the task was spawned.
    #[must_use]
    pub fn location(&self) -> &'static Location<'static> {
        self.0.location
    }
}

/// The name, and where the task was spawned.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.0.name, self.0.location)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The name of the task that is being polled; `None` if it was given none, and outside of tasks.
///
/// See [`Builder::name`].
#[must_use]
pub fn current_name() -> Option<Name> {
    CURRENT
        .try_with(|current| current.borrow().clone())
        .ok()
        .flatten()
}

thread_local! {
    static CURRENT: RefCell<Option<Name>> = const { RefCell::new(None) };
}

pin_project! {
    struct Named<F> {
        #[pin]
        future: F,
        name: Name,
    }
}

impl<F: Future> Future for Named<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        queue::name_poll(this.name);
        let _current = Current::enter(this.name.clone());
        this.future.poll(cx)
    }
}

/// Puts back what was current, also when there is a panic.
struct Current {
    before: Option<Name>,
}

impl Current {
    fn enter(name: Name) -> Current {
        let before = CURRENT.try_with(|current| current.replace(Some(name)));
        Current {
            before: before.ok().flatten(),
        }
    }
}

impl Drop for Current {
    fn drop(&mut self) {
        let before = self.before.take();
        drop(CURRENT.try_with(|current| current.replace(before)));
    }
}
