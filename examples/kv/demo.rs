//! Clients that know what the server has to answer.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

const CLIENTS: usize = 8;
const ROUNDS: usize = 500;
/// Keys that a client sets in each round, all with one write.
const KEYS: usize = 32;
/// For the server's cores to start.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn run(address: SocketAddr) -> io::Result<()> {
    let clients = (0..CLIENTS).map(|number| thread::spawn(move || ask(address, number)));
    for client in clients.collect::<Vec<_>>() {
        client.join().expect("a client does not panic")?;
    }
    let mut client = Client::connect(address)?;
    client.send(&["INCRBY", "everybody", "0"])?;
    let total = CLIENTS * ROUNDS;
    client.expect(&format!(":{total}\r\n"))?;
    let commands = total * (2 * KEYS + 2);
    println!("{commands} commands of {CLIENTS} clients: every reply was right, and in its place");
    Ok(())
}

fn ask(address: SocketAddr, number: usize) -> io::Result<()> {
    let mut client = Client::connect(address)?;
    for round in 0..ROUNDS {
        let key = |index: usize| format!("client{number}:{index}");
        let value = |index: usize| format!("{round} of {index}");
        for index in 0..KEYS {
            client.add(&["SET", &key(index), &value(index)]);
            client.add(&["GET", &key(index)]);
        }
        let keys: Vec<_> = (0..KEYS).map(key).collect();
        let mut all = vec!["MGET"];
        all.extend(keys.iter().map(String::as_str));
        client.add(&all);
        client.send(&["INCR", "everybody"])?;
        let values = (0..KEYS).map(|index| bulk(&value(index)));
        let values: Vec<_> = values.collect();
        for value in &values {
            client.expect("+OK\r\n")?;
            client.expect(value)?;
        }
        client.expect(&format!("*{KEYS}\r\n"))?;
        client.expect(&values.concat())?;
        client.expect_integer()?;
    }
    Ok(())
}

fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

struct Client {
    stream: BufReader<TcpStream>,
    unsent: Vec<u8>,
}

impl Client {
    /// Tries again as long as no core listens.
    fn connect(address: SocketAddr) -> io::Result<Client> {
        let end = Instant::now() + PATIENCE;
        let stream = loop {
            match TcpStream::connect(address) {
                Err(error)
                    if error.kind() == io::ErrorKind::ConnectionRefused && Instant::now() < end =>
                {
                    thread::sleep(Duration::from_millis(1));
                }
                connected => break connected?,
            }
        };
        stream.set_nodelay(true)?;
        let stream = BufReader::new(stream);
        Ok(Client {
            stream,
            unsent: Vec::new(),
        })
    }

    fn add(&mut self, args: &[&str]) {
        self.unsent
            .extend(format!("*{}\r\n", args.len()).into_bytes());
        args.iter()
            .for_each(|arg| self.unsent.extend(bulk(arg).into_bytes()));
    }

    fn send(&mut self, args: &[&str]) -> io::Result<()> {
        self.add(args);
        self.stream.get_mut().write_all(&self.unsent)?;
        self.unsent.clear();
        Ok(())
    }

    fn expect(&mut self, expected: &str) -> io::Result<()> {
        let mut reply = vec![0; expected.len()];
        self.stream.read_exact(&mut reply)?;
        if reply != expected.as_bytes() {
            let reply = String::from_utf8_lossy(&reply);
            return Err(io::Error::other(format!(
                "{reply:?} came, and not {expected:?}"
            )));
        }
        Ok(())
    }

    fn expect_integer(&mut self) -> io::Result<()> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let number = line
            .trim_end()
            .strip_prefix(':')
            .and_then(|text| text.parse::<u64>().ok());
        number
            .map(drop)
            .ok_or_else(|| io::Error::other(format!("{line:?} is no number")))
    }
}
