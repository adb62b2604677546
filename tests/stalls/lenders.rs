//! Operations that lend a page.

use std::fs;
use std::future::Future;
use std::io::{Read as _, Write as _};
use std::net;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use corering::BufResult;
use corering::fs::{File, OpenOptions};
use corering::io::Operation;
use corering::net::TcpStream;
use tempfile::TempDir;

use crate::common::{pair_with_std, read_exactly};
use crate::stalled::{LEN, Page, Stall};

/// What an operation gives back.
pub(crate) type Ended = BufResult<usize, Page>;

/// One operation, on a resource of its own.
pub(crate) trait Lender: Clone + Send + 'static {
    const NAME: &'static str;
    type Resource: 'static;

    /// Opens the resource.
    fn open(&self) -> impl Future<Output = Self::Resource>;

    /// The operation, not yet submitted.
    fn lend(
        resource: &Self::Resource,
        page: Page,
    ) -> impl Operation<Output = Ended, Outcome = Ended>;
}

/// One that a worker of the kernel's runs, on a file.
pub(crate) trait OnWorker: Lender<Resource = File> {
    /// Whether the kernel has done what was asked for, with a page that was released with `byte`.
    fn is_done(&self, stall: &Stall, byte: u8) -> bool;

    /// Whether `page` has come back as it should.
    fn is_exact(&self, page: &Page, byte: u8) -> bool;

    /// Whether what was asked for is done also when the buffer is gone.
    fn is_in_effect(&self, byte: u8) -> bool;
}

/// Every read of this file is a worker's: it has no way to read without blocking.
#[derive(Clone, Debug)]
pub(crate) struct ProcessMaps;

impl Lender for ProcessMaps {
    const NAME: &'static str = "read_at /proc/self/maps";
    type Resource = File;

    async fn open(&self) -> File {
        File::open("/proc/self/maps").await.expect("a file")
    }

    fn lend(file: &File, page: Page) -> impl Operation<Output = Ended, Outcome = Ended> {
        file.read_at(page, 0)
    }
}

impl OnWorker for ProcessMaps {
    fn is_done(&self, stall: &Stall, _: u8) -> bool {
        stall.first_byte().is_ascii_hexdigit()
    }

    fn is_exact(&self, page: &Page, _: u8) -> bool {
        page.bytes()[0].is_ascii_hexdigit()
    }

    fn is_in_effect(&self, _: u8) -> bool {
        true // a read has none
    }
}

/// Every write of this file is a worker's, too. It holds 15 bytes: the name of the process.
#[derive(Clone, Debug)]
pub(crate) struct Named;

const NAME_FILE: &str = "/proc/self/comm";

impl Lender for Named {
    const NAME: &'static str = "write_at /proc/self/comm";
    type Resource = File;

    async fn open(&self) -> File {
        let file = OpenOptions::new().write(true).open(NAME_FILE).await;
        file.expect("a file")
    }

    fn lend(file: &File, page: Page) -> impl Operation<Output = Ended, Outcome = Ended> {
        file.write_at(page, 0)
    }
}

impl OnWorker for Named {
    fn is_done(&self, _: &Stall, byte: u8) -> bool {
        self.is_in_effect(byte)
    }

    fn is_exact(&self, page: &Page, byte: u8) -> bool {
        page.bytes() == [byte; LEN]
    }

    fn is_in_effect(&self, byte: u8) -> bool {
        let name = fs::read(NAME_FILE).expect("the name of the process");
        name.trim_ascii_end() == [byte; 15]
    }
}

/// A file on disk. Many file systems have no way to write to the page cache without blocking.
#[derive(Clone, Debug)]
pub(crate) struct OnDisk(Arc<TempDir>);

impl OnDisk {
    pub(crate) fn new() -> OnDisk {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"));
        OnDisk(Arc::new(dir.expect("a directory")))
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("file")
    }
}

impl Lender for OnDisk {
    const NAME: &'static str = "write_at a file on disk";
    type Resource = File;

    async fn open(&self) -> File {
        File::create(self.path()).await.expect("a file")
    }

    fn lend(file: &File, page: Page) -> impl Operation<Output = Ended, Outcome = Ended> {
        file.write_at(page, 0)
    }
}

impl OnWorker for OnDisk {
    fn is_done(&self, _: &Stall, byte: u8) -> bool {
        self.is_in_effect(byte)
    }

    fn is_exact(&self, page: &Page, byte: u8) -> bool {
        page.bytes() == [byte; LEN]
    }

    fn is_in_effect(&self, byte: u8) -> bool {
        fs::read(self.path()).expect("the file") == [byte; LEN]
    }
}

/// A read of what is in the page cache already.
#[derive(Clone, Debug)]
pub(crate) struct CachedRead(OnDisk);

impl CachedRead {
    pub(crate) fn new() -> CachedRead {
        let file = OnDisk::new();
        fs::write(file.path(), [b'z'; LEN]).expect("a file");
        CachedRead(file)
    }
}

impl Lender for CachedRead {
    const NAME: &'static str = "read_at a cached file";
    type Resource = File;

    async fn open(&self) -> File {
        File::open(self.0.path()).await.expect("a file")
    }

    fn lend(file: &File, page: Page) -> impl Operation<Output = Ended, Outcome = Ended> {
        file.read_at(page, 0)
    }
}

/// A stream, and its peer.
type Pair = (TcpStream, net::TcpStream);

/// A write to a stream.
#[derive(Clone, Debug)]
pub(crate) struct Sent;

impl Lender for Sent {
    const NAME: &'static str = "write a stream";
    type Resource = Pair;

    async fn open(&self) -> Pair {
        pair_with_std().await
    }

    fn lend(pair: &Pair, page: Page) -> impl Operation<Output = Ended, Outcome = Ended> {
        pair.0.write(page)
    }
}

/// A write to a stream from the caller's own page.
#[derive(Clone, Debug)]
pub(crate) struct SentZeroCopy;

impl Lender for SentZeroCopy {
    const NAME: &'static str = "write_zero_copy a stream";
    type Resource = Pair;

    async fn open(&self) -> Pair {
        pair_with_std().await
    }

    fn lend(pair: &Pair, page: Page) -> impl Operation<Output = Ended, Outcome = Ended> {
        // The page comes back when the peer has it.
        let mut peer = pair.1.try_clone().expect("a descriptor");
        thread::spawn(move || peer.read_exact(&mut [0; LEN]));
        pair.0.write_zero_copy(page)
    }
}

/// A read of a stream straight into the page: large messages have come before.
#[derive(Clone, Debug)]
pub(crate) struct DirectRecv;

impl Lender for DirectRecv {
    const NAME: &'static str = "read a stream directly";
    type Resource = Pair;

    async fn open(&self) -> Pair {
        const LARGE: usize = 64 * 1024;
        let (stream, peer) = pair_with_std().await;
        let mut copy = peer.try_clone().expect("a descriptor");
        thread::spawn(move || copy.write_all(&[0; LARGE]));
        read_exactly(&stream, LARGE).await;
        (stream, peer)
    }

    fn lend(pair: &Pair, page: Page) -> impl Operation<Output = Ended, Outcome = Ended> {
        let mut peer = pair.1.try_clone().expect("a descriptor");
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(50));
            peer.write_all(&[0; LEN])
        });
        pair.0.read(page)
    }
}
