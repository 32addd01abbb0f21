//! Enforces deadlines: releases reservations that were not paid in time, by Redis' clock.
//!
//! A payment that was submitted in time gets a grace beyond its deadline. Its buyer was told that it is
//! under way, so it must not fail because Kafka, a database or a worker was away for a moment. Most of the
//! grace is for beginning the charge; the end of it is for the provider's answer. After the grace the unit
//! goes back on sale, whether or not anybody works on the payment (invariant I3). If the payment still
//! succeeds later, the worker gives the money back.

use std::time::Duration;

use rocketmart_kit::pace::{Next, Pace};
use rocketmart_stock::{Expired, SaleId, StockError};
use tokio_util::sync::CancellationToken;

use super::{ERROR_PAUSE, Relay};
use crate::vouch;

/// How late we may notice a deadline.
const PERIOD: Duration = Duration::from_millis(250);
/// How many reservations one call looks at: few enough that purchases hardly wait for it.
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
                // Finding as many as asked for means there may be more.
                Ok(Next::more(looked_at == AT_ONCE))
            }
            // Deadlines that pass meanwhile are noticed once somebody vouches for Redis. We look here too:
            // for a sale that was just rebuilt, there may be nobody else who does.
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
