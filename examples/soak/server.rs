//! The server: it accepts, learns who it is, and talks.

use std::convert::identity;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::time::Duration;

use corering::net::{TcpListener, TcpStream};
use futures_lite::future::poll_once;

use crate::core::Core;
use crate::counts::Shared;
use crate::fate::{Failure, Fate, Fated};
use crate::random::{Random, mix};
use crate::talk::{Side, Talk};

/// What a client says first: its number, and a check of it.
const HELLO: usize = 16;

/// Serves until it is told to stop and its last connection is over.
pub(crate) async fn serve(core: Rc<Core>, started: Sender<std::net::SocketAddr>) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    started.send(address).map_err(io::Error::other)?;
    let random = Random::new(core.seed ^ mix(0));
    // One alone, so that nobody waits when its accept is dropped.
    accept(&core, &listener, random).await;
    // Those of connects that were ended, if any.
    while let Some(accepted) = poll_once(listener.accept()).await {
        let (stream, _) = accepted?;
        core.shared.accepted.add(1);
        greet(stream, Random::new(0), &core.shared).await;
    }
    Ok(())
}

async fn accept(core: &Rc<Core>, listener: &TcpListener, mut random: Random) {
    let shared = &core.shared;
    while !shared.server_stops.load(Ordering::Relaxed) {
        let fate = match Fate::random(&mut random) {
            // It looks around now and then.
            Fate::Awaited => Fate::TimedOut(Duration::from_millis(50)),
            other => other,
        };
        match fate.of(listener.accept(), identity, shared).await {
            Fated::Done(Ok((stream, _))) => {
                shared.accepted.add(1);
                let (random, shared) = (random.fork(), Arc::clone(shared));
                core.spawn(async move { greet(stream, random, &shared).await });
            }
            Fated::Done(Err(error)) => {
                Failure::of(&error, "accept", shared);
            }
            _ => {}
        }
    }
}

async fn greet(stream: TcpStream, random: Random, shared: &Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let Some(id) = hello(&stream, shared).await else {
        shared.strangers.add(1);
        return;
    };
    let talk = Talk {
        id,
        side: Side::Server,
        random,
        shared: Arc::clone(shared),
    };
    talk.run(stream).await;
}

/// Who it is. `None` if it has gone without a word.
async fn hello(stream: &TcpStream, shared: &Shared) -> Option<u64> {
    loop {
        let piece = match stream.fill_buf().await {
            Ok(piece) => piece,
            Err(error) => {
                Failure::of(&error, "hello", shared);
                return None;
            }
        };
        if let Some(hello) = piece.first_chunk::<HELLO>() {
            stream.consume(HELLO);
            let hello = u128::from_le_bytes(*hello);
            let (id, check) = (hello as u64, (hello >> 64) as u64);
            if check != mix(id) {
                shared.fault(format!("hello of {id:x} is torn"));
            }
            return Some(id);
        }
        if piece.is_empty() || stream.fill_more().await.is_err() {
            if !piece.is_empty() {
                shared.fault("half a hello");
            }
            return None;
        }
    }
}

/// What a client says first.
pub(crate) fn hello_of(id: u64) -> Vec<u8> {
    let hello = u128::from(id) | u128::from(mix(id)) << 64;
    hello.to_le_bytes().to_vec()
}
