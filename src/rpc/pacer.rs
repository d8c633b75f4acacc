//! Waits that end when they should: tokio's timers count whole milliseconds and round up, which is
//! as late as a message of a paced replay may be in all.
//!
//! One thread of the server sleeps until the first moment that anybody waits for, and wakes who
//! waits. It is started by the first wait.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

/// Wakes tasks at moments. Cheap to clone; the thread ends with the last clone.
#[derive(Clone, Default)]
pub(super) struct Pacer(Arc<Owner>);

#[derive(Default)]
struct Owner(Arc<Shared>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.waits().over = true;
        self.0.sooner.notify_one();
    }
}

#[derive(Default)]
struct Shared {
    waits: Mutex<Waits>,
    /// Something comes sooner than the thread sleeps for.
    sooner: Condvar,
}

#[derive(Default)]
struct Waits {
    /// Whom to wake when; waits for the same moment have a number each.
    tasks: BTreeMap<(Instant, u64), Waker>,
    numbers: u64,
    started: bool,
    over: bool,
}

impl Shared {
    fn waits(&self) -> MutexGuard<'_, Waits> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes until nobody can wait any more.
    fn run(&self) {
        let mut waits = self.waits();
        while !waits.over {
            let now = Instant::now();
            waits = match waits.tasks.first_entry() {
                Some(entry) if entry.key().0 <= now => {
                    let task = entry.remove();
                    drop(waits);
                    task.wake();
                    self.waits()
                }
                Some(entry) => {
                    let left = entry.key().0 - now;
                    let woken = self.sooner.wait_timeout(waits, left);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.sooner.wait(waits).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

impl Pacer {
    /// Waits until `at`, to within what the kernel needs to wake a thread.
    pub(super) fn until(&self, at: Instant) -> Until {
        Until { shared: Arc::clone(&self.0.0), at, number: None }
    }
}

/// See [`Pacer::until`].
pub(super) struct Until {
    shared: Arc<Shared>,
    at: Instant,
    number: Option<u64>,
}

impl Future for Until {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.at <= Instant::now() {
            return Poll::Ready(());
        }
        let (shared, at) = (Arc::clone(&self.shared), self.at);
        let mut waits = shared.waits();
        if !waits.started {
            let shared = Arc::clone(&shared);
            let thread = std::thread::Builder::new().name("pacer".to_owned());
            waits.started = thread.spawn(move || shared.run()).is_ok();
            if !waits.started {
                // Without a thread nobody would wake it: look again at once.
                context.waker().wake_by_ref();
            }
        }
        let number = *self.number.get_or_insert(waits.numbers);
        waits.numbers = waits.numbers.max(number + 1);
        waits.tasks.insert((at, number), context.waker().clone());
        let is_first = waits.tasks.first_key_value().is_some_and(|(key, _)| *key == (at, number));
        drop(waits);
        if is_first {
            shared.sooner.notify_one();
        }
        Poll::Pending
    }
}

impl Drop for Until {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.shared.waits().tasks.remove(&(self.at, number));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn waits_end_in_their_order_and_never_too_early() {
        let pacer = Pacer::default();
        let begun = Instant::now();
        let ended = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        for wait in [7, 3, 3, 0, 40, 11] {
            let (pacer, ended) = (pacer.clone(), Arc::clone(&ended));
            tasks.push(tokio::spawn(async move {
                let at = begun + Duration::from_millis(wait);
                pacer.until(at).await;
                assert!(Instant::now() >= at);
                ended.lock().unwrap().push(wait);
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }

        assert_eq!(*ended.lock().unwrap(), [0, 3, 3, 7, 11, 40]);
    }

    #[tokio::test]
    async fn a_wait_that_is_given_up_leaves_nothing_and_the_thread_ends_with_its_pacer() {
        let pacer = Pacer::default();
        let far = Instant::now() + Duration::from_secs(1000);
        let near = Instant::now() + Duration::from_millis(2);

        tokio::select! {
            () = pacer.until(far) => panic!("too early"),
            () = pacer.until(near) => {}
        }

        let shared = Arc::clone(&pacer.0.0);
        assert!(shared.waits().tasks.is_empty());
        drop(pacer);
        while Arc::strong_count(&shared) > 1 {
            tokio::task::yield_now().await;
        }
    }
}
