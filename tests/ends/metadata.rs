//! What is known of a file besides its bytes, and the length that it is given.

use std::rc::Rc;

use corering::fs::metadata;

use crate::cell::{Attempt, Course, End, Got, How, Scene, State, Way, in_flight};
use crate::common::kernel_is_since;
use crate::files::{Disk, LEN, message, settled};

/// What is left of the file.
const CUT: usize = LEN / 3;

async fn disk() -> Disk {
    let disk = Disk::new(false).await;
    let (n, _) = disk.file().write_at(message(), 0).await;
    assert_eq!(n.expect("it is written"), LEN);
    disk
}

/// `File::set_len`.
pub(crate) struct SetLen {
    disk: Disk,
    in_flight: usize,
}

impl SetLen {
    fn check(&self, end: &End) {
        let bytes = self.disk.bytes();
        assert!(message().starts_with(&bytes), "other bytes");
        let cut = match (&end.got, end.state) {
            (Some(Got::Done), _) => Some(true),
            (Some(_), _) | (None, State::Unpolled) => Some(false),
            // It is committed, unless the kernel was asked to cancel it.
            (None, state) => {
                let kept = end.way.is_inside() && end.way != Way::CancelDropped;
                (state.has_happened() || kept).then_some(true)
            }
        };
        match cut {
            Some(cut) => assert_eq!(bytes.len(), if cut { CUT } else { LEN }),
            None => assert!([CUT, LEN].contains(&bytes.len())),
        }
    }
}

impl Scene for SetLen {
    const NAME: &'static str = "set_len";
    const FILES: &'static [&'static str] = &["ftruncate.rs"];

    async fn set(_: State) -> Self {
        let disk = disk().await;
        let in_flight = in_flight();
        SetLen { disk, in_flight }
    }

    fn course(_: State) -> Course {
        // The ring refuses at once what it does not know, and the plain call follows.
        match kernel_is_since((6, 9)) {
            true => Course::Worker,
            false => Course::AtOnce,
        }
    }

    fn begin(self: &Rc<Self>, how: Rc<How>) -> Attempt {
        let file = self.disk.file();
        Box::pin(async move { Got::of(how.end(file.set_len(CUT as u64)).await, |()| Got::Done) })
    }

    fn is_done(&self) -> bool {
        self.disk.bytes().len() == CUT
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
            // It waits for one that was dropped, and is told if that was cancelled after all.
            let synced = self.disk.file().sync_all().await;
            let errno = synced.map_err(|e| e.raw_os_error());
            let told = end.way == Way::CancelDropped && self.disk.bytes().len() == LEN;
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

fn check_length(end: &End) {
    end.check_outcome();
    assert!(
        matches!(
            end.got,
            None | Some(Got::Count(LEN) | Got::Cancelled | Got::TimedOut)
        ),
        "{:?}",
        end.got
    );
}

/// `File::metadata`.
pub(crate) struct OfFile {
    disk: Disk,
    in_flight: usize,
}

impl Scene for OfFile {
    const NAME: &'static str = "File::metadata";
    const FILES: &'static [&'static str] = &["statx.rs"];

    async fn set(_: State) -> Self {
        let disk = disk().await;
        let in_flight = in_flight();
        OfFile { disk, in_flight }
    }

    fn course(_: State) -> Course {
        Course::Worker
    }

    fn begin(self: &Rc<Self>, how: Rc<How>) -> Attempt {
        let file = self.disk.file();
        Box::pin(async move {
            let found = how.end(file.metadata()).await;
            Got::of(found, |found| Got::Count(found.len() as usize))
        })
    }

    async fn reaped(&self) {
        settled(self.in_flight).await;
    }

    fn let_go(&self) {
        self.disk.file.take();
    }

    async fn after(&self, end: End) {
        check_length(&end);
        settled(self.in_flight).await;
        if end.way != Way::Resource {
            let again = self.disk.file().metadata().await.expect("a file");
            assert_eq!(again.len(), LEN as u64);
        }
    }

    fn after_runtime(&self, _: End) {
        assert!(self.disk.bytes() == message());
    }
}

/// `fs::metadata`.
pub(crate) struct OfPath(OfFile);

impl Scene for OfPath {
    const NAME: &'static str = "fs::metadata";
    const FILES: &'static [&'static str] = &["statx.rs"];

    async fn set(state: State) -> Self {
        OfPath(OfFile::set(state).await)
    }

    fn course(_: State) -> Course {
        Course::Worker
    }

    fn missing(way: Way, _: State) -> Option<&'static str> {
        (way == Way::Resource).then_some("it has none: it names a path")
    }

    fn begin(self: &Rc<Self>, how: Rc<How>) -> Attempt {
        let found = metadata(self.0.disk.folder.path().join("file"));
        Box::pin(async move {
            let found = how.end(found).await;
            Got::of(found, |found| Got::Count(found.len() as usize))
        })
    }

    async fn reaped(&self) {
        self.0.reaped().await;
    }

    async fn after(&self, end: End) {
        self.0.after(end).await;
    }

    fn after_runtime(&self, end: End) {
        self.0.after_runtime(end);
    }
}
