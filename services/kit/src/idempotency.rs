//! A repeated POST gets the answer that the first one got.
//!
//! A request's work and its stored answer are one transaction, so neither ever exists without the other:
//! after a crash the key is either done or was never used. While one request with a key runs, another one
//! with the same key is told so; we do not make it wait.
//!
//! [`once`] does all of this in PostgreSQL. A store without transactions builds the same from [`KeptAnswer`]
//! and the two refusals.

use axum::body::Body;
use axum::response::Response;
use futures::future::BoxFuture;
use http::{HeaderName, HeaderValue, StatusCode};
use sha2::{Digest, Sha256};
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool, Postgres, Transaction};
use uuid::Uuid;

use crate::extract::IdempotencyKey;
use crate::problem::{Problem, Result};

/// The table. A service's first migration repeats this.
pub const SCHEMA: &str = "
CREATE TABLE idempotency (
    owner        uuid NOT NULL,
    route        text NOT NULL,
    key          text NOT NULL,
    request_hash bytea NOT NULL,
    status       smallint NOT NULL,
    headers      jsonb NOT NULL,
    body         bytea NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (owner, route, key)
);
";

/// Marks an answer that was stored before.
pub const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// Largest answer that we store, in bytes.
const BODY_LIMIT: usize = 1024 * 1024;

/// The hash of a request's body. It tells a repetition from another request with the same key.
pub fn request_hash(body: &impl serde::Serialize) -> [u8; 32] {
    // We hash the parsed body, so that white space and the order of fields do not matter. What was parsed
    // from JSON always has a JSON form.
    let canonical = serde_json::to_value(body).unwrap_or_default().to_string();
    Sha256::digest(canonical).into()
}

/// Runs `run` in a transaction of its own, once per owner, route and key.
///
/// A repetition gets the stored answer. The same key with another body is 422 `idempotency-key-reused`. While
/// the first request still runs, it is 409 `request-in-progress`. An error of `run` undoes its work and is
/// not stored, so the request may be sent again.
pub async fn once<F>(
    pool: &PgPool,
    owner: Uuid,
    route: &str,
    key: &IdempotencyKey,
    request_hash: [u8; 32],
    run: F,
) -> Result<Response>
where
    F: for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, Result<Response>> + Send,
{
    let mut transaction = pool.begin().await?;
    let mine: bool = sqlx::query_scalar("SELECT pg_try_advisory_xact_lock(hashtextextended($1, 0))")
        .bind(format!("idempotency {owner} {route} {}", key.0))
        .fetch_one(&mut *transaction)
        .await?;
    if !mine {
        return Err(in_progress());
    }
    if let Some(stored) = Stored::find(&mut transaction, owner, route, key).await? {
        free(transaction).await;
        return stored.replay(request_hash);
    }
    let response = match run(&mut transaction).await {
        Ok(response) => response,
        Err(problem) => {
            free(transaction).await;
            return Err(problem);
        }
    };
    let (answer, response) = KeptAnswer::of(response).await?;
    sqlx::query(
        "INSERT INTO idempotency (owner, route, key, request_hash, status, headers, body)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(owner)
    .bind(route)
    .bind(&key.0)
    .bind(request_hash.as_slice())
    .bind(answer.status)
    .bind(Json(&answer.headers))
    .bind(&answer.body)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(response)
}

/// 409: the first request with this key has no answer yet.
pub fn in_progress() -> Problem {
    Problem::conflict("request-in-progress", "a request with this Idempotency-Key is still running")
}

/// 422: the key came with another body before.
pub fn key_reused() -> Problem {
    Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "idempotency-key-reused",
        "The Idempotency-Key was used for another request",
    )
}

/// An answer in the form in which stores keep it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptAnswer {
    /// HTTP status; fits a two-byte column.
    pub status: i16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl KeptAnswer {
    /// Returns what to keep of a response, and the response itself.
    pub async fn of(response: Response) -> Result<(Self, Response)> {
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, BODY_LIMIT).await.map_err(Problem::internal)?;
        let headers = parts
            .headers
            .iter()
            .filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())))
            .collect();
        let status = i16::try_from(parts.status.as_u16()).map_err(Problem::internal)?;
        let kept = Self { status, headers, body: body.to_vec() };
        Ok((kept, Response::from_parts(parts, Body::from(body))))
    }

    /// Rebuilds the answer and marks it as a repetition.
    pub fn replay(self) -> Result<Response> {
        let status = u16::try_from(self.status).map_err(Problem::internal)?;
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = StatusCode::from_u16(status).map_err(Problem::internal)?;
        for (name, value) in &self.headers {
            let name = HeaderName::try_from(name).map_err(Problem::internal)?;
            response.headers_mut().append(name, HeaderValue::try_from(value).map_err(Problem::internal)?);
        }
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
        Ok(response)
    }
}

/// Rolls back and frees the key before the answer goes out. A transaction that is only dropped ends some time
/// later; a client that retries at once would be told that its request is still running.
async fn free(transaction: Transaction<'_, Postgres>) {
    if let Err(error) = transaction.rollback().await {
        // The session is lost, and its lock with it.
        tracing::debug!(%error, "a transaction could not be rolled back");
    }
}

#[derive(sqlx::FromRow)]
struct Stored {
    request_hash: Vec<u8>,
    status: i16,
    headers: Json<Vec<(String, String)>>,
    body: Vec<u8>,
}

impl Stored {
    async fn find(
        connection: &mut PgConnection,
        owner: Uuid,
        route: &str,
        key: &IdempotencyKey,
    ) -> sqlx::Result<Option<Self>> {
        sqlx::query_as(
            "SELECT request_hash, status, headers, body FROM idempotency
             WHERE owner = $1 AND route = $2 AND key = $3",
        )
        .bind(owner)
        .bind(route)
        .bind(&key.0)
        .fetch_optional(connection)
        .await
    }

    fn replay(self, request_hash: [u8; 32]) -> Result<Response> {
        if self.request_hash != request_hash {
            return Err(key_reused());
        }
        KeptAnswer { status: self.status, headers: self.headers.0, body: self.body }.replay()
    }
}
