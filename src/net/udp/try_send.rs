//! Sends that nobody waits for.

use std::io;
use std::net::SocketAddr;

use corering_buffers::IoBuf;

use super::UdpSocket;
use crate::ring::Name;

impl UdpSocket {
    /// Hands `buf` over to be sent to the socket's peer, and does not wait.
    ///
    /// # Errors
    ///
    /// As [`try_send_to`](UdpSocket::try_send_to). That the socket has no peer (`EDESTADDRREQ`) is
    /// told to nobody.
    ///
    /// # Kernel
    ///
    /// As [`try_send_to`](UdpSocket::try_send_to).
    ///
    /// # Source
    ///
    /// [`send(2)`](https://man7.org/linux/man-pages/man2/send.2.html)
    #[inline]
    pub fn try_send<B: IoBuf>(&self, buf: B) -> Result<(), (io::Error, B)> {
        self.socket().try_send(buf, Name::default())
    }

    /// Hands `buf` over to be sent as one datagram to `address`, and does not wait.
    ///
    /// The kernel gets it with all else that the core submits at its next turn, and `buf` is
    /// dropped when it was sent. An error of this datagram is lost, as that of a
    /// [`send_to`](UdpSocket::send_to) whose future is dropped when its turn has come.
    ///
    /// Datagrams that follow each other until then, to one address and of one length, but for the
    /// last, which may be shorter, are one message for the kernel, and only there cut into
    /// datagrams again (GSO): many for the price of little more than one. Where that cannot be, as
    /// with datagrams that are longer than the path allows, they go one by one, perhaps behind
    /// others. A receiver gets each by itself, unless it [asks](UdpSocket::set_gro) to have them
    /// joined. A socket of std's that has a segment size (`UDP_SEGMENT`) when it is taken over
    /// sends each alone. A buffer that is no [`Lease`](crate::Lease) is boxed until it is sent.
    ///
    /// # Errors
    ///
    /// With the buffer: `WouldBlock`, if 64 sends of this socket are in flight or others wait for
    /// their turn; `ECANCELED`, if the runtime has ended. What an earlier datagram has caused
    /// (`ECONNREFUSED`, see [above](UdpSocket#errors)) is told to the next receive.
    ///
    /// # Kernel
    ///
    /// As [`send_to`](UdpSocket::send_to), and for several `IORING_OP_SENDMSG` with `UDP_SEGMENT`.
    ///
    /// # Source
    ///
    /// [`sendto(2)`](https://man7.org/linux/man-pages/man2/sendto.2.html),
    /// [`udp(7)`](https://man7.org/linux/man-pages/man7/udp.7.html)
    ///
    /// # Examples
    ///
    /// ```
    /// # use corering::net::UdpSocket;
    /// async fn echo(socket: UdpSocket) -> std::io::Result<()> {
    ///     loop {
    ///         let datagram = socket.recv().await?;
    ///         let sent = socket.try_send_to(datagram.payload, datagram.from);
    ///         if let Err((_, payload)) = sent {
    ///             socket.send_to(payload, datagram.from).await.0?;
    ///         }
    ///     }
    /// }
    /// ```
    #[inline]
    pub fn try_send_to<B: IoBuf>(
        &self,
        buf: B,
        address: impl Into<SocketAddr>,
    ) -> Result<(), (io::Error, B)> {
        self.socket().try_send(buf, Name::from(address.into()))
    }
}
