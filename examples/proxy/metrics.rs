//! What the proxy has done, counted by all cores.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use corering::net::TcpListener;
use corering::time::{sleep, timeout};

/// For somebody who asks and does not listen.
const PATIENCE: Duration = Duration::from_secs(1);

/// Every connection changes it twice: cores may share that.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    connections: AtomicU64,
    open: AtomicU64,
    failed: AtomicU64,
    late: AtomicU64,
    refused: AtomicU64,
    cut: AtomicU64,
    to_server: AtomicU64,
    to_client: AtomicU64,
}

impl Metrics {
    pub(crate) fn begun(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn ended(&self, passed: &io::Result<(u64, u64)>) {
        self.open.fetch_sub(1, Ordering::Relaxed);
        let counter = match passed {
            Ok((there, back)) => {
                self.to_server.fetch_add(*there, Ordering::Relaxed);
                self.to_client.fetch_add(*back, Ordering::Relaxed);
                return;
            }
            Err(error) if error.kind() == io::ErrorKind::TimedOut => &self.late,
            Err(_) => &self.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// No descriptor was left for a connection.
    pub(crate) fn refused(&self, error: &io::Error) {
        if self.refused.fetch_add(1, Ordering::Relaxed) == 0 {
            eprintln!("proxy: accept: {error}");
        }
    }

    /// The stop was faster than the connections of a core.
    pub(crate) fn cut(&self) {
        let open = self.open.load(Ordering::Relaxed);
        self.cut.store(open, Ordering::Relaxed);
    }

    /// Connections at the moment, and all there were.
    pub(crate) fn connections(&self) -> (u64, u64) {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (count(&self.open), count(&self.connections))
    }
}

impl fmt::Display for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = [
            ("connections_total", &self.connections),
            ("connections_open", &self.open),
            ("connections_failed", &self.failed),
            ("connections_late", &self.late),
            ("connections_cut", &self.cut),
            ("accepts_refused", &self.refused),
            ("bytes_to_server", &self.to_server),
            ("bytes_to_client", &self.to_client),
        ];
        for (at, (name, counter)) in lines.iter().enumerate() {
            let end = if at + 1 < lines.len() { "\n" } else { "" };
            write!(f, "proxy_{name} {}{end}", counter.load(Ordering::Relaxed))?;
        }
        Ok(())
    }
}

/// Tells it to whoever connects, one line for each counter.
pub(crate) async fn tell(listener: TcpListener, metrics: Arc<Metrics>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Whoever goes away has had enough.
                let _ = timeout(PATIENCE, stream.write_all(format!("{metrics}\n"))).await;
            }
            Err(_) => sleep(PATIENCE).await,
        }
    }
}
