//! `close().await`: an orderly end, with what was left.

use std::io;
use std::rc::Rc;

use super::Socket;
use super::family::DatagramSocket;
use super::recv::Datagram;
use crate::driver::Op;
use crate::op;

impl Socket {
    /// Waits for committed sends, ends the receive, closes the descriptor. Returns what was
    /// received and never taken. `handle` is the user's, which abandons the socket if this future
    /// is dropped.
    pub(crate) async fn close<S: DatagramSocket>(
        self: Rc<Self>,
        handle: S,
    ) -> io::Result<Vec<Datagram<S::Address>>> {
        self.sends_done().await;
        self.stop_receiving();
        self.receive_done().await;
        let unread = self.unread::<S>();
        drop(handle);
        let driver = Rc::clone(&self.driver);
        // The last completion has been taken, so no op holds the socket any more.
        let closed = match Rc::try_unwrap(self) {
            Ok(socket) => op::Close(socket.fd).submit(&driver).await,
            Err(_) => Ok(()),
        };
        closed.map(|()| unread)
    }
}
