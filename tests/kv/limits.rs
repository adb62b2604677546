//! What the server limits, and how it stops.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::service::{BULK_MAX, Service};

/// How long what should not go on is watched.
const WATCHED: Duration = Duration::from_millis(500);

fn array(args: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        bytes.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        bytes.extend_from_slice(arg);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

#[test]
fn a_client_that_does_not_read_is_not_read_either() {
    const TEXT: usize = 8 * 1024;
    /// More than the kernel keeps for the two of them, and what the server does.
    const KEPT_MAX: usize = 64 << 20;
    let service = Service::start();
    let mut client = service.connect();
    let request = array(&[b"ECHO", &[b'x'; TEXT]]);
    let stream = client.stream();
    stream.set_nonblocking(true).unwrap();
    let (mut sent, mut at) = (0, 0);
    let mut moved = Instant::now();
    while moved.elapsed() < WATCHED {
        match stream.write(&request[at..]) {
            Ok(n) => {
                sent += n;
                at = (at + n) % request.len();
                moved = Instant::now();
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => sleep(Duration::from_millis(1)),
            Err(error) => panic!("{error}"),
        }
        assert!(
            sent < KEPT_MAX,
            "{sent} bytes were taken, and no reply was read"
        );
    }
    // Every command that was taken is answered all the same.
    client.stream().set_nonblocking(false).unwrap();
    client.end();
    let mut replies = 0;
    while let Some(reply) = client.reply() {
        assert_eq!(reply.len(), format!("${TEXT}\r\n").len() + TEXT + 2);
        replies += 1;
    }
    assert_eq!(replies, sent / request.len());
}

#[test]
fn a_value_of_many_pieces_is_what_it_was() {
    let service = Service::start();
    let mut client = service.connect();
    for len in [0, 1, 16 * 1024 - 1, 16 * 1024, 70_000, BULK_MAX] {
        let value: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
        for key in [&b"a"[..], b"b", b"c"] {
            client.send(array(&[b"SET", key, &value]));
            client.send(array(&[b"GET", key]));
            client.send(array(&[b"STRLEN", key]));
            assert_eq!(client.reply().unwrap(), "+OK\r\n");
            let reply = client.bytes().unwrap();
            let head = format!("${len}\r\n");
            assert!(reply.starts_with(head.as_bytes()));
            assert!(reply[head.len()..].starts_with(&value));
            assert_eq!(client.reply().unwrap(), format!(":{len}\r\n"));
        }
    }
}

#[test]
fn keys_that_have_expired_are_removed_though_nobody_asks_for_them() {
    let service = Service::start();
    let mut client = service.connect();
    for number in 0..2000 {
        client.send(format!(
            "SET gone:{number} x PX 20\r\nSET there:{number} x PX 1000000\r\n"
        ));
    }
    assert!((0..4000).all(|_| client.reply().unwrap() == "+OK\r\n"));
    let end = Instant::now() + Duration::from_secs(20);
    while client.ask("DBSIZE") != ":2000\r\n" {
        assert!(Instant::now() < end, "{}", client.ask("DBSIZE"));
        sleep(Duration::from_millis(20));
    }
    assert_eq!(client.ask("FLUSHALL"), "+OK\r\n");
    assert_eq!(client.ask("DBSIZE"), ":0\r\n");
}

#[test]
fn a_full_store_gives_and_deletes_and_takes_nothing_more() {
    let service = Service::with(|config| config.memory_max = 1 << 20);
    let mut client = service.connect();
    let value = [b'x'; 1000];
    let mut taken = 0;
    for number in 0..3000 {
        client.send(array(&[b"SET", format!("key{number}").as_bytes(), &value]));
        match client.reply().unwrap().as_str() {
            "+OK\r\n" => taken += 1,
            error => assert_eq!(
                error,
                "-OOM command not allowed when used memory > 'maxmemory'.\r\n"
            ),
        }
    }
    assert!((800..1100).contains(&taken), "{taken}");
    assert_eq!(client.ask("STRLEN key0"), ":1000\r\n");
    assert_eq!(client.ask("FLUSHALL"), "+OK\r\n");
    assert_eq!(client.ask("SET key0 x"), "+OK\r\n");
}

#[test]
fn one_client_too_many_is_told_so() {
    let service = Service::with(|config| config.clients_max = 2);
    let mut first = service.connect();
    let mut second = service.connect();
    assert_eq!(first.ask("PING"), "+PONG\r\n");
    assert_eq!(second.ask("PING"), "+PONG\r\n");
    let mut third = service.connect();
    let refused = third.reply().unwrap();
    assert_eq!(refused, "-ERR max number of clients reached\r\n");
    assert_eq!(third.reply(), None);
    // When one has gone there is room.
    assert_eq!(first.ask("QUIT"), "+OK\r\n");
    assert_eq!(first.reply(), None);
    drop(first);
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let mut fourth = service.connect();
        fourth.send("PING\r\n");
        if fourth.reply().is_some_and(|reply| reply == "+PONG\r\n") {
            break;
        }
        assert!(Instant::now() < end, "there is no room again");
    }
}

#[test]
fn what_has_come_is_answered_when_it_stops() {
    const CLIENTS: usize = 20;
    const COMMANDS: usize = 500;
    let service = Service::start();
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| service.connect()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        // Whoever is connected is known to a core: it has answered.
        assert_eq!(client.ask("PING"), "+PONG\r\n");
        let commands = (0..COMMANDS).map(|key| format!("SET {number}:{key} {key}\r\n"));
        client.send(commands.collect::<String>());
    }
    let begin = Instant::now();
    for ended in service.stop() {
        ended.output.unwrap().unwrap();
        assert_eq!(ended.aborted_tasks, 0);
    }
    assert!(
        begin.elapsed() < Duration::from_secs(10),
        "{:?}",
        begin.elapsed()
    );
    for client in &mut clients {
        let answered = std::iter::from_fn(|| client.reply());
        let answered = answered
            .inspect(|reply| assert_eq!(reply, "+OK\r\n"))
            .count();
        assert_eq!(answered, COMMANDS);
    }
}

#[test]
fn metrics_are_those_of_all_cores() {
    let service = Service::start();
    let mut clients: Vec<_> = (0..10).map(|_| service.connect()).collect();
    for client in &mut clients {
        for key in 0..10 {
            assert_eq!(client.ask(&format!("GET {key}")), "$-1\r\n");
        }
    }
    let mut stream = TcpStream::connect(service.metrics).unwrap();
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n")
        .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
    let sum = |name: &str| -> u64 {
        let values = text
            .lines()
            .filter_map(|line| line.strip_prefix(name)?.split(' ').nth(1));
        values.map(|value| value.parse::<u64>().unwrap()).sum()
    };
    assert_eq!(sum("kv_connected_clients{"), 10, "{text}");
    assert_eq!(sum("kv_total_commands_processed{"), 100, "{text}");
    assert_eq!(sum("kv_keyspace_misses{"), 100, "{text}");
}
