//! `DBSIZE`, `FLUSHALL`, `INFO`, `CONFIG`, `COMMAND`: what is about the whole server.

use corering::task::spawn_blocking;

use super::super::reply::Replies;
use super::super::request::Args;
use super::super::session::Session;
use super::super::shard::Shard;
use super::connection::unknown_subcommand;
use super::table::{Command, Home, TABLE};
use super::{find, syntax, wrong_number};

/// To drop so many keys takes a while, and the others need not wait for it.
const MANY: usize = 10_000;

pub(super) fn dbsize(shard: &mut Shard, _: &Args<'_>, replies: &mut Replies) {
    replies.integer(shard.store.len() as i64);
}

pub(super) fn flush(shard: &mut Shard, args: &Args<'_>, replies: &mut Replies) {
    let known = |option: &[u8]| {
        option.eq_ignore_ascii_case(b"async") || option.eq_ignore_ascii_case(b"sync")
    };
    if args.len() > 2 || !args.from(1).all(known) {
        return syntax(replies);
    }
    let many = shard.store.len() > MANY;
    let gone = shard.store.clear();
    if many {
        drop(spawn_blocking(move || drop(gone)));
    }
    replies.ok();
}

/// Numbers only: [`info_text`] makes a text of the sums.
pub(super) fn info(shard: &mut Shard, _: &Args<'_>, replies: &mut Replies) {
    let metrics = shard.metrics();
    replies.array(metrics.len());
    for (_, value) in metrics {
        replies.integer(i64::try_from(value).unwrap_or(i64::MAX));
    }
}

/// What `INFO` answers, of the sums of what all cores have counted.
pub(crate) fn info_text(shard: &Shard, args: &Args<'_>, sums: &[i64]) -> String {
    let metrics = shard.metrics();
    let value = |name: &str| {
        let place = metrics.iter().position(|(metric, _)| metric.name == name);
        place
            .and_then(|place| sums.get(place))
            .copied()
            .unwrap_or(0)
    };
    let lines = |names: &[&str]| -> String {
        let lines = names
            .iter()
            .map(|name| format!("{name}:{}\r\n", value(name)));
        lines.collect()
    };
    let server = format!(
        "server_name:corering-kv\r\nredis_version:7.0.0\r\nredis_mode:standalone\r\n\
         process_id:{}\r\ntcp_port:{}\r\nuptime_in_seconds:{}\r\nio_threads_active:0\r\n\
         cores:{}\r\n",
        std::process::id(),
        shard.config.port,
        shard.started.elapsed().as_secs(),
        shard.config.cores,
    );
    let keyspace = match value("keys") {
        0 => String::new(),
        keys => format!("db0:keys={keys},expires={},avg_ttl=0\r\n", value("expires")),
    };
    let sections = [
        ("Server", server),
        ("Clients", lines(&["connected_clients"])),
        ("Memory", lines(&["used_memory"])),
        (
            "Stats",
            lines(&[
                "total_connections_received",
                "total_commands_processed",
                "total_net_input_bytes",
                "total_net_output_bytes",
                "rejected_connections",
                "expired_keys",
                "keyspace_hits",
                "keyspace_misses",
                "protocol_errors",
            ]),
        ),
        ("Keyspace", keyspace),
    ];
    let wanted = |section: &str| {
        let names = |asked: &[u8]| {
            let all = [&b"default"[..], b"all", b"everything", section.as_bytes()];
            all.iter().any(|name| asked.eq_ignore_ascii_case(name))
        };
        args.len() == 1 || args.from(1).any(names)
    };
    let shown = sections.iter().filter(|(name, _)| wanted(name));
    let texts: Vec<_> = shown
        .map(|(name, text)| format!("# {name}\r\n{text}"))
        .collect();
    texts.join("\r\n")
}

pub(super) fn config(_: &mut Session, shard: &mut Shard, args: &Args<'_>, replies: &mut Replies) {
    if !args.at(1).eq_ignore_ascii_case(b"get") {
        return unknown_subcommand("CONFIG", args, replies);
    }
    if args.len() < 3 {
        return wrong_number("config|get", replies);
    }
    let config = &shard.config;
    let settings = [
        ("appendonly", "no".to_string()),
        ("databases", "1".to_string()),
        ("maxclients", config.clients_max.to_string()),
        ("maxmemory", config.memory_max.to_string()),
        ("maxmemory-policy", "noeviction".to_string()),
        ("port", config.port.to_string()),
        ("proto-max-bulk-len", config.bulk_max.to_string()),
        ("save", String::new()),
        ("timeout", "0".to_string()),
    ];
    let asked = |name: &str| {
        let patterns = &mut args.from(2);
        patterns.any(|pattern| matches(&pattern.to_ascii_lowercase(), name.as_bytes()))
    };
    let found: Vec<_> = settings.iter().filter(|(name, _)| asked(name)).collect();
    replies.array(2 * found.len());
    for (name, value) in found {
        replies.bulk(name.as_bytes());
        replies.bulk(value.as_bytes());
    }
}

/// Whether a name is as a pattern with `*` and `?` says.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    // Where to go on if what comes does not match: behind the last `*`, one character later.
    let (mut at, mut in_name, mut retry) = (0, 0, None);
    while in_name < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                retry = Some((at + 1, in_name + 1));
                at += 1;
            }
            Some(&letter) if letter == b'?' || letter == name[in_name] => {
                at += 1;
                in_name += 1;
            }
            _ => match retry {
                Some((behind, next)) => {
                    (at, in_name) = (behind, next);
                    retry = Some((behind, next + 1));
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|&letter| letter == b'*')
}

pub(super) fn command(_: &mut Session, _: &mut Shard, args: &Args<'_>, replies: &mut Replies) {
    if args.len() == 1 {
        replies.array(TABLE.len());
        return TABLE.iter().for_each(|command| describe(command, replies));
    }
    match args.at(1).to_ascii_lowercase().as_slice() {
        b"count" => replies.integer(TABLE.len() as i64),
        b"docs" => replies.array(0),
        b"list" => {
            replies.array(TABLE.len());
            TABLE
                .iter()
                .for_each(|command| replies.bulk(command.name.as_bytes()));
        }
        b"info" => {
            replies.array(args.len() - 2);
            for name in args.from(2) {
                match find(name) {
                    Some(command) => describe(command, replies),
                    None => replies.raw(b"*-1\r\n"),
                }
            }
        }
        _ => unknown_subcommand("COMMAND", args, replies),
    }
}

/// Name, arity, flags, where the keys are; then what is empty here: categories, hints, key
/// specifications and subcommands.
fn describe(command: &Command, replies: &mut Replies) {
    let (first, last, step) = match command.home {
        Home::Key(_) => (1, 1, 1),
        Home::Keys { step, .. } => (1, -1, step as i64),
        Home::Connection(_) | Home::Everywhere { .. } => (0, 0, 0),
    };
    replies.array(10);
    replies.bulk(command.name.as_bytes());
    replies.integer(i64::from(command.arity));
    if command.grows {
        replies.array(2);
        replies.simple("write");
        replies.simple("denyoom");
    } else {
        replies.array(0);
    }
    [first, last, step]
        .into_iter()
        .for_each(|value| replies.integer(value));
    (0..4).for_each(|_| replies.array(0));
}
