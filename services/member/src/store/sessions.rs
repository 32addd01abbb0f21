//! Sessions and the refresh tokens of each.

use rocketmart_kit::auth::Role;
use sqlx::{PgConnection, PgPool, Row};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::members::roles;
use super::seconds;
use crate::domain::rotation::{self, Presented, Verdict};
use crate::domain::secret::SecretHash;

/// How long what a session gives out is good for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lifetimes {
    pub(crate) access: Duration,
    pub(crate) refresh: Duration,
}

/// Opens a session with its first refresh token. `None`: the member was deleted meanwhile, or
/// `password_hash` is no longer theirs, so that a log-in racing a reset does not survive it.
pub(crate) async fn open(
    pool: &PgPool,
    member: Uuid,
    password_hash: Option<&str>,
    refresh: SecretHash,
    lifetimes: Lifetimes,
) -> sqlx::Result<Option<Uuid>> {
    let mut tx = pool.begin().await?;
    let session: Option<Uuid> = sqlx::query_scalar(
        "INSERT INTO sessions (id, member_id, expires_at, tokens_until)
         SELECT $2, id, now() + make_interval(secs => $3), now() + make_interval(secs => $4) FROM members
         WHERE id = $1 AND password_hash IS NOT DISTINCT FROM $5 FOR SHARE
         RETURNING id",
    )
    .bind(member)
    .bind(Uuid::new_v4())
    .bind(seconds(lifetimes.refresh))
    .bind(seconds(lifetimes.access))
    .bind(password_hash)
    .fetch_optional(&mut *tx)
    .await?;
    if let Some(session) = session {
        put_refresh_token(&mut tx, session, refresh, None, lifetimes.refresh).await?;
    }
    tx.commit().await?;
    Ok(session)
}

/// Opens a session for each member, to last as long as one access token and without a refresh
/// token. In the order given; `None` for ids that are no member's, and for administrators, in whose
/// name nobody else acts.
pub(crate) async fn open_for_each(
    pool: &PgPool,
    members: &[Uuid],
    lifetime: Duration,
) -> sqlx::Result<Vec<Option<Issued>>> {
    let sessions: Vec<Uuid> = members.iter().map(|_| Uuid::new_v4()).collect();
    let mut tx = pool.begin().await?;
    let rows = sqlx::query(
        "SELECT position, session, m.id, m.roles
         FROM unnest($1::uuid[], $2::uuid[]) WITH ORDINALITY AS given (id, session, position)
         JOIN members m USING (id) WHERE NOT 'admin' = ANY (m.roles)
         ORDER BY m.id FOR KEY SHARE OF m",
    )
    .bind(members)
    .bind(&sessions)
    .fetch_all(&mut *tx)
    .await?;
    let mut issued = vec![None; members.len()];
    for row in &rows {
        let position: i64 = row.try_get("position")?;
        let place = usize::try_from(position - 1).ok().and_then(|at| issued.get_mut(at));
        if let Some(place) = place {
            *place = Some(Issued {
                member: row.try_get("id")?,
                session: row.try_get("session")?,
                roles: roles(row)?,
            });
        }
    }
    if issued.iter().all(Option::is_some) {
        sqlx::query(
            "INSERT INTO sessions (id, member_id, expires_at, tokens_until)
             SELECT session, member, now() + make_interval(secs => $3), now() + make_interval(secs => $3)
             FROM unnest($1::uuid[], $2::uuid[]) AS new (session, member)",
        )
        .bind(&sessions)
        .bind(members)
        .bind(seconds(lifetime))
        .execute(&mut *tx)
        .await?;
    }
    tx.commit().await?;
    Ok(issued)
}

/// For whom an access token may now be signed.
#[derive(Debug, Clone)]
pub(crate) struct Issued {
    pub(crate) member: Uuid,
    pub(crate) session: Uuid,
    pub(crate) roles: Vec<Role>,
}

#[derive(Debug)]
pub(crate) enum Refreshed {
    Renewed(Issued),
    Refused,
    /// An old token came back: its session has been ended.
    Revoked {
        session: Uuid,
    },
}

/// Takes `presented` and, if the rules of rotation allow it, makes `replacement` valid instead.
pub(crate) async fn refresh(
    pool: &PgPool,
    presented: SecretHash,
    replacement: SecretHash,
    lifetimes: Lifetimes,
) -> sqlx::Result<Refreshed> {
    let mut tx = pool.begin().await?;
    // Locking the session makes uses of its tokens take turns, on every replica.
    let session: Option<Uuid> = sqlx::query_scalar(
        "SELECT s.id FROM refresh_tokens t JOIN sessions s ON s.id = t.session_id WHERE t.hash = $1 FOR UPDATE OF s",
    )
    .bind(presented)
    .fetch_optional(&mut *tx)
    .await?;
    let Some(session) = session else { return Ok(Refreshed::Refused) };
    // Read after the lock was granted: a statement of its own sees what the one before us committed.
    let row = sqlx::query(
        "SELECT t.expires_at, t.replaced_at, clock_timestamp() AS now, m.id, m.roles,
                EXISTS (SELECT FROM refresh_tokens c WHERE c.parent = t.hash AND c.replaced_at IS NOT NULL)
                    AS successor_used
         FROM refresh_tokens t JOIN sessions s ON s.id = t.session_id JOIN members m ON m.id = s.member_id
         WHERE t.hash = $1",
    )
    .bind(presented)
    .fetch_optional(&mut *tx)
    .await?;
    let Some(row) = row else { return Ok(Refreshed::Refused) };
    let token = Presented {
        expires_at: row.try_get("expires_at")?,
        replaced_at: row.try_get("replaced_at")?,
        successor_used: row.try_get("successor_used")?,
    };
    let now: OffsetDateTime = row.try_get("now")?;
    let outcome = match rotation::judge(token, now) {
        Verdict::Expired => Refreshed::Refused,
        Verdict::Reused => {
            end(&mut *tx, session).await?;
            Refreshed::Revoked { session }
        }
        Verdict::Rotate => {
            // The first replacement starts the grace; a repeat does not prolong it.
            sqlx::query("UPDATE refresh_tokens SET replaced_at = coalesce(replaced_at, $2) WHERE hash = $1")
                .bind(presented)
                .bind(now)
                .execute(&mut *tx)
                .await?;
            put_refresh_token(&mut tx, session, replacement, Some(presented), lifetimes.refresh).await?;
            sqlx::query(
                "UPDATE sessions SET expires_at = greatest(expires_at, now() + make_interval(secs => $2)),
                     tokens_until = greatest(tokens_until, now() + make_interval(secs => $3)) WHERE id = $1",
            )
            .bind(session)
            .bind(seconds(lifetimes.refresh))
            .bind(seconds(lifetimes.access))
            .execute(&mut *tx)
            .await?;
            Refreshed::Renewed(Issued { member: row.try_get("id")?, session, roles: roles(&row)? })
        }
    };
    tx.commit().await?;
    Ok(outcome)
}

async fn put_refresh_token(
    tx: &mut PgConnection,
    session: Uuid,
    hash: SecretHash,
    parent: Option<SecretHash>,
    lifetime: Duration,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO refresh_tokens (hash, session_id, parent, expires_at)
         VALUES ($1, $2, $3, now() + make_interval(secs => $4))",
    )
    .bind(hash)
    .bind(session)
    .bind(parent)
    .bind(seconds(lifetime))
    .execute(tx)
    .await?;
    Ok(())
}

/// Ends one session: its refresh tokens go with it.
pub(crate) async fn end(db: impl sqlx::PgExecutor<'_>, session: Uuid) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM sessions WHERE id = $1").bind(session).execute(db).await?;
    Ok(())
}

pub(crate) async fn end_all(pool: &PgPool, member: Uuid) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM sessions WHERE member_id = $1").bind(member).execute(pool).await?;
    Ok(())
}
