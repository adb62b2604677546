//! Writing to every kind of sink.

use std::io::ErrorKind;

use corering::buffers::IoBufExt;
use corering::fs::{FileCursor, OpenOptions};
use corering::io::{
    AsyncBufRead, AsyncRead, AsyncWrite, BufReader, BufWriter, FramedRead, FramedWrite,
    LengthCodec, LinesCodec, duplex,
};
use corering::{BufResult, IoBuf, spawn};

use crate::common::{pair, pattern, run};
use crate::{dropped_half_way, now, poll_once, rest};

/// A sink that takes three bytes at once, and notes each write.
#[derive(Default)]
struct Few(Vec<Vec<u8>>);

impl AsyncWrite for Few {
    async fn write<B: IoBuf>(&mut self, buf: B) -> BufResult<usize, B> {
        let bytes = buf.as_init();
        let n = bytes.len().min(3);
        self.0.push(bytes[..n].to_vec());
        (Ok(n), buf)
    }

    async fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }

    async fn shutdown(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn short_writes_are_continued_where_they_ended() {
    let mut few = Few::default();
    let (result, buf) = now(few.write_all(b"0123456789".to_vec()));
    result.unwrap();
    assert_eq!(
        (few.0.concat(), buf),
        (b"0123456789".to_vec(), b"0123456789".to_vec())
    );
    let mut few = Few::default();
    let bufs = ("ab", b"".to_vec(), Box::new(*b"cdefg"), "h");
    let (result, bufs) = now(few.write_all_vectored(bufs));
    result.unwrap();
    assert_eq!(few.0, [&b"abc"[..], b"def", b"gh"]);
    assert_eq!(bufs.0, "ab");
    now(few.write_all_vectored(["", ""])).0.unwrap();
    assert_eq!(few.0.len(), 3);
}

/// Takes nothing more.
struct Full;

impl AsyncWrite for Full {
    async fn write<B: IoBuf>(&mut self, buf: B) -> BufResult<usize, B> {
        (Ok(0), buf)
    }

    async fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }

    async fn shutdown(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_sink_that_takes_no_more_is_an_error() {
    let (result, buf) = now(Full.write_all("a"));
    assert_eq!(
        (result.unwrap_err().kind(), buf),
        (ErrorKind::WriteZero, "a")
    );
    let (result, _) = now(Full.write_all_vectored(["a", "b"]));
    assert_eq!(result.unwrap_err().kind(), ErrorKind::WriteZero);
}

#[test]
fn many_buffers_reach_a_slow_reader_in_order() {
    run(async {
        let (mut a, mut b) = pair().await;
        let bufs: Vec<_> = (0..5000).map(|n| pattern(n, n as usize % 2000)).collect();
        let all = bufs.concat();
        let writer = spawn(async move {
            let (result, bufs) = a.write_all_vectored(bufs).await;
            result.unwrap();
            AsyncWrite::shutdown(&mut a).await.unwrap();
            bufs.len()
        });
        assert!(rest(&mut b).await == all);
        assert_eq!(writer.await.unwrap(), 5000);
    });
}

#[test]
fn a_buffered_writer_collects_until_it_is_full_or_flushed() {
    let mut writer = BufWriter::with_capacity(6, Few::default());
    now(writer.write_all("ab")).0.unwrap();
    now(writer.write_all("cd")).0.unwrap();
    assert!(writer.get_ref().0.is_empty());
    assert_eq!(writer.buffer(), b"abcd");
    now(writer.write_all("efg")).0.unwrap(); // does not fit
    assert_eq!(writer.get_ref().0.concat(), b"abcd");
    now(writer.write_all("0123456789")).0.unwrap(); // is not collected
    assert_eq!(writer.get_ref().0.concat(), b"abcdefg0123456789");
    assert!(writer.buffer().is_empty());
    assert_eq!(now(writer.write("h")).0.unwrap(), 1);
    now(writer.flush()).unwrap();
    assert_eq!(writer.get_ref().0.concat(), b"abcdefg0123456789h");
}

#[test]
fn the_end_of_a_buffered_writer_comes_after_its_bytes() {
    run(async {
        let (a, mut b) = pair().await;
        let mut writer = BufWriter::new(&a);
        writer.write_all("last words").await.0.unwrap();
        AsyncWrite::shutdown(&mut writer).await.unwrap();
        assert_eq!(rest(&mut b).await, b"last words");
    });
}

#[test]
fn a_frame_whose_future_is_dropped_arrives_whole() {
    run(async {
        let (a, b) = pair().await;
        let codec = LengthCodec::new();
        let mut sending = FramedWrite::new(a, codec);
        let large = pattern(3, 8 * 1024 * 1024);
        sending.feed("fed before").await.unwrap();
        dropped_half_way(sending.send(&large)).await;
        let sender = spawn(async move {
            sending.send("after").await.unwrap();
            sending.shutdown().await.unwrap();
        });
        let mut receiving = FramedRead::new(b, codec);
        assert_eq!(
            receiving.next().await.unwrap().as_deref(),
            Some(&b"fed before"[..])
        );
        assert!(*receiving.next().await.unwrap().unwrap() == large);
        assert_eq!(
            receiving.next().await.unwrap().as_deref(),
            Some(&b"after"[..])
        );
        assert!(receiving.next().await.unwrap().is_none());
        sender.await.unwrap();
    });
}

#[test]
fn frames_and_bytes_behind_a_dropped_write_wait_for_it_and_are_not_lost() {
    run(async {
        let (a, mut b) = pair().await;
        let large = pattern(3, 8 * 1024 * 1024);
        let mut sending = FramedWrite::new(&a, LengthCodec::new());
        dropped_half_way(sending.send(&large)).await;
        for frame in ["one", "two"] {
            dropped_half_way(sending.send(frame)).await;
        }
        let mut writer = BufWriter::new(&a);
        writer.write_all("three").await.0.unwrap();
        dropped_half_way(writer.flush()).await;
        let reading = spawn(async move {
            let mut receiving = FramedRead::new(&mut b, LengthCodec::new());
            assert!(*receiving.next().await.unwrap().unwrap() == large);
            for frame in ["one", "two"] {
                let got = receiving.next().await.unwrap().unwrap();
                assert_eq!(&*got, frame.as_bytes());
            }
            rest(&mut b).await
        });
        sending.flush().await.unwrap();
        AsyncWrite::shutdown(&mut writer).await.unwrap();
        assert_eq!(reading.await.unwrap(), b"three");
    });
}

#[test]
fn a_slow_reader_slows_the_writer_of_frames_down() {
    let (near, mut far) = duplex(1000);
    let mut sending = FramedWrite::new(near, LinesCodec::new(100_000));
    let line = "x".repeat(40_000);
    assert!(poll_once(sending.feed(&line)).is_some());
    assert!(poll_once(sending.feed(&line)).is_some());
    // 80,002 bytes are collected: they have to go first, and there is room for 1,000.
    let mut feeding = Box::pin(sending.feed("behind"));
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let mut taken = 0;
    while feeding.as_mut().poll(&mut cx).is_pending() {
        taken += now(far.recv()).unwrap().unwrap().len();
        assert!(taken <= 80_002);
    }
    assert!(taken > 70_000, "{taken}");
}

#[test]
fn a_file_is_written_and_read_from_front_to_back() {
    run(async {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true);
        let file = options.open(folder.path().join("file")).await.unwrap();
        let mut cursor = FileCursor::new(file);
        for number in 0..1000 {
            cursor.write_all(format!("{number}\n")).await.0.unwrap();
        }
        cursor.flush().await.unwrap();
        let end = cursor.position();
        cursor.set_position(0);
        // Dropped reads do not move it.
        for _ in 0..10 {
            drop(poll_once(cursor.read(Vec::with_capacity(100))));
        }
        assert_eq!(cursor.position(), 0);
        let mut reader = BufReader::with_capacity(100, cursor);
        for number in 0..1000 {
            let line = reader.read_line(100).await.unwrap().unwrap();
            assert_eq!(line, number.to_string());
        }
        assert_eq!(reader.read_line(100).await.unwrap(), None);
        assert_eq!(reader.into_inner().position(), end);
    });
}

#[test]
fn flush_waits_for_a_write_that_nobody_waits_for() {
    run(async {
        let (mut a, mut b) = pair().await;
        let sent = pattern(5, 16 * 1024 * 1024);
        dropped_half_way(a.write_all(sent.clone())).await;
        dropped_half_way(a.flush()).await;
        let reader = spawn(async move {
            let (result, got) = b.read_exact(Vec::with_capacity(16 * 1024 * 1024)).await;
            result.unwrap();
            got
        });
        a.flush().await.unwrap();
        assert!(reader.await.unwrap() == sent);
    });
}
