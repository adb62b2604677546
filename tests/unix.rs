//! Unix streams do what TCP streams do, under names of their own.

use std::future::Future;
use std::io::{self, ErrorKind, Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use corering::Runtime;
use corering::io::Operation;
use corering::net::{UnixListener, UnixStream};
use corering::time::timeout;
use tempfile::TempDir;

fn run<T>(future: impl Future<Output = io::Result<T>>) -> T {
    let limited = async { timeout(Duration::from_secs(20), future).await };
    let done = Runtime::new().unwrap().block_on(limited);
    done.expect("it ends in time").unwrap()
}

fn folder() -> TempDir {
    TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

#[test]
fn both_ends_see_the_bytes_and_the_end() {
    let folder = folder();
    run(async {
        let path = folder.path().join("s");
        let listener = UnixListener::bind(&path)?;
        let client = UnixStream::connect(&path).await?;
        let (server, address) = listener.accept().await?;
        assert!(address.is_unnamed());
        assert_eq!(client.peer_addr()?.as_pathname(), Some(&*path));
        // More than the socket takes, so that reading and writing take turns.
        let writing = corering::spawn(async move {
            client.write_all(vec![7; 300_000]).await.0?;
            client.shutdown(std::net::Shutdown::Write).await?;
            io::Result::Ok(client)
        });
        let mut got = 0;
        while let Some(bytes) = server.recv().await? {
            assert!(bytes.iter().all(|&byte| byte == 7));
            got += bytes.len();
        }
        assert_eq!(got, 300_000);
        let client = writing.await.unwrap()?;
        server.write_all("bye").await.0?;
        assert_eq!(client.recv().await?.as_deref(), Some(&b"bye"[..]));
        Ok(())
    });
}

#[test]
fn a_dropped_accept_keeps_the_connection() {
    let folder = folder();
    run(async {
        let path = folder.path().join("s");
        let listener = UnixListener::bind(&path)?;
        let mut accept = listener.accept();
        assert!(futures_lite::future::poll_once(&mut accept).await.is_none());
        let client = UnixStream::connect(&path).await?;
        drop(accept);
        client.write_all("still here").await.0?;
        let (server, _) = listener.accept().await?;
        assert_eq!(server.recv().await?.as_deref(), Some(&b"still here"[..]));
        Ok(())
    });
}

#[test]
fn a_dropped_read_loses_no_byte() {
    run(async {
        let (a, b) = UnixStream::pair()?;
        for round in 0..100_u8 {
            let mut read = b.read(Vec::with_capacity(64));
            let _ = futures_lite::future::poll_once(&mut read).await;
            a.write_all(vec![round; 3]).await.0?;
            drop(read);
            let mut got = Vec::new();
            while got.len() < 3 {
                got.extend_from_slice(&b.recv().await?.expect("the peer is there"));
            }
            assert_eq!(got, [round; 3]);
        }
        Ok(())
    });
}

#[test]
fn an_abstract_name_leaves_no_file() {
    run(async {
        let name = format!("corering-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name)?;
        let listener = UnixListener::bind_addr(&address)?;
        assert_eq!(
            listener.local_addr()?.as_abstract_name(),
            Some(name.as_bytes())
        );
        let client = UnixStream::connect_addr(&address).await?;
        let (server, _) = listener.accept().await?;
        client.write_all("x").await.0?;
        assert_eq!(server.recv().await?.as_deref(), Some(&b"x"[..]));
        assert!(!Path::new(&name).exists());
        Ok(())
    });
}

#[test]
fn names_that_cannot_be_are_refused() {
    let folder = folder();
    run(async {
        let missing = folder.path().join("missing");
        let refused = UnixStream::connect(&missing).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::NotFound);
        let long = folder.path().join("x".repeat(120));
        let refused = UnixListener::bind(&long).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
        let refused = UnixListener::bind("").unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);

        let path = folder.path().join("s");
        drop(UnixListener::bind(&path)?);
        let taken = UnixListener::bind(&path).unwrap_err();
        assert_eq!(taken.kind(), ErrorKind::AddrInUse, "the file stays");
        let refused = UnixStream::connect(&path).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        Ok(())
    });
}

#[test]
fn a_name_that_is_too_long_or_has_a_nul_is_told_so() {
    let folder = folder();
    run(async {
        let long = folder.path().join("x".repeat(150));
        for (path, expected) in [(&*long, "may have 107"), (Path::new("a\0b"), "NUL")] {
            let errors = [
                UnixListener::bind(path).unwrap_err(),
                UnixStream::connect(path).await.unwrap_err(),
            ];
            for error in errors {
                assert_eq!(error.kind(), ErrorKind::InvalidInput, "{path:?}");
                assert!(error.to_string().contains(expected), "{error}");
            }
        }
        // Not an abstract name by mistake, and not cut at the NUL.
        assert!(UnixListener::bind("\0abstract").is_err());
        assert!(!Path::new("a").exists());
        Ok(())
    });
}

#[test]
fn an_abstract_name_may_have_nuls_and_107_bytes() {
    run(async {
        let own = |name: &str| format!("corering-test-{}-{name}", std::process::id());
        let (short, long) = (own("a"), own("a\0b"));
        let longest = format!("{:x<107}", own("l"));
        let names = [&short, &long, &longest].map(SocketAddr::from_abstract_name);
        let names = names.map(|name| name.expect("a name"));
        let listeners = names.each_ref().map(UnixListener::bind_addr);
        for (listener, name) in listeners.into_iter().zip(&names) {
            let listener = listener?;
            let client = UnixStream::connect_addr(name).await?;
            let (server, _) = listener.accept().await?;
            let of_client = client.peer_addr()?;
            assert_eq!(of_client.as_abstract_name(), name.as_abstract_name());
            let of_server = server.local_addr()?;
            assert_eq!(of_server.as_abstract_name(), name.as_abstract_name());
        }
        assert!(SocketAddr::from_abstract_name(format!("{longest}x")).is_err());
        Ok(())
    });
}

#[test]
fn a_peer_is_known_by_its_process_and_user() {
    let folder = folder();
    run(async {
        let path = folder.path().join("s");
        let listener = UnixListener::bind(&path)?;
        // Another process, so that it is not our own number that is told.
        let mut child = Command::new("/bin/sh")
            .args(["-c", "exec cat"])
            .stdin(theirs(&path)?)
            .stdout(Stdio::null())
            .spawn()?;
        let (server, _) = listener.accept().await?;
        let mine = server.peer_cred()?;
        // Who has connected counts, not who has the socket now.
        assert_eq!(mine.pid(), Some(std::process::id() as i32));
        let file = std::fs::metadata(&path)?;
        assert_eq!((mine.uid(), mine.gid()), (file.uid(), file.gid()));
        drop(server);
        child.wait()?;
        Ok(())
    });
}

fn theirs(path: &Path) -> io::Result<Stdio> {
    let stream = std::os::unix::net::UnixStream::connect(path)?;
    Ok(Stdio::from(std::os::fd::OwnedFd::from(stream)))
}

#[test]
fn a_connect_waits_for_room_in_the_backlog() {
    let folder = folder();
    run(async {
        let path = folder.path().join("s");
        let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
        socket.bind(&socket2::SockAddr::unix(&path)?)?;
        socket.listen(0)?;
        let listener = UnixListener::from_std(std::os::unix::net::UnixListener::from(
            std::os::fd::OwnedFd::from(socket),
        ))?;
        let first = UnixStream::connect(&path).await?;
        let mut second = Box::pin(UnixStream::connect(&path));
        assert!(
            timeout(Duration::from_millis(50), &mut second)
                .await
                .is_err()
        );
        // One that is dropped leaves nothing in the backlog.
        let mut third = Box::pin(UnixStream::connect(&path));
        assert!(
            timeout(Duration::from_millis(50), &mut third)
                .await
                .is_err()
        );
        drop(third);
        first.write_all("first").await.0?;
        let (server, _) = listener.accept().await?;
        assert_eq!(server.recv().await?.as_deref(), Some(&b"first"[..]));
        let second = second.await?;
        second.write_all("second").await.0?;
        let (server, _) = listener.accept().await?;
        assert_eq!(server.recv().await?.as_deref(), Some(&b"second"[..]));
        let more = listener.accept().timeout(Duration::from_millis(50)).await;
        assert_eq!(more.map(drop).unwrap_err().kind(), ErrorKind::TimedOut);
        Ok(())
    });
}

#[test]
fn halves_go_their_own_ways() {
    run(async {
        let (a, b) = UnixStream::pair()?;
        let (read, write) = a.into_split();
        write.write_all("last words").await.0?;
        drop(write);
        assert_eq!(b.recv().await?.as_deref(), Some(&b"last words"[..]));
        assert!(b.recv().await?.is_none());
        b.write_all("heard").await.0?;
        assert_eq!(read.recv().await?.as_deref(), Some(&b"heard"[..]));
        Ok(())
    });
}

#[test]
fn a_cancelled_read_gives_its_buffer_back() {
    run(async {
        let (_a, b) = UnixStream::pair()?;
        let mut read = b.read(Vec::with_capacity(4096));
        assert!(futures_lite::future::poll_once(&mut read).await.is_none());
        let (result, buf) = read.cancel().await;
        assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::ECANCELED));
        assert!(buf.capacity() >= 4096);
        Ok(())
    });
}

#[test]
fn streams_of_std_come_and_go() {
    run(async {
        let (ours, mut theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let ours = UnixStream::from_std(ours)?;
        theirs.write_all(b"in")?;
        assert_eq!(ours.recv().await?.as_deref(), Some(&b"in"[..]));
        let (mut std, unread) = ours.into_std().await?;
        assert!(unread.is_empty());
        std.write_all(b"out")?;
        let mut buf = [0; 3];
        theirs.read_exact(&mut buf)?;
        assert_eq!(&buf, b"out");
        Ok(())
    });
}
