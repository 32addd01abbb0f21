//! How many searches run at once, how many wait for their turn, and what happens to the others.
//!
//! ```text
//!  shoppers ──▶ places (running and waiting) ──▶ turns (one per processor) ──▶ blocking threads
//!                    └ none left: 429 at once        └ not within PATIENCE: 429
//! ```
//!
//! A search takes processor time and memory for as long as it runs. If more run at once than there are
//! processors, none ends sooner and all hold their memory meanwhile. So we let in only as many as can end
//! while their shoppers still look. A search goes on after its shopper has left, and keeps its turn until it
//! ends.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinError;

/// The longest wait for a turn.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(clap::Args, Clone, Copy, Debug)]
pub struct AdmissionArgs {
    /// Searches that run at once; 0: as many as there are processors.
    #[arg(long, env = "SEARCHES_AT_ONCE", default_value_t = 0)]
    pub searches_at_once: usize,
    /// Searches that wait for their turn; more are answered 429.
    #[arg(long, env = "SEARCHES_WAITING", default_value_t = 64)]
    pub searches_waiting: usize,
}

/// Decides who may search now.
pub(crate) struct Admission {
    places: Arc<Semaphore>,
    turns: Arc<Semaphore>,
}

/// Why a search did not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotRun {
    #[error("too many searches at once")]
    Overloaded,
    #[error("the search panicked: {0}")]
    Panicked(#[from] JoinError),
}

impl Admission {
    pub(crate) fn new(args: AdmissionArgs) -> Self {
        let processors = || std::thread::available_parallelism().map_or(1, usize::from);
        let at_once = if args.searches_at_once == 0 { processors() } else { args.searches_at_once };
        let at_once = at_once.min(Semaphore::MAX_PERMITS / 2);
        let waiting = args.searches_waiting.min(Semaphore::MAX_PERMITS / 2);
        Self { places: Arc::new(Semaphore::new(at_once + waiting)), turns: Arc::new(Semaphore::new(at_once)) }
    }

    /// Runs `search` off the async threads when its turn comes.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        search: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NotRun> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| refused())?;
        let turn = tokio::time::timeout(PATIENCE, Arc::clone(&self.turns).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else { return Err(refused()) };
        let run = move || {
            let _held_until_the_end = (place, turn);
            search()
        };
        Ok(tokio::task::spawn_blocking(run).await?)
    }
}

fn refused() -> NotRun {
    metrics::counter!("search_refused_total").increment(1);
    NotRun::Overloaded
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    fn admission(searches_at_once: usize, searches_waiting: usize) -> Admission {
        Admission::new(AdmissionArgs { searches_at_once, searches_waiting })
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn of_200_searches_at_once_few_run_some_wait_and_the_others_are_refused_h5() {
        let admission = admission(2, 8);
        let [running, most, refused] = [(); 3].map(|()| Arc::new(AtomicUsize::new(0)));
        let searches = (0..200).map(async |_| {
            let (running, most, turned_away) =
                (Arc::clone(&running), Arc::clone(&most), Arc::clone(&refused));
            let outcome = admission.run(move || {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                // Nobody finishes before everybody has arrived.
                while turned_away.load(Ordering::SeqCst) < 190 {
                    std::thread::sleep(Duration::from_millis(1));
                }
                running.fetch_sub(1, Ordering::SeqCst);
            });
            match outcome.await {
                Ok(()) => true,
                Err(NotRun::Overloaded) => {
                    refused.fetch_add(1, Ordering::SeqCst);
                    false
                }
                Err(error) => panic!("{error}"),
            }
        });
        let outcomes = futures::future::join_all(searches).await;
        assert_eq!(outcomes.into_iter().filter(|run| *run).count(), 10);
        assert!(most.load(Ordering::SeqCst) <= 2, "{most:?} at once");
        assert!(admission.run(|| ()).await.is_ok(), "the places are free again");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_search_whose_shopper_has_gone_keeps_its_turn_until_it_ends_h5() {
        let admission = admission(1, 0);
        let (go_on, gone) = mpsc::channel::<()>();
        let (has_begun, begun) = tokio::sync::oneshot::channel();
        let left_alone = admission.run(move || {
            has_begun.send(()).ok();
            gone.recv().ok();
        });
        tokio::select! {
            _ = left_alone => panic!("it ended"),
            _ = begun => {}
        }
        assert!(matches!(admission.run(|| ()).await, Err(NotRun::Overloaded)));
        go_on.send(()).unwrap();
        while admission.run(|| ()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn nobody_waits_longer_than_a_moment_for_a_turn_h5() {
        let admission = admission(1, 1);
        let (go_on, held) = mpsc::channel::<()>();
        let (has_begun, begun) = tokio::sync::oneshot::channel();
        let holding = admission.run(move || {
            has_begun.send(()).ok();
            held.recv().ok();
        });
        let waiting = async {
            begun.await.ok();
            let outcome = admission.run(|| ()).await;
            go_on.send(()).ok();
            outcome
        };
        let (held, waited) = tokio::join!(holding, waiting);
        assert!(held.is_ok() && matches!(waited, Err(NotRun::Overloaded)));
    }
}
