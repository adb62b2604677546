//! The log as a service: requests and replies are lines of JSON.

use std::io;
use std::path::Path;

use corering::net::{TcpListener, TcpStream};
use corering::sync::{mpsc, oneshot};
use futures_util::{FutureExt, select_biased};
use serde::{Deserialize, Serialize};

use crate::json_lines;
use crate::log::{Log, Options};

/// Requests that wait for the log; whoever comes then waits with its connection.
const QUEUE: usize = 64;

#[derive(Debug, Deserialize, Serialize)]
pub(crate) enum Request {
    Append(String),
    Records,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) enum Reply {
    /// The record is durable and has this number.
    Appended(u64),
    /// All records that there are, with the number of the first.
    Records(u64, Vec<String>),
}

type Asked = (Request, oneshot::Sender<Reply>);

/// Serves the log in `directory` until it fails. Then it has to be started again.
pub(crate) async fn serve(address: &str, directory: &Path, options: Options) -> io::Result<()> {
    let log = Log::open(directory, options).await?;
    let listener = TcpListener::bind(address).await?;
    let (asking, asked) = mpsc::channel(QUEUE);
    let mut writer = corering::spawn(write(log, asked)).fuse();
    loop {
        select_biased! {
            ended = writer => return ended.map_err(io::Error::other)?,
            accepted = listener.accept().fuse() => if let Ok((stream, _)) = accepted {
                corering::spawn(converse(stream, asking.clone()));
            },
        }
    }
}

/// Answers the requests of one connection in turn.
async fn converse(stream: TcpStream, asking: mpsc::Sender<Asked>) -> io::Result<()> {
    while let Some(request) = json_lines::receive(&stream).await? {
        let (answer, answered) = oneshot::channel();
        let asked = asking.send((request, answer)).await;
        asked.map_err(|gone| io::Error::other(gone.to_string()))?;
        let reply = answered.await.map_err(io::Error::other)?;
        json_lines::send(&stream, &reply).await?;
    }
    Ok(())
}

/// Has the log for itself. What has come while a group was synced makes the next group.
async fn write(mut log: Log, mut asked: mpsc::Receiver<Asked>) -> io::Result<()> {
    let mut waiting = Vec::new();
    while asked.recv_many(&mut waiting, QUEUE).await > 0 {
        let (mut records, mut appenders) = (Vec::new(), Vec::new());
        for (request, answer) in waiting.drain(..) {
            match request {
                Request::Append(record) => {
                    records.push(record.into_bytes());
                    appenders.push(answer);
                }
                Request::Records => {
                    let text = |record| String::from_utf8_lossy(record).into_owned();
                    let all = log.records().map(text).collect();
                    let _ = answer.send(Reply::Records(log.first(), all));
                }
            }
        }
        if records.is_empty() {
            continue;
        }
        let first = log.append(records).await?;
        for (number, answer) in (first..).zip(appenders) {
            // Whoever has gone away meanwhile does not want to know.
            let _ = answer.send(Reply::Appended(number));
        }
    }
    Ok(())
}
