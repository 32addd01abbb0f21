//! Lets deadlines pass: releases reservations that were not paid in time, by Redis' clock.
//!
//! A payment that was submitted in time gets a grace beyond its deadline. Its buyer was told that it is
//! under way, so it must not fail because Kafka, a database or a worker was away for a moment: most of the
//! grace may be used to begin the charge, the end of it is for the provider's answer. When it is over the
//! unit goes back on sale, whether or not anybody works on the payment (invariant I3), and a success
//! that is told later still is given back by the worker.

use std::time::Duration;

use rocketmart_kit::pace::{Next, Pace};
use rocketmart_stock::{Expired, SaleId, StockError};
use tokio_util::sync::CancellationToken;

use super::{ERROR_PAUSE, Relay};
use crate::vouch;

/// How late a deadline may be noticed.
const PERIOD: Duration = Duration::from_millis(250);
/// Reservations looked at in one call: few enough that purchases hardly wait for it.
const AT_ONCE: usize = 500;

pub(super) async fn run(relay: Relay, sale: SaleId, stop: CancellationToken) {
    let mut pace = Pace::every(PERIOD, "cannot expire reservations").after_error(ERROR_PAUSE);
    loop {
        let looked = match relay.stock.expire(sale, AT_ONCE, relay.grace).await {
            Ok(Expired { released, looked_at }) => {
                if released > 0 {
                    metrics::counter!("order_reservations_expired_total").increment(released as u64);
                    tracing::debug!(%sale, released, "deadlines passed");
                }
                // As many as asked for means there may be more.
                Ok(Next::more(looked_at == AT_ONCE))
            }
            // Deadlines that pass meanwhile are noticed once it is vouched for: here too, since a sale that
            // was rebuilt a moment ago may have nobody else who looks.
            Err(StockError::Unvouched) => {
                if let Err(error) = vouch::look(&relay.pool, &relay.stock, sale.0).await {
                    tracing::debug!(%sale, %error, "cannot vouch for the sale");
                }
                Ok(Next::AfterRest)
            }
            Err(error) => Err(format!("sale {sale}: {error}")),
        };
        if !pace.rest(looked, &stop).await {
            break;
        }
    }
}
