//! What reads, writes and syncs files.
//!
//! A read or a write of a disk's file cannot be kept waiting. One of a pipe with a name can, until
//! the other end writes or reads.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::ffi::CString;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use corering::fs::{File, OpenOptions};
use corering::time::sleep;
use tempfile::TempDir;

use crate::cell::{Attempt, Course, End, Got, How, Scene, State, Way, in_flight};
use crate::common::pattern;
use crate::peer::stuff;

pub(crate) const LEN: usize = 3_000;

pub(crate) fn folder() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder")
}

pub(crate) fn message() -> Vec<u8> {
    pattern(4, LEN)
}

/// A pipe with a name, and one end of it.
pub(crate) struct Pipe {
    pub(crate) path: PathBuf,
    end: fs::File,
    _folder: TempDir,
}

impl Pipe {
    pub(crate) fn new() -> Pipe {
        let folder = folder();
        let path = Pipe::make(&folder);
        let end = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(&path)
            .expect("both ends");
        Pipe {
            path,
            end,
            _folder: folder,
        }
    }

    /// One without an end.
    pub(crate) fn make(folder: &TempDir) -> PathBuf {
        let path = folder.path().join("pipe");
        let name = CString::new(path.as_os_str().as_bytes()).expect("no zero byte");
        // SAFETY: the name ends with a zero byte and lives until the call is over.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        path
    }

    pub(crate) async fn open(&self) -> File {
        let opened = OpenOptions::new().read(true).write(true).open(&self.path);
        opened.await.expect("both ends")
    }

    pub(crate) fn stuff(&self) -> Vec<u8> {
        stuff(&self.end)
    }

    /// What is in it.
    pub(crate) fn drain(&self) -> Vec<u8> {
        let (mut all, mut part) = (Vec::new(), vec![0; 64 * 1024]);
        while let Ok(n) = (&self.end).read(&mut part) {
            all.extend_from_slice(&part[..n]);
        }
        all
    }
}

/// Waits until no more is in flight than before.
pub(crate) async fn settled(before: usize) {
    while in_flight() > before {
        sleep(Duration::from_micros(200)).await;
    }
}

enum Readable {
    Disk(TempDir),
    Pipe(Pipe),
}

pub(crate) struct ReadAt {
    file: RefCell<Option<Rc<File>>>,
    of: Readable,
    in_flight: usize,
}

impl ReadAt {
    fn file(&self) -> Rc<File> {
        Rc::clone(self.file.borrow().as_ref().expect("it is there"))
    }
}

impl Scene for ReadAt {
    const NAME: &'static str = "read_at";
    const FILES: &'static [&'static str] = &["read.rs"];

    async fn set(state: State) -> Self {
        let (file, of) = if state == State::Submitted {
            let pipe = Pipe::new();
            (pipe.open().await, Readable::Pipe(pipe))
        } else {
            let folder = folder();
            let path = folder.path().join("file");
            fs::write(&path, message()).expect("a file");
            let file = File::open(&path).await.expect("a file");
            (file, Readable::Disk(folder))
        };
        ReadAt {
            file: RefCell::new(Some(Rc::new(file))),
            of,
            in_flight: in_flight(),
        }
    }

    fn course(state: State) -> Course {
        match state {
            State::Submitted => Course::Waits,
            _ => Course::AtOnce,
        }
    }

    fn begin(self: &Rc<Self>, how: Rc<How>) -> Attempt {
        let file = self.file();
        Box::pin(async move {
            let (n, buf) = how.end(file.read_at(Vec::with_capacity(2 * LEN), 0)).await;
            assert_eq!(buf.capacity(), 2 * LEN, "the buffer is back");
            Got::of(n, |n| {
                assert_eq!(n, buf.len());
                Got::Bytes(buf)
            })
        })
    }

    fn let_go(&self) {
        self.file.take();
    }

    async fn after(&self, end: End) {
        end.check_outcome();
        if let Some(Got::Bytes(bytes)) = &end.got {
            assert!(*bytes == message(), "other bytes");
        }
        if end.way == Way::Resource {
            return;
        }
        // What a dropped read takes out of a pipe is gone, so it has to have ended.
        settled(self.in_flight).await;
        if let Readable::Pipe(pipe) = &self.of {
            (&pipe.end).write_all(&message()).expect("it fits");
        }
        let file = self.file();
        let (n, buf) = file.read_at(Vec::with_capacity(2 * LEN), 0).await;
        assert!(n.expect("the next one") == LEN && buf == message());
    }

    fn after_runtime(&self, _: End) {
        match &self.of {
            Readable::Disk(folder) => {
                let bytes = fs::read(folder.path().join("file")).expect("a file");
                assert!(bytes == message());
            }
            Readable::Pipe(pipe) => {
                (&pipe.end).write_all(&message()).expect("it fits");
                assert!(pipe.drain() == message(), "nobody reads any more");
            }
        }
    }
}

/// Whether a write that has been asked for runs to its end.
fn is_finished(way: Way) -> bool {
    way.is_inside() && way != Way::CancelDropped
}

/// `write_at` to a pipe that is full.
pub(crate) struct WriteAt {
    file: RefCell<Option<Rc<File>>>,
    pipe: Pipe,
    before: Vec<u8>,
    got: RefCell<Vec<u8>>,
    in_flight: usize,
}

impl WriteAt {
    /// Checks what came, and what came before and after it.
    fn check(&self, end: &End, next: &[u8]) {
        let mut got = self.got.take();
        got.extend(self.pipe.drain());
        let rest = got.strip_prefix(&self.before[..]).expect("what was there");
        let n = rest.len().checked_sub(next.len()).expect("what follows");
        let whole = match (&end.got, end.state) {
            (Some(Got::Count(n)), _) => Some(*n),
            (Some(_), _) | (None, State::Unpolled) => Some(0),
            (None, State::Reaped) => Some(LEN),
            (None, _) => is_finished(end.way).then_some(LEN),
        };
        assert!(
            whole.is_none_or(|whole| whole == n),
            "{n} of {whole:?} bytes"
        );
        assert!(
            rest[..n] == message()[..n] && &rest[n..] == next,
            "other bytes"
        );
    }
}

impl Scene for WriteAt {
    const NAME: &'static str = "write_at, pipe";
    const FILES: &'static [&'static str] = &["write.rs"];

    async fn set(_: State) -> Self {
        let pipe = Pipe::new();
        let file = pipe.open().await;
        WriteAt {
            file: RefCell::new(Some(Rc::new(file))),
            before: pipe.stuff(),
            pipe,
            got: RefCell::default(),
            in_flight: in_flight(),
        }
    }

    fn begin(self: &Rc<Self>, how: Rc<How>) -> Attempt {
        let file = Rc::clone(self.file.borrow().as_ref().expect("it is there"));
        Box::pin(async move {
            let (n, buf) = how.end(file.write_at(message(), 0)).await;
            assert!(buf == message(), "the buffer is back");
            Got::of(n, Got::Count)
        })
    }

    fn happen(&self) {
        self.got.borrow_mut().extend(self.pipe.drain());
        // A worker may have been waiting for it.
        std::thread::sleep(Duration::from_millis(2));
    }

    async fn reaped(&self) {
        settled(self.in_flight).await;
    }

    fn let_go(&self) {
        self.file.take();
    }

    async fn after(&self, end: End) {
        end.check_outcome();
        settled(self.in_flight).await;
        let Some(file) = self.file.borrow().clone() else {
            return self.check(&end, b"");
        };
        let (n, _) = file.write_at("next", 0).await;
        assert_eq!(n.expect("the next one"), 4);
        self.check(&end, b"next");
    }

    fn after_runtime(&self, end: End) {
        self.check(&end, b"");
    }
}

/// A file on a disk.
pub(crate) struct Disk {
    pub(crate) file: RefCell<Option<Rc<File>>>,
    pub(crate) folder: TempDir,
}

impl Disk {
    pub(crate) async fn new(append: bool) -> Disk {
        let folder = folder();
        let mut options = OpenOptions::new();
        options.write(true).append(append).create(true);
        let file = options.open(folder.path().join("file")).await;
        Disk {
            file: RefCell::new(Some(Rc::new(file.expect("a file")))),
            folder,
        }
    }

    pub(crate) fn file(&self) -> Rc<File> {
        Rc::clone(self.file.borrow().as_ref().expect("it is there"))
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        fs::read(self.folder.path().join("file")).expect("a file")
    }
}

/// `write_at` to a file on a disk, or `append`.
pub(crate) struct WriteFile<const APPEND: bool> {
    disk: Disk,
    in_flight: usize,
}

impl<const APPEND: bool> WriteFile<APPEND> {
    fn check(&self, end: &End) {
        let n = self.disk.bytes().len();
        let whole = match (&end.got, end.state) {
            (Some(Got::Count(n)), _) => Some(*n),
            (Some(_), _) | (None, State::Unpolled) => Some(0),
            (None, State::Staged) if !is_finished(end.way) => None,
            (None, _) if end.way == Way::CancelDropped => None,
            (None, _) => Some(LEN),
        };
        assert!(
            whole.is_none_or(|whole| whole == n),
            "{n} of {whole:?} bytes"
        );
        assert!(self.disk.bytes() == message()[..n], "other bytes");
    }
}

impl<const APPEND: bool> Scene for WriteFile<APPEND> {
    const NAME: &'static str = if APPEND { "append" } else { "write_at, disk" };
    const FILES: &'static [&'static str] = &["write.rs"];

    async fn set(_: State) -> Self {
        WriteFile {
            disk: Disk::new(APPEND).await,
            in_flight: in_flight(),
        }
    }

    fn course(_: State) -> Course {
        Course::Worker
    }

    fn begin(self: &Rc<Self>, how: Rc<How>) -> Attempt {
        let file = self.disk.file();
        Box::pin(async move {
            let write = if APPEND {
                file.append(message())
            } else {
                file.write_at(message(), 0)
            };
            let (n, buf) = how.end(write).await;
            assert!(buf == message(), "the buffer is back");
            Got::of(n, Got::Count)
        })
    }

    fn is_done(&self) -> bool {
        self.disk.bytes().len() == LEN
    }

    async fn reaped(&self) {
        settled(self.in_flight).await;
    }

    fn let_go(&self) {
        self.disk.file.take();
    }

    async fn after(&self, end: End) {
        end.check_outcome();
        if end.way != Way::Resource {
            // It waits for a write that was dropped.
            let synced = self.disk.file().sync_all().await;
            // Nobody else would learn that a write was cancelled after all.
            let told = end.way == Way::CancelDropped && self.disk.bytes().is_empty();
            let errno = synced.map_err(|e| e.raw_os_error());
            assert!(
                errno.is_ok() || told && errno == Err(Some(libc::ECANCELED)),
                "{errno:?}"
            );
        }
        settled(self.in_flight).await;
        self.check(&end);
    }

    fn after_runtime(&self, end: End) {
        self.check(&end);
    }
}

/// `sync_all`, or `sync_data`.
pub(crate) struct Sync<const ALL: bool> {
    disk: Disk,
    in_flight: usize,
}

impl<const ALL: bool> Scene for Sync<ALL> {
    const NAME: &'static str = if ALL { "sync_all" } else { "sync_data" };
    const FILES: &'static [&'static str] = &["fsync.rs"];

    async fn set(_: State) -> Self {
        let disk = Disk::new(false).await;
        let (n, _) = disk.file().write_at(message(), 0).await;
        assert_eq!(n.expect("it is written"), LEN);
        // So that the worker has little to do.
        disk.file().sync_all().await.expect("a disk");
        let in_flight = in_flight();
        Sync { disk, in_flight }
    }

    fn course(_: State) -> Course {
        Course::Worker
    }

    fn begin(self: &Rc<Self>, how: Rc<How>) -> Attempt {
        let file = self.disk.file();
        Box::pin(async move {
            let sync = if ALL {
                file.sync_all()
            } else {
                file.sync_data()
            };
            Got::of(how.end(sync).await, |()| Got::Done)
        })
    }

    async fn reaped(&self) {
        settled(self.in_flight).await;
    }

    fn let_go(&self) {
        self.disk.file.take();
    }

    async fn after(&self, end: End) {
        end.check_outcome();
        if end.way != Way::Resource {
            let file = self.disk.file();
            file.sync_all().await.expect("no error is left");
            file.sync_data().await.expect("no error is left");
        }
        assert!(self.disk.bytes() == message());
    }

    fn after_runtime(&self, _: End) {
        assert!(self.disk.bytes() == message());
    }
}
