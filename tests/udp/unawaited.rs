//! Sends that nobody waits for.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use corering::time::{sleep, timeout};
use futures_lite::future::poll_once;

use super::{pair, run};

#[test]
fn what_is_handed_over_without_waiting_arrives_even_after_a_drop() {
    run(async {
        let (a, b) = pair().await?;
        let address = b.local_addr()?;
        assert!(a.try_send("to the peer").is_ok());
        assert!(a.try_send_to("to an address", address).is_ok());
        drop(a);
        assert_eq!(&*b.recv().await?.payload, b"to the peer");
        assert_eq!(&*b.recv().await?.payload, b"to an address");
        Ok(())
    });
}

#[test]
fn more_than_64_sends_at_once_or_a_line_give_the_buffer_back() {
    run(async {
        let (a, b) = pair().await?;
        for number in 0..64_u8 {
            assert!(a.try_send(vec![number]).is_ok(), "{number}");
        }
        let (error, buf) = a.try_send(vec![64]).expect_err("there are 64");
        assert_eq!((error.kind(), &buf[..]), (ErrorKind::WouldBlock, &[64][..]));

        let mut next = Box::pin(a.send(buf));
        assert!(poll_once(&mut next).await.is_none());
        sleep(Duration::from_millis(5)).await;
        // The others are done, but somebody stands in line.
        let (error, buf) = a.try_send(vec![65]).expect_err("it would overtake");
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        next.await.0?;
        assert!(a.try_send(buf).is_ok());
        for number in 0..66_u8 {
            assert_eq!(&*b.recv().await?.payload, [number]);
        }
        Ok(())
    });
}

#[test]
fn an_icmp_error_that_an_unawaited_send_was_told_goes_to_one_receive() {
    run(async {
        let (a, b) = pair().await?;
        b.close().await?;
        a.send("nobody").await.0?;
        sleep(Duration::from_millis(5)).await;
        // The kernel tells the next call.
        assert!(a.try_send_to("told", a.local_addr()?).is_ok());
        sleep(Duration::from_millis(5)).await;
        let error = a.recv().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        let later = timeout(Duration::from_millis(20), a.recv()).await;
        assert!(later.is_err(), "it was told once: {later:?}");
        Ok(())
    });
}

#[test]
fn buffers_handed_over_are_dropped_once_and_soon() {
    run(async {
        let (a, b) = pair().await?;
        let text: Arc<[u8]> = Arc::from(*b"counted");
        for _ in 0..500 {
            assert!(a.try_send(Arc::clone(&text)).is_ok());
            b.recv().await?;
        }
        sleep(Duration::from_millis(5)).await;
        assert_eq!(Arc::strong_count(&text), 1);
        Ok(())
    });
}
