//! Programs that nobody has thought of: files and connections, used at random.
//!
//! A program is made by its number alone, so that a failure names all that it takes to repeat it.

use std::collections::BTreeMap;
use std::io;
use std::net::Shutdown;
use std::time::Duration;

use corering::fs::{self, File, OpenOptions};
use corering::io::Operation;
use corering::net::TcpStream;

use super::common::Random;
use super::stage::{Script, Stage, errno_of, pair, script, settle};

const PROGRAMS: u32 = 300;
const NAMES: [&str; 8] = ["a", "b", "d", "d/a", "d/b", "d/e", "e", "e/d"];
const FILE_STEPS: usize = 60;
const STREAM_STEPS: usize = 14;

pub(crate) fn scripts() -> Vec<Script> {
    let files = (0..PROGRAMS).map(|number| {
        let play = move |stage| play_files(stage, number);
        script(format!("files {number}"), play)
    });
    let streams = (0..PROGRAMS).map(|number| {
        let play = move |stage| play_streams(stage, number);
        script(format!("streams {number}"), play)
    });
    files.chain(streams).collect()
}

async fn play_files(stage: Stage, number: u32) {
    let mut random = Random::new(number);
    let mut open: BTreeMap<usize, File> = BTreeMap::new();
    for step in 0..FILE_STEPS {
        let name = NAMES[random.below(NAMES.len())];
        let other = NAMES[random.below(NAMES.len())];
        let slot = random.below(3);
        let (path, to) = (stage.path(name), stage.path(other));
        let label = |what: &str| format!("{step}: {what} {name}");
        match random.below(12) {
            0 => stage.told(label("mkdir"), &fs::create_dir(&path).await),
            1 => stage.told(label("rmdir"), &fs::remove_dir(&path).await),
            2 => stage.told(label("unlink"), &fs::remove_file(&path).await),
            3 | 4 => {
                let renamed = fs::rename(&path, &to).await;
                stage.told(format!("{} to {other}", label("rename")), &renamed);
            }
            5 | 6 => {
                let options = options(&mut random);
                let opened = options.open(&path).await;
                stage.told(
                    format!("{} {options:?}", label("open")),
                    &opened.as_ref().map(drop).map_err(copy),
                );
                if let Ok(file) = opened {
                    open.insert(slot, file);
                }
            }
            7 => {
                let found = fs::metadata(&path).await;
                let found = found.map(|found| found.is_file().then(|| found.len()));
                stage.told(label("stat"), &found);
            }
            8 => {
                let read = fs::read(&path).await;
                stage.told(label("read"), &read.map(|bytes| summary(&bytes)));
            }
            _ => {
                if let Some(file) = open.get(&slot) {
                    use_file(&stage, step, file, &mut random).await;
                }
                if random.below(8) == 0
                    && let Some(file) = open.remove(&slot)
                {
                    stage.told(format!("{step}: close"), &file.close().await);
                }
            }
        }
    }
}

fn options(random: &mut Random) -> OpenOptions {
    let mut options = OpenOptions::new();
    let mut flag = || random.below(2) == 1;
    options
        .read(flag())
        .write(flag())
        .append(flag())
        .truncate(flag())
        .create(flag());
    options.create_new(random.below(4) == 0);
    options
}

async fn use_file(stage: &Stage, step: usize, file: &File, random: &mut Random) {
    let at = random.below(300) as u64;
    let len = random.below(200);
    let bytes: Vec<u8> = (0..len).map(|byte| (byte + step) as u8).collect();
    match random.below(5) {
        0 => stage.told(format!("{step}: set_len {at}"), &file.set_len(at).await),
        1 => {
            let len = file
                .metadata()
                .await
                .map(|found| found.is_file().then(|| found.len()));
            stage.told(format!("{step}: length"), &len);
        }
        2 => stage.told(format!("{step}: sync"), &file.sync_all().await),
        3 => {
            let mut all = Vec::new();
            let end = loop {
                let (n, part) = file
                    .read_at(Vec::with_capacity(97), at + all.len() as u64)
                    .await;
                match n {
                    Ok(0) => break Ok(()),
                    Ok(_) => all.extend_from_slice(&part),
                    Err(e) => break Err(e),
                }
            };
            stage.told(
                format!("{step}: read at {at}"),
                &end.map(|()| summary(&all)),
            );
        }
        _ => {
            let mut done = 0;
            let end = loop {
                if done == bytes.len() {
                    break Ok(done);
                }
                let rest = bytes[done..].to_vec();
                match file.write_at(rest, at + done as u64).await.0 {
                    Ok(n) => done += n,
                    Err(e) => break Err(e),
                }
            };
            stage.told(format!("{step}: write at {at}"), &end);
        }
    }
}

/// Enough of `bytes` to tell them from others.
fn summary(bytes: &[u8]) -> (usize, u32) {
    let hash = bytes.iter().fold(7_u32, |hash, byte| {
        hash.wrapping_mul(31).wrapping_add((*byte).into())
    });
    (bytes.len(), hash)
}

fn copy(error: &io::Error) -> io::Error {
    error
        .raw_os_error()
        .map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}

async fn play_streams(stage: Stage, number: u32) {
    let mut random = Random::new(number ^ 0x5_0000);
    let (client, server) = pair().await;
    for end in [&client, &server] {
        // Otherwise a small segment may wait for the acknowledgement of another for 200 ms.
        end.set_nodelay(true).unwrap();
    }
    let mut ends = [Some(client), Some(server)];
    for step in 0..STREAM_STEPS {
        let side = random.below(2);
        let choice = random.below(12);
        let Some(stream) = &ends[side] else {
            continue;
        };
        let label = |what: &str| format!("{step}: {} {what}", ["client", "server"][side]);
        match choice {
            0..=3 => {
                let len = 1 + random.below(1500);
                let written = stream.write_all(vec![step as u8; len]).await.0;
                stage.told(label("writes"), &written);
            }
            4..=7 => stage.saw(label("reads"), available(stream).await),
            8 => {
                let how = [Shutdown::Write, Shutdown::Read, Shutdown::Both][random.below(3)];
                let shut = stream.shutdown(how).await;
                stage.told(format!("{} {how:?}", label("shuts")), &shut);
            }
            9 => stage.told(label("has a peer"), &stream.peer_addr().map(drop)),
            10 => {
                let (n, _) = stream.write(Vec::<u8>::new()).await;
                stage.told(label("writes nothing"), &n);
            }
            _ => {
                if random.below(2) == 0 {
                    // Whether bytes that nobody has asked for are still in the kernel when it is
                    // closed, so that their sender is told of it, is open.
                    stage.saw(label("reads before its end"), available(stream).await);
                    ends[side] = None;
                }
            }
        }
        settle().await;
    }
    for (side, stream) in ends.iter().enumerate() {
        if let Some(stream) = stream {
            stage.saw(format!("end of {side}"), available(stream).await);
        }
    }
}

/// What there is to read, and how it ends: with nothing more for now, the end, or an error.
async fn available(stream: &TcpStream) -> String {
    let mut all = Vec::new();
    let end = loop {
        match stream.recv().timeout(Duration::from_millis(10)).await {
            Ok(Some(part)) => all.extend_from_slice(&part),
            Ok(None) => break "end".to_owned(),
            Err(e) if e.kind() == io::ErrorKind::TimedOut => break "open".to_owned(),
            Err(e) => break errno_of(&e),
        }
    };
    format!("{:?} {end}", summary(&all))
}
