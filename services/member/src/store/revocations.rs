//! Sessions that ended before their access tokens did, in the order in which readers see them.
//!
//! A row becomes visible when its transaction ends, and a row with a higher position may become visible
//! earlier. So a reader that has seen everything starts again at the oldest transaction that was still
//! running then (`pg_snapshot_xmin`). It misses nothing and sees little twice.

use std::fmt;
use std::str::FromStr;

use rocketmart_kit::auth::Revoked;
use sqlx::{PgPool, Row};

/// How many sessions are on one page.
const PAGE: usize = 10_000;

/// Where a reader continues.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// All transactions before this one had ended when the current round of pages began.
    settled: i64,
    /// Transaction and position of the last row that was read in this round.
    read: Option<(i64, i64)>,
}

/// Written as a cursor: `settled`, or `settled.transaction.position` in the middle of a round.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.read {
            None => write!(f, "{}", self.settled),
            Some((transaction, position)) => write!(f, "{}.{transaction}.{position}", self.settled),
        }
    }
}

/// A text that is not one of our cursors.
#[derive(Debug)]
pub(crate) struct NoCursor;

impl FromStr for Place {
    type Err = NoCursor;

    fn from_str(cursor: &str) -> Result<Self, NoCursor> {
        let number = |text: &str| text.parse().ok().filter(|number: &i64| *number >= 0).ok_or(NoCursor);
        let numbers = cursor.splitn(4, '.').map(number).collect::<Result<Vec<_>, _>>()?;
        match numbers[..] {
            [settled] => Ok(Self { settled, read: None }),
            [settled, transaction, position] => Ok(Self { settled, read: Some((transaction, position)) }),
            _ => Err(NoCursor),
        }
    }
}

pub(crate) struct Page {
    pub(crate) revoked: Vec<Revoked>,
    pub(crate) next: Place,
    pub(crate) has_more: bool,
}

pub(crate) async fn after(pool: &PgPool, place: Place) -> sqlx::Result<Page> {
    let (transaction, position) = place.read.unwrap_or((place.settled, 0));
    // A database restored from a backup may be at lower transaction numbers than the reader has seen.
    let rows = sqlx::query(
        "SELECT now.settled, r.transaction, r.position, r.session_id, r.until
         FROM (SELECT pg_snapshot_xmin(s)::text::bigint AS settled, pg_snapshot_xmax(s)::text::bigint AS next
               FROM pg_current_snapshot() s) now
         LEFT JOIN LATERAL (
             SELECT transaction, position, session_id, extract(epoch FROM tokens_until)::bigint AS until
             FROM revocations
             WHERE (transaction, position) > (CASE WHEN $1 <= now.next THEN $1 ELSE 0 END, $2)
               AND tokens_until > now()
             ORDER BY transaction, position LIMIT $3) r ON true",
    )
    .bind(transaction)
    .bind(position)
    .bind(i64::try_from(PAGE).unwrap_or(i64::MAX))
    .fetch_all(pool)
    .await?;
    let mut settled = place.settled;
    let mut revoked = Vec::with_capacity(rows.len());
    let mut last = None;
    for row in &rows {
        if place.read.is_none() {
            settled = row.try_get("settled")?;
        }
        // If there is nothing to report, the answer is one row without a session.
        let Some(sid) = row.try_get("session_id")? else { break };
        revoked.push(Revoked { sid, until: row.try_get("until")? });
        last = Some((row.try_get("transaction")?, row.try_get("position")?));
    }
    let has_more = revoked.len() == PAGE;
    Ok(Page { revoked, next: Place { settled, read: last.filter(|_| has_more) }, has_more })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written_and_nothing_else_is_m1() {
        for place in [Place { settled: 7, read: None }, Place { settled: 7, read: Some((8, i64::MAX)) }] {
            assert_eq!(place.to_string().parse::<Place>().unwrap(), place);
        }
        for cursor in ["", "x", "-1", "1.2", "1.2.3.4", "1.-2.3", "99999999999999999999"] {
            assert!(cursor.parse::<Place>().is_err(), "{cursor}");
        }
    }
}
