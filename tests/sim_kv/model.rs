//! What one connection asks, and what it is to be answered: its keys are its own.

use std::collections::BTreeMap;

use corering::sim::Sim;

const KEYS: u64 = 6;
/// More than a reply that is sent out of the connection's own buffer, and than one write has room
/// for.
const LONG: u64 = 90_000;

pub(crate) struct Model {
    sim: Sim,
    prefix: String,
    values: BTreeMap<Vec<u8>, Vec<u8>>,
    /// What each key became, by the number of the command.
    history: BTreeMap<Vec<u8>, History>,
    asked: usize,
}

type History = Vec<(usize, Option<Vec<u8>>)>;

/// A command and its reply.
pub(crate) struct Asked {
    pub(crate) bytes: Vec<u8>,
    pub(crate) reply: Vec<u8>,
}

impl Model {
    /// Of a connection of which no other has the keys.
    pub(crate) fn new(sim: &Sim, prefix: String) -> Model {
        Model {
            sim: sim.clone(),
            prefix,
            values: BTreeMap::new(),
            history: BTreeMap::new(),
            asked: 0,
        }
    }

    /// A random command.
    pub(crate) fn ask(&mut self) -> Asked {
        let (key, sim) = (self.key(), self.sim.clone());
        let (args, reply) = match sim.random(12) {
            0 | 1 => {
                let value = self.value();
                self.set(&key, Some(value.clone()));
                (vec![b"SET".to_vec(), key, value], b"+OK\r\n".to_vec())
            }
            2 | 3 => {
                let reply = bulk(self.values.get(&key));
                (vec![b"GET".to_vec(), key], reply)
            }
            4 => {
                let more = self.value();
                let mut value = self.values.get(&key).cloned().unwrap_or_default();
                value.extend_from_slice(&more);
                let reply = integer(value.len() as i64);
                self.set(&key, Some(value));
                (vec![b"append".to_vec(), key, more], reply)
            }
            5 | 6 => self.increment(key),
            7 => self.delete(),
            8 => self.set_several(),
            9 => {
                let keys: Vec<_> = (0..1 + sim.random(4)).map(|_| self.key()).collect();
                let values = keys.iter().map(|key| bulk(self.values.get(key)));
                let reply = [
                    format!("*{}\r\n", keys.len()).into_bytes(),
                    values.collect::<Vec<_>>().concat(),
                ];
                let reply = reply.concat();
                let args = [vec![b"MGET".to_vec()], keys].concat();
                (args, reply)
            }
            10 => {
                let len = self.values.get(&key).map_or(0, Vec::len);
                (vec![b"STRLEN".to_vec(), key], integer(len as i64))
            }
            _ => {
                let text = self.value();
                let reply = bulk(Some(&text));
                (vec![b"ECHO".to_vec(), text], reply)
            }
        };
        self.asked += 1;
        Asked {
            bytes: command(&args),
            reply,
        }
    }

    fn increment(&mut self, key: Vec<u8>) -> (Vec<Vec<u8>>, Vec<u8>) {
        let old = match self.values.get(&key) {
            None => Some(0),
            Some(value) => str::from_utf8(value)
                .ok()
                .and_then(|text| text.parse().ok()),
        };
        let reply = match old.and_then(|old: i64| old.checked_add(1)) {
            Some(new) => {
                self.set(&key, Some(new.to_string().into_bytes()));
                integer(new)
            }
            None => b"-ERR value is not an integer or out of range\r\n".to_vec(),
        };
        (vec![b"INCR".to_vec(), key], reply)
    }

    fn delete(&mut self) -> (Vec<Vec<u8>>, Vec<u8>) {
        let keys: Vec<_> = (0..1 + self.sim.random(4)).map(|_| self.key()).collect();
        let mut gone = 0;
        for key in &keys {
            if self.values.contains_key(key) {
                self.set(key, None);
                gone += 1;
            }
        }
        ([vec![b"DEL".to_vec()], keys].concat(), integer(gone))
    }

    fn set_several(&mut self) -> (Vec<Vec<u8>>, Vec<u8>) {
        let mut args = vec![b"MSET".to_vec()];
        for _ in 0..1 + self.sim.random(3) {
            let (key, value) = (self.key(), self.value());
            self.set(&key, Some(value.clone()));
            args.extend([key, value]);
        }
        (args, b"+OK\r\n".to_vec())
    }

    /// What it may find there later, key by key, when so many commands were answered: those are
    /// done, and of the others any number, in their order.
    pub(crate) fn possible(&self, answered: usize) -> BTreeMap<Vec<u8>, Vec<Option<Vec<u8>>>> {
        let of_key = |history: &History| {
            let done = history.iter().rfind(|(number, _)| *number < answered);
            let open = history.iter().filter(|(number, _)| *number >= answered);
            let done = done.map(|(_, value)| value.clone()).unwrap_or_default();
            let open = open.map(|(_, value)| value.clone());
            std::iter::once(done).chain(open).collect()
        };
        let keys = self.history.iter();
        keys.map(|(key, history)| (key.clone(), of_key(history)))
            .collect()
    }

    fn set(&mut self, key: &[u8], value: Option<Vec<u8>>) {
        let history = self.history.entry(key.to_vec()).or_default();
        history.push((self.asked, value.clone()));
        match value {
            Some(value) => drop(self.values.insert(key.to_vec(), value)),
            None => drop(self.values.remove(key)),
        }
    }

    fn key(&self) -> Vec<u8> {
        format!("{}{}", self.prefix, self.sim.random(KEYS)).into_bytes()
    }

    fn value(&self) -> Vec<u8> {
        let sim = &self.sim;
        match sim.random(60) {
            0 => vec![b'a' + sim.random(26) as u8; sim.random(LONG) as usize],
            1..20 => sim.random(1000).to_string().into_bytes(),
            _ => (0..sim.random(30)).map(|_| sim.random(256) as u8).collect(),
        }
    }
}

/// As clients send it.
pub(crate) fn command(args: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        bytes.extend_from_slice(&bulk(Some(arg)));
    }
    bytes
}

pub(crate) fn bulk(value: Option<&Vec<u8>>) -> Vec<u8> {
    match value {
        None => b"$-1\r\n".to_vec(),
        Some(value) => {
            let head = format!("${}\r\n", value.len()).into_bytes();
            [&head, &value[..], b"\r\n"].concat()
        }
    }
}

fn integer(number: i64) -> Vec<u8> {
    format!(":{number}\r\n").into_bytes()
}
