//! Lets deadlines pass: releases reservations that were not paid in time, by Redis' clock.

use std::time::Duration;

use rocketmart_stock::{SaleId, Stock};
use tokio_util::sync::CancellationToken;

use super::ERROR_PAUSE;

/// How late a deadline may be noticed.
const PERIOD: Duration = Duration::from_millis(250);
/// Reservations released in one call: few enough that purchases hardly wait for it.
const AT_ONCE: usize = 500;

pub(super) async fn run(stock: Stock, sale: SaleId, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let pause = match stock.expire(sale, AT_ONCE).await {
            Ok(released) => {
                if released > 0 {
                    metrics::counter!("order_reservations_expired_total").increment(released as u64);
                    tracing::debug!(%sale, released, "deadlines passed");
                }
                // As many as asked for means there may be more.
                if released < AT_ONCE { PERIOD } else { Duration::ZERO }
            }
            Err(error) => {
                tracing::warn!(%sale, %error, "cannot expire reservations");
                ERROR_PAUSE
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}
