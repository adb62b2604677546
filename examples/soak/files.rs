//! Files: written in pieces, some of them by futures that are dropped, and read again.

use std::convert::identity;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use corering::fs::File;
use corering::task::spawn_blocking;
use corering::time::sleep;

use crate::core::Core;
use crate::counts::Shared;
use crate::fate::{Failure, Fate, Fated};
use crate::pattern::Pattern;
use crate::random::Random;

const PIECES_MAX: u64 = 16;
const PIECE_MAX: u64 = 16 * 1024;

/// Writes and reads files at `path` until it is told to stop.
pub(crate) async fn exercise(core: Rc<Core>, path: PathBuf, mut random: Random) {
    while !core.shared.clients_stop.load(Ordering::Relaxed) {
        if let Err(error) = once(&core.shared, &path, &mut random).await {
            core.shared.fault(format!("{}: {error}", path.display()));
        }
        core.shared.files.add(1);
        sleep(random.time(Duration::from_millis(64))).await;
    }
}

async fn once(shared: &Shared, path: &Path, random: &mut Random) -> io::Result<()> {
    let pattern = Pattern::new(random.next(), 2);
    let file = File::create(path).await?;
    let mut len = 0;
    for _ in 0..random.size(PIECES_MAX) {
        let piece = random.size(PIECE_MAX);
        write(shared, &file, random, pattern, (len, piece)).await?;
        len += piece;
    }
    // Waits for the writes that were dropped, and reports their errors.
    if random.one_in(4) {
        let sync = Fate::random(random).of(file.sync_data(), identity, shared);
        if let Fated::Done(Err(error)) = sync.await {
            Failure::of(&error, "sync", shared);
        }
    }
    file.close().await?;
    let file = open(shared, path, random).await?;
    let mut at = 0;
    while at < len {
        at += read(shared, &file, random, pattern, (at, len)).await?;
    }
    let (beyond, _) = file.read_at(vec![0; 1], len).await;
    if beyond? != 0 {
        shared.fault("a file is longer than what was written");
    }
    drop(file);
    let path = path.to_owned();
    let removed = spawn_blocking(move || std::fs::remove_file(path)).await;
    removed.map_err(io::Error::other)?
}

async fn open(shared: &Shared, path: &Path, random: &mut Random) -> io::Result<File> {
    loop {
        let opened = Fate::random(random).of(File::open(path), identity, shared);
        match opened.await {
            Fated::Done(Ok(file)) => return Ok(file),
            Fated::Done(Err(error)) if Failure::of(&error, "open", shared) != Failure::Ended => {
                return Err(error);
            }
            _ => {}
        }
    }
}

/// Writes the piece at `at`, of `len` bytes, whatever happens to the first attempts.
async fn write(
    shared: &Shared,
    file: &File,
    random: &mut Random,
    pattern: Pattern,
    (mut at, len): (u64, u64),
) -> io::Result<()> {
    let end = at + len;
    while at < end {
        let buf = pattern.bytes(at, end - at);
        let fated = Fate::random(random).of(file.write_at(buf, at), identity, shared);
        match fated.await {
            Fated::Done((Ok(n), _)) => at += n as u64,
            Fated::Done((Err(error), _)) => {
                if Failure::of(&error, "write_at", shared) != Failure::Ended {
                    return Err(error);
                }
            }
            // Committed: it goes on to its end, which `close` waits for.
            Fated::Dropped => return Ok(()),
            Fated::Unpolled => {}
        }
    }
    Ok(())
}

/// Reads what stands at `at`, at most to `end`, and compares it: how many bytes.
async fn read(
    shared: &Shared,
    file: &File,
    random: &mut Random,
    pattern: Pattern,
    (at, end): (u64, u64),
) -> io::Result<u64> {
    let room = random.size(PIECE_MAX).min(end - at) as usize;
    let read = file.read_at(Vec::with_capacity(room), at);
    match Fate::random(random).of(read, identity, shared).await {
        Fated::Done((Ok(0), _)) => Err(io::ErrorKind::UnexpectedEof.into()),
        Fated::Done((Ok(n), buf)) => {
            if let Some(wrong) = pattern.wrong(at, &buf) {
                shared.fault(format!("byte {wrong} of a file is wrong"));
            }
            Ok(n as u64)
        }
        Fated::Done((Err(error), _)) => match Failure::of(&error, "read_at", shared) {
            Failure::Ended => Ok(0),
            _ => Err(error),
        },
        _ => Ok(0),
    }
}
