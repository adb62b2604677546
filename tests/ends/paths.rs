//! What is done to names: it has happened or not, and whoever is told is told the truth.

use std::fs;
use std::io;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use corering::fs::{CreateDir, Remove, Rename, create_dir, remove_dir, remove_file, rename};
use corering::io::Operation;
use tempfile::TempDir;

use crate::cell::{Attempt, Course, End, Got, How, Scene, State, Way, in_flight};
use crate::files::{folder, settled};

const BYTES: &[u8] = b"what is in it";

/// A change of names in a folder.
pub(crate) trait Change: 'static {
    const NAME: &'static str;
    const FILES: &'static [&'static str];
    type Future: Operation<Output = io::Result<()>, Outcome = io::Result<()>>;

    /// Makes what it needs.
    fn prepare(folder: &Path);

    fn begin(folder: &Path) -> Self::Future;

    /// Whether it has happened. Panics at anything between yes and no.
    fn is_done(folder: &Path) -> bool;
}

/// One of them, begun in a folder of its own.
pub(crate) struct Changed<C> {
    folder: TempDir,
    in_flight: usize,
    change: PhantomData<C>,
}

impl<C: Change> Changed<C> {
    fn check(&self, end: &End) {
        let done = match (&end.got, end.state) {
            (Some(Got::Done), _) => Some(true),
            (Some(_), _) | (None, State::Unpolled) => Some(false),
            (None, state) => state.has_happened().then_some(true),
        };
        let is_done = C::is_done(self.folder.path());
        assert!(
            done.is_none_or(|done| done == is_done),
            "{is_done} instead of {done:?}"
        );
    }
}

impl<C: Change> Scene for Changed<C> {
    const NAME: &'static str = C::NAME;
    const FILES: &'static [&'static str] = C::FILES;

    async fn set(_: State) -> Self {
        let folder = folder();
        C::prepare(folder.path());
        Changed {
            folder,
            in_flight: in_flight(),
            change: PhantomData,
        }
    }

    fn course(_: State) -> Course {
        Course::Worker
    }

    fn missing(way: Way, _: State) -> Option<&'static str> {
        (way == Way::Resource).then_some("it has none: it names a path")
    }

    fn begin(self: &Rc<Self>, how: Rc<How>) -> Attempt {
        let change = C::begin(self.folder.path());
        Box::pin(async move { Got::of(how.end(change).await, |()| Got::Done) })
    }

    fn is_done(&self) -> bool {
        C::is_done(self.folder.path())
    }

    async fn reaped(&self) {
        settled(self.in_flight).await;
    }

    async fn after(&self, end: End) {
        end.check_outcome();
        // What a dropped one does is done by then.
        settled(self.in_flight).await;
        self.check(&end);
        if !C::is_done(self.folder.path()) {
            C::begin(self.folder.path()).await.expect("the next one");
            assert!(C::is_done(self.folder.path()));
        }
    }

    fn after_runtime(&self, end: End) {
        self.check(&end);
    }
}

fn names(folder: &Path) -> (PathBuf, PathBuf) {
    (folder.join("one"), folder.join("other"))
}

impl Change for Rename {
    const NAME: &'static str = "rename";
    const FILES: &'static [&'static str] = &["rename.rs"];
    type Future = Rename;

    fn prepare(folder: &Path) {
        fs::write(names(folder).0, BYTES).expect("a file");
    }

    fn begin(folder: &Path) -> Rename {
        let (from, to) = names(folder);
        rename(from, to)
    }

    fn is_done(folder: &Path) -> bool {
        let (from, to) = names(folder);
        let left: Vec<_> = [from, to].map(|path| fs::read(path).ok()).into();
        match (&left[0], &left[1]) {
            (Some(bytes), None) if bytes == BYTES => false,
            (None, Some(bytes)) if bytes == BYTES => true,
            _ => panic!("one name, and its bytes: {left:?}"),
        }
    }
}

impl Change for Remove {
    const NAME: &'static str = "remove_file";
    const FILES: &'static [&'static str] = &["unlink.rs"];
    type Future = Remove;

    fn prepare(folder: &Path) {
        fs::write(names(folder).0, BYTES).expect("a file");
    }

    fn begin(folder: &Path) -> Remove {
        remove_file(names(folder).0)
    }

    fn is_done(folder: &Path) -> bool {
        !names(folder).0.exists()
    }
}

/// `remove_dir`.
pub(crate) struct RemoveDir;

impl Change for RemoveDir {
    const NAME: &'static str = "remove_dir";
    const FILES: &'static [&'static str] = &["unlink.rs"];
    type Future = Remove;

    fn prepare(folder: &Path) {
        fs::create_dir(names(folder).0).expect("a folder");
    }

    fn begin(folder: &Path) -> Remove {
        remove_dir(names(folder).0)
    }

    fn is_done(folder: &Path) -> bool {
        !names(folder).0.exists()
    }
}

impl Change for CreateDir {
    const NAME: &'static str = "create_dir";
    const FILES: &'static [&'static str] = &["mkdir.rs"];
    type Future = CreateDir;

    fn prepare(_: &Path) {}

    fn begin(folder: &Path) -> CreateDir {
        create_dir(names(folder).0)
    }

    fn is_done(folder: &Path) -> bool {
        names(folder).0.is_dir()
    }
}
