//! The channels and locks that each column's tasks use, all with the same names.
//!
//! A column has its own runtime's, or those that it recommends; where it has none of a kind, the
//! nearest thing that does the work, and failing that `async-channel`.

/// corering's.
pub(crate) mod own {
    use std::rc::Rc;

    use corering::sync::{Mutex, MutexGuard, Notify, Semaphore, SemaphorePermit, mpsc};

    pub(crate) type Shared<T> = Rc<T>;
    pub(crate) struct Sender(mpsc::Sender<u32>);
    pub(crate) struct Receiver(mpsc::Receiver<u32>);

    pub(crate) fn channel() -> (Sender, Receiver) {
        let (sender, receiver) = mpsc::channel(1);
        (Sender(sender), Receiver(receiver))
    }

    impl Sender {
        pub(crate) async fn send(&self, value: u32) {
            self.0.send(value).await.expect("there is a receiver");
        }
    }

    impl Receiver {
        pub(crate) async fn recv(&mut self) -> u32 {
            self.0.recv().await.expect("there is a sender")
        }
    }

    #[derive(Default)]
    pub(crate) struct Lock(Mutex<u32>);

    impl Lock {
        pub(crate) fn lock(&self) -> impl Future<Output = MutexGuard<'_, u32>> {
            self.0.lock()
        }
    }

    pub(crate) struct Permits(Semaphore);

    impl Default for Permits {
        fn default() -> Self {
            Self(Semaphore::new(1))
        }
    }

    impl Permits {
        pub(crate) async fn acquire(&self) -> SemaphorePermit<'_> {
            self.0.acquire().await.expect("it is never closed")
        }
    }

    #[derive(Default)]
    pub(crate) struct Signal(Notify);

    impl Signal {
        pub(crate) fn notify(&self) {
            self.0.notify_one();
        }

        pub(crate) async fn notified(&self) {
            self.0.notified().await;
        }
    }
}

/// tokio's.
pub(crate) mod tokio {
    use std::sync::Arc;

    use tokio::sync::{Mutex, MutexGuard, Notify, Semaphore, SemaphorePermit, mpsc};

    pub(crate) type Shared<T> = Arc<T>;
    pub(crate) struct Sender(mpsc::Sender<u32>);
    pub(crate) struct Receiver(mpsc::Receiver<u32>);

    pub(crate) fn channel() -> (Sender, Receiver) {
        let (sender, receiver) = mpsc::channel(1);
        (Sender(sender), Receiver(receiver))
    }

    impl Sender {
        pub(crate) async fn send(&self, value: u32) {
            self.0.send(value).await.expect("there is a receiver");
        }
    }

    impl Receiver {
        pub(crate) async fn recv(&mut self) -> u32 {
            self.0.recv().await.expect("there is a sender")
        }
    }

    #[derive(Default)]
    pub(crate) struct Lock(Mutex<u32>);

    impl Lock {
        pub(crate) fn lock(&self) -> impl Future<Output = MutexGuard<'_, u32>> {
            self.0.lock()
        }
    }

    pub(crate) struct Permits(Semaphore);

    impl Default for Permits {
        fn default() -> Self {
            Self(Semaphore::new(1))
        }
    }

    impl Permits {
        pub(crate) async fn acquire(&self) -> SemaphorePermit<'_> {
            self.0.acquire().await.expect("it is never closed")
        }
    }

    #[derive(Default)]
    pub(crate) struct Signal(Notify);

    impl Signal {
        pub(crate) fn notify(&self) {
            self.0.notify_one();
        }

        pub(crate) async fn notified(&self) {
            self.0.notified().await;
        }
    }
}

/// monoio's: `local-sync`, whose semaphore stands in for a mutex and for a notification.
pub(crate) mod local_sync {
    use std::cell::{RefCell, RefMut};
    use std::ops::{Deref, DerefMut};
    use std::rc::Rc;

    use local_sync::mpsc::bounded;
    use local_sync::semaphore::{Semaphore, SemaphorePermit};

    pub(crate) type Shared<T> = Rc<T>;
    pub(crate) struct Sender(bounded::Tx<u32>);
    pub(crate) struct Receiver(bounded::Rx<u32>);

    pub(crate) fn channel() -> (Sender, Receiver) {
        let (sender, receiver) = bounded::channel(1);
        (Sender(sender), Receiver(receiver))
    }

    impl Sender {
        pub(crate) async fn send(&self, value: u32) {
            self.0.send(value).await.expect("there is a receiver");
        }
    }

    impl Receiver {
        pub(crate) async fn recv(&mut self) -> u32 {
            self.0.recv().await.expect("there is a sender")
        }
    }

    #[derive(Default)]
    pub(crate) struct Lock(Permits, RefCell<u32>);

    pub(crate) struct Guard<'a> {
        value: RefMut<'a, u32>,
        _permit: SemaphorePermit<'a>,
    }

    impl Deref for Guard<'_> {
        type Target = u32;

        fn deref(&self) -> &u32 {
            &self.value
        }
    }

    impl DerefMut for Guard<'_> {
        fn deref_mut(&mut self) -> &mut u32 {
            &mut self.value
        }
    }

    impl Lock {
        pub(crate) async fn lock(&self) -> Guard<'_> {
            let permit = self.0.acquire().await;
            Guard {
                value: self.1.borrow_mut(),
                _permit: permit,
            }
        }
    }

    pub(crate) struct Permits(Semaphore);

    impl Default for Permits {
        fn default() -> Self {
            Self(Semaphore::new(1))
        }
    }

    impl Permits {
        pub(crate) async fn acquire(&self) -> SemaphorePermit<'_> {
            self.0.acquire().await.expect("it is never closed")
        }
    }

    pub(crate) struct Signal(Semaphore);

    impl Default for Signal {
        fn default() -> Self {
            Self(Semaphore::new(0))
        }
    }

    impl Signal {
        pub(crate) fn notify(&self) {
            self.0.add_permits(1);
        }

        pub(crate) async fn notified(&self) {
            self.0.acquire().await.expect("it is never closed").forget();
        }
    }
}

/// compio's: the mutex of `synchrony`, and `async-channel` for what that has not.
pub(crate) mod compio {
    use std::rc::Rc;

    use synchrony::unsync::mutex::{Mutex, MutexGuard};

    pub(crate) type Shared<T> = Rc<T>;
    pub(crate) struct Sender(async_channel::Sender<u32>);
    pub(crate) struct Receiver(async_channel::Receiver<u32>);

    pub(crate) fn channel() -> (Sender, Receiver) {
        let (sender, receiver) = async_channel::bounded(1);
        (Sender(sender), Receiver(receiver))
    }

    impl Sender {
        pub(crate) async fn send(&self, value: u32) {
            self.0.send(value).await.expect("there is a receiver");
        }
    }

    impl Receiver {
        pub(crate) async fn recv(&mut self) -> u32 {
            self.0.recv().await.expect("there is a sender")
        }
    }

    #[derive(Default)]
    pub(crate) struct Lock(Mutex<u32>);

    impl Lock {
        pub(crate) fn lock(&self) -> impl Future<Output = MutexGuard<'_, u32>> {
            self.0.lock()
        }
    }

    /// A channel full of permits.
    pub(crate) struct Permits(Signal);

    pub(crate) struct Permit<'a>(&'a Signal);

    impl Drop for Permit<'_> {
        fn drop(&mut self) {
            self.0.notify();
        }
    }

    impl Default for Permits {
        fn default() -> Self {
            let signal = Signal::default();
            signal.notify();
            Self(signal)
        }
    }

    impl Permits {
        pub(crate) async fn acquire(&self) -> Permit<'_> {
            self.0.notified().await;
            Permit(&self.0)
        }
    }

    pub(crate) struct Signal(async_channel::Sender<()>, async_channel::Receiver<()>);

    impl Default for Signal {
        fn default() -> Self {
            let (sender, receiver) = async_channel::bounded(1);
            Self(sender, receiver)
        }
    }

    impl Signal {
        pub(crate) fn notify(&self) {
            // Full: it is notified already.
            let _ = self.0.try_send(());
        }

        pub(crate) async fn notified(&self) {
            self.1.recv().await.expect("there is a sender");
        }
    }
}

/// glommio's: its lock for writing stands in for a mutex, its semaphore for a notification.
pub(crate) mod glommio {
    use std::rc::Rc;

    use glommio::channels::local_channel::{LocalReceiver, LocalSender, new_bounded};
    use glommio::sync::{Permit, RwLock, RwLockWriteGuard, Semaphore};

    pub(crate) type Shared<T> = Rc<T>;
    pub(crate) struct Sender(LocalSender<u32>);
    pub(crate) struct Receiver(LocalReceiver<u32>);

    pub(crate) fn channel() -> (Sender, Receiver) {
        let (sender, receiver) = new_bounded(1);
        (Sender(sender), Receiver(receiver))
    }

    impl Sender {
        pub(crate) async fn send(&self, value: u32) {
            assert!(self.0.send(value).await.is_ok(), "there is a receiver");
        }
    }

    impl Receiver {
        pub(crate) async fn recv(&mut self) -> u32 {
            self.0.recv().await.expect("there is a sender")
        }
    }

    pub(crate) struct Lock(RwLock<u32>);

    impl Default for Lock {
        fn default() -> Self {
            Self(RwLock::new(0))
        }
    }

    impl Lock {
        pub(crate) async fn lock(&self) -> RwLockWriteGuard<'_, u32> {
            self.0.write().await.expect("it is never closed")
        }
    }

    pub(crate) struct Permits(Semaphore);

    impl Default for Permits {
        fn default() -> Self {
            Self(Semaphore::new(1))
        }
    }

    impl Permits {
        pub(crate) async fn acquire(&self) -> Permit<'_> {
            self.0.acquire_permit(1).await.expect("it is never closed")
        }
    }

    pub(crate) struct Signal(Semaphore);

    impl Default for Signal {
        fn default() -> Self {
            Self(Semaphore::new(0))
        }
    }

    impl Signal {
        pub(crate) fn notify(&self) {
            self.0.signal(1);
        }

        pub(crate) async fn notified(&self) {
            self.0.acquire(1).await.expect("it is never closed");
        }
    }
}
