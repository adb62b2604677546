//! Random commands, of which it is known how their replies may be compared.

use std::collections::BTreeSet;

use super::random::Random;
use super::service::BULK_MAX;

/// How the replies of two servers are compared.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Compared {
    /// Byte by byte.
    Exactly,
    /// Integers that may differ by so much if they are positive.
    About(i64),
    /// By the kind of reply.
    Shape,
}

/// A command.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) args: Vec<Vec<u8>>,
    pub(crate) bytes: Vec<u8>,
    pub(crate) compared: Compared,
}

/// What goes to a server in one go.
#[derive(Debug, Default)]
pub(crate) struct Pipeline {
    pub(crate) commands: Vec<Sent>,
    /// What ends the connection, if anything does.
    pub(crate) end: Option<Vec<u8>>,
    /// Whether keys were set that expire at once: nothing is compared until they have.
    pub(crate) wait: bool,
}

/// Long enough for no test to come to its end.
const LONG_S: i64 = 1_000_000;
const KEYS: usize = 40;

pub(crate) struct Generator {
    random: Random,
    keys: Vec<Vec<u8>>,
    /// Keys that expire within milliseconds: whether they are there is a matter of luck.
    fading: BTreeSet<Vec<u8>>,
}

impl Generator {
    pub(crate) fn new(seed: u64) -> Generator {
        let mut random = Random::new(seed);
        let mut keys: Vec<_> = (0..KEYS - 4)
            .map(|at| format!("key:{at}").into_bytes())
            .collect();
        keys.push(Vec::new());
        keys.push(b"with blank\tand \"quotes\" 'of two' kinds\\".to_vec());
        keys.push(b"\r\n\0*1$".to_vec());
        keys.push(random.bytes(300));
        Generator {
            random,
            keys,
            fading: BTreeSet::new(),
        }
    }

    pub(crate) fn random(&mut self) -> &mut Random {
        &mut self.random
    }

    /// Up to 200 commands; at the end of a connection something that ends it.
    pub(crate) fn pipeline(&mut self, last: bool) -> Pipeline {
        let mut pipeline = Pipeline::default();
        self.fading.clear(); // they have faded since
        for _ in 0..=self.random.below(200) {
            let (args, compared) = self.command();
            if args
                .first()
                .is_some_and(|name| name.eq_ignore_ascii_case(b"dbsize"))
            {
                // Keys that have expired are counted until somebody comes across them.
                let mut all = vec![b"exists".to_vec()];
                all.extend(
                    self.keys
                        .iter()
                        .filter(|key| !self.fading.contains(*key))
                        .cloned(),
                );
                pipeline.commands.push(self.sent(all, Compared::Exactly));
                if !self.fading.is_empty() {
                    continue;
                }
            }
            let sent = self.sent(args, compared);
            pipeline.commands.push(sent);
        }
        pipeline.wait = !self.fading.is_empty();
        pipeline.end = last.then(|| self.end());
        pipeline
    }

    fn key(&mut self) -> Vec<u8> {
        loop {
            let key = self.random.pick(&self.keys);
            if !self.fading.contains(key) {
                return key.clone();
            }
        }
    }

    fn value(&mut self) -> Vec<u8> {
        match self.random.below(12) {
            0..5 => self.integer(),
            5..8 => {
                let len = self.random.below(20);
                self.random.bytes(len)
            }
            8..10 => format!("{}", self.random.below(1000)).into_bytes(),
            10 => b"some text".to_vec(),
            _ if self.random.once_in(20) => {
                let len = self.random.below(100_000);
                self.random.bytes(len)
            }
            _ => Vec::new(),
        }
    }

    /// Mostly one; the others look like it.
    fn integer(&mut self) -> Vec<u8> {
        const ODD: &[&str] = &[
            "9223372036854775807",
            "9223372036854775806",
            "9223372036854775808",
            "-9223372036854775808",
            "-9223372036854775807",
            "-9223372036854775809",
            "9223372036854775",
            "9223372036854776",
            "-9223372036854776",
            "18446744073709551616",
            "007",
            "+5",
            " 5",
            "5 ",
            "-0",
            "-",
            "",
            "1e3",
            "0x10",
            "5\0",
            "1.5",
            "--1",
            "99999999999999999999999",
        ];
        if self.random.once_in(4) {
            return self.random.pick(ODD).as_bytes().to_vec();
        }
        (self.random.below(2001) as i64 - 1000)
            .to_string()
            .into_bytes()
    }

    /// One that neither comes to its end during the test nor has come to it by accident.
    fn seconds(&mut self) -> Vec<u8> {
        if self.random.once_in(4) {
            const ODD: &[&str] = &[
                "0",
                "-1",
                "-1000",
                "9223372036854775807",
                "9223372036854775",
                "9223372036854776",
                "-9223372036854775808",
                "nothing",
                "",
                "1.5",
                "5000000000",
            ];
            return self.random.pick(ODD).as_bytes().to_vec();
        }
        (LONG_S + self.random.below(1000) as i64)
            .to_string()
            .into_bytes()
    }

    fn command(&mut self) -> (Vec<Vec<u8>>, Compared) {
        const ON_KEY: &[&str] = &["get", "incr", "decr", "strlen", "persist", "type", "getdel"];
        const ON_KEYS: &[&str] = &["del", "exists", "unlink", "touch", "mget"];
        if self.random.once_in(30) {
            return (self.strange(), Compared::Exactly);
        }
        let random = &mut self.random;
        let (name, args) = match random.below(100) {
            0..24 => (*random.pick(ON_KEY), vec![self.key()]),
            24..30 => (*random.pick(&["ping", "dbsize"]), Vec::new()),
            30..50 => ("set", self.set()),
            50..62 => {
                let (name, count) = (*random.pick(ON_KEYS), 1 + random.below(6));
                (name, (0..count).map(|_| self.key()).collect())
            }
            62..67 => {
                let pairs = 0..=random.below(5);
                let pairs = pairs.flat_map(|_| [self.key(), self.value()]);
                ("mset", pairs.collect())
            }
            67..74 => {
                let name = *random.pick(&["incrby", "decrby"]);
                (name, vec![self.key(), self.integer()])
            }
            74..80 => {
                let name = *random.pick(&["append", "setnx", "getset"]);
                (name, vec![self.key(), self.value()])
            }
            80..84 => {
                let name = *random.pick(&["setex", "psetex"]);
                (name, vec![self.key(), self.seconds(), self.value()])
            }
            84..89 => {
                let name = *random.pick(&["expire", "pexpire"]);
                (name, self.expire(name))
            }
            89..94 => (*random.pick(&["ttl", "pttl"]), vec![self.key()]),
            94 => ("psetex", self.fade()),
            95..97 => (*random.pick(&["ping", "echo"]), vec![self.value()]),
            97 => ("flushall", self.flush()),
            98 => ("select", vec![self.integer()]),
            _ => return self.about_the_server(),
        };
        let compared = match name {
            "ttl" => Compared::About(20),
            "pttl" => Compared::About(20_000),
            _ => Compared::Exactly,
        };
        let name = self.written(name);
        (std::iter::once(name).chain(args).collect(), compared)
    }

    /// In capitals, small letters or both.
    fn written(&mut self, name: &str) -> Vec<u8> {
        match self.random.below(3) {
            0 => name.into(),
            1 => name.to_uppercase().into(),
            _ => {
                let mixed = name.bytes().enumerate();
                let mixed = mixed.map(|(at, c)| {
                    if at % 2 == 0 {
                        c.to_ascii_uppercase()
                    } else {
                        c
                    }
                });
                mixed.collect()
            }
        }
    }

    fn set(&mut self) -> Vec<Vec<u8>> {
        let mut args = vec![self.key(), self.value()];
        if self.random.once_in(2) {
            return args;
        }
        for _ in 0..=self.random.below(3) {
            let option = *self.random.pick(&[
                "nx", "xx", "get", "keepttl", "ex", "px", "exat", "pxat", "no",
            ]);
            let odd = self.random.once_in(20);
            args.push(self.written(option));
            match option {
                "ex" | "px" if !odd => args.push(self.seconds()),
                // In the distant future, or long ago.
                "exat" if !odd => {
                    args.push(self.random.pick(&["1", "99999999999"]).as_bytes().to_vec())
                }
                "pxat" if !odd => args.push(
                    self.random
                        .pick(&["1000", "99999999999999"])
                        .as_bytes()
                        .to_vec(),
                ),
                _ => {}
            }
        }
        args
    }

    fn expire(&mut self, name: &str) -> Vec<Vec<u8>> {
        let mut args = vec![self.key(), self.seconds()];
        if name == "pexpire" && self.random.once_in(2) {
            args[1].extend_from_slice(b"000");
        }
        while self.random.once_in(3) {
            let option = *self.random.pick(&["nx", "xx", "gt", "lt", "no"]);
            args.push(self.written(option));
        }
        args
    }

    fn flush(&mut self) -> Vec<Vec<u8>> {
        let options: &[&[&str]] = &[&[], &["sync"], &["ASYNC"], &["nothing"], &["sync", "async"]];
        self.random
            .pick(options)
            .iter()
            .map(|option| option.as_bytes().to_vec())
            .collect()
    }

    /// A key that is gone soon. It is not used before.
    fn fade(&mut self) -> Vec<Vec<u8>> {
        let key = self.key();
        if self.fading.len() < 10 && self.random.once_in(5) {
            self.fading.insert(key.clone());
            return vec![key, b"1".to_vec(), self.value()];
        }
        vec![key, b"100000000".to_vec(), self.value()]
    }

    fn about_the_server(&mut self) -> (Vec<Vec<u8>>, Compared) {
        let lines = [
            "info",
            "info keyspace",
            "info stats server",
            "client id",
            "client list",
            "client info",
            "client setname me",
            "client getname",
            "command",
            "command count",
            "config get maxmemory",
            "config get *bulk*",
            "config get nothing",
            "command info get nothing",
            "command list",
        ];
        let line = *self.random.pick(&lines);
        (
            line.split(' ').map(|word| word.into()).collect(),
            Compared::Shape,
        )
    }

    /// Too few or too many arguments, or no command at all.
    fn strange(&mut self) -> Vec<Vec<u8>> {
        const NAMES: &[&str] = &[
            "get", "set", "incr", "mget", "mset", "del", "exists", "ping", "expire", "ttl", "decr",
            "incrby", "decrby", "append", "strlen", "pexpire", "pttl", "persist", "unlink",
            "touch", "type", "setnx", "setex", "psetex", "getset", "getdel", "echo", "select",
            "client", "config", "dbsize", "flushall", "nothing", "",
        ];
        let name = *self.random.pick(NAMES);
        let mut args = vec![self.written(name)];
        if self.random.once_in(6) {
            let len = self.random.below(200);
            args[0] = self.random.bytes(len);
            // What HTTP begins with ends the connection.
            args[0].insert(0, b'z');
        }
        // As many as no command of that name takes, but if it takes any number.
        let count = match name {
            "mset" => 2 * self.random.below(3) + 1,
            "set" | "expire" | "pexpire" => self.random.below(2),
            "ping" => 2 + self.random.below(3),
            "setex" | "psetex" => *self.random.pick(&[0, 1, 2, 4, 5]),
            "get" | "incr" | "ttl" | "decr" | "strlen" | "pttl" | "persist" | "type" | "getdel"
            | "echo" | "select" => *self.random.pick(&[0, 2, 3]),
            "incrby" | "decrby" | "append" | "setnx" | "getset" => *self.random.pick(&[0, 1, 3]),
            "dbsize" => 1,
            "flushall" => 3,
            "nothing" | "" => self.random.below(30),
            _ => 0,
        };
        for _ in 0..count {
            let value = self.value();
            args.push(value);
        }
        args
    }

    fn sent(&mut self, args: Vec<Vec<u8>>, compared: Compared) -> Sent {
        let inline = self.random.once_in(8) && args.iter().map(Vec::len).sum::<usize>() < 10_000;
        let bytes = if inline {
            line(&args, &mut self.random)
        } else {
            array(&args)
        };
        Sent {
            args,
            bytes,
            compared,
        }
    }

    /// What ends a connection: an error, `QUIT`, or nothing more.
    fn end(&mut self) -> Vec<u8> {
        let too_long = format!("*1\r\n${}\r\n", BULK_MAX + 1);
        let ends: &[&[u8]] = &[
            b"*1\r\n$-1\r\n",
            b"*1\r\n$x\r\n",
            b"*1\r\n$\r\n",
            b"*1\r\n$01\r\n",
            b"*1\r\n$+1\r\n",
            too_long.as_bytes(),
            b"*1\r\n$99999999999999999999\r\n",
            b"*1\r\n:1\r\n",
            b"*1\r\n\r\n",
            b"*1\r\n\n\r\n",
            b"*2\r\n$4\r\nPING\r\n*1\r\n",
            b"*x\r\n",
            b"*2147483648\r\n",
            b"*1x\r\n",
            b"* 1\r\n",
            b"*\r\n",
            b"get \"a\r\n",
            b"get 'a\r\n",
            b"get \"a\"b\r\n",
            b"set 'a'b c\r\n",
            b"\"\\\r\n",
            b"*1\r\n$4\r\nQUIT\r\n",
            b"quit\r\n",
            b"QUIT now\n",
            b"POST / HTTP/1.1\r\n",
            b"Host: here\r\n",
            b"",
        ];
        match self.random.below(20) {
            0 => vec![b'x'; 200_000],
            1 => [b"*", &[b'1'; 200_000][..]].concat(),
            2 => [b"*1\r\n$", &[b'1'; 200_000][..]].concat(),
            3 => [b"PING\0\r\n", &[b'x'; 200_000][..]].concat(),
            _ => self.random.pick(ends).to_vec(),
        }
    }
}

fn array(args: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        bytes.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        bytes.extend_from_slice(arg);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// The same as somebody might type it.
fn line(args: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut line = Vec::new();
    for arg in args {
        let plain = !arg.is_empty() && arg.iter().all(u8::is_ascii_alphanumeric);
        match random.below(3) {
            0 if plain => line.extend_from_slice(arg),
            1 if !arg.iter().any(|byte| matches!(byte, b'\n' | 0 | b'\\')) => {
                line.push(b'\'');
                let escaped = arg.iter().flat_map(|&byte| match byte {
                    b'\'' => vec![b'\\', b'\''],
                    other => vec![other],
                });
                line.extend(escaped);
                line.push(b'\'');
            }
            _ => line.extend(format!("\"{}\"", hex(arg)).into_bytes()),
        }
        let gap = *random.pick(&[" ", "  ", "\t", " \x0b "]);
        line.extend_from_slice(gap.as_bytes());
    }
    line.extend_from_slice(if random.once_in(2) { b"\r\n" } else { b"\n" });
    line
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect()
}
