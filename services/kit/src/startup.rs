//! Waiting for what a process needs before it can begin.
//!
//! What is down comes back, and nobody knows when. So a process that starts waits instead of ending, because
//! a kubelet's pauses between restarts grow to minutes. Meanwhile it is alive, says in `/readyz` what it
//! waits for, and can be stopped at any time ([`Service::start`](crate::service::Service::start)).

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Pause after the first failure. It doubles after each one, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

tokio::task_local! {
    static WAITING: Waiting;
}

/// What a process waits for, and why it is not there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waiting(Arc<Mutex<BTreeMap<&'static str, String>>>);

impl Waiting {
    /// Collects here whatever `starting` waits for.
    pub(crate) async fn during<T>(&self, starting: impl Future<Output = T>) -> T {
        WAITING.scope(self.clone(), starting).await
    }

    pub(crate) fn list(&self) -> Vec<(&'static str, String)> {
        let waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.iter().map(|(name, reason)| (*name, reason.clone())).collect()
    }

    fn change(change: impl FnOnce(&mut BTreeMap<&'static str, String>)) {
        // Tests start without anybody to report to.
        let _ =
            WAITING.try_with(|waiting| change(&mut waiting.0.lock().unwrap_or_else(PoisonError::into_inner)));
    }
}

/// Tries again and again, with growing, jittered pauses, until `look` finds what is needed or fails in a way
/// that no waiting can fix.
pub async fn wait_for<T, E, Look>(
    name: &'static str,
    can_be_mended: impl Fn(&E) -> bool,
    mut look: impl FnMut() -> Look,
) -> Result<T, E>
where
    E: Display,
    Look: Future<Output = Result<T, E>>,
{
    let mut pause = FIRST_PAUSE;
    loop {
        match look().await {
            Err(error) if can_be_mended(&error) => {
                let reason = format!("{error:#}");
                tracing::warn!(reason, "waiting for {name}");
                Waiting::change(|waiting| drop(waiting.insert(name, reason)));
            }
            found => {
                Waiting::change(|waiting| drop(waiting.remove(name)));
                return found;
            }
        }
        tokio::time::sleep(uneven(pause)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Between half of `pause` and one and a half, so that many who wait for the same thing do not all come at
/// once.
pub(crate) fn uneven(pause: Duration) -> Duration {
    pause.mul_f64(rand::random_range(0.5..1.5))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_waited_for_is_named_until_it_is_there() {
        let waiting = Waiting::default();
        let tries = Cell::new(0);
        let found = waiting
            .during(wait_for(
                "postgresql",
                |_: &String| true,
                async || {
                    tries.set(tries.get() + 1);
                    if tries.get() > 1 {
                        assert_eq!(waiting.list(), [("postgresql", "refused".to_owned())]);
                    }
                    if tries.get() == 20 { Ok(7) } else { Err("refused".to_owned()) }
                },
            ))
            .await;
        assert_eq!((found, waiting.list()), (Ok(7), vec![]));
    }

    #[tokio::test(start_paused = true)]
    async fn what_no_waiting_can_mend_is_an_error_at_once() {
        let found =
            wait_for("postgresql", |_: &&str| false, async || Err::<(), _>("no such migration")).await;
        assert_eq!(found, Err("no such migration"));
    }

    #[test]
    fn pauses_differ_and_stay_near() {
        let second = Duration::from_secs(1);
        let pauses: Vec<_> = (0..100).map(|_| uneven(second)).collect();
        assert!(pauses.iter().all(|pause| (second / 2..second * 3 / 2).contains(pause)));
        assert!(pauses.iter().any(|pause| *pause != pauses[0]));
    }
}
