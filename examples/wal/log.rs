//! A write-ahead log: what `append` has returned for is there after a power failure.
//!
//! The file `log` holds *groups* of records, each with a checksum over all of it:
//!
//! ```text
//! checksum u32 | bytes of records u32 | number of the first record u64 | (bytes u32 | record)…
//! ```
//!
//! * A group is written at once and synced before its append returns. What the end of the file
//!   holds after a power failure, a part of a group or zeros, has no right checksum: it was never
//!   acknowledged, and reading stops there.
//! * The file is only ever appended to. It is replaced, to shorten it and at each start, by way of
//!   `log.new`: written, synced, renamed, and then the directory is synced.
//! * It is replaced at each start for two reasons. Nothing is written behind a torn group. And what
//!   is read after a sync that has failed may be in memory alone, where no later sync looks.
//! * After an error nobody knows what is on the disk. The log takes nothing more until it is opened
//!   again.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};

use corering::fs::{self, File};

const HEADER: usize = 16;

/// What a log promises.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// So many of the newest records are kept, and at most twice as many.
    pub(crate) retained: usize,
    /// Whether records survive a power failure.
    pub(crate) syncs_file: bool,
    /// Whether the log's name does.
    pub(crate) syncs_directory: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            retained: 1024,
            syncs_file: true,
            syncs_directory: true,
        }
    }
}

/// An open log. It has its directory for itself.
#[derive(Debug)]
pub(crate) struct Log {
    directory: PathBuf,
    options: Options,
    file: File,
    len: u64,
    first: u64,
    records: VecDeque<Vec<u8>>,
    /// An append has begun and has not succeeded.
    is_broken: bool,
}

impl Log {
    /// Opens the log in `directory`, which is made if its parent is there.
    pub(crate) async fn open(directory: &Path, options: Options) -> io::Result<Log> {
        match fs::create_dir(directory).await {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        // Always: whoever has made it may have been stopped before it was durable.
        sync_directory(directory.parent().unwrap_or(directory), options).await?;
        let bytes = match fs::read(directory.join("log")).await {
            // Only this says that there is none; any other error must not begin an empty one.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            bytes => bytes?,
        };
        let (first, records) = read_groups(&bytes);
        let (file, len) = replace(directory, options, first, &records).await?;
        Ok(Log {
            directory: directory.to_owned(),
            options,
            file,
            len,
            first,
            records: records.into(),
            is_broken: false,
        })
    }

    /// Makes `records` durable, all of them or none, and returns the number of the first.
    ///
    /// After an error, or when its future was dropped, they may be there after the next start.
    pub(crate) async fn append(&mut self, records: Vec<Vec<u8>>) -> io::Result<u64> {
        if self.is_broken {
            return Err(io::Error::other("the log has to be opened again"));
        }
        self.is_broken = true;
        let number = self.first + self.records.len() as u64;
        let group = group_of(number, &records);
        let bytes = group.len() as u64;
        write_all(&self.file, group, self.len).await?;
        if self.options.syncs_file {
            self.file.sync_data().await?;
        }
        self.len += bytes;
        self.records.extend(records);
        if self.records.len() > 2 * self.options.retained {
            self.shorten().await?;
        }
        self.is_broken = false;
        Ok(number)
    }

    /// The number of the oldest record.
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// The records from the oldest on. All of them are durable.
    pub(crate) fn records(&self) -> impl Iterator<Item = &[u8]> {
        self.records.iter().map(Vec::as_slice)
    }

    async fn shorten(&mut self) -> io::Result<()> {
        let surplus = self.records.len().saturating_sub(self.options.retained);
        self.records.drain(..surplus);
        self.first += surplus as u64;
        let records = self.records.make_contiguous();
        (self.file, self.len) = replace(&self.directory, self.options, self.first, records).await?;
        Ok(())
    }
}

/// Replaces the log by a new one with these records, and returns its file and length.
async fn replace(
    directory: &Path,
    options: Options,
    first: u64,
    records: &[Vec<u8>],
) -> io::Result<(File, u64)> {
    let new = directory.join("log.new");
    let file = File::create(&new).await?;
    let group = group_of(first, records);
    let len = group.len() as u64;
    write_all(&file, group, 0).await?;
    // Before the rename: a name may become durable earlier than what it names.
    if options.syncs_file {
        file.sync_all().await?;
    }
    fs::rename(&new, directory.join("log")).await?;
    // Before anything is appended to it: the old file could be back after a power failure.
    sync_directory(directory, options).await?;
    Ok((file, len))
}

async fn sync_directory(directory: &Path, options: Options) -> io::Result<()> {
    if options.syncs_directory {
        File::open(directory).await?.sync_all().await?;
    }
    Ok(())
}

async fn write_all(file: &File, mut bytes: Vec<u8>, mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let n;
        (n, bytes) = file.write_at(bytes, offset).await;
        match n? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            n => {
                bytes.drain(..n);
                offset += n as u64;
            }
        }
    }
    Ok(())
}

fn group_of(first: u64, records: &[Vec<u8>]) -> Vec<u8> {
    let mut group = vec![0; HEADER];
    for record in records {
        group.extend((record.len() as u32).to_le_bytes());
        group.extend(record);
    }
    let len = (group.len() - HEADER) as u32;
    group[4..8].copy_from_slice(&len.to_le_bytes());
    group[8..16].copy_from_slice(&first.to_le_bytes());
    let checksum = crc32fast::hash(&group[4..]);
    group[..4].copy_from_slice(&checksum.to_le_bytes());
    group
}

/// The records of all groups up to the first that is not whole, and the number of the first.
fn read_groups(mut bytes: &[u8]) -> (u64, Vec<Vec<u8>>) {
    let (mut first, mut records) = (None, Vec::new());
    while let Some((number, mut group, rest)) = next_group(bytes) {
        let start = *first.get_or_insert(number);
        if number != start + records.len() as u64 {
            break;
        }
        while let Some((record, others)) = next_record(group) {
            records.push(record.to_vec());
            group = others;
        }
        bytes = rest;
    }
    (first.unwrap_or(0), records)
}

/// The number of its first record, its records, and what follows it.
fn next_group(bytes: &[u8]) -> Option<(u64, &[u8], &[u8])> {
    let (checksum, after) = bytes.split_first_chunk()?;
    let (len, rest) = after.split_first_chunk()?;
    let (number, rest) = rest.split_first_chunk()?;
    let (records, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
    let hashed = &after[..after.len() - rest.len()];
    let is_whole = crc32fast::hash(hashed) == u32::from_le_bytes(*checksum);
    is_whole.then(|| (u64::from_le_bytes(*number), records, rest))
}

fn next_record(group: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = group.split_first_chunk()?;
    rest.split_at_checked(u32::from_le_bytes(*len) as usize)
}
