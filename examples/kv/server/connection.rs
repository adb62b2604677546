//! One connection: from bytes to commands to replies.
//!
//! Commands are parsed where the kernel has put their bytes. Only a command that does not lie
//! whole in what was received is put together in a buffer of the connection's own. The replies to
//! all commands that came together are written together, and before they are more than 64 KiB:
//! a client that sends and does not read waits with its commands in the kernel.

use std::io;
use std::mem;
use std::net::{Shutdown, SocketAddr};
use std::ops::Deref;
use std::rc::Rc;
use std::time::Duration;

use corering::Lease;
use corering::cores::Core;
use corering::net::TcpStream;
use corering::time::{Instant, timeout};

use super::commands::{self, Home};
use super::remote::Remote;
use super::reply::{Piece, Replies, WRITE_AT};
use super::request::{Args, Parser};
use super::session::Session;
use super::shard::{Client, Shard, ShardRef};

/// Bytes of a command that is not there whole.
const REQUEST_MAX: usize = 1 << 30;
/// A buffer that is longer is not kept for the next command.
const KEPT_MAX: usize = 64 * 1024;
/// How long a client has to read why its connection ends.
const PARTING: Duration = Duration::from_secs(1);

/// Serves one client until it goes.
pub(crate) async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    core: &Core,
    shard: &ShardRef,
) -> io::Result<()> {
    let mut connection = Connection::new(stream, peer, core, shard);
    connection.run().await
}

struct Connection {
    stream: Rc<TcpStream>,
    shard: ShardRef,
    remote: Remote,
    session: Session,
    parser: Parser,
    replies: Replies,
    /// The beginning of a command whose rest has not come.
    begun: Vec<u8>,
}

/// What commands are parsed in.
enum Input {
    Received(Lease),
    Assembled(Vec<u8>),
}

/// How far a connection has come in its input.
enum Stop {
    /// The rest is no whole command.
    Partial,
    /// There are enough replies to write.
    Replies,
    /// Nothing more is to be done.
    Closing,
}

impl Connection {
    fn new(stream: TcpStream, peer: SocketAddr, core: &Core, shard: &ShardRef) -> Connection {
        let stream = Rc::new(stream);
        let mut own = shard.borrow_mut();
        // No two connections have the same, whatever cores they are on.
        let id = own.counts.connections * core.count() as u64 + core.index() as u64 + 1;
        own.counts.connections += 1;
        let slot = own.clients.insert(Client {
            id,
            name: Vec::new(),
            peer,
            since: Instant::now(),
            stream: Rc::clone(&stream),
        });
        Connection {
            stream,
            shard: Rc::clone(shard),
            remote: Remote::new(core.clone()),
            session: Session {
                slot,
                closing: false,
            },
            parser: Parser::new(own.config.bulk_max),
            replies: Replies::default(),
            begun: Vec::new(),
        }
    }

    async fn run(&mut self) -> io::Result<()> {
        while let Some(lease) = self.stream.recv().await? {
            let input = self.input(lease);
            let mut at = 0;
            loop {
                let (used, stop) = self.work(&input[at..]);
                at += used;
                if self.remote.is_waiting() {
                    self.remote.fill(&self.shard, &mut self.replies).await?;
                }
                self.write().await?;
                match stop {
                    Stop::Partial => break,
                    Stop::Replies => {}
                    Stop::Closing => return self.part().await,
                }
            }
            self.keep(input, at)?;
        }
        Ok(())
    }

    /// What was received, behind what there was already.
    #[inline]
    fn input(&mut self, lease: Lease) -> Input {
        if self.begun.is_empty() {
            return Input::Received(lease);
        }
        let mut whole = mem::take(&mut self.begun);
        whole.extend_from_slice(&lease);
        Input::Assembled(whole)
    }

    /// Keeps what comes after the first `at` bytes for the next time.
    #[inline]
    fn keep(&mut self, input: Input, at: usize) -> io::Result<()> {
        match input {
            Input::Received(lease) if at == lease.len() => return Ok(()),
            Input::Received(lease) => self.begun.extend_from_slice(&lease[at..]),
            Input::Assembled(mut whole) => {
                whole.drain(..at);
                if !whole.is_empty() || whole.capacity() <= KEPT_MAX {
                    self.begun = whole;
                }
            }
        }
        if self.begun.len() + self.parser.held() > REQUEST_MAX {
            return Err(io::Error::other("a command of more than 1 GiB"));
        }
        Ok(())
    }

    /// Runs commands; how many bytes they had, and why there are no more of them.
    fn work(&mut self, input: &[u8]) -> (usize, Stop) {
        let shard = &mut *self.shard.borrow_mut();
        let mut at = 0;
        let stop = loop {
            let rest = &input[at..];
            match self.parser.parse(rest) {
                Ok(Some(len)) => {
                    at += len;
                    let args = self.parser.args(rest);
                    if args.len() > 0 {
                        shard.counts.commands += 1;
                        let (session, remote) = (&mut self.session, &mut self.remote);
                        execute(session, remote, shard, &args, &mut self.replies);
                    }
                }
                Ok(None) => break Stop::Partial,
                Err(malformed) => {
                    shard.counts.malformed += 1;
                    self.replies.error(&malformed.message());
                    self.session.closing = true;
                }
            }
            if self.session.closing || self.replies.is_too_long() {
                break Stop::Closing;
            }
            if self.replies.len() >= WRITE_AT || self.remote.is_full() {
                break Stop::Replies;
            }
        };
        shard.counts.bytes_in += at as u64;
        (at, stop)
    }

    /// Writes all replies.
    async fn write(&mut self) -> io::Result<()> {
        if self.replies.is_too_long() {
            return Err(io::Error::other("a reply of more than 1 GiB"));
        }
        self.shard.borrow_mut().counts.bytes_out += self.replies.len() as u64;
        for piece in self.replies.take_pieces() {
            match piece {
                Piece::Own(bytes) => self.stream.write_all(bytes).await.0?,
                Piece::Shared(bytes) => self.stream.write_all(bytes).await.0?,
            }
        }
        let tail = self.replies.take_tail();
        if tail.is_empty() {
            return Ok(());
        }
        let (written, tail) = self.stream.write_all(tail).await;
        self.replies.reuse(tail);
        written
    }

    /// Ends the connection so that the last reply is read. To close a connection with something
    /// unread in it resets it, and then the client may never see that reply.
    async fn part(&mut self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write).await?;
        let unread = async { while let Ok(Some(_)) = self.stream.recv().await {} };
        // Who goes on sending is cut off.
        let _ = timeout(PARTING, unread).await;
        Ok(())
    }
}

/// Runs one command, or leaves it to the cores that have its keys.
#[inline]
fn execute(
    session: &mut Session,
    remote: &mut Remote,
    shard: &mut Shard,
    args: &Args<'_>,
    replies: &mut Replies,
) {
    let Some(command) = commands::find(args.at(0)) else {
        // A browser that was sent here by somebody's page must not run what it was made to post.
        let name = args.at(0).to_ascii_lowercase();
        session.closing = matches!(name.as_slice(), b"post" | b"host:");
        if !session.closing {
            commands::unknown(args, replies);
        }
        return;
    };
    if !command.takes(args.len(), replies) {
        return;
    }
    match command.home_of(args) {
        Home::Connection(run) => run(session, shard, args, replies),
        home => remote.route(shard, command, home, args, replies),
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shard.borrow_mut().clients.remove(self.session.slot);
    }
}

impl Deref for Input {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Input::Received(lease) => lease,
            Input::Assembled(bytes) => bytes,
        }
    }
}
