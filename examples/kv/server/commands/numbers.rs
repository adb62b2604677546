//! `INCR`, `DECR`, `INCRBY`, `DECRBY`: values that are integers.

use super::super::integer;
use super::super::reply::Replies;
use super::super::request::Args;
use super::super::shard::Shard;
use super::no_integer;

pub(super) fn incr(shard: &mut Shard, args: &Args<'_>, replies: &mut Replies) {
    add(shard, args, 1, replies);
}

pub(super) fn decr(shard: &mut Shard, args: &Args<'_>, replies: &mut Replies) {
    add(shard, args, -1, replies);
}

pub(super) fn incrby(shard: &mut Shard, args: &Args<'_>, replies: &mut Replies) {
    match integer::parse(args.at(2)) {
        Some(by) => add(shard, args, by, replies),
        None => no_integer(replies),
    }
}

pub(super) fn decrby(shard: &mut Shard, args: &Args<'_>, replies: &mut Replies) {
    let Some(by) = integer::parse(args.at(2)) else {
        return no_integer(replies);
    };
    match by.checked_neg() {
        Some(by) => add(shard, args, by, replies),
        None => replies.error(b"ERR decrement would overflow"),
    }
}

fn add(shard: &mut Shard, args: &Args<'_>, by: i64, replies: &mut Replies) {
    let key = shard.store.key(args.at(1));
    let Some(old) = shard
        .store
        .value(key)
        .map_or(Some(0), |value| integer::parse(value))
    else {
        return no_integer(replies);
    };
    let Some(new) = old.checked_add(by) else {
        return replies.error(b"ERR increment or decrement would overflow");
    };
    let mut text = itoa::Buffer::new();
    let text = text.format(new).as_bytes();
    shard.store.update(key, |value| value.set(text));
    replies.integer(new);
}
