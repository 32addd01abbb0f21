//! Redis: counters, reservation records, idempotency keys.

use std::{collections::HashMap, time::Duration};

use anyhow::{Context, Result};
use redis::{AsyncCommands as _, AsyncConnectionConfig};
use uuid::Uuid;

use crate::books::{Books, Reservation, Units};

/// A field that keeps each key of a sale in existence and has no other meaning.
const ANCHOR: &str = "anchor";

/// A sale of a million orders comes in one answer, which takes seconds to send.
const ANSWER_LIMIT: Duration = Duration::from_mins(2);

pub async fn read(url: &str, sale: Uuid, books: &mut Books) -> Result<()> {
    let client = redis::Client::open(url)?;
    let patient = AsyncConnectionConfig::new().set_response_timeout(Some(ANSWER_LIMIT));
    let mut connection =
        client.get_multiplexed_async_connection_with_config(&patient).await.context("connecting to Redis")?;
    let mut stock: HashMap<String, i64> = connection.hgetall(format!("rm:{{{sale}}}:stock")).await?;
    stock.remove(ANCHOR);
    for (field, value) in stock {
        let (sku, what) = field.rsplit_once(':').with_context(|| format!("stock field `{field}`"))?;
        let item = books.counters.entry(sku.to_owned()).or_default();
        match what {
            "preloaded" => item.preloaded = value,
            "remaining" => item.remaining = value,
            "reserved" => item.reserved = value,
            "sold" => item.sold = value,
            "limit" => drop(books.limits.insert(sku.to_owned(), value)),
            _ => {}
        }
    }
    let mut records: HashMap<String, String> =
        connection.hgetall(format!("rm:{{{sale}}}:reservations")).await?;
    records.remove(ANCHOR);
    for (order, record) in records {
        books
            .reservations
            .insert(order.parse()?, parse_record(&record).with_context(|| format!("record `{record}`"))?);
    }
    let mut keys: HashMap<String, String> = connection.hgetall(format!("rm:{{{sale}}}:keys")).await?;
    keys.remove(ANCHOR);
    for (owner, value) in keys {
        let (buyer, key) = owner.split_once('|').with_context(|| format!("key field `{owner}`"))?;
        let order = value.split('|').next().unwrap_or_default();
        books.keys.insert((buyer.parse()?, key.to_owned()), order.parse()?);
    }
    Ok(())
}

/// `state|buyer|amount|reserved at|pay by|method|address|sku*quantity*price,…`, followed by `|declined
/// payments` once there is one.
fn parse_record(record: &str) -> Result<Reservation> {
    let fields: Vec<&str> = record.split('|').collect();
    let ([state, buyer, _, _, _, _, _, lines] | [state, buyer, _, _, _, _, _, lines, _]) = fields[..] else {
        anyhow::bail!("a record has 8 or 9 fields")
    };
    let mut units = Units::new();
    for line in lines.split(',') {
        let mut parts = line.split('*');
        let sku = parts.next().context("a line without SKU")?;
        let quantity: i64 = parts.next().context("a line without quantity")?.parse()?;
        *units.entry(sku.to_owned()).or_default() += quantity;
    }
    Ok(Reservation { state: state.to_owned(), buyer: buyer.parse()?, units })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_tells_state_buyer_and_units() -> Result<()> {
        let buyer = Uuid::from_u128(7);
        let record = parse_record(&format!("confirmed|{buyer}|300|1|2|||A*2*100,B*1*100"))?;
        assert_eq!((record.state.as_str(), record.buyer), ("confirmed", buyer));
        assert_eq!(record.units, Units::from([("A".into(), 2), ("B".into(), 1)]));
        assert_eq!(
            parse_record(&format!("reserved|{buyer}|300|1|2|||A*2*100,B*1*100|1"))?.units,
            record.units
        );
        Ok(())
    }
}
