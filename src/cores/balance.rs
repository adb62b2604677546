//! Which core has the least to do, where one hands out work to all.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many connections, or whatever one core hands out to all, each core has.
///
/// Where a port is shared by `SO_REUSEPORT`, which should be the rule, the kernel chooses the core
/// by a hash of the addresses, and few connections that last long may be spread badly. One acceptor
/// that [hands them over](crate::net::TcpStream::detach) to the core with the fewest spreads them
/// evenly, at the price of a message for each.
///
/// Cheap to clone. The counts are shared; whoever is served is counted where it was put, until its
/// [`Load`] is dropped.
///
/// # Examples
///
/// ```
/// use std::io;
/// use corering::Cores;
/// use corering::cores::{Balance, Core};
/// use corering::net::{TcpListener, TcpStream};
///
/// async fn accept(core: Core, listener: TcpListener, balance: Balance) -> io::Result<()> {
///     while let Some((stream, _peer)) = listener.accept_until(core.stopping()).await? {
///         let (load, stream) = (balance.least(), stream.detach().await);
///         // Its task goes on by itself.
///         drop(core.spawn_on(load.core(), move || async move {
///             let served = serve(stream.attach()?).await;
///             drop(load); // one less on this core
///             served
///         }));
///     }
///     Ok(())
/// }
///
/// async fn serve(stream: TcpStream) -> io::Result<()> {
///     stream.write_all("hello").await.0
/// }
///
/// # fn main() -> io::Result<()> {
/// let balance = Balance::new(2);
/// Cores::count(2)?.run(move |core| {
///     let balance = balance.clone();
///     async move {
///         if core.index() > 0 {
///             core.stopping().await;
///             return Ok(());
///         }
///         let listener = TcpListener::bind("127.0.0.1:0").await?;
/// #       let address = listener.local_addr()?;
/// #       let stopper = core.clone();
/// #       corering::spawn(async move {
/// #           for _ in 0..4 {
/// #               let client = TcpStream::connect(address).await?;
/// #               assert_eq!(client.recv().await?.as_deref(), Some(&b"hello"[..]));
/// #           }
/// #           stopper.stop();
/// #           io::Result::Ok(())
/// #       });
///         accept(core, listener, balance).await
///     }
/// })
/// # }
/// ```
#[derive(Clone)]
pub struct Balance(Arc<[Count]>);

/// Of one core. In cache lines of its own, since the core that ends something writes it.
#[derive(Default)]
#[repr(align(128))]
struct Count(AtomicUsize);

/// One of what a [`Balance`] has put on a core, until it is dropped, on whatever thread.
#[must_use = "dropped, it is not counted any more"]
pub struct Load {
    balance: Balance,
    core: usize,
}

impl Balance {
    /// Nothing yet, on so many cores.
    ///
    /// # Panics
    ///
    /// If `cores` is 0.
    #[must_use]
    pub fn new(cores: usize) -> Balance {
        assert!(cores > 0, "there is always one core");
        Balance((0..cores).map(|_| Count::default()).collect())
    }

    /// Puts one more on the core that has the fewest, the first of those.
    ///
    /// Several threads may do so at once: then each goes by what it sees, and the counts may differ
    /// by as many.
    pub fn least(&self) -> Load {
        let counts = self.0.iter().enumerate();
        let least = counts.min_by_key(|(_, count)| count.0.load(Ordering::Relaxed));
        self.on(least.map_or(0, |(core, _)| core))
    }

    /// Puts one more on `core`, whatever it has.
    ///
    /// # Panics
    ///
    /// If there is no such core.
    pub fn on(&self, core: usize) -> Load {
        // Nothing else depends on a count, so no order is needed.
        self.0[core].0.fetch_add(1, Ordering::Relaxed);
        Load {
            balance: self.clone(),
            core,
        }
    }

    /// What each core has.
    #[must_use]
    pub fn counts(&self) -> Vec<usize> {
        let counts = self.0.iter();
        counts
            .map(|count| count.0.load(Ordering::Relaxed))
            .collect()
    }
}

impl Load {
    /// The core that it is on.
    #[must_use]
    pub fn core(&self) -> usize {
        self.core
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.balance.0[self.core].0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Balance").field(&self.counts()).finish()
    }
}

impl fmt::Debug for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Load").field("core", &self.core).finish()
    }
}
