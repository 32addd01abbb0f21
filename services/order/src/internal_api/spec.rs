//! Translates a sale into the engine's terms.

use rocketmart_contracts::internal_api::SaleState;
use rocketmart_kit::problem::{Problem, Result};
use rocketmart_stock::{ItemSpec, SaleId, SaleSpec, SaleState as InRedis};

use super::fence;
use crate::store::sales::Sale;

/// What the books promise. The checks have already bounded every number.
pub(super) fn spec(sale: &Sale) -> Result<SaleSpec> {
    let small = |value: i64| u32::try_from(value).map_err(Problem::internal);
    let items = sale.items.iter().map(|item| {
        Ok(ItemSpec {
            sku: item.sku.clone(),
            units: small(item.ledger.preloaded)?,
            price: item.price,
            per_buyer_limit: if sale.standing { None } else { Some(small(item.per_buyer_limit)?) },
        })
    });
    Ok(SaleSpec {
        id: SaleId(sale.id),
        name: sale.name.clone(),
        fence: fence(sale.fence),
        currency: sale.currency.clone(),
        opens_at_ms: sale.opens_at_ms,
        closes_at_ms: (!sale.standing).then_some(sale.closes_at_ms),
        payment_seconds: small(sale.payment_seconds)?,
        items: items.collect::<Result<_>>()?,
    })
}

/// The state that Redis needs for the one that SQL names.
pub(super) fn state(state: SaleState) -> InRedis {
    match state {
        SaleState::Ready => InRedis::Ready,
        SaleState::Loading | SaleState::Suspended => InRedis::Suspended,
        SaleState::Closed | SaleState::Cancelled | SaleState::ClosedOut => InRedis::Closed,
    }
}
