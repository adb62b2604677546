//! One operation of each kind, done as a program does it: what its caller is told.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use corering::fs::{self, File};
use corering::io::Operation;
use corering::net::pipe::pipe;
use corering::net::{
    Control, TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixListener, UnixSeqpacket,
    UnixSeqpacketListener, UnixStream, splice,
};
use corering::signal::ctrl_c;
use corering::sim::{On, Sim};
use corering::time::{sleep, timeout};
use corering::{runtime, spawn};
use futures_util::future::join;

const PATH: &str = "/socket";
/// What is asked for has happened by then, or never will.
const PATIENCE: Duration = Duration::from_secs(1);
const SOON: Duration = Duration::from_millis(1);

/// Does what ends in `operation` on such an object, and says what came of it.
pub(crate) async fn probe(sim: &Sim, operation: &str, on: On) -> io::Result<()> {
    match on {
        On::Tcp => of_tcp(operation).await,
        On::Udp => of_udp(operation).await,
        On::Unix => of_unix(operation).await,
        On::UnixMessages => of_unix_messages(operation).await,
        On::File => of_a_file(operation).await,
        On::Pipe => of_a_pipe(operation).await,
        On::Event if operation == "POLL_ADD" => interrupted(sim).await,
        On::Event => kicked(sim).await,
        On::Ring => sim.host("test").message(0).await,
        On::Nothing => of_names(operation).await,
        _ => unknown(operation),
    }
}

fn unknown(operation: &str) -> ! {
    panic!("{operation}: nobody knows how to do that")
}

async fn of_tcp(operation: &str) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:7").await?;
    let connecting = TcpStream::connect(listener.local_addr()?);
    if operation == "CONNECT" {
        return connecting.await.map(drop);
    }
    let (accepted, connected) = join(listener.accept(), connecting).await;
    if operation == "ACCEPT" {
        return accepted.map(drop);
    }
    let (near, (far, _)) = (connected?, accepted?);
    match operation {
        "RECV" => near.recv().await.map(drop),
        "SEND" => near.write_all("bytes").await.0,
        "SENDMSG" => near.write_vectored(vec!["by", "tes"]).await.0.map(drop),
        "SEND_ZC" => near.write_zero_copy("bytes").await.0.map(drop),
        "SPLICE" => {
            let (sink, end) = UnixStream::pair()?;
            near.write_all("bytes").await.0?;
            near.shutdown(Shutdown::Write).await?;
            splice(&far, &sink).await?;
            let bytes = timeout(PATIENCE, end.recv()).await??;
            assert_eq!(bytes.as_deref(), Some(&b"bytes"[..]));
            return Ok(());
        }
        _ => unknown(operation),
    }?;
    let bytes = timeout(PATIENCE, far.recv()).await??;
    assert_eq!(bytes.as_deref(), Some(&b"bytes"[..]));
    Ok(())
}

async fn of_udp(operation: &str) -> io::Result<()> {
    let bind = async || UdpSocket::bind("127.0.0.1:0").await;
    let (near, far) = (bind().await?, bind().await?);
    near.connect(far.local_addr()?).await?;
    match operation {
        "SEND" => near.send("bytes").await.0.map(drop),
        "SENDMSG" => {
            let mut control = Control::new();
            control.set_ecn(1);
            near.send_msg("bytes", None, control).await.0.map(drop)
        }
        "RECVMSG" => {
            far.send_to("bytes", near.local_addr()?).await.0?;
            near.recv().await?;
            return Ok(());
        }
        _ => unknown(operation),
    }?;
    let datagram = timeout(PATIENCE, far.recv()).await??;
    assert_eq!(&datagram.payload[..], b"bytes");
    Ok(())
}

async fn of_unix(operation: &str) -> io::Result<()> {
    let listener = UnixListener::bind(PATH)?;
    let connecting = UnixStream::connect(PATH);
    if operation == "CONNECT" {
        return connecting.await.map(drop);
    }
    let (accepted, connected) = join(listener.accept(), connecting).await;
    if operation == "ACCEPT" {
        return accepted.map(drop);
    }
    let (near, (far, _)) = (connected?, accepted?);
    match operation {
        "RECV" => near.recv().await.map(drop),
        "SEND" => near.write_all("bytes").await.0,
        "SENDMSG" => near.write_vectored(vec!["by", "tes"]).await.0.map(drop),
        _ => unknown(operation),
    }?;
    let bytes = timeout(PATIENCE, far.recv()).await??;
    assert_eq!(bytes.as_deref(), Some(&b"bytes"[..]));
    Ok(())
}

async fn of_unix_messages(operation: &str) -> io::Result<()> {
    if matches!(operation, "ACCEPT" | "CONNECT") {
        let listener = UnixSeqpacketListener::bind(PATH)?;
        let connecting = UnixSeqpacket::connect(PATH);
        if operation == "CONNECT" {
            return connecting.await.map(drop);
        }
        return join(listener.accept(), connecting).await.0.map(drop);
    }
    let far = UnixDatagram::bind(PATH)?;
    let near = UnixDatagram::bind("/near")?;
    match operation {
        "SEND" => near.send_to("bytes", PATH).await.0.map(drop),
        "SENDMSG" => {
            let to = std::os::unix::net::SocketAddr::from_pathname(PATH)?;
            let sent = near.send_msg_to("bytes", &to, Control::new()).await;
            sent.0.map(drop)
        }
        "RECVMSG" => {
            far.send_to("bytes", "/near").await.0?;
            near.recv().await?;
            return Ok(());
        }
        _ => unknown(operation),
    }?;
    let datagram = timeout(PATIENCE, far.recv()).await??;
    assert_eq!(&datagram.payload[..], b"bytes");
    Ok(())
}

async fn of_a_pipe(operation: &str) -> io::Result<()> {
    let (sender, receiver) = pipe()?;
    let writing = spawn(async move { sender.write_all("bytes").await.0 });
    if operation == "WRITE" {
        return writing.await.expect("a task");
    }
    let (read, bytes) = receiver.read(Vec::with_capacity(5)).await;
    assert!(read.is_err() || bytes == b"bytes");
    read.map(drop)
}

async fn of_a_file(operation: &str) -> io::Result<()> {
    let file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .open("/file")
        .await?;
    if operation != "WRITE" {
        file.write_at("bytes", 0).await.0?;
    }
    match operation {
        "WRITE" => file.write_at("bytes", 0).await.0.map(drop),
        "READ" => file.read_at(Vec::with_capacity(5), 0).await.0.map(drop),
        "FSYNC" => file.sync_all().await,
        "FTRUNCATE" => file.set_len(5).await,
        _ => unknown(operation),
    }?;
    assert_eq!(file.metadata().await?.len(), 5);
    Ok(())
}

async fn of_names(operation: &str) -> io::Result<()> {
    match operation {
        "OPENAT" => File::create("/file").await.map(drop),
        "CLOSE" => File::create("/file").await?.close().await,
        "STATX" => fs::metadata("/").await.map(drop),
        "MKDIRAT" => fs::create_dir("/directory").await,
        "RENAMEAT" => {
            drop(File::create("/file").await?);
            fs::rename("/file", "/other").await
        }
        "UNLINKAT" => {
            drop(File::create("/file").await?);
            fs::remove_file("/file").await
        }
        "ASYNC_CANCEL" => cancelled().await,
        _ => unknown(operation),
    }
}

/// A receive that is ended loses nothing, however the cancel was answered.
async fn cancelled() -> io::Result<()> {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let socket = UdpSocket::bind(any).await?;
    let (near, far) = UnixStream::pair()?;
    let sending = spawn(async move { far.write_all("bytes").await.0.map(|()| far) });
    let buf = Vec::with_capacity(8 * 1024);
    let (ended, _) = near.read(buf).timeout(SOON / 1000).await;
    let far = sending.await.expect("a task")?;
    if ended.is_err() {
        let bytes = timeout(PATIENCE, near.recv()).await??;
        assert_eq!(bytes.as_deref(), Some(&b"bytes"[..]));
    }
    drop(far);
    let ended = socket.recv().timeout(SOON).await;
    assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::TimedOut);
    runtime::nop().await
}

/// Interrupts come though the poll for them has failed once.
async fn interrupted(sim: &Sim) -> io::Result<()> {
    let host = sim.host("test");
    let interrupting = async {
        sleep(SOON).await;
        host.interrupt();
    };
    join(timeout(PATIENCE, ctrl_c()), interrupting).await.0?
}

/// A core that sleeps is woken by another one though it could not wait for that at first.
async fn kicked(sim: &Sim) -> io::Result<()> {
    use std::cell::RefCell;
    use std::future::poll_fn;
    use std::rc::Rc;
    use std::task::{Poll, Waker};

    let sleeper: Rc<RefCell<Option<Waker>>> = Rc::default();
    let slept = Rc::new(std::cell::Cell::new(false));
    let (host, of_cores) = (sim.host("cores"), (Rc::clone(&sleeper), Rc::clone(&slept)));
    host.run_on_cores(2, move |core| {
        let (sleeper, slept) = of_cores.clone();
        async move {
            if core == 1 {
                sleep(SOON).await;
                slept.set(true);
                sleeper.take().expect("a sleeper").wake();
                return;
            }
            let asleep = poll_fn(|cx| {
                sleeper.replace(Some(cx.waker().clone()));
                match slept.get() {
                    true => Poll::Ready(()),
                    false => Poll::Pending,
                }
            });
            timeout(PATIENCE, asleep).await.expect("to be woken");
        }
    });
    sleep(2 * PATIENCE).await;
    assert!(slept.get(), "nobody was woken");
    Ok(())
}
