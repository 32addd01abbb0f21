//! Forgets old orders of the standing stock, which has no end and is never purged.

use crate::id::{OrderId, SaleId};
use crate::keys;
use crate::reply::unexpected;
use crate::reservation::AcceptedKey;

use super::{Arguments, Function, Result, Stock};

/// The next cursor, and fields with their values, one after the other.
type Page = (u64, Vec<(String, String)>);

const FORGET: Function = Function::new("rocketmart_forget");

impl Stock {
    /// A page of all idempotency keys that a sale has accepted, each with its order. Start with cursor 0, and
    /// stop when 0 comes back. A key that existed throughout is seen at least once, perhaps twice.
    pub async fn scan_keys(
        &self,
        sale: SaleId,
        cursor: u64,
        count: usize,
    ) -> Result<(u64, Vec<AcceptedKey>)> {
        let mut command = redis::cmd("HSCAN");
        command.arg(keys::IDEMPOTENCY.of(sale)).arg(cursor).arg("COUNT").arg(count);
        let (next, fields): Page = self.query(sale, &command).await?;
        let accepted = fields.into_iter().filter(|(field, _)| field != keys::ANCHOR);
        let accepted = accepted.map(|(field, value)| {
            let order = value.split('|').next().and_then(|order| order.parse().ok());
            let order: OrderId = order.ok_or_else(|| unexpected("an order id", &value))?;
            Ok(AcceptedKey { order, field })
        });
        Ok((next, accepted.collect::<Result<_>>()?))
    }

    /// Forgets those of `orders` that are decided, and returns how many. Their counters stay as they are.
    /// From then on the same key makes another order. Does nothing for a sale that has an end.
    pub async fn forget(&self, sale: SaleId, orders: &[AcceptedKey]) -> Result<usize> {
        if orders.is_empty() {
            return Ok(0);
        }
        let mut arguments = Arguments::default();
        for known in orders {
            arguments.push_id(known.order.0);
            arguments.push_text(&known.field);
        }
        self.call(FORGET, sale, arguments).await
    }
}
