//! What all cores have counted, for Prometheus or whoever asks.

use std::fmt::Write;
use std::io;
use std::time::Duration;

use corering::cores::Core;
use corering::net::{TcpListener, TcpStream};
use corering::runtime::{Stats, stats};
use corering::time::timeout;

use super::shard::{self, Metric};

/// How long somebody may take to ask and to read.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of a question. What is in it does not matter.
const QUESTION_MAX: usize = 8 * 1024;

/// Answers one after the other, each by a text that has a line for each count of each core.
pub(super) async fn serve(listener: TcpListener, core: Core) {
    while let Ok((stream, peer)) = listener.accept().await {
        let answered = timeout(PATIENCE, answer(stream, &core)).await;
        if let Err(error) = answered.map_err(io::Error::from).flatten() {
            eprintln!("metrics for {peer}: {error}");
        }
    }
}

async fn answer(stream: TcpStream, core: &Core) -> io::Result<()> {
    loop {
        let question = stream.fill_buf().await?;
        if question.windows(4).any(|end| end == b"\r\n\r\n") {
            break;
        }
        if question.is_empty() || question.len() > QUESTION_MAX {
            return Ok(());
        }
        stream.fill_more().await?;
    }
    stream.consume(stream.fill_buf().await?.len());
    let text = text(core).await?;
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        text.len()
    );
    stream.write_all(head + &text).await.0
}

async fn text(core: &Core) -> io::Result<String> {
    let counted = core.broadcast(|| async {
        let metrics = shard::here().map(|shard| shard.borrow().metrics());
        (metrics, stats())
    });
    let mut cores = Vec::new();
    for counted in counted.await {
        let (metrics, stats) = counted.map_err(io::Error::other)?;
        let of_core = metrics.into_iter().flatten().chain(of_runtime(stats));
        cores.push(of_core.collect::<Vec<_>>());
    }
    let mut text = String::new();
    let metrics = cores.first().into_iter().flatten();
    for (metric, _) in metrics {
        let kind = if metric.is_total { "counter" } else { "gauge" };
        // Writing to a String does not fail.
        let _ = writeln!(text, "# TYPE kv_{} {kind}", metric.name);
        for (index, of_core) in cores.iter().enumerate() {
            // A core that does not serve any more has fewer.
            if let Some((_, value)) = of_core.iter().find(|(other, _)| other == metric) {
                let _ = writeln!(text, "kv_{}{{core=\"{index}\"}} {value}", metric.name);
            }
        }
    }
    Ok(text)
}

fn of_runtime(stats: Option<Stats>) -> impl Iterator<Item = (Metric, u64)> {
    let values = stats.map(|stats| {
        [
            (Metric::total("system_calls"), stats.enters),
            (Metric::total("polls"), stats.polls),
            (Metric::now("tasks"), stats.tasks as u64),
            (
                Metric::total("nanoseconds_parked"),
                stats.parked.as_nanos() as u64,
            ),
        ]
    });
    values.into_iter().flatten()
}
