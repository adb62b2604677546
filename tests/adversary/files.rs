//! Files hold what was written to them, and no error that is none reaches a program.

use corering::fs::{self, OpenOptions};
use corering::io::Operation;
use corering::sim::Faults;
use futures_lite::future::poll_once;

use super::check;

#[test]
fn files_are_written_and_read_as_a_whole() {
    check(200, Faults::default(), |sim| async move {
        for _ in 0..4 {
            let len = sim.random(30_000) as usize;
            let content: Vec<u8> = (0..len).map(|_| sim.random(256) as u8).collect();
            fs::write("/file", content.clone()).await.0.unwrap();
            assert_eq!(fs::metadata("/file").await.unwrap().len(), len as u64);
            assert!(fs::read("/file").await.unwrap() == content);
        }
    });
}

#[test]
fn a_write_that_is_dropped_is_made_and_a_cancelled_one_is_cancelled_or_done() {
    check(300, Faults::default(), |sim| async move {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true);
        let file = options.open("/file").await.unwrap();
        let mut content = vec![0_u8; 64];
        file.set_len(64).await.unwrap();
        for _ in 0..40 {
            let (at, value) = (sim.random(64) as usize, sim.random(256) as u8);
            // One byte: there is no part of it.
            let mut write = file.write_at(vec![value], at as u64);
            match sim.random(4) {
                0 => {
                    if poll_once(&mut write).await.is_none() {
                        drop(write);
                        file.sync_data().await.unwrap();
                    }
                    content[at] = value;
                }
                1 => {
                    let _ = poll_once(&mut write).await;
                    match write.cancel().await.0 {
                        Ok(n) => {
                            assert_eq!(n, 1);
                            content[at] = value;
                        }
                        Err(e) => assert_eq!(e.raw_os_error(), Some(libc::ECANCELED), "{e}"),
                    }
                }
                2 => {
                    let mut read = file.read_at(vec![0; 1], at as u64);
                    let _ = poll_once(&mut read).await;
                    match read.cancel().await {
                        (Ok(n), byte) => assert_eq!((n, byte[0]), (1, content[at])),
                        (Err(e), _) => assert_eq!(e.raw_os_error(), Some(libc::ECANCELED), "{e}"),
                    }
                }
                _ => {
                    assert_eq!(write.await.0.unwrap(), 1);
                    content[at] = value;
                }
            }
        }
        file.close().await.unwrap();
        assert_eq!(fs::read("/file").await.unwrap(), content);
    });
}
