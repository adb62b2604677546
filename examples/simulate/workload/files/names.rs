//! What the tasks do with names, and with whole files.

use std::convert::identity;
use std::io;

use corering::fs::{self, File, OpenOptions};

use super::{Stopped, Task};
use crate::workload::fate::{Fate, Fated};

impl Task<'_> {
    pub(super) async fn make_directory(&mut self) -> Result<(), Stopped> {
        loop {
            let fate = self.fate().or_await();
            match fate.of(fs::create_dir(&self.directory), identity).await {
                Fated::Done(Ok(())) => return Ok(()),
                Fated::Done(Err(error)) => self.failed("mkdir", fate, &error)?,
                _ => {}
            }
        }
    }

    /// Makes the names durable.
    pub(super) async fn publish(&mut self) -> Result<(), Stopped> {
        for path in [self.directory.as_str(), "/"] {
            let directory = File::open(path).await;
            let directory = directory.or_else(|error| {
                let ended = self.failed("open", Fate::Awaited, &error);
                ended.and(Err(Stopped))
            })?;
            if let Err(error) = directory.sync_all().await {
                self.failed("sync of a directory", Fate::Awaited, &error)?;
                return Err(Stopped);
            }
        }
        self.record.borrow_mut().is_named = true;
        Ok(())
    }

    pub(super) async fn rename(&mut self) -> Result<(), Stopped> {
        let to = format!("{}/{}", self.directory, self.core.scene.number());
        let fate = self.fate().or_await();
        match fate.of(fs::rename(&self.path, &to), identity).await {
            Fated::Done(Ok(())) => self.path = to,
            Fated::Done(Err(error)) => self.failed("rename", fate, &error)?,
            _ => {}
        }
        Ok(())
    }

    /// A log of its own, to which several append, one after the other.
    pub(super) async fn append(&mut self) -> Result<(), Stopped> {
        let path = format!("{}/log", self.directory);
        let mut options = OpenOptions::new();
        let log = options.append(true).create(true).open(&path).await;
        let log = log.or_else(|error| self.failed("open", Fate::Awaited, &error).and(Err(Stopped)));
        let log = log?;
        let before = fs::metadata(&path).await;
        let before = before.map_err(|error| self.failed("metadata", Fate::Awaited, &error));
        let Ok(before) = before else {
            return Err(Stopped);
        };
        let bytes = self.pattern.bytes(self.random.next() >> 8, 100);
        let (result, _) = log.append(bytes.clone()).await;
        let n = match result {
            Ok(n) => n,
            Err(error) => return self.failed("append", Fate::Awaited, &error),
        };
        if let Err(error) = log.close().await {
            return self.failed("close", Fate::Awaited, &error);
        }
        let whole = fs::read(&path).await;
        let whole = whole.or_else(|error| {
            let ended = self.failed("read", Fate::Awaited, &error);
            ended.and(Err(Stopped))
        })?;
        if whole.get(before.len() as usize..) != Some(&bytes[..n]) {
            self.scene()
                .violation(format!("{path} does not end with what was appended"));
        }
        Ok(())
    }

    /// Reads all of it at once. Nothing is in flight.
    pub(super) async fn read_whole(&mut self) -> Result<(), Stopped> {
        match fs::read(&self.path).await {
            Ok(bytes) => {
                let model = &self.record.borrow().model;
                let (least, most) = model.lens();
                let len = bytes.len() as u64;
                let wrong = match (least..=most).contains(&len) {
                    true => model.wrong(0, &bytes),
                    false => Some(format!("{len} bytes, not {least} to {most}")),
                };
                if let Some(wrong) = wrong {
                    let text = format!("{}, read as a whole: {wrong}", self.path);
                    self.scene().violation(text);
                }
                Ok(())
            }
            Err(error) => self.failed("read", Fate::Awaited, &error),
        }
    }

    pub(super) async fn remove(&mut self) -> Result<(), Stopped> {
        let refused = fs::remove_dir(&self.directory).await;
        match refused.map_err(|error| error.raw_os_error()) {
            Err(Some(libc::ENOTEMPTY)) => {}
            Err(_) if !self.scene().is_quiet() => {}
            other => {
                let text = format!("rmdir of a directory with a file: {other:?}");
                self.scene().violation(text);
            }
        }
        loop {
            let fate = self.fate().or_await();
            match fate.of(fs::remove_file(&self.path), identity).await {
                Fated::Done(Ok(())) => break,
                Fated::Done(Err(error)) => self.failed("unlink", fate, &error)?,
                _ => {}
            }
        }
        match fs::metadata(&self.path).await.map_err(|error| error.kind()) {
            Err(io::ErrorKind::NotFound) => Ok(()),
            Err(_) if !self.scene().is_quiet() => Ok(()),
            other => {
                self.scene().violation(format!("a removed file: {other:?}"));
                Ok(())
            }
        }
    }
}
