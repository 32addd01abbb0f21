//! The controllers, each a watch of one kind with its reconcile.

pub mod flash_sale;
pub mod shop;

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{Context, autoscaler};

/// Runs all controllers and the autoscaler until `stop`, then until the reconciles under way are through.
pub async fn run(context: Arc<Context>, stop: CancellationToken) {
    tokio::join!(
        shop::run(context.clone(), stop.clone()),
        flash_sale::run(context.clone(), stop.clone()),
        autoscaler::run(context.clone(), stop.clone()),
    );
}

/// Pause before an object that failed `attempts` times in a row is tried again: 1, 2, 4 … 60 seconds,
/// each with up to a quarter more, so that many objects do not come back at the same moment.
pub fn retry_delay(attempts: u32) -> Duration {
    let base = Duration::from_secs(1 << attempts.min(6)).min(Duration::from_mins(1));
    base + base.mul_f64(rand::random::<f64>() / 4.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_between_tries_grows_and_is_bounded() {
        assert!(retry_delay(0) < Duration::from_secs(2));
        assert!(retry_delay(3) >= Duration::from_secs(8));
        assert!(retry_delay(40) <= Duration::from_secs(75));
    }
}
