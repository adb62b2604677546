//! `EXPIRE` and `TTL`, and the same in milliseconds.

use super::super::integer;
use super::super::reply::Replies;
use super::super::request::Args;
use super::super::shard::Shard;
use super::super::store::NEVER;
use super::no_integer;

/// When a deadline is set at all.
#[derive(Clone, Copy, Debug, Default)]
struct Conditions {
    if_none: bool,
    if_any: bool,
    if_later: bool,
    if_earlier: bool,
}

pub(super) fn expire(shard: &mut Shard, args: &Args<'_>, replies: &mut Replies) {
    set_deadline(shard, "expire", 1000, args, replies);
}

pub(super) fn pexpire(shard: &mut Shard, args: &Args<'_>, replies: &mut Replies) {
    set_deadline(shard, "pexpire", 1, args, replies);
}

fn set_deadline(
    shard: &mut Shard,
    name: &str,
    unit_ms: i64,
    args: &Args<'_>,
    replies: &mut Replies,
) {
    let Some(conditions) = conditions(args, replies) else {
        return;
    };
    let Some(time) = integer::parse(args.at(2)) else {
        return no_integer(replies);
    };
    let now_ms = shard.store.now_ms();
    let deadline_ms = time
        .checked_mul(unit_ms)
        .and_then(|time_ms| time_ms.checked_add(now_ms));
    let Some(deadline_ms) = deadline_ms else {
        let text = format!("ERR invalid expire time in '{name}' command");
        return replies.error(text.as_bytes());
    };
    let key = shard.store.key(args.at(1));
    let holds = shard
        .store
        .deadline(key)
        .is_some_and(|had| conditions.hold(had, deadline_ms));
    if holds {
        // A time that has come already deletes the key.
        if deadline_ms <= now_ms {
            shard.store.remove(key);
        } else {
            shard.store.set_deadline(key, deadline_ms);
        }
    }
    replies.integer(i64::from(holds));
}

impl Conditions {
    /// A key without a deadline lives for ever.
    fn hold(self, had_ms: i64, deadline_ms: i64) -> bool {
        let never = had_ms == NEVER;
        !(self.if_none && !never
            || self.if_any && never
            || self.if_later && (never || deadline_ms <= had_ms)
            || self.if_earlier && !never && deadline_ms >= had_ms)
    }
}

fn conditions(args: &Args<'_>, replies: &mut Replies) -> Option<Conditions> {
    let mut found = Conditions::default();
    for option in args.from(3) {
        match option.to_ascii_lowercase().as_slice() {
            b"nx" => found.if_none = true,
            b"xx" => found.if_any = true,
            b"gt" => found.if_later = true,
            b"lt" => found.if_earlier = true,
            _ => {
                let text = option.split(|&byte| byte == 0).next().unwrap_or_default();
                replies.error(&[b"ERR Unsupported option ", text].concat());
                return None;
            }
        }
    }
    if found.if_none && (found.if_any || found.if_later || found.if_earlier) {
        let text = b"ERR NX and XX, GT or LT options at the same time are not compatible";
        replies.error(text);
        return None;
    }
    if found.if_later && found.if_earlier {
        let text = b"ERR GT and LT options at the same time are not compatible";
        replies.error(text);
        return None;
    }
    Some(found)
}

pub(super) fn ttl(shard: &mut Shard, args: &Args<'_>, replies: &mut Replies) {
    let left = left_ms(shard, args);
    replies.integer(if left < 0 { left } else { (left + 500) / 1000 });
}

pub(super) fn pttl(shard: &mut Shard, args: &Args<'_>, replies: &mut Replies) {
    replies.integer(left_ms(shard, args));
}

/// -2: there is no such key. -1: it does not expire.
fn left_ms(shard: &mut Shard, args: &Args<'_>) -> i64 {
    let key = shard.store.key(args.at(1));
    match shard.store.deadline(key) {
        None => -2,
        Some(NEVER) => -1,
        Some(deadline_ms) => (deadline_ms - shard.store.now_ms()).max(0),
    }
}

pub(super) fn persist(shard: &mut Shard, args: &Args<'_>, replies: &mut Replies) {
    let key = shard.store.key(args.at(1));
    let had = shard
        .store
        .deadline(key)
        .is_some_and(|deadline_ms| deadline_ms != NEVER);
    if had {
        shard.store.set_deadline(key, NEVER);
    }
    replies.integer(i64::from(had));
}
