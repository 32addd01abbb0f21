//! Sessions and their refresh tokens.

use rocketmart_kit::auth::Role;
use sqlx::{PgConnection, PgPool, Row};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::members::roles;
use super::seconds;
use crate::domain::rotation::{self, Presented, Verdict};
use crate::domain::secret::{self, Salt, Secret, SecretHash};

/// How long a session and its tokens are valid.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lifetimes {
    pub(crate) access: Duration,
    /// The lifetime of each refresh token; using it starts the next one's.
    pub(crate) refresh: Duration,
    /// From the log-in, however often it is refreshed.
    pub(crate) session: Duration,
}

/// Whom an access token may now be signed for.
#[derive(Debug, Clone)]
pub(crate) struct Issued {
    pub(crate) member: Uuid,
    pub(crate) session: Uuid,
    pub(crate) roles: Vec<Role>,
    /// No token of the session outlives it.
    pub(crate) ends_at: OffsetDateTime,
}

/// A session that was just opened.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Opened {
    pub(crate) session: Uuid,
    pub(crate) ends_at: OffsetDateTime,
}

/// Opens a session with its first refresh token. `None` if the member was deleted meanwhile or
/// `password_hash` is no longer theirs, so that a log-in that races with a reset does not survive it.
pub(crate) async fn open(
    pool: &PgPool,
    member: Uuid,
    password_hash: Option<&str>,
    refresh: SecretHash,
    lifetimes: Lifetimes,
) -> sqlx::Result<Option<Opened>> {
    let mut tx = pool.begin().await?;
    let lifetime = lifetimes.refresh.min(lifetimes.session);
    let row = sqlx::query(
        "INSERT INTO sessions (id, member_id, expires_at, tokens_until)
         SELECT $2, id, now() + make_interval(secs => $3), now() + make_interval(secs => $4) FROM members
         WHERE id = $1 AND password_hash IS NOT DISTINCT FROM $5 FOR SHARE
         RETURNING id, expires_at",
    )
    .bind(member)
    .bind(Uuid::new_v4())
    .bind(seconds(lifetime))
    .bind(seconds(lifetimes.access.min(lifetime)))
    .bind(password_hash)
    .fetch_optional(&mut *tx)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let opened = Opened { session: row.try_get("id")?, ends_at: row.try_get("expires_at")? };
    put_refresh_token(&mut tx, opened, refresh, None).await?;
    tx.commit().await?;
    Ok(Some(opened))
}

/// Opens a session for each member, without a refresh token. It lasts as long as one access token, plus a
/// minute for clocks that differ. In the given order; `None` for ids that are no member's, and for
/// administrators, because nobody else acts in their name.
pub(crate) async fn open_for_each(
    pool: &PgPool,
    members: &[Uuid],
    lifetime: Duration,
) -> sqlx::Result<Vec<Option<Issued>>> {
    let sessions: Vec<Uuid> = members.iter().map(|_| Uuid::new_v4()).collect();
    let mut tx = pool.begin().await?;
    let rows = sqlx::query(
        "SELECT position, session, m.id, m.roles, now() + make_interval(secs => $3) AS ends_at
         FROM unnest($1::uuid[], $2::uuid[]) WITH ORDINALITY AS given (id, session, position)
         JOIN members m USING (id) WHERE NOT 'admin' = ANY (m.roles)
         ORDER BY m.id FOR KEY SHARE OF m",
    )
    .bind(members)
    .bind(&sessions)
    .bind(seconds(lifetime + Duration::MINUTE))
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
                ends_at: row.try_get("ends_at")?,
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
        .bind(seconds(lifetime + Duration::MINUTE))
        .execute(&mut *tx)
        .await?;
    }
    tx.commit().await?;
    Ok(issued)
}

#[derive(Debug)]
pub(crate) enum Refreshed {
    Renewed {
        issued: Issued,
        /// The only living refresh token of the session.
        refresh: Secret,
    },
    Refused,
    /// An old token came back: its session is now ended.
    Revoked {
        session: Uuid,
    },
}

/// Takes `presented` and, if the rules of rotation allow it, returns its successor, which is the same each
/// time.
pub(crate) async fn refresh(pool: &PgPool, presented: &str, lifetimes: Lifetimes) -> sqlx::Result<Refreshed> {
    let hash = secret::hash(presented);
    let mut tx = pool.begin().await?;
    // Locks the session, so that uses of its tokens take turns across all replicas.
    let session: Option<Uuid> = sqlx::query_scalar(
        "SELECT s.id FROM refresh_tokens t JOIN sessions s ON s.id = t.session_id WHERE t.hash = $1 FOR UPDATE OF s",
    )
    .bind(hash)
    .fetch_optional(&mut *tx)
    .await?;
    let Some(session) = session else { return Ok(Refreshed::Refused) };
    // Read after the lock was granted: a separate statement sees what the previous holder committed.
    let row = sqlx::query(
        "SELECT least(t.expires_at, s.created_at + make_interval(secs => $2)) AS expires_at, t.replaced_at,
                t.successor_salt, clock_timestamp() AS now, m.id, m.roles,
                EXISTS (SELECT FROM refresh_tokens c WHERE c.parent = t.hash AND c.replaced_at IS NOT NULL)
                    AS successor_used
         FROM refresh_tokens t JOIN sessions s ON s.id = t.session_id JOIN members m ON m.id = s.member_id
         WHERE t.hash = $1",
    )
    .bind(hash)
    .bind(seconds(lifetimes.session))
    .fetch_optional(&mut *tx)
    .await?;
    let Some(row) = row else { return Ok(Refreshed::Refused) };
    let token = Presented {
        expires_at: row.try_get("expires_at")?,
        replaced_at: row.try_get("replaced_at")?,
        successor_used: row.try_get("successor_used")?,
    };
    let now: OffsetDateTime = row.try_get("now")?;
    let successor = match rotation::judge(token, now) {
        Verdict::Expired => None,
        Verdict::Reused => {
            end(&mut *tx, session).await?;
            tx.commit().await?;
            return Ok(Refreshed::Revoked { session });
        }
        // The previous version gave successors that nobody can give again.
        Verdict::Repeat => row.try_get::<Option<Salt>, _>("successor_salt")?.map(|salt| (salt, false)),
        Verdict::Rotate => Some((rand::random::<Salt>(), true)),
    };
    let Some((salt, new)) = successor else { return Ok(Refreshed::Refused) };
    let refresh = Secret::successor(presented, &salt);
    let opened = prolong(&mut tx, session, lifetimes, new).await?;
    if new {
        sqlx::query("UPDATE refresh_tokens SET replaced_at = $2, successor_salt = $3 WHERE hash = $1")
            .bind(hash)
            .bind(now)
            .bind(salt)
            .execute(&mut *tx)
            .await?;
        put_refresh_token(&mut tx, opened, refresh.hash(), Some(hash)).await?;
    }
    tx.commit().await?;
    let issued = Issued { member: row.try_get("id")?, session, roles: roles(&row)?, ends_at: opened.ends_at };
    Ok(Refreshed::Renewed { issued, refresh })
}

/// Extends the session to the end of its new refresh token, but not beyond its own end, and notes the access
/// token that is about to be signed.
async fn prolong(
    tx: &mut PgConnection,
    session: Uuid,
    lifetimes: Lifetimes,
    new_token: bool,
) -> sqlx::Result<Opened> {
    let expires_at: OffsetDateTime = sqlx::query_scalar(
        "UPDATE sessions s SET expires_at = n.expires_at,
             tokens_until = greatest(tokens_until, least(now() + make_interval(secs => $5), n.expires_at))
         FROM (SELECT least(CASE WHEN $2 THEN greatest(expires_at, now() + make_interval(secs => $3))
                                 ELSE expires_at END,
                            created_at + make_interval(secs => $4)) AS expires_at
               FROM sessions WHERE id = $1) n
         WHERE s.id = $1 RETURNING s.expires_at",
    )
    .bind(session)
    .bind(new_token)
    .bind(seconds(lifetimes.refresh))
    .bind(seconds(lifetimes.session))
    .bind(seconds(lifetimes.access))
    .fetch_one(tx)
    .await?;
    Ok(Opened { session, ends_at: expires_at })
}

/// If nobody uses it, a refresh token lives as long as its session.
async fn put_refresh_token(
    tx: &mut PgConnection,
    of: Opened,
    hash: SecretHash,
    parent: Option<SecretHash>,
) -> sqlx::Result<()> {
    sqlx::query("INSERT INTO refresh_tokens (hash, session_id, parent, expires_at) VALUES ($1, $2, $3, $4)")
        .bind(hash)
        .bind(of.session)
        .bind(parent)
        .bind(of.ends_at)
        .execute(tx)
        .await?;
    Ok(())
}

/// Ends one session together with its refresh tokens.
pub(crate) async fn end(db: impl sqlx::PgExecutor<'_>, session: Uuid) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM sessions WHERE id = $1").bind(session).execute(db).await?;
    Ok(())
}

pub(crate) async fn end_all(pool: &PgPool, member: Uuid) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM sessions WHERE member_id = $1").bind(member).execute(pool).await?;
    Ok(())
}
