//! The commands: how they are called, where they are run, and what they answer.

mod connection;
mod deadlines;
mod keys;
mod numbers;
mod server;
mod set;
mod strings;
mod table;

pub(crate) use self::server::info_text;
pub(crate) use self::table::{Command, Home, Merge, find};
use super::reply::Replies;
use super::request::Args;
use super::session::Session;
use super::shard::Shard;

/// Runs on the core that has the keys.
pub(crate) type OnShard = fn(&mut Shard, &Args<'_>, &mut Replies);
/// Runs on the core that has the connection.
pub(crate) type OnSession = fn(&mut Session, &mut Shard, &Args<'_>, &mut Replies);

impl Command {
    /// Whether it may be called with so many arguments, its name included. If not, says so.
    #[inline]
    pub(crate) fn takes(&self, args: usize, replies: &mut Replies) -> bool {
        let enough = match usize::try_from(self.arity) {
            Ok(exactly) => args == exactly,
            Err(_) => args >= self.arity.unsigned_abs() as usize,
        };
        // Every key comes with what belongs to it.
        let whole = match self.home {
            Home::Keys { step, .. } => (args - 1).is_multiple_of(step),
            _ => true,
        };
        if !(enough && whole) {
            wrong_number(self.name, replies);
        }
        enough && whole
    }

    /// Runs it on the core that has the keys, if there is room for what it might add.
    #[inline]
    pub(crate) fn run(
        &self,
        run: OnShard,
        shard: &mut Shard,
        args: &Args<'_>,
        replies: &mut Replies,
    ) {
        if self.grows && shard.store.is_full() {
            return full(replies);
        }
        run(shard, args, replies);
    }
}

#[cold]
fn full(replies: &mut Replies) {
    replies.error(b"OOM command not allowed when used memory > 'maxmemory'.");
}

/// Says that there is no such command.
#[cold]
pub(crate) fn unknown(args: &Args<'_>, replies: &mut Replies) {
    const SHOWN: usize = 128;
    let mut shown = Vec::new();
    for arg in args.from(1) {
        if shown.len() >= SHOWN {
            break;
        }
        let room = SHOWN - shown.len();
        shown.push(b'\'');
        shown.extend_from_slice(text(arg, room));
        shown.extend_from_slice(b"' ");
    }
    let mut message = b"ERR unknown command '".to_vec();
    message.extend_from_slice(text(args.at(0), SHOWN));
    message.extend_from_slice(b"', with args beginning with: ");
    message.extend_from_slice(&shown);
    replies.error(&message);
}

/// At most so many bytes of an argument, and no more than C would see of them.
fn text(arg: &[u8], most: usize) -> &[u8] {
    let arg = &arg[..arg.len().min(most)];
    arg.split(|&byte| byte == 0).next().unwrap_or_default()
}

#[cold]
fn wrong_number(name: &str, replies: &mut Replies) {
    replies.error(format!("ERR wrong number of arguments for '{name}' command").as_bytes());
}

#[cold]
fn syntax(replies: &mut Replies) {
    replies.error(b"ERR syntax error");
}

#[cold]
fn no_integer(replies: &mut Replies) {
    replies.error(b"ERR value is not an integer or out of range");
}
