//! What `services/stock/src/sync.rs` is to the real lanes, but controlled by the schedule, time included.

use std::future::Future;
use std::time::Duration;

use shuttle::future::yield_now;
use shuttle::rand::{Rng as _, thread_rng};

pub(crate) use shuttle::future::spawn;
pub(crate) use shuttle::sync::atomic::AtomicUsize;
pub(crate) use shuttle::sync::{Mutex, MutexGuard};

/// Longest wait for an idle queue, in turns of others.
const LONGEST: u32 = 16;

#[derive(Debug)]
pub(crate) struct Elapsed;

/// Time passes while others take a few turns.
pub(crate) async fn timeout<F: Future>(_: Duration, work: F) -> Result<F::Output, Elapsed> {
    tokio::select! {
        biased;
        output = work => Ok(output),
        () = give_way(below(LONGEST)) => Err(Elapsed),
    }
}

/// A moment after which anything between no time and far too much of it has passed.
pub(crate) struct Instant;

impl Instant {
    pub(crate) fn now() -> Self {
        Self
    }

    #[expect(clippy::unused_self, reason = "as tokio's")]
    pub(crate) fn elapsed(&self) -> Duration {
        [Duration::ZERO, Duration::from_millis(300), Duration::from_secs(10)][below(3) as usize]
    }
}

pub(crate) async fn give_way(turns: u32) {
    for _ in 0..turns {
        yield_now().await;
    }
}

pub(crate) fn below(bound: u32) -> u32 {
    thread_rng().gen_range(0..bound)
}
