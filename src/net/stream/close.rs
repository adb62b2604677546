//! `close().await`: an orderly end, with what was left.

use std::io;
use std::rc::Rc;

use corering_buffers::Lease;

use super::Socket;
use crate::driver::Op;
use crate::op;

impl Socket {
    /// Waits for the committed send, ends the receive, closes the descriptor. Returns what was
    /// received and never read. `handle` is the user's, which abandons the stream if this future is
    /// dropped.
    pub(crate) async fn close<H>(self: Rc<Self>, handle: H) -> io::Result<Vec<Lease>> {
        let sent = self.sends_done().await;
        self.stop_receiving();
        self.receive_done().await;
        let unread = self.unread();
        drop(handle);
        let driver = Rc::clone(&self.driver);
        // The last completion has been taken, so no op holds the socket any more.
        let closed = match Rc::try_unwrap(self) {
            Ok(socket) => op::Close(socket.fd).submit(&driver).await,
            Err(_) => Ok(()),
        };
        sent.and(closed).map(|()| unread)
    }

    /// Empties the inbox.
    fn unread(&self) -> Vec<Lease> {
        let mut side = self.recv.borrow_mut();
        std::iter::from_fn(|| side.pop()).collect()
    }
}
