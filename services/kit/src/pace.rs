//! The pace of a background task that looks for work again and again.
//!
//! ```text
//!   look ──▶ there may be more ──▶ look again at once
//!     ▲  └─▶ nothing left, or it failed (said once, and once when it is over) ──▶ rest ──▶ stop?
//!     └───────────────────────────────────────────────────────────────────────────────────┘ no
//! ```

use std::fmt::Display;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// Whether to look again at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    AtOnce,
    AfterRest,
}

impl Next {
    /// At once if there may be more.
    pub fn more(there_may_be: bool) -> Self {
        if there_may_be { Self::AtOnce } else { Self::AfterRest }
    }
}

impl From<()> for Next {
    fn from((): ()) -> Self {
        Self::AfterRest
    }
}

#[derive(Debug)]
pub struct Pace {
    period: Duration,
    after_error: Duration,
    trouble: &'static str,
    failing: bool,
}

impl Pace {
    /// Rests for `period`. `trouble` says in the log what a failure means.
    pub fn every(period: Duration, trouble: &'static str) -> Self {
        Self { period, after_error: period, trouble, failing: false }
    }

    /// Rests for `pause` after a failure.
    pub fn after_error(self, pause: Duration) -> Self {
        Self { after_error: pause, ..self }
    }

    /// Rests after a look; `false` when it is time to stop.
    pub async fn rest<T: Into<Next>, E: Display>(
        &mut self,
        looked: Result<T, E>,
        stop: &CancellationToken,
    ) -> bool {
        let pause = match looked.map(Into::into) {
            Ok(next) => {
                if std::mem::take(&mut self.failing) {
                    tracing::info!("no longer: {}", self.trouble);
                }
                if next == Next::AtOnce { Duration::ZERO } else { self.period }
            }
            Err(error) => {
                if std::mem::replace(&mut self.failing, true) {
                    tracing::debug!(error = format!("{error:#}"), "still: {}", self.trouble);
                } else {
                    tracing::warn!(error = format!("{error:#}"), "{}", self.trouble);
                }
                self.after_error
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => false,
            () = tokio::time::sleep(pause) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_rests_unless_there_may_be_more_and_longer_after_a_failure() {
        let stop = CancellationToken::new();
        let mut pace =
            Pace::every(Duration::from_secs(3), "cannot look").after_error(Duration::from_secs(50));
        let mut rested = async |looked: Result<Next, &str>| {
            let since = Instant::now();
            assert!(pace.rest(looked, &stop).await);
            since.elapsed().as_secs()
        };
        assert_eq!(rested(Ok(().into())).await, 3);
        assert_eq!(rested(Ok(Next::more(true))).await, 0);
        assert_eq!(rested(Err("away")).await, 50);
        assert_eq!(rested(Err("away")).await, 50);
        assert_eq!(rested(Ok(Next::more(false))).await, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_told_to_stop_does_not_rest() {
        let stop = CancellationToken::new();
        stop.cancel();
        let since = Instant::now();
        let mut pace = Pace::every(Duration::from_secs(3), "cannot look");
        assert!(!pace.rest(Ok::<_, String>(Next::AtOnce), &stop).await);
        assert_eq!(since.elapsed(), Duration::ZERO);
    }
}
