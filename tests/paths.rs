//! Names, lengths and ends of files: what a log needs of a disk besides reads and writes.
#![allow(unsafe_code)]

mod common;

use std::ffi::CString;
use std::fs::{self as std_fs, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use corering::buffers::IoBufExt;
use corering::fs::{self, File, OpenOptions};
use corering::io::Operation;
use corering::runtime::stats;
use futures_lite::future::{poll_once, zip};
use futures_util::future::join_all;
use tempfile::TempDir;

use common::{asleep_once, errno, pattern, run, until};

/// A folder on disk.
fn folder() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder")
}

fn kind<T: std::fmt::Debug>(result: io::Result<T>) -> ErrorKind {
    result.unwrap_err().kind()
}

async fn appendable(path: &Path) -> File {
    let mut options = OpenOptions::new();
    let open = options.append(true).create(true).open(path);
    open.await.expect("a file")
}

#[test]
fn a_rename_replaces_what_was_there() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    std_fs::write(at("old"), "old").unwrap();
    std_fs::write(at("new"), "new").unwrap();
    run(async {
        fs::rename(at("new"), at("old")).await.unwrap();
        assert_eq!(std_fs::read(at("old")).unwrap(), b"new");
        assert!(!at("new").exists());
        fs::rename(at("old"), at("fresh")).await.unwrap();
        assert_eq!(std_fs::read(at("fresh")).unwrap(), b"new");
        assert!(!at("old").exists());
    });
}

#[test]
fn a_rename_that_is_refused_changes_nothing() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    std_fs::write(at("file"), "kept").unwrap();
    std_fs::create_dir(at("folder")).unwrap();
    std_fs::write(at("folder").join("inside"), "").unwrap();
    std_fs::create_dir(at("other")).unwrap();
    run(async {
        let rename = async |from: &str, to: &str| fs::rename(at(from), at(to)).await;
        assert_eq!(errno(rename("none", "file").await), libc::ENOENT);
        assert_eq!(errno(rename("file", "none/below").await), libc::ENOENT);
        assert_eq!(errno(rename("file", "folder").await), libc::EISDIR);
        assert_eq!(errno(rename("folder", "file").await), libc::ENOTDIR);
        assert_eq!(errno(rename("other", "folder").await), libc::ENOTEMPTY);
        assert_eq!(errno(rename("folder", "folder/in").await), libc::EINVAL);
        assert_eq!(kind(rename("file", "a\0b").await), ErrorKind::InvalidInput);
        assert_eq!(kind(rename("a\0b", "file").await), ErrorKind::InvalidInput);
    });
    assert_eq!(std_fs::read(at("file")).unwrap(), b"kept");
    assert!(at("folder").join("inside").exists());
}

#[test]
fn directories_are_made_and_removed_when_they_are_empty() {
    let folder = folder();
    let path = folder.path().join("folder");
    let inside = path.join("inside");
    run(async {
        fs::create_dir(&path).await.unwrap();
        std_fs::create_dir(&inside).unwrap();
        let mode = |path: &Path| std_fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&path), mode(&inside), "as that of std");
        std_fs::remove_dir(&inside).unwrap();
        assert_eq!(kind(fs::create_dir(&path).await), ErrorKind::AlreadyExists);
        let below_none = folder.path().join("none/below");
        assert_eq!(kind(fs::create_dir(below_none).await), ErrorKind::NotFound);
        std_fs::write(&inside, "").unwrap();
        assert_eq!(errno(fs::remove_dir(&path).await), libc::ENOTEMPTY);
        assert_eq!(errno(fs::remove_dir(&inside).await), libc::ENOTDIR);
        assert_eq!(errno(fs::remove_file(&path).await), libc::EISDIR);
        fs::remove_file(&inside).await.unwrap();
        assert_eq!(kind(fs::remove_file(&inside).await), ErrorKind::NotFound);
        fs::remove_dir(&path).await.unwrap();
        assert!(!path.exists());
        assert_eq!(kind(fs::remove_dir(&path).await), ErrorKind::NotFound);
        assert_eq!(kind(fs::remove_dir("a\0b").await), ErrorKind::InvalidInput);
        assert_eq!(kind(fs::create_dir("a\0b").await), ErrorKind::InvalidInput);
    });
}

#[test]
fn a_directory_is_opened_and_synced_like_a_file() {
    let folder = folder();
    let (new, path) = (folder.path().join("new"), folder.path().join("file"));
    run(async {
        let file = File::create(&new).await.unwrap();
        file.write_at("bytes", 0).await.0.unwrap();
        file.sync_all().await.unwrap();
        fs::rename(&new, &path).await.unwrap();
        let directory = File::open(folder.path()).await.unwrap();
        directory.sync_all().await.unwrap();
        directory.sync_data().await.unwrap();
        let (n, _) = directory.read_at(vec![0; 8], 0).await;
        assert_eq!(errno(n), libc::EISDIR);
        assert_eq!(errno(directory.write_at("x", 0).await.0), libc::EBADF);
        directory.close().await.unwrap();
        // A sync that does nothing would also say so of what has no disk below it.
        let unsynced = File::open("/dev/null").await.unwrap().sync_all().await;
        assert_eq!(errno(unsynced), libc::EINVAL);
        let mut options = OpenOptions::new();
        let written = options.write(true).open(folder.path()).await;
        assert_eq!(errno(written), libc::EISDIR);
    });
    assert_eq!(std_fs::read(&path).unwrap(), b"bytes");
}

#[test]
fn a_removed_file_is_there_for_who_has_it_open() {
    let folder = folder();
    let path = folder.path().join("file");
    std_fs::write(&path, "still there").unwrap();
    run(async {
        let file = File::open(&path).await.unwrap();
        fs::remove_file(&path).await.unwrap();
        let (n, buf) = file.read_at(Vec::with_capacity(64), 0).await;
        assert_eq!((n.unwrap(), &buf[..]), (11, &b"still there"[..]));
    });
}

/// Submits what `begin` makes, drops it, and waits until nobody has it any more.
async fn drop_in_flight<F: Operation>(begin: impl FnOnce() -> F) {
    asleep_once().await;
    let in_flight = || stats().unwrap().in_flight;
    let before = in_flight();
    let mut operation = begin();
    assert!(poll_once(&mut operation).await.is_none());
    drop(operation);
    until("it has ended", || in_flight() == before).await;
}

#[test]
fn a_dropped_change_of_names_has_happened_or_not() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    run(async {
        for _ in 0..20 {
            std_fs::write(at("from"), "bytes").unwrap();
            // The paths are gone with the call: what was lent is a copy that the ring keeps.
            drop_in_flight(|| fs::rename(at("from"), at("to"))).await;
            assert_ne!(at("from").exists(), at("to").exists());
            let left = if at("to").exists() { "to" } else { "from" };
            assert_eq!(std_fs::read(at(left)).unwrap(), b"bytes");
            drop_in_flight(|| fs::remove_file(at(left))).await;
            drop_in_flight(|| fs::create_dir(at("folder"))).await;
            drop_in_flight(|| fs::remove_dir(at("folder"))).await;
            for name in ["from", "to"].map(at) {
                let _ = std_fs::remove_file(name);
            }
            let _ = std_fs::remove_dir(at("folder"));
        }
        assert_eq!(std_fs::read_dir(folder.path()).unwrap().count(), 0);
    });
}

#[test]
fn what_is_dropped_before_its_first_poll_does_nothing() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    std_fs::write(at("file"), "").unwrap();
    run(async {
        drop(fs::rename(at("file"), at("other")));
        drop(fs::remove_file(at("file")));
        drop(fs::create_dir(at("folder")));
        let cancelled = fs::remove_file(at("file")).cancel().await;
        assert_eq!(errno(cancelled), libc::ECANCELED);
        asleep_once().await;
    });
    assert!(at("file").exists() && !at("other").exists() && !at("folder").exists());
}

#[test]
fn nothing_is_asked_outside_of_a_runtime() {
    let folder = folder();
    let path = folder.path().join("folder");
    let polled = futures_lite::future::block_on(poll_once(fs::create_dir(&path)));
    assert_eq!(kind(polled.unwrap()), ErrorKind::NotConnected);
    assert!(!path.exists());
}

#[test]
fn an_append_goes_to_the_end_wherever_that_is_by_then() {
    let folder = folder();
    let path = folder.path().join("log");
    run(async {
        let (one, other) = zip(appendable(&path), appendable(&path)).await;
        assert_eq!(one.append("first ").await.0.unwrap(), 6);
        let (n, buf) = other.append(b"second ".to_vec()).await;
        assert_eq!((n.unwrap(), &buf[..]), (7, &b"second "[..]));
        assert_eq!(one.append("third ").await.0.unwrap(), 6);
        // As on any such file, an offset changes nothing.
        assert_eq!(one.write_at("fourth", 2).await.0.unwrap(), 6);
        one.sync_data().await.unwrap();
    });
    assert_eq!(std_fs::read(&path).unwrap(), b"first second third fourth");
}

#[test]
fn appends_in_flight_at_once_do_not_overwrite_each_other() {
    let folder = folder();
    let path = folder.path().join("log");
    const LEN: usize = 1000;
    run(async {
        let (one, other) = zip(appendable(&path), appendable(&path)).await;
        let files = [&one, &other];
        let appends = (0..100).map(|n| files[usize::from(n % 2)].append(vec![n; LEN]));
        for (n, _) in join_all(appends).await {
            assert_eq!(n.unwrap(), LEN);
        }
    });
    // Where they stand is not said: a file system may take one in two pieces.
    let mut counts = [0; 256];
    for byte in std_fs::read(&path).unwrap() {
        counts[usize::from(byte)] += 1;
    }
    assert!(counts[..100].iter().all(|count| *count == LEN));
    assert_eq!(counts.iter().sum::<usize>(), 100 * LEN);
}

#[test]
fn an_append_to_a_file_not_opened_for_it_goes_to_its_position() {
    let folder = folder();
    let path = folder.path().join("file");
    std_fs::write(&path, "0123456789").unwrap();
    run(async {
        let mut options = OpenOptions::new();
        let file = options.write(true).open(&path).await.unwrap();
        assert_eq!(file.append("ab").await.0.unwrap(), 2);
        // At an offset: it does not move the position.
        assert_eq!(file.write_at("X", 9).await.0.unwrap(), 1);
        assert_eq!(file.append("cd").await.0.unwrap(), 2);
    });
    assert_eq!(std_fs::read(&path).unwrap(), b"abcd45678X");
}

#[test]
fn no_offset_means_the_position() {
    let folder = folder();
    let path = folder.path().join("file");
    std_fs::write(&path, "0123").unwrap();
    run(async {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).open(&path).await.unwrap();
        for offset in [1 << 63, u64::MAX - 1, u64::MAX] {
            assert_eq!(errno(file.write_at("x", offset).await.0), libc::EINVAL);
            let (n, _) = file.read_at(vec![0; 4], offset).await;
            assert_eq!(errno(n), libc::EINVAL);
        }
    });
    assert_eq!(std_fs::read(&path).unwrap(), b"0123");
}

#[test]
fn a_dropped_append_runs_to_its_end() {
    let folder = folder();
    let path = folder.path().join("log");
    run(async {
        let file = appendable(&path).await;
        drop(file.append("never polled"));
        let mut append = file.append("dropped");
        assert!(poll_once(&mut append).await.is_none());
        drop(append);
        file.sync_data().await.unwrap();
        assert_eq!(std_fs::read(&path).unwrap(), b"dropped");
    });
}

#[test]
fn options_of_an_append_are_those_of_std() {
    let folder = folder();
    let at = |name: &str| -> PathBuf { folder.path().join(name) };
    std_fs::write(at("log"), "kept ").unwrap();
    run(async {
        let mut options = OpenOptions::new();
        options.append(true).truncate(true);
        let emptied = options.open(at("log")).await;
        assert_eq!(kind(emptied), ErrorKind::InvalidInput);
        options.create_new(true);
        options.open(at("new")).await.unwrap();
        let mut options = OpenOptions::new();
        options.append(true);
        assert_eq!(kind(options.open(at("none")).await), ErrorKind::NotFound);
        let file = options.open(at("log")).await.unwrap();
        let (n, _) = file.read_at(vec![0; 8], 0).await;
        assert_eq!(errno(n), libc::EBADF, "write only");
        options.read(true);
        let file = options.open(at("log")).await.unwrap();
        file.append("and more").await.0.unwrap();
        let (n, buf) = file.read_at(Vec::with_capacity(64), 0).await;
        assert_eq!((n.unwrap(), &buf[..]), (13, &b"kept and more"[..]));
    });
}

#[test]
fn metadata_is_that_of_std() {
    let folder = folder();
    let file = folder.path().join("file");
    std_fs::write(&file, vec![1; 12_345]).unwrap();
    std_fs::set_permissions(&file, Permissions::from_mode(0o4750)).unwrap();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let long_ago = UNIX_EPOCH - Duration::from_millis(1500);
    let opened = std_fs::File::options().write(true).open(&file).unwrap();
    opened.set_modified(long_ago).unwrap();
    let device = PathBuf::from("/dev/null");
    run(async {
        for path in [&file, &link, &folder.path().to_path_buf(), &device] {
            let expected = std_fs::metadata(path).unwrap();
            let by_path = fs::metadata(path).await.unwrap();
            let by_file = File::open(path).await.unwrap().metadata().await.unwrap();
            for found in [by_path, by_file] {
                assert_eq!(found.len(), expected.len());
                assert_eq!(found.is_file(), expected.is_file());
                assert_eq!(found.is_dir(), expected.is_dir());
                assert_eq!(found.mode(), expected.permissions().mode());
                assert_eq!(found.modified(), expected.modified().unwrap());
            }
        }
        assert_eq!(fs::metadata(&file).await.unwrap().modified(), long_ago);
        let socket = folder.path().join("socket");
        let _listener = UnixListener::bind(&socket).unwrap();
        let found = fs::metadata(&socket).await.unwrap();
        assert!(!found.is_file() && !found.is_dir());
        let none = fs::metadata(folder.path().join("none")).await;
        assert_eq!(kind(none), ErrorKind::NotFound);
        let below = fs::metadata(file.join("below")).await;
        assert_eq!(kind(below), ErrorKind::NotADirectory);
        assert_eq!(kind(fs::metadata("a\0b").await), ErrorKind::InvalidInput);
    });
}

#[test]
fn metadata_follows_what_is_done_to_the_file() {
    let folder = folder();
    let path = folder.path().join("file");
    run(async {
        let file = File::create(&path).await.unwrap();
        let len = async || file.metadata().await.unwrap().len();
        assert_eq!(len().await, 0);
        file.write_at("0123456789", 0).await.0.unwrap();
        assert_eq!(len().await, 10);
        file.set_len(4).await.unwrap();
        assert_eq!(len().await, 4);
        // No name is needed for it.
        fs::remove_file(&path).await.unwrap();
        file.set_len(1 << 20).await.unwrap();
        assert_eq!(len().await, 1 << 20);
        drop_in_flight(|| file.metadata()).await;
    });
}

#[test]
fn a_file_is_cut_or_gets_zeros_at_its_end() {
    let folder = folder();
    let path = folder.path().join("file");
    run(async {
        let file = File::create(&path).await.unwrap();
        file.write_at("0123456789", 0).await.0.unwrap();
        file.set_len(4).await.unwrap();
        assert_eq!(std_fs::read(&path).unwrap(), b"0123");
        file.set_len(7).await.unwrap();
        assert_eq!(std_fs::read(&path).unwrap(), b"0123\0\0\0");
        for len in [1 << 63, u64::MAX] {
            assert_eq!(errno(file.set_len(len).await), libc::EINVAL);
        }
        let read = File::open(&path).await.unwrap();
        let refused = errno(read.set_len(1).await);
        assert!([libc::EINVAL, libc::EBADF].contains(&refused), "{refused}");
        // An error that was reported is not reported again.
        read.sync_all().await.unwrap();
        assert_eq!(std_fs::read(&path).unwrap(), b"0123\0\0\0");
    });
}

#[test]
fn a_dropped_set_len_runs_to_its_end_and_its_error_is_kept() {
    let folder = folder();
    let path = folder.path().join("file");
    std_fs::write(&path, "0123456789").unwrap();
    run(async {
        let mut options = OpenOptions::new();
        let file = options.write(true).open(&path).await.unwrap();
        drop(file.set_len(1));
        let mut set = file.set_len(4);
        assert!(poll_once(&mut set).await.is_none());
        drop(set);
        file.sync_all().await.unwrap();
        assert_eq!(std_fs::read(&path).unwrap(), b"0123");
        let mut set = file.set_len(u64::MAX);
        assert!(poll_once(&mut set).await.is_none());
        drop(set);
        assert_eq!(errno(file.sync_all().await), libc::EINVAL);
        file.sync_all().await.unwrap();
    });
}

#[test]
fn a_whole_file_is_written_and_read() {
    let folder = folder();
    let path = folder.path().join("file");
    run(async {
        for len in [0, 1, 4096, 300_000] {
            let bytes = pattern(5, len);
            let (written, back) = fs::write(&path, bytes.clone()).await;
            written.unwrap();
            assert!(back == bytes, "the buffer is back");
            assert!(std_fs::read(&path).unwrap() == bytes);
            assert!(fs::read(&path).await.unwrap() == bytes);
        }
        let (written, _) = fs::write(&path, pattern(6, 9000).slice(1000..3000)).await;
        written.unwrap();
        assert!(fs::read(&path).await.unwrap() == pattern(6, 9000)[1000..3000]);
        // Its length is 0, whatever there is to read.
        let status = fs::read("/proc/self/status").await.unwrap();
        assert!(status.starts_with(b"Name:") && status.ends_with(b"\n"));
    });
}

#[test]
fn what_has_no_length_is_read_to_its_end() {
    let folder = folder();
    let path = folder.path().join("pipe");
    let name = CString::new(path.as_os_str().as_bytes()).unwrap();
    // SAFETY: the name ends with a zero byte and lives until the call is over.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    let writer = thread::spawn(move || std_fs::write(path, pattern(7, 300_000)).unwrap());
    let bytes = run(fs::read(folder.path().join("pipe"))).unwrap();
    writer.join().unwrap();
    assert!(bytes == pattern(7, 300_000));
}

#[test]
fn what_cannot_be_read_or_written_as_a_whole_says_so() {
    let folder = folder();
    let none = folder.path().join("none/below");
    run(async {
        assert_eq!(kind(fs::read(&none).await), ErrorKind::NotFound);
        assert_eq!(errno(fs::read(folder.path()).await), libc::EISDIR);
        let (written, buf) = fs::write(&none, "kept").await;
        assert_eq!((kind(written), buf), (ErrorKind::NotFound, "kept"));
        let (written, buf) = fs::write(folder.path(), "kept").await;
        assert_eq!((errno(written), buf), (libc::EISDIR, "kept"));
        let (written, buf) = fs::write("/dev/full", "kept").await;
        assert_eq!((errno(written), buf), (libc::ENOSPC, "kept"));
    });
}
