//! Calls with deadlines over one connection.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use corering::io::{FramedRead, FramedWrite, LengthCodec};
use corering::net::{OwnedReadHalf, OwnedWriteHalf, TcpStream};
use corering::sync::{Mutex, oneshot};
use corering::task::JoinHandle;
use corering::time::timeout;

use crate::{Message, codec};

pub(crate) struct Client {
    writer: Mutex<FramedWrite<OwnedWriteHalf, LengthCodec>>,
    next: Cell<u64>,
    shared: Rc<Shared>,
    receiving: JoinHandle<()>,
}

/// The calls that wait, by the number of their request.
#[derive(Default)]
struct Shared {
    waiting: RefCell<HashMap<u64, oneshot::Sender<String>>>,
    /// Replies that came when nobody waited for them any more.
    late: Cell<u64>,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> io::Result<Client> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (reader, writer) = stream.into_split();
        let shared = Rc::new(Shared::default());
        Ok(Client {
            writer: Mutex::new(FramedWrite::new(writer, codec())),
            next: Cell::new(0),
            shared: Rc::clone(&shared),
            receiving: corering::spawn(receive(reader, shared)),
        })
    }

    /// The server's answer, if it comes within `deadline`; otherwise `TimedOut`.
    pub(crate) async fn call(&self, text: String, deadline: Duration) -> io::Result<String> {
        let number = self.next.replace(self.next.get() + 1);
        let (sender, receiver) = oneshot::channel();
        self.shared.waiting.borrow_mut().insert(number, sender);
        // Whatever ends this call, nobody waits for its reply then.
        let _waiting = Waiting(&self.shared, number);
        let reply = timeout(deadline, async {
            // A request that is dropped here was sent whole, or not at all.
            Message { number, text }.send(&self.writer).await?;
            let gone = |_| io::Error::from(io::ErrorKind::ConnectionAborted);
            receiver.await.map_err(gone)
        });
        reply.await?
    }

    pub(crate) fn late(&self) -> u64 {
        self.shared.late.get()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.receiving.abort();
    }
}

struct Waiting<'a>(&'a Shared, u64);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.borrow_mut().remove(&self.1);
    }
}

/// Hands replies to the calls that wait for them, until the connection ends.
async fn receive(reader: OwnedReadHalf, shared: Rc<Shared>) {
    let mut replies = FramedRead::new(reader, codec());
    while let Ok(Some(frame)) = replies.next().await {
        let Ok(reply) = Message::parse(&frame) else {
            break;
        };
        let call = shared.waiting.borrow_mut().remove(&reply.number);
        if call.is_none_or(|call| call.send(reply.text).is_err()) {
            shared.late.set(shared.late.get() + 1);
        }
    }
    // Calls that wait still are told that nothing comes any more.
    shared.waiting.borrow_mut().clear();
}
