//! Whether we trust Redis about a sale, and what we measure that by: how often the sale was rebuilt, and
//! the youngest stream entry that left Redis.

use std::collections::HashMap;

use rocketmart_stock::StreamPosition;
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;
use uuid::Uuid;

/// How a sale stands with Redis.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    pub incarnation: i32,
    /// Why we do not trust Redis; nobody asks it about this sale then.
    pub doubt: Option<String>,
    /// Stream entries up to this millisecond that are not in the books yet count as lost.
    pub void_until_ms: Option<i64>,
    /// While we do not trust Redis, the books decide about failed payments.
    pub books_decide: bool,
}

/// What Redis must have of a sale that it should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    pub incarnation: i32,
    pub doubt: Option<String>,
    /// The youngest entry that left Redis.
    pub left: StreamPosition,
}

type Row = (Uuid, i32, Option<String>, Option<i64>, bool);

/// As last committed. A sale that SQL does not know is left out.
pub async fn of(pool: &PgPool, sales: &[Uuid]) -> sqlx::Result<HashMap<Uuid, Trust>> {
    if sales.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT id, incarnation, doubt, void_until_ms, books_decide FROM sales WHERE id = ANY($1)",
    )
    .bind(sales)
    .fetch_all(pool)
    .await?;
    Ok(by_sale(rows))
}

/// The same, and no rebuild begins before the transaction ends.
pub async fn hold(tx: &mut PgConnection, sales: &[Uuid]) -> sqlx::Result<HashMap<Uuid, Trust>> {
    if sales.is_empty() {
        return Ok(HashMap::new());
    }
    // This lock is as weak as the one that foreign keys of new orders take, so it holds up nothing else.
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT id, incarnation, doubt, void_until_ms, books_decide FROM sales
         WHERE id = ANY($1) ORDER BY id FOR KEY SHARE",
    )
    .bind(sales)
    .fetch_all(tx)
    .await?;
    Ok(by_sale(rows))
}

fn by_sale(rows: Vec<Row>) -> HashMap<Uuid, Trust> {
    rows.into_iter()
        .map(|(id, incarnation, doubt, void_until_ms, books_decide)| {
            (id, Trust { incarnation, doubt, void_until_ms, books_decide })
        })
        .collect()
}

/// `None`: Redis need not know the sale. It was never loaded, or is signed off.
pub async fn expected(pool: &PgPool, sale: Uuid) -> sqlx::Result<Option<Expected>> {
    let row: Option<(i32, Option<String>, i64, i64)> = sqlx::query_as(
        "SELECT incarnation, doubt, coalesce(ms, 0), coalesce(sequence, 0)
         FROM sales LEFT JOIN stream_positions ON sale_id = id
         WHERE id = $1 AND loaded AND state <> 'closed_out'",
    )
    .bind(sale)
    .fetch_optional(pool)
    .await?;
    Ok(row.map(|(incarnation, doubt, ms, sequence)| Expected {
        incarnation,
        doubt,
        left: StreamPosition { ms, sequence },
    }))
}

/// Every sale that Redis must know.
pub async fn all_expected(pool: &PgPool) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar("SELECT id FROM sales WHERE loaded AND state <> 'closed_out' ORDER BY id")
        .fetch_all(pool)
        .await
}

/// What happens to entries that are about to leave Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// They may leave.
    Noted,
    /// They come from a Redis that was left out when the sale was rebuilt. What is not in the books by now
    /// is void: up to this millisecond, whoever receives an entry recognizes that by its age.
    Superseded { void_until_ms: i64 },
}

/// Notes, before it happens, that stream entries up to `position` leave a Redis in which the sale was
/// rebuilt `incarnation` times. No rebuild begins meanwhile.
pub async fn note_left(
    pool: &PgPool,
    sale: Uuid,
    position: StreamPosition,
    incarnation: i32,
) -> sqlx::Result<Leaving> {
    let row: Option<(i32, Option<i64>)> = sqlx::query_as(
        "WITH sale AS (SELECT incarnation, void_until_ms FROM sales WHERE id = $1 FOR KEY SHARE),
              noted AS (
                  INSERT INTO stream_positions AS known (sale_id, ms, sequence)
                  SELECT $1, $2, $3 WHERE coalesce((SELECT incarnation FROM sale), 0) <= $4
                  ON CONFLICT (sale_id) DO UPDATE SET ms = excluded.ms, sequence = excluded.sequence
                  WHERE (known.ms, known.sequence) < (excluded.ms, excluded.sequence))
         SELECT incarnation, void_until_ms FROM sale",
    )
    .bind(sale)
    .bind(position.ms)
    .bind(position.sequence)
    .bind(incarnation)
    .fetch_optional(pool)
    .await?;
    Ok(match row {
        Some((known, void_until_ms)) if known > incarnation => {
            Leaving::Superseded { void_until_ms: void_until_ms.unwrap_or_default() }
        }
        _ => Leaving::Noted,
    })
}

/// Stops trusting Redis about the sale. `false`: somebody already had, or the sale was rebuilt since
/// `incarnation`, which the doubt is about.
pub async fn doubt(pool: &PgPool, sale: Uuid, incarnation: i32, reason: &str) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "UPDATE sales SET doubt = $3, doubted_at = now(), drained = false, books_decide = false
         WHERE id = $1 AND incarnation = $2 AND doubt IS NULL AND loaded AND state <> 'closed_out'",
    )
    .bind(sale)
    .bind(incarnation)
    .bind(reason)
    .execute(pool)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Sales in doubt, with the time of the doubt, for which the books may lack something that left Redis.
pub async fn undrained(pool: &PgPool) -> sqlx::Result<Vec<(Uuid, OffsetDateTime)>> {
    sqlx::query_as("SELECT id, doubted_at FROM sales WHERE doubt IS NOT NULL AND NOT drained")
        .fetch_all(pool)
        .await
}

/// Notes that the books have everything.
pub async fn note_drained(pool: &PgPool, doubts: &[(Uuid, OffsetDateTime)]) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE sales SET drained = true
         FROM unnest($1::uuid[], $2::timestamptz[]) AS doubted (id, since)
         WHERE sales.id = doubted.id AND doubted_at = since",
    )
    .bind(doubts.iter().map(|doubt| doubt.0).collect::<Vec<_>>())
    .bind(doubts.iter().map(|doubt| doubt.1).collect::<Vec<_>>())
    .execute(pool)
    .await?;
    Ok(())
}

/// From now on the books decide about this sale's failed payments, if Redis has nothing to add to them and
/// no rebuild has begun: reservations wait for units that only such a payment can give back.
///
/// This lasts as long as the sale keeps its incarnation, so until a rebuild begins.
pub async fn let_books_decide(pool: &PgPool, sale: Uuid) -> sqlx::Result<()> {
    let done = sqlx::query(
        "UPDATE sales SET books_decide = true
         WHERE id = $1 AND doubt IS NOT NULL AND drained AND NOT books_decide
             AND incarnation = coalesce((SELECT max(incarnation) FROM rebuilds WHERE sale_id = $1), 0)",
    )
    .bind(sale)
    .execute(pool)
    .await?;
    if done.rows_affected() == 1 {
        tracing::info!(%sale, "reservations wait for units: payments that failed are decided without Redis");
    }
    Ok(())
}

/// Whether the books have everything, including what waits for units; `None` when nothing is in doubt any
/// more.
pub async fn is_drained(pool: &PgPool, sale: Uuid) -> sqlx::Result<Option<bool>> {
    sqlx::query_scalar(
        "SELECT drained AND NOT EXISTS
             (SELECT 1 FROM waiting_events AS waiting WHERE waiting.sale_id = sales.id AND refused IS NULL)
         FROM sales WHERE id = $1 AND doubt IS NOT NULL",
    )
    .bind(sale)
    .fetch_optional(pool)
    .await
}
