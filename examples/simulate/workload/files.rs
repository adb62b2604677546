//! Files and directories, used in every way, and compared with a model of each.

mod names;

use std::cell::RefCell;
use std::convert::identity;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use corering::buffers::BufResult;
use corering::fs::{self, File, OpenOptions};
use corering::sim::Sim;
use corering::time::sleep;

use super::fate::{Fate, Fated};
use super::model::{Change, Model};
use super::pattern::Pattern;
use super::random::{Random, mix};
use super::scene::{Core, Failure, Scene};

/// Bytes of a file, and of one read or write.
const LEN_MAX: u64 = 16 * 1024;
const PIECE_MAX: u64 = 4096;
const STEPS: u64 = 24;
/// Bytes that a small disk has room for.
const SMALL: u64 = 24 * 1024;

/// Several tasks with a file each, on one host.
pub(crate) async fn run(sim: Sim) {
    let (scene, mut random) = Scene::new(sim);
    let host = scene.sim.host("disk");
    if random.one_in(6) {
        host.set_disk_capacity(SMALL);
        scene.is_full.set(true);
    }
    let (seed, tasks) = (random.next(), 1 + random.below(4));
    let programs = scene.start(&host, 1, move |core| async move {
        for number in 0..tasks {
            let random = Random::new(seed ^ number);
            let core_of_task = Rc::clone(&core);
            core.spawn(async move {
                let records = RefCell::default();
                let task = Task::new(core_of_task, number, &records, random);
                let _ended_by_an_error = task.run().await;
            });
        }
        core.is_free().await;
    });
    scene.ended(&[programs]).await;
    scene.conclude();
}

/// What is known of a task's file, also when the task is gone.
#[derive(Default)]
pub(crate) struct Record {
    pub(crate) model: Model,
    /// What is being done to it.
    begun: Option<Change>,
    /// Its name is on the disk.
    is_named: bool,
    /// How often a new file was begun.
    generation: u64,
}

impl Record {
    /// The task was killed. With `power`, the disk lost what was not synced.
    pub(crate) fn killed(&mut self, power: bool) {
        if let Some(change) = self.begun.take() {
            self.model.tried(change);
        }
        let is_known = !power || self.model.crashed();
        if !is_known || !self.is_named {
            *self = Record {
                generation: self.generation + 1,
                ..Record::default()
            };
        }
    }
}

pub(crate) struct Task<'a> {
    core: Rc<Core>,
    directory: String,
    path: String,
    record: &'a RefCell<Record>,
    random: Random,
    pattern: Pattern,
    /// A write whose future was dropped may be in flight: its bytes are written in time, over those
    /// that were written since.
    is_unsettled: bool,
}

/// An error after which the task ends.
pub(crate) struct Stopped;

impl<'a> Task<'a> {
    pub(crate) fn new(
        core: Rc<Core>,
        number: u64,
        record: &'a RefCell<Record>,
        random: Random,
    ) -> Task<'a> {
        let directory = format!("/{number}.{}", record.borrow().generation);
        let id = mix(core.scene.sim.seed()) ^ core.scene.number();
        Task {
            path: format!("{directory}/file"),
            directory,
            core,
            record,
            random,
            pattern: Pattern::new(id, 2),
            is_unsettled: false,
        }
    }

    /// Makes a file, uses it, and removes it.
    pub(crate) async fn run(mut self) -> Result<(), Stopped> {
        self.make_directory().await?;
        let mut file = self.open(true).await?;
        for _ in 0..self.random.below(STEPS) {
            if self.random.one_in(8) {
                sleep(self.random.time(Duration::from_millis(2))).await;
            }
            file = self.step(file).await?;
        }
        self.settle(&file).await?;
        self.close(file).await?;
        self.read_whole().await?;
        self.remove().await
    }

    /// Uses a file that survives what happens to its host.
    pub(crate) async fn survive(mut self) -> Result<(), Stopped> {
        let mut file = if self.record.borrow().is_named {
            let file = self.open(false).await?;
            self.read_whole().await?;
            file
        } else {
            self.make_directory().await?;
            let file = self.open(true).await?;
            self.publish().await?;
            file
        };
        for _ in 0..2 * STEPS {
            sleep(self.random.time(Duration::from_millis(8))).await;
            file = self.step(file).await?;
        }
        self.settle(&file).await?;
        self.close(file).await?;
        self.read_whole().await
    }

    async fn step(&mut self, file: File) -> Result<File, Stopped> {
        match self.random.below(20) {
            0..7 => self.write(&file).await?,
            7..12 => self.read(&file).await?,
            12 => self.set_len(&file).await?,
            13 | 14 => self.sync(&file).await?,
            15 => self.look(&file).await?,
            16 => {
                self.close(file).await?;
                return self.open(false).await;
            }
            17 if !self.record.borrow().is_named => self.rename().await?,
            18 => self.append().await?,
            _ => {
                self.settle(&file).await?;
                self.read_whole().await?;
            }
        }
        Ok(file)
    }

    fn scene(&self) -> &Scene {
        &self.core.scene
    }

    fn fate(&mut self) -> Fate {
        let ends = self.core.scene.style.ends;
        Fate::random(&mut self.random, ends)
    }

    /// An error that is no outcome of an early end: the task goes no further.
    fn failed(&self, what: &str, fate: Fate, error: &io::Error) -> Result<(), Stopped> {
        match self.scene().failed(what, error, fate.may_end_it(), None) {
            Failure::Ended => Ok(()),
            Failure::Gone => Err(Stopped),
        }
    }

    /// Opens the file, and makes it if it is `new`.
    pub(crate) async fn open(&mut self, new: bool) -> Result<File, Stopped> {
        loop {
            let fate = self.fate();
            let mut options = OpenOptions::new();
            let options = options.read(true).write(true).create(new);
            let opened = fate.of(options.open(&self.path), identity);
            match opened.await {
                Fated::Done(Ok(file)) => return Ok(file),
                Fated::Done(Err(error)) => self.failed("open", fate, &error)?,
                _ => {}
            }
        }
    }

    async fn write(&mut self, file: &File) -> Result<(), Stopped> {
        let at = self.random.below(LEN_MAX - PIECE_MAX);
        let len = self.random.size(PIECE_MAX);
        let buf = self.pattern.bytes(self.random.next() >> 8, len);
        let bytes: Rc<[u8]> = buf.as_slice().into();
        let change = Change::Write(at, Rc::clone(&bytes));
        let fate = self.fate();
        self.record.borrow_mut().begun = Some(change.clone());
        let fated = match self.random.one_in(3) {
            true => {
                let buf = buf.into_boxed_slice();
                let fated = fate.of(file.write_at(buf, at), identity).await;
                mapped(fated, |(n, buf)| (n, buf.into_vec()))
            }
            false => fate.of(file.write_at(buf, at), identity).await,
        };
        self.record.borrow_mut().begun = None;
        match fated {
            Fated::Done((result, back)) => {
                if *back != *bytes {
                    self.scene().violation("a write gave another buffer back");
                }
                self.written(fate, result, change)
            }
            Fated::Unpolled => Ok(()),
            Fated::Dropped => {
                self.record.borrow_mut().model.tried(change);
                self.is_unsettled = true;
                Ok(())
            }
        }
    }

    fn written(
        &mut self,
        fate: Fate,
        result: io::Result<usize>,
        change: Change,
    ) -> Result<(), Stopped> {
        let mut record = self.record.borrow_mut();
        match result {
            Ok(n) => {
                if let Change::Write(at, mut bytes) = change {
                    if n > bytes.len() {
                        self.scene().violation("more was written than there was");
                    }
                    if n < bytes.len() {
                        bytes = bytes[..n].into();
                    }
                    let change = Change::Write(at, bytes);
                    match self.is_unsettled {
                        true => record.model.tried(change),
                        false => record.model.made(change),
                    }
                }
                Ok(())
            }
            Err(error) => {
                let asked = fate.may_end_it();
                match self.scene().failed("write_at", &error, asked, None) {
                    Failure::Ended => {}
                    // Either outcome.
                    Failure::Gone => record.model.tried(change),
                }
                Ok(())
            }
        }
    }

    async fn read(&mut self, file: &File) -> Result<(), Stopped> {
        let at = self.random.below(LEN_MAX);
        let room = self.random.size(PIECE_MAX) as usize;
        let fate = self.fate();
        let fated = match self.random.one_in(3) {
            true => {
                let buf = vec![0; room].into_boxed_slice();
                let fated = fate.of(file.read_at(buf, at), identity).await;
                mapped(fated, |(n, buf)| {
                    let mut buf = buf.into_vec();
                    buf.truncate(*n.as_ref().unwrap_or(&0));
                    (n, buf)
                })
            }
            false => {
                let buf = Vec::with_capacity(room);
                fate.of(file.read_at(buf, at), identity).await
            }
        };
        match fated {
            Fated::Done((Ok(n), buf)) => {
                let model = &self.record.borrow().model;
                let (least, _) = model.lens();
                if n == 0 && at < least {
                    let text = format!("the end was read at {at}, before {least}");
                    self.scene().violation(text);
                }
                if let Some(wrong) = model.wrong(at, &buf[..n]) {
                    let text = format!("{}: {wrong}", self.path);
                    self.scene().violation(text);
                }
                Ok(())
            }
            Fated::Done((Err(error), _)) => self.failed("read_at", fate, &error),
            _ => Ok(()),
        }
    }

    async fn set_len(&mut self, file: &File) -> Result<(), Stopped> {
        let len = self.random.below(LEN_MAX);
        let fate = self.fate();
        let change = Change::SetLen(len);
        self.record.borrow_mut().begun = Some(change.clone());
        let fated = fate.of(file.set_len(len), identity).await;
        let mut record = self.record.borrow_mut();
        record.begun = None;
        match fated {
            Fated::Done(Ok(())) if !self.is_unsettled => record.model.made(change),
            Fated::Done(Ok(())) => record.model.tried(change),
            Fated::Done(Err(error)) => {
                let asked = fate.may_end_it();
                if self.scene().failed("set_len", &error, asked, None) == Failure::Gone {
                    record.model.tried(change);
                }
            }
            Fated::Unpolled => {}
            Fated::Dropped => {
                record.model.tried(change);
                self.is_unsettled = true;
            }
        }
        Ok(())
    }

    async fn sync(&mut self, file: &File) -> Result<(), Stopped> {
        let fate = self.fate();
        let fated = match self.random.one_in(2) {
            true => fate.of(file.sync_all(), identity).await,
            false => fate.of(file.sync_data(), identity).await,
        };
        let mut record = self.record.borrow_mut();
        match fated {
            Fated::Done(Ok(())) => {
                // It has waited for what was dropped.
                self.is_unsettled = false;
                record.model.synced();
            }
            Fated::Done(Err(error)) => {
                let asked = fate.may_end_it();
                if self.scene().failed("sync", &error, asked, None) == Failure::Gone {
                    record.model.sync_failed();
                }
            }
            // An error would be reported by the next one.
            Fated::Dropped => record.model.sync_failed(),
            Fated::Unpolled => {}
        }
        Ok(())
    }

    /// Waits for writes whose futures were dropped.
    async fn settle(&mut self, file: &File) -> Result<(), Stopped> {
        while self.is_unsettled {
            let result = file.sync_all().await;
            let mut record = self.record.borrow_mut();
            self.is_unsettled = false;
            match result {
                Ok(()) => record.model.synced(),
                Err(error) => {
                    self.failed("sync", Fate::Awaited, &error)?;
                    record.model.sync_failed();
                }
            }
        }
        Ok(())
    }

    async fn close(&mut self, file: File) -> Result<(), Stopped> {
        self.is_unsettled = false;
        // An error of the close is one of the file system: the descriptor is closed.
        match file.close().await {
            Ok(()) => Ok(()),
            Err(error) => self.failed("close", Fate::Awaited, &error),
        }
    }

    /// Asks for its length, by the descriptor or by the name.
    async fn look(&mut self, file: &File) -> Result<(), Stopped> {
        let fate = self.fate();
        let fated = match self.random.one_in(2) {
            true => fate.of(file.metadata(), identity).await,
            false => fate.of(fs::metadata(&self.path), identity).await,
        };
        match fated {
            Fated::Done(Ok(metadata)) => {
                let (least, most) = self.record.borrow().model.lens();
                let len = metadata.len();
                if !(least..=most).contains(&len) || !metadata.is_file() {
                    let text = format!("{}: {len} bytes, not {least} to {most}", self.path);
                    self.scene().violation(text);
                }
                Ok(())
            }
            Fated::Done(Err(error)) => self.failed("metadata", fate, &error),
            _ => Ok(()),
        }
    }
}

fn mapped<B, C>(
    fated: Fated<BufResult<usize, B>>,
    change: impl FnOnce(BufResult<usize, B>) -> BufResult<usize, C>,
) -> Fated<BufResult<usize, C>> {
    match fated {
        Fated::Done(done) => Fated::Done(change(done)),
        Fated::Unpolled => Fated::Unpolled,
        Fated::Dropped => Fated::Dropped,
    }
}
