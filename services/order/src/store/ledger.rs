//! Units per sale and SKU, and the standing stock: one statement for each, however long the batch.
//!
//! The rows are hot, so these statements run last in their transaction. That keeps their locks shortest.

use std::collections::BTreeMap;

use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::ledger::{Move, StockMove};

/// Moves units. A missing row, or a CHECK that would be broken, is an error.
pub async fn apply(tx: &mut PgConnection, moves: &BTreeMap<(Uuid, String), Move>) -> sqlx::Result<()> {
    if moves.is_empty() {
        return Ok(());
    }
    let (mut sales, mut skus) = (Vec::new(), Vec::new());
    let (mut remaining, mut reserved, mut sold) = (Vec::new(), Vec::new(), Vec::new());
    for ((sale, sku), moved) in moves {
        sales.push(*sale);
        skus.push(sku.as_str());
        remaining.push(moved.remaining);
        reserved.push(moved.reserved);
        sold.push(moved.sold);
    }
    let done = sqlx::query(
        "WITH moved AS (
             SELECT * FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[])
                 AS moved (sale_id, sku, remaining, reserved, sold)
         ), locked AS (
             SELECT moved.* FROM sale_items JOIN moved USING (sale_id, sku)
             ORDER BY sale_items.sale_id, sale_items.sku FOR UPDATE OF sale_items
         )
         UPDATE sale_items AS item
         SET remaining = item.remaining + locked.remaining,
             reserved = item.reserved + locked.reserved,
             sold = item.sold + locked.sold
         FROM locked WHERE item.sale_id = locked.sale_id AND item.sku = locked.sku",
    )
    .bind(sales)
    .bind(skus)
    .bind(remaining)
    .bind(reserved)
    .bind(sold)
    .execute(tx)
    .await?;
    all_found(done.rows_affected(), moves.len())
}

/// Changes the durable stock: paid units leave it; cancelled and returned units come back.
pub async fn move_stock(tx: &mut PgConnection, moves: &BTreeMap<String, StockMove>) -> sqlx::Result<()> {
    if moves.is_empty() {
        return Ok(());
    }
    let done = sqlx::query(
        "WITH moved AS (
             SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[])
                 AS moved (sku, on_hand, allocated, shelved)
         ), locked AS (
             SELECT moved.* FROM stock JOIN moved USING (sku) ORDER BY stock.sku FOR UPDATE OF stock
         )
         UPDATE stock
         SET on_hand = stock.on_hand + locked.on_hand, allocated = stock.allocated + locked.allocated,
             shelved = stock.shelved + locked.shelved
         FROM locked WHERE stock.sku = locked.sku",
    )
    .bind(moves.keys().map(String::as_str).collect::<Vec<_>>())
    .bind(moves.values().map(|moved| moved.on_hand).collect::<Vec<_>>())
    .bind(moves.values().map(|moved| moved.allocated).collect::<Vec<_>>())
    .bind(moves.values().map(|moved| moved.shelved).collect::<Vec<_>>())
    .execute(tx)
    .await?;
    all_found(done.rows_affected(), moves.len())
}

fn all_found(found: u64, wanted: usize) -> sqlx::Result<()> {
    if usize::try_from(found) == Ok(wanted) { Ok(()) } else { Err(sqlx::Error::RowNotFound) }
}
