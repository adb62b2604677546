//! A server of the test's own, and clients.

use std::io::{self, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use corering::Cores;
use corering::cores::{Core, Ended, Running};

use super::replies::Replies;
use super::server::{Clock, Config, Hashing, Server, listen, reserve};

/// Longer than anything takes here: who waits longer waits for what never comes.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a stop waits for connections.
const DRAIN: Duration = Duration::from_secs(20);
pub(crate) const BULK_MAX: usize = 1 << 20;
const CORES: usize = 2;

/// A server on two cores.
pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    pub(crate) metrics: SocketAddr,
    running: Running<io::Result<()>>,
}

impl Service {
    pub(crate) fn start() -> Service {
        Service::with(|_| {})
    }

    /// One whose settings are changed.
    pub(crate) fn with(change: impl FnOnce(&mut Config)) -> Service {
        let any = (Ipv4Addr::LOCALHOST, 0).into();
        let (_port, address) = reserve(any).unwrap();
        let (_other_port, metrics) = reserve(any).unwrap();
        let mut config = Config {
            port: address.port(),
            cores: CORES,
            bulk_max: BULK_MAX,
            clients_max: 1000,
            memory_max: 1 << 30,
            hashing: Hashing::random(),
            clock: Clock::start(),
            clients: Default::default(),
        };
        change(&mut config);
        let main = move |core| serve(core, config.clone(), address, metrics);
        let running = Cores::count(CORES).unwrap().start(main).unwrap();
        Service {
            address,
            metrics,
            running,
        }
    }

    pub(crate) fn connect(&self) -> Client {
        // Connections go to both cores by chance.
        let stream = loop {
            match TcpStream::connect(self.address) {
                Ok(stream) => break stream,
                // The cores have begun, and may not listen yet.
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused),
            }
        };
        Client::new(stream)
    }

    /// Stops it; how its cores have ended.
    pub(crate) fn stop(self) -> Vec<Ended<io::Result<()>>> {
        self.running.handle().stop();
        self.running.join()
    }
}

async fn serve(
    core: Core,
    config: Config,
    address: SocketAddr,
    metrics: SocketAddr,
) -> io::Result<()> {
    let mut server = Server::start(core.clone(), &config, listen(address)?);
    if core.index() == 0 {
        server.show_metrics(listen(metrics)?);
    }
    core.stopping().await;
    server.stop(DRAIN).await
}

/// A connection.
pub(crate) struct Client {
    replies: Replies<TcpStream>,
}

impl Client {
    fn new(stream: TcpStream) -> Client {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let replies = Replies::new(stream);
        Client { replies }
    }

    pub(crate) fn into_replies(self) -> Replies<TcpStream> {
        self.replies
    }

    pub(crate) fn stream(&mut self) -> &mut TcpStream {
        self.replies.stream()
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream().write_all(bytes.as_ref()).unwrap();
    }

    /// The reply to a line.
    pub(crate) fn ask(&mut self, line: &str) -> String {
        self.send(format!("{line}\r\n"));
        self.reply().expect("the server has not closed")
    }

    pub(crate) fn bytes(&mut self) -> Option<Vec<u8>> {
        self.replies.next().unwrap()
    }

    /// The next reply; `None` if there is none any more.
    pub(crate) fn reply(&mut self) -> Option<String> {
        self.bytes()
            .map(|reply| String::from_utf8_lossy(&reply).into_owned())
    }

    pub(crate) fn end(&mut self) {
        self.stream().shutdown(Shutdown::Write).unwrap();
    }
}
