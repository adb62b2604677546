//! Messages of a connection, which ends: `None` is its end.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use corering_buffers::{BufResult, IoBufMut};

use crate::io::{Operation, Sealed};
use crate::net::datagram::{
    Control, Datagram, DatagramSocket, Received, RecvDatagram, RecvFrom, Socket,
};

/// The future of `recv()` of a connection.
///
/// # Cancellation
///
/// Dropped, it leaves the record to the next call, with its descriptors.
#[must_use = "futures do nothing unless polled"]
pub struct RecvRecord<'a, S>(RecvDatagram<'a, S>);

/// The future of `recv_into(buf)` of a connection.
///
/// # Cancellation
///
/// Dropped, it frees its buffer and leaves the record to the next call, with its descriptors.
#[must_use = "futures do nothing unless polled"]
pub struct RecvRecordInto<'a, S, B: IoBufMut>(RecvFrom<'a, S, B>);

type Record<S> = Datagram<<S as DatagramSocket>::Address>;
type Copied<S> = Received<<S as DatagramSocket>::Address>;

/// Whether nothing came, rather than a record without bytes: every record of a `SEQPACKET` has its
/// time beside it, which the socket was told to report, and a stream has no empty ones.
fn is_end(len: usize, truncated: bool, control: &Control) -> bool {
    len == 0 && !truncated && control.timestamp().is_none()
}

fn record<S: DatagramSocket>(received: io::Result<Record<S>>) -> io::Result<Option<Record<S>>> {
    let is_record = |it: &Record<S>| !is_end(it.payload.len(), it.truncated, &it.control);
    received.map(|it| Some(it).filter(is_record))
}

fn copied<S: DatagramSocket, B>(
    (received, buf): BufResult<Copied<S>, B>,
) -> BufResult<Option<Copied<S>>, B> {
    let is_record = |it: &Copied<S>| !is_end(it.len, it.truncated, &it.control);
    (received.map(|it| Some(it).filter(is_record)), buf)
}

impl<'a, S: DatagramSocket> RecvRecord<'a, S> {
    pub(super) fn new(socket: &'a Rc<Socket>) -> Self {
        RecvRecord(RecvDatagram::new(socket))
    }
}

impl<'a, S: DatagramSocket, B: IoBufMut> RecvRecordInto<'a, S, B> {
    pub(super) fn new(socket: &'a Rc<Socket>, buf: B) -> Self {
        RecvRecordInto(RecvFrom::new(socket, buf))
    }
}

impl<S: DatagramSocket> Future for RecvRecord<'_, S> {
    type Output = io::Result<Option<Record<S>>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(record::<S>)
    }
}

impl<S: DatagramSocket, B: IoBufMut> Future for RecvRecordInto<'_, S, B> {
    type Output = BufResult<Option<Copied<S>>, B>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(copied::<S, B>)
    }
}

impl<S> Sealed for RecvRecord<'_, S> {}
impl<S, B: IoBufMut> Sealed for RecvRecordInto<'_, S, B> {}

impl<S: DatagramSocket> Operation for RecvRecord<'_, S> {
    type Outcome = Self::Output;

    fn poll_cancel(&mut self, cx: &mut Context<'_>) -> Poll<Self::Outcome> {
        self.0.poll_cancel(cx).map(record::<S>)
    }
}

impl<S: DatagramSocket, B: IoBufMut> Operation for RecvRecordInto<'_, S, B> {
    type Outcome = Self::Output;

    fn poll_cancel(&mut self, cx: &mut Context<'_>) -> Poll<Self::Outcome> {
        self.0.poll_cancel(cx).map(copied::<S, B>)
    }
}

impl<S> fmt::Debug for RecvRecord<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvRecord").finish_non_exhaustive()
    }
}

impl<S, B: IoBufMut> fmt::Debug for RecvRecordInto<'_, S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvRecordInto").finish_non_exhaustive()
    }
}
