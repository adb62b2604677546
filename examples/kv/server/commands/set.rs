//! `SET` with its options, and its older relatives.

use super::super::integer;
use super::super::reply::Replies;
use super::super::request::Args;
use super::super::shard::Shard;
use super::super::store::{Deadline, NEVER};
use super::{no_integer, strings, syntax};

/// What the options of `SET` ask for.
#[derive(Clone, Copy, Debug, Default)]
struct Options<'a> {
    if_missing: bool,
    if_there: bool,
    old: bool,
    keep: bool,
    deadline: Option<(Unit, &'a [u8])>,
}

/// How a deadline is given.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Unit {
    Seconds,
    Milliseconds,
    AtSeconds,
    AtMilliseconds,
}

pub(super) fn set(shard: &mut Shard, args: &Args<'_>, replies: &mut Replies) {
    if args.len() == 3 {
        let key = shard.store.key(args.at(1));
        shard.store.set(key, args.at(2), Deadline::Set(NEVER));
        return replies.ok();
    }
    let Some(options) = options(args) else {
        return syntax(replies);
    };
    let mut deadline = if options.keep {
        Deadline::Keep
    } else {
        Deadline::Set(NEVER)
    };
    if let Some((unit, time)) = options.deadline {
        let Some(deadline_ms) = deadline_ms(shard, "set", unit, time, replies) else {
            return;
        };
        deadline = Deadline::Set(deadline_ms);
    }
    if options.old {
        strings::value(shard, args, replies);
    }
    let key = shard.store.key(args.at(1));
    let there = shard.store.contains(key);
    let wanted = !(options.if_missing && there || options.if_there && !there);
    if wanted {
        shard.store.set(key, args.at(2), deadline);
    }
    match (options.old, wanted) {
        (true, _) => {}
        (false, true) => replies.ok(),
        (false, false) => replies.null(),
    }
}

/// Those of `SET`. `None` if one is unknown, or does not go with another.
fn options<'a>(args: &Args<'a>) -> Option<Options<'a>> {
    let mut options = Options::default();
    let mut rest = args.from(3);
    while let Some(option) = rest.next() {
        let is = |name: &str| option.eq_ignore_ascii_case(name.as_bytes());
        if is("nx") && !options.if_there {
            options.if_missing = true;
        } else if is("xx") && !options.if_missing {
            options.if_there = true;
        } else if is("get") {
            options.old = true;
        } else if is("keepttl") && options.deadline.is_none() {
            options.keep = true;
        } else {
            let unit = unit(option)?;
            // The same unit again replaces the time.
            let other = options.deadline.is_some_and(|(other, _)| other != unit);
            if options.keep || other {
                return None;
            }
            options.deadline = Some((unit, rest.next()?));
        }
    }
    Some(options)
}

fn unit(option: &[u8]) -> Option<Unit> {
    let names = [
        ("ex", Unit::Seconds),
        ("px", Unit::Milliseconds),
        ("exat", Unit::AtSeconds),
        ("pxat", Unit::AtMilliseconds),
    ];
    let found = names
        .iter()
        .find(|(name, _)| option.eq_ignore_ascii_case(name.as_bytes()));
    found.map(|(_, unit)| *unit)
}

/// When a key expires that is given this time. If that is no time, says so.
fn deadline_ms(
    shard: &Shard,
    name: &str,
    unit: Unit,
    time: &[u8],
    replies: &mut Replies,
) -> Option<i64> {
    let Some(time) = integer::parse(time) else {
        no_integer(replies);
        return None;
    };
    let in_seconds = matches!(unit, Unit::Seconds | Unit::AtSeconds);
    let is_relative = matches!(unit, Unit::Seconds | Unit::Milliseconds);
    let time_ms = time.checked_mul(if in_seconds { 1000 } else { 1 });
    let base_ms = if is_relative { shard.store.now_ms() } else { 0 };
    let deadline_ms = time_ms
        .filter(|&time_ms| time_ms > 0)
        .and_then(|time_ms| time_ms.checked_add(base_ms));
    if deadline_ms.is_none() {
        replies.error(format!("ERR invalid expire time in '{name}' command").as_bytes());
    }
    deadline_ms
}

pub(super) fn setnx(shard: &mut Shard, args: &Args<'_>, replies: &mut Replies) {
    let key = shard.store.key(args.at(1));
    let there = shard.store.contains(key);
    if !there {
        shard.store.set(key, args.at(2), Deadline::Set(NEVER));
    }
    replies.integer(i64::from(!there));
}

pub(super) fn setex(shard: &mut Shard, args: &Args<'_>, replies: &mut Replies) {
    set_for(shard, "setex", Unit::Seconds, args, replies);
}

pub(super) fn psetex(shard: &mut Shard, args: &Args<'_>, replies: &mut Replies) {
    set_for(shard, "psetex", Unit::Milliseconds, args, replies);
}

fn set_for(shard: &mut Shard, name: &str, unit: Unit, args: &Args<'_>, replies: &mut Replies) {
    if let Some(deadline_ms) = deadline_ms(shard, name, unit, args.at(2), replies) {
        let key = shard.store.key(args.at(1));
        shard.store.set(key, args.at(3), Deadline::Set(deadline_ms));
        replies.ok();
    }
}

pub(super) fn getset(shard: &mut Shard, args: &Args<'_>, replies: &mut Replies) {
    strings::value(shard, args, replies);
    let key = shard.store.key(args.at(1));
    shard.store.set(key, args.at(2), Deadline::Set(NEVER));
}
