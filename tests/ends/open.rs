//! What opens and closes files: a descriptor belongs to somebody, or is closed.

use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use corering::fs::File;
use futures_lite::future::poll_once;
use tempfile::TempDir;

use crate::cell::{Attempt, Course, End, Got, How, Scene, State, Way, in_flight};
use crate::common::descriptors;
use crate::files::{Pipe, folder, settled};

const OWN: &str = "the file is what comes of it";
const BYTES: &[u8] = b"what is in it";

/// `File::open`.
pub(crate) struct Open {
    path: PathBuf,
    _folder: TempDir,
}

impl Scene for Open {
    const NAME: &'static str = "open";
    const FILES: &'static [&'static str] = &["open.rs"];

    async fn set(_: State) -> Self {
        let folder = folder();
        let path = folder.path().join("file");
        fs::write(&path, BYTES).expect("a file");
        Open {
            path,
            _folder: folder,
        }
    }

    fn course(_: State) -> Course {
        Course::AtOnce
    }

    fn missing(way: Way, _: State) -> Option<&'static str> {
        (way == Way::Resource).then_some(OWN)
    }

    fn begin(self: &Rc<Self>, how: Rc<How>) -> Attempt {
        let open = File::open(&self.path);
        Box::pin(async move { Got::of(how.end(open).await, Got::File) })
    }

    async fn after(&self, end: End) {
        end.check_outcome();
        let file = match end.got {
            Some(Got::File(file)) => file,
            _ => File::open(&self.path).await.expect("a file"),
        };
        let (n, bytes) = file.read_at(Vec::with_capacity(99), 0).await;
        assert_eq!((n.expect("bytes"), &bytes[..]), (BYTES.len(), BYTES));
    }

    fn after_runtime(&self, _: End) {}
}

/// `File::create` of a pipe, which waits until somebody reads it.
pub(crate) struct Create {
    path: PathBuf,
    reader: RefCell<Option<fs::File>>,
    in_flight: usize,
    _folder: TempDir,
}

impl Scene for Create {
    const NAME: &'static str = "create, pipe";
    const FILES: &'static [&'static str] = &["open.rs"];

    async fn set(_: State) -> Self {
        let folder = folder();
        Create {
            path: Pipe::make(&folder),
            reader: RefCell::default(),
            in_flight: in_flight(),
            _folder: folder,
        }
    }

    fn missing(way: Way, _: State) -> Option<&'static str> {
        (way == Way::Resource).then_some(OWN)
    }

    fn begin(self: &Rc<Self>, how: Rc<How>) -> Attempt {
        let create = File::create(&self.path);
        Box::pin(async move { Got::of(how.end(create).await, Got::File) })
    }

    fn happen(&self) {
        let (before, start) = (descriptors(), Instant::now());
        let reader = fs::OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(&self.path);
        self.reader.replace(Some(reader.expect("an end")));
        // A worker that has been waiting opens the other one. There may be none.
        while descriptors() < before + 2 && start.elapsed() < Duration::from_millis(3) {
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    async fn reaped(&self) {
        settled(self.in_flight).await;
    }

    async fn after(&self, end: End) {
        end.check_outcome();
        if let Some(Got::File(file)) = end.got {
            let (n, _) = file.write_at("x", 0).await;
            assert_eq!(n.expect("it fits"), 1);
        }
    }

    fn after_runtime(&self, _: End) {}
}

/// `File::close`, and behind a write if it is to wait.
pub(crate) struct CloseFile {
    file: RefCell<Option<File>>,
    pipe: Pipe,
    sent: RefCell<Vec<u8>>,
    got: RefCell<Vec<u8>>,
}

impl CloseFile {
    fn check(&self, way: Way) {
        let mut got = self.got.take();
        got.extend(self.pipe.drain());
        let sent = self.sent.take();
        assert!(got == sent || !way.is_inside() && sent.starts_with(&got));
    }
}

impl Scene for CloseFile {
    const NAME: &'static str = "File::close";
    const FILES: &'static [&'static str] = &["close.rs"];

    async fn set(state: State) -> Self {
        let pipe = Pipe::new();
        let file = pipe.open().await;
        let mut sent = Vec::new();
        if state == State::Submitted {
            sent = pipe.stuff();
            let mut write = Box::pin(file.write_at("committed", 0));
            assert!(poll_once(&mut write).await.is_none());
            sent.extend_from_slice(b"committed");
        }
        CloseFile {
            file: RefCell::new(Some(file)),
            pipe,
            sent: RefCell::new(sent),
            got: RefCell::default(),
        }
    }

    fn course(state: State) -> Course {
        match state {
            State::Submitted => Course::Waits,
            _ => Course::AtOnce,
        }
    }

    fn missing(way: Way, _: State) -> Option<&'static str> {
        match way {
            Way::Resource => Some("it has the file"),
            Way::Cancel | Way::CancelDropped => Some("it is no operation: there is no cancel()"),
            _ => None,
        }
    }

    fn begin(self: &Rc<Self>, how: Rc<How>) -> Attempt {
        let close = self.file.take().expect("it is closed once").close();
        Box::pin(async move {
            let closed = async { Got::of(close.await, |()| Got::Done) };
            how.end_plain(closed).await
        })
    }

    fn happen(&self) {
        self.got.borrow_mut().extend(self.pipe.drain());
        std::thread::sleep(Duration::from_millis(2));
    }

    async fn after(&self, end: End) {
        end.check_outcome();
        let start = Instant::now();
        let len = self.sent.borrow().len();
        while self.got.borrow().len() < len && start.elapsed() < Duration::from_secs(2) {
            self.got.borrow_mut().extend(self.pipe.drain());
            corering::time::sleep(Duration::from_micros(200)).await;
        }
        self.check(end.way);
    }

    fn after_runtime(&self, end: End) {
        self.check(end.way);
    }
}
