//! An operation that a worker thread of the kernel waits with is interrupted when it is cancelled:
//! that is no other outcome than "cancelled".

mod common;

use std::io::ErrorKind;
use std::process::Command;
use std::time::Duration;

use corering::fs::File;
use corering::io::Operation;
use corering::time::sleep;
use futures_lite::future::poll_once;

use common::{errno, run};

/// An open that waits until somebody reads.
#[test]
fn a_cancelled_open_that_waits_for_a_reader_is_cancelled() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = folder.path().join("fifo");
    let made = Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    run(async {
        let mut open = File::create(&path);
        assert!(poll_once(&mut open).await.is_none());
        sleep(Duration::from_millis(20)).await;
        assert!(poll_once(&mut open).await.is_none());
        assert_eq!(errno(open.cancel().await), libc::ECANCELED);

        let late = File::create(&path).timeout(Duration::from_millis(20)).await;
        assert_eq!(late.unwrap_err().kind(), ErrorKind::TimedOut);
    });
}
