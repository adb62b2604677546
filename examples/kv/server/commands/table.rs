//! The table of commands.

use super::super::request::Args;
use super::{OnSession, OnShard, connection, deadlines, keys, numbers, server, set, strings};

/// A command.
#[derive(Debug)]
pub(crate) struct Command {
    /// In small letters.
    pub(crate) name: &'static str,
    /// Arguments that it takes, the name included; if negative, so many or more.
    pub(crate) arity: i32,
    /// Whether it is refused when the store is full.
    pub(crate) grows: bool,
    pub(crate) home: Home,
}

/// Where a command is run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Home {
    /// On the core of its connection.
    Connection(OnSession),
    /// On the core that has the key, its first argument.
    Key(OnShard),
    /// On the cores that have the keys, each `step` arguments: every core is given its own.
    Keys {
        run: OnShard,
        step: usize,
        merge: Merge,
    },
    /// On all cores.
    Everywhere { run: OnShard, merge: Merge },
}

/// How the answers of several cores become one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Merge {
    /// All say the same, unless one has an error.
    Same,
    /// Numbers: their sum.
    Sum,
    /// Values: each in its place.
    Values,
    /// Texts: one behind the other.
    Text,
    /// What `INFO` counts.
    Info,
}

/// The command of that name, written in any case.
#[inline]
pub(crate) fn find(name: &[u8]) -> Option<&'static Command> {
    let word = word(name)?;
    // The commands that are used most come first, and a word is one comparison.
    let place = WORDS.iter().position(|&other| other == word)?;
    Some(&TABLE[place])
}

/// A name of at most 16 letters as a number, whatever its case.
#[inline]
fn word(name: &[u8]) -> Option<u128> {
    let mut letters = [0; 16];
    letters.get_mut(..name.len())?.copy_from_slice(name);
    let mut word = u128::from_le_bytes(letters);
    // What differs from a small letter by that bit alone and is none (`[`, say) is in no name.
    let mut at = 0;
    while at < name.len() {
        if name[at].is_ascii_uppercase() {
            word |= 0x20 << (8 * at);
        }
        at += 1;
    }
    Some(word)
}

static WORDS: [u128; TABLE.len()] = words();

const fn words() -> [u128; TABLE.len()] {
    let mut words = [0; TABLE.len()];
    let mut number = 0;
    while number < TABLE.len() {
        let name = TABLE[number].name.as_bytes();
        let mut at = 0;
        while at < name.len() {
            words[number] |= (name[at] as u128) << (8 * at);
            at += 1;
        }
        number += 1;
    }
    words
}

const fn on_key(name: &'static str, arity: i32, run: OnShard) -> Command {
    let home = Home::Key(run);
    Command {
        name,
        arity,
        grows: false,
        home,
    }
}

const fn grows(command: Command) -> Command {
    Command {
        grows: true,
        ..command
    }
}

const fn on_keys(
    name: &'static str,
    arity: i32,
    step: usize,
    merge: Merge,
    run: OnShard,
) -> Command {
    let home = Home::Keys { run, step, merge };
    Command {
        name,
        arity,
        grows: false,
        home,
    }
}

const fn everywhere(name: &'static str, arity: i32, merge: Merge, run: OnShard) -> Command {
    let home = Home::Everywhere { run, merge };
    Command {
        name,
        arity,
        grows: false,
        home,
    }
}

const fn on_session(name: &'static str, arity: i32, run: OnSession) -> Command {
    let home = Home::Connection(run);
    Command {
        name,
        arity,
        grows: false,
        home,
    }
}

pub(super) const TABLE: [Command; 36] = [
    on_key("get", 2, strings::value),
    grows(on_key("set", -3, set::set)),
    grows(on_key("incr", 2, numbers::incr)),
    on_keys("mget", -2, 1, Merge::Values, strings::values),
    grows(on_keys("mset", -3, 2, Merge::Same, strings::set_all)),
    on_keys("del", -2, 1, Merge::Sum, keys::del),
    on_keys("exists", -2, 1, Merge::Sum, keys::exists),
    on_session("ping", -1, connection::ping),
    on_key("expire", -3, deadlines::expire),
    on_key("ttl", 2, deadlines::ttl),
    grows(on_key("decr", 2, numbers::decr)),
    grows(on_key("incrby", 3, numbers::incrby)),
    grows(on_key("decrby", 3, numbers::decrby)),
    grows(on_key("append", 3, strings::append)),
    on_key("strlen", 2, strings::strlen),
    on_key("pexpire", -3, deadlines::pexpire),
    on_key("pttl", 2, deadlines::pttl),
    on_key("persist", 2, deadlines::persist),
    on_keys("unlink", -2, 1, Merge::Sum, keys::del),
    on_keys("touch", -2, 1, Merge::Sum, keys::exists),
    on_key("type", 2, keys::kind),
    grows(on_key("setnx", 3, set::setnx)),
    grows(on_key("setex", 4, set::setex)),
    grows(on_key("psetex", 4, set::psetex)),
    grows(on_key("getset", 3, set::getset)),
    on_key("getdel", 2, strings::getdel),
    on_session("echo", 2, connection::echo),
    on_session("select", 2, connection::select),
    on_session("quit", -1, connection::quit),
    on_session("client", -2, connection::client),
    on_session("command", -1, server::command),
    on_session("config", -2, server::config),
    everywhere("dbsize", 1, Merge::Sum, server::dbsize),
    everywhere("flushall", -1, Merge::Same, server::flush),
    everywhere("flushdb", -1, Merge::Same, server::flush),
    everywhere("info", -1, Merge::Info, server::info),
];

impl Command {
    /// Where it is run: a few commands of connections are about all of them.
    #[inline]
    pub(crate) fn home_of(&self, args: &Args<'_>) -> Home {
        match self.home {
            Home::Connection(_) if self.name == "client" => {
                let lists = args.len() == 2 && args.at(1).eq_ignore_ascii_case(b"list");
                if lists {
                    connection::CLIENT_LIST
                } else {
                    self.home
                }
            }
            home => home,
        }
    }
}
