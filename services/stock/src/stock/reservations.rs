//! Reserves, and shows what is reserved.

use crate::id::{OrderId, SaleId};
use crate::keys;
use crate::reply::{Reply, parse_record, unexpected};
use crate::reservation::{CurrentPrice, Line, Reservation, Reserve, ReserveOutcome};

use super::{Arguments, Function, Result, Stock, well_formed_trace};

/// The next cursor, and order ids with their records.
type Page = (u64, Vec<(String, String)>);

const RESERVE: Function = Function::new("rocketmart_reserve");

impl Stock {
    /// Decides the wishes in order, in one atomic step: one outcome per wish. A wish that breaks its own
    /// rules gets [`ReserveOutcome::Invalid`] and spoils nobody else's.
    pub async fn reserve(&self, sale: SaleId, wishes: &[Reserve]) -> Result<Vec<ReserveOutcome>> {
        let flaws: Vec<_> = wishes.iter().map(|wish| wish.flaw(sale)).collect();
        let sound: Vec<_> =
            wishes.iter().zip(&flaws).filter(|(_, flaw)| flaw.is_none()).map(|(wish, _)| wish).collect();
        let mut decided = self.decide(sale, &sound).await?.into_iter();
        flaws
            .into_iter()
            .map(|flaw| match flaw {
                Some((field, rule)) => {
                    Ok(ReserveOutcome::Invalid { field: field.to_owned(), rule: rule.to_owned() })
                }
                None => decided.next().ok_or_else(|| unexpected("one more outcome", "the end")),
            })
            .collect()
    }

    async fn decide(&self, sale: SaleId, wishes: &[&Reserve]) -> Result<Vec<ReserveOutcome>> {
        if wishes.is_empty() {
            return Ok(Vec::new());
        }
        let mut arguments = Arguments::default().with(sale).with(wishes.len());
        for wish in wishes {
            arguments.push_id(wish.order.0);
            arguments.push_id(wish.buyer.0);
            arguments.push_text(&wish.key);
            arguments.push_text(&wish.request_hash);
            arguments.push_text(well_formed_trace(wish.traceparent.as_deref()).unwrap_or_default());
            arguments.push(wish.lines.len());
            for line in &wish.lines {
                push_line(&mut arguments, line);
            }
        }
        let mut reply = self.call::<Reply>(RESERVE, sale, arguments).await?;
        let currency = reply.text()?;
        reply.outcomes(wishes.len(), |name, rest| read_outcome(sale, &currency, name, rest))
    }

    /// A reservation as it is now.
    pub async fn get(&self, sale: SaleId, order: OrderId) -> Result<Option<Reservation>> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("HGET").arg(keys::RESERVATIONS.of(sale)).arg(order.to_string());
        pipeline.cmd("HGET").arg(keys::SALE_HASH.of(sale)).arg("currency");
        let (record, currency): (Option<String>, Option<String>) =
            self.query_pipeline(sale, &pipeline).await?;
        record.map(|record| parse_record(sale, order, &currency.unwrap_or_default(), &record)).transpose()
    }

    /// A page of all reservations of a sale. Start with cursor 0, and stop when 0 comes back. A reservation
    /// that existed throughout is seen at least once, perhaps twice.
    pub async fn scan_reservations(
        &self,
        sale: SaleId,
        cursor: u64,
        count: usize,
    ) -> Result<(u64, Vec<Reservation>)> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("HSCAN").arg(keys::RESERVATIONS.of(sale)).arg(cursor).arg("COUNT").arg(count);
        pipeline.cmd("HGET").arg(keys::SALE_HASH.of(sale)).arg("currency");
        let ((next, records), currency): (Page, Option<String>) =
            self.query_pipeline(sale, &pipeline).await?;
        let currency = currency.unwrap_or_default();
        let reservations = records
            .iter()
            .filter(|(order, _)| order != keys::ANCHOR)
            .map(|(order, record)| {
                let order = order.parse().map_err(|_| unexpected("an order id", order))?;
                parse_record(sale, order, &currency, record)
            })
            .collect::<Result<_>>()?;
        Ok((next, reservations))
    }

    /// Which of these wishes' idempotency keys Redis knows or may have known; that is all of them if it has
    /// lost its keys. It only reads: no function, no write.
    pub(crate) async fn known_keys(&self, sale: SaleId, wishes: &[Reserve]) -> Result<Vec<bool>> {
        let mut command = redis::cmd("HMGET");
        command.arg(keys::IDEMPOTENCY.of(sale));
        for wish in wishes {
            command.arg(format!("{}|{}", wish.buyer, wish.key));
        }
        command.arg(keys::ANCHOR);
        let mut known = self.query::<Vec<Option<String>>>(sale, &command).await?;
        let lost = known.pop().flatten().is_none();
        Ok(known.iter().map(|known| lost || known.is_some()).collect())
    }
}

fn push_line(arguments: &mut Arguments, line: &Line) {
    arguments.push_text(&line.sku);
    match line.agreed_price {
        None => arguments.push(line.quantity),
        Some(price) => arguments.push(format_args!("{}={price}", line.quantity)),
    }
}

fn read_outcome(
    sale: SaleId,
    currency: &str,
    name: &str,
    rest: &mut Reply,
) -> Result<Option<ReserveOutcome>> {
    Ok(Some(match name {
        "reserved" => ReserveOutcome::Reserved(rest.reservation(sale, currency)?),
        "duplicate" => ReserveOutcome::Duplicate(rest.reservation(sale, currency)?),
        "sold_out" => ReserveOutcome::SoldOut { sku: rest.text()?, remaining: rest.number()? },
        "limit_exceeded" => {
            ReserveOutcome::LimitExceeded { sku: rest.text()?, limit: rest.number()?, held: rest.number()? }
        }
        "not_open" => ReserveOutcome::NotOpen { opens_at_ms: rest.number()? },
        "closed" => ReserveOutcome::Closed,
        "suspended" => ReserveOutcome::Suspended,
        "unknown_sale" => ReserveOutcome::UnknownSale,
        "unknown_sku" => ReserveOutcome::UnknownSku { sku: rest.text()? },
        "price_changed" => {
            let mut lines = Vec::new();
            while !rest.is_empty() {
                lines.push(CurrentPrice { sku: rest.text()?, unit_price: rest.number()? });
            }
            ReserveOutcome::PriceChanged { lines }
        }
        "key_reused" => ReserveOutcome::KeyReused,
        "invalid" => ReserveOutcome::Invalid { field: rest.text()?, rule: rest.text()? },
        _ => return Ok(None),
    }))
}
