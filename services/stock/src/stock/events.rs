//! A sale's stream, as the relay uses it: read onwards, trim what SQL has.

use std::time::Duration;

use redis::streams::StreamReadReply;

use crate::error::StockError;
use crate::event::{StreamEntry, StreamEvent};
use crate::id::SaleId;
use crate::keys;
use crate::reply::unexpected;

use super::{Result, Stock};

impl Stock {
    /// Up to `count` entries after the entry id `after` (`"0"` for all); waits up to `block` for the
    /// first of them, or not at all if that is zero. Any number of callers may wait at once.
    pub async fn read_events(
        &self,
        sale: SaleId,
        after: &str,
        count: usize,
        block: Duration,
    ) -> Result<Vec<StreamEntry>> {
        let mut pipeline = redis::pipe();
        let command = pipeline.cmd("XREAD").arg("COUNT").arg(count);
        if !block.is_zero() {
            // Whole milliseconds, and never 0, which would mean forever.
            command.arg("BLOCK").arg(block.as_millis().max(1).to_string());
        }
        command.arg("STREAMS").arg(keys::EVENTS.of(sale)).arg(after);
        // Asked of the same server, and after the entries: it is that of a later rebuild at worst, which
        // voids what it finds left of an earlier one.
        pipeline.cmd("HGET").arg(keys::SALE_HASH.of(sale)).arg("incarnation");
        let (reply, incarnation): (Option<StreamReadReply>, Option<i32>) = if block.is_zero() {
            self.query_pipeline(sale, &pipeline).await?
        } else {
            self.route.to(&keys::EVENTS.of(sale)).await?.query_blocking(&pipeline, block).await?
        };
        let incarnation = incarnation.unwrap_or_default();
        let entries = reply.into_iter().flat_map(|reply| reply.keys).flat_map(|key| key.ids);
        entries.map(|entry| read_entry(entry.id, incarnation, entry.map.get("e"))).collect()
    }

    /// How often the sale was rebuilt, as Redis knows; `None` if it does not know the sale.
    pub async fn incarnation(&self, sale: SaleId) -> Result<Option<i32>> {
        let mut command = redis::cmd("HMGET");
        command.arg(keys::SALE_HASH.of(sale)).arg("state").arg("incarnation");
        let (state, incarnation): (Option<String>, Option<i32>) = self.query(sale, &command).await?;
        Ok(state.map(|_| incarnation.unwrap_or_default()))
    }

    /// Deletes all entries up to and including the entry id `up_to`, and says how many.
    pub async fn trim(&self, sale: SaleId, up_to: &str) -> Result<u64> {
        let first_kept = entry_id_after(up_to).ok_or_else(|| unexpected("an entry id", up_to))?;
        let mut command = redis::cmd("XTRIM");
        command.arg(keys::EVENTS.of(sale)).arg("MINID").arg("=").arg(first_kept);
        self.query(sale, &command).await
    }
}

fn read_entry(id: String, incarnation: i32, events: Option<&redis::Value>) -> Result<StreamEntry> {
    let Some(redis::Value::BulkString(json)) = events else {
        return Err(unexpected("the field `e` in a stream entry", &id));
    };
    let events: Vec<StreamEvent> = serde_json::from_slice(json)
        .map_err(|error| StockError::Protocol(format!("stream entry {id}: {error}")))?;
    Ok(StreamEntry { id, incarnation, events })
}

/// The smallest id above `id`, which is `<ms>-<sequence>`.
fn entry_id_after(id: &str) -> Option<String> {
    let (ms, sequence) = id.split_once('-')?;
    let (ms, sequence): (u64, u64) = (ms.parse().ok()?, sequence.parse().ok()?);
    Some(match sequence.checked_add(1) {
        Some(next) => format!("{ms}-{next}"),
        None => format!("{}-0", ms.checked_add(1)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_entry_id_follows_at_once() {
        assert_eq!(entry_id_after("17-0").as_deref(), Some("17-1"));
        assert_eq!(entry_id_after("17-18446744073709551615").as_deref(), Some("18-0"));
        for bad in ["17", "-", "17-x", "0-0-0", "$"] {
            assert_eq!(entry_id_after(bad), None, "{bad}");
        }
    }
}
