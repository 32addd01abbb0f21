//! Lets Redis forget old orders of the ordinary stock, which has no end and would grow for ever.
//!
//! It forgets only what PostgreSQL has decided too. From then on PostgreSQL answers for the order and
//! judges a late payment by it. Order ids tell their age.

use std::collections::HashSet;

use rocketmart_stock::{OrderId, SaleId, Stock};
use sqlx::PgPool;
use time::OffsetDateTime;

use crate::store::{orders, standing};

/// How many keys one call looks at.
const PAGE: usize = 500;

/// Forgets orders made before `then`, and returns how many. Until an order is forgotten, a buyer may repeat
/// the request with its key.
pub async fn forget(pool: &PgPool, stock: &Stock, then: OffsetDateTime) -> anyhow::Result<usize> {
    let mut forgotten = 0;
    for sale in standing::loaded(pool).await?.into_iter().map(SaleId) {
        let mut cursor = 0;
        loop {
            let (next, keys) = stock.scan_keys(sale, cursor, PAGE).await?;
            let old: Vec<_> = keys.into_iter().filter(|known| was_made_before(known.order, then)).collect();
            let ids: Vec<_> = old.iter().map(|known| known.order.0).collect();
            let decided: HashSet<_> = orders::decided(pool, &ids).await?.into_iter().collect();
            let decided: Vec<_> = old.into_iter().filter(|known| decided.contains(&known.order.0)).collect();
            forgotten += stock.forget(sale, &decided).await?;
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
    }
    Ok(forgotten)
}

fn was_made_before(order: OrderId, then: OffsetDateTime) -> bool {
    let seconds = order.0.get_timestamp().map(|made| made.to_unix().0);
    seconds.and_then(|seconds| i64::try_from(seconds).ok()).is_some_and(|made| made < then.unix_timestamp())
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn the_age_of_an_order_is_in_its_id() {
        let now = OffsetDateTime::now_utc();
        let order = OrderId::fresh(SaleId(Uuid::nil()));
        assert!(was_made_before(order, now + time::Duration::minutes(1)));
        assert!(!was_made_before(order, now - time::Duration::minutes(1)));
        assert!(!was_made_before(OrderId(Uuid::nil()), now), "one without an age is kept");
    }
}
