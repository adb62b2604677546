//! The clients: each connects, talks, and begins again.

use std::convert::identity;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use corering::net::{TcpSocket, TcpStream};
use corering::spawn;
use corering::time::sleep;

use crate::core::Core;
use crate::fate::{Failure, Fate, Fated};
use crate::files;
use crate::random::Random;
use crate::server::hello_of;
use crate::talk::{Side, Talk};

/// Clients that use files meanwhile.
const FILES: u64 = 4;
/// A send buffer that many writes do not fit into. A receive buffer as small stops the loopback
/// device, whose segments are larger, for the time of a window probe after each segment.
const SMALL: usize = 8 * 1024;

/// Keeps `connections` connections to `address` until it is told to stop.
pub(crate) async fn ask(core: Rc<Core>, address: SocketAddr, connections: u64) -> io::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut tasks = Vec::new();
    for number in 0..connections {
        let random = Random::new(core.seed ^ (1 + number) << 20);
        tasks.push(spawn(converse(Rc::clone(&core), address, random)));
    }
    for number in 0..FILES {
        let path = folder.path().join(number.to_string());
        let random = Random::new(core.seed ^ (1 + number) << 10);
        tasks.push(spawn(files::exercise(Rc::clone(&core), path, random)));
    }
    for task in tasks {
        task.await.map_err(io::Error::other)?;
    }
    Ok(())
}

async fn converse(core: Rc<Core>, address: SocketAddr, mut random: Random) {
    let shared = &core.shared;
    while !shared.clients_stop.load(Ordering::Relaxed) {
        if let Some(stream) = connect(&core, address, &mut random).await {
            let id = random.next();
            let (sent, _) = stream.write_all(hello_of(id)).await;
            match sent {
                Ok(()) => {
                    shared.connections.add(1);
                    let talk = Talk {
                        id,
                        side: Side::Client,
                        random: random.fork(),
                        shared: Arc::clone(shared),
                    };
                    talk.run(stream).await;
                }
                // Nobody has a reason to reset it yet.
                Err(error) => shared.fault(format!("hello: {error}")),
            }
        }
        sleep(random.time(Duration::from_millis(4))).await;
    }
}

/// From an address of its own, since those ports that were used last are not free at once.
async fn connect(core: &Core, address: SocketAddr, random: &mut Random) -> Option<TcpStream> {
    let shared = &core.shared;
    let [a, b, c] = [254, 256, 254].map(|bound| random.below(bound) as u8);
    let own = SocketAddr::from((Ipv4Addr::new(127, 1 + a, b, 1 + c), 0));
    let socket = TcpSocket::new_v4().and_then(|socket| {
        let socket = socket.nodelay()?.bind(own)?;
        match random.below(4) {
            // A write that does not fit is sent in several pieces.
            0 => socket.send_buffer_size(SMALL),
            _ => Ok(socket),
        }
    });
    let socket = match socket {
        Ok(socket) => socket,
        Err(error) => {
            shared.fault(format!("a socket at {own}: {error}"));
            return None;
        }
    };
    let fated = Fate::random(random).of(socket.connect(address), identity, shared);
    match fated.await {
        Fated::Done(Ok(stream)) => Some(stream),
        Fated::Done(Err(error)) => {
            if Failure::of(&error, "connect", shared) == Failure::Gone {
                shared.fault(format!("connect: {error}"));
            }
            shared.connects_ended.add(1);
            None
        }
        Fated::Unpolled | Fated::Dropped => {
            shared.connects_ended.add(1);
            None
        }
    }
}
