//! `/api/v1/payments/callbacks`: what the provider tells by itself.
//!
//! A call-back is believed for its signature alone. It may come twice, late, or before the answer to
//! the call it is about: settling is idempotent and a settled payment never changes, so whichever comes
//! first counts. Kinds that settle nothing are taken and passed over, as providers add kinds.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use rocketmart_kit::outbox;
use rocketmart_kit::problem::{Problem, Result};
use serde::Deserialize;
use serde_json::Value;
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use super::App;
use crate::domain::payment::{Progress, payment_id, reason};
use crate::provider::{Authorization, Charge, signature};
use crate::store::charging;

const SIGNATURE: &str = "provider-signature";

#[derive(Deserialize, ToSchema)]
struct Callback {
    /// The same for every repetition of this call-back.
    id: String,
    #[serde(rename = "type")]
    #[schema(example = "charge.succeeded")]
    kind: String,
    #[schema(value_type = Object)]
    data: Value,
}

/// Take a call-back of the payment provider
#[utoipa::path(
    post, path = "/api/v1/payments/callbacks", tag = "provider",
    params(("Provider-Signature" = String, Header,
            description = "`t=<unix seconds>,v1=<hex>`: HMAC-SHA256 over `<t>.<body>`")),
    request_body = Callback,
    responses(
        (status = 204, description = "Taken, now or before"),
        (status = 401, description = "`signature-invalid`", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`callback-invalid`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn take(State(app): State<App>, headers: HeaderMap, body: Bytes) -> Result<StatusCode> {
    let header = headers.get(SIGNATURE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let now = OffsetDateTime::now_utc().unix_timestamp();
    signature::verify(&app.provider_secret, header, &body, now).map_err(|error| {
        metrics::counter!("payment_callbacks_total", "outcome" => "forged").increment(1);
        Problem::new(StatusCode::UNAUTHORIZED, "signature-invalid", "The signature is not the provider's")
            .detail(error.to_string())
    })?;
    let callback: Callback = serde_json::from_slice(&body).map_err(|error| invalid(&error))?;
    let Some((order, told)) = read(&callback.kind, callback.data).map_err(|error| invalid(&error))? else {
        return Ok(taken("passed over"));
    };
    let mut tx = app.pool.begin().await?;
    let inbox_id = format!("callback/{}", callback.id);
    if outbox::inbox_filter(&mut tx, std::slice::from_ref(&inbox_id)).await?.is_empty() {
        return Ok(taken("repeated"));
    }
    let id = payment_id(order);
    let moved_on = match told {
        Progress::Authorized { authorization_id } => {
            charging::authorize(&mut tx, &[(id, authorization_id)]).await? > 0
        }
        Progress::Settled(settlement) => !charging::settle(&mut tx, &[(id, settlement)]).await?.is_empty(),
    };
    tx.commit().await?;
    Ok(taken(if moved_on { "settled" } else { "settled before" }))
}

/// The order and what became of its payment; `None` for what settles nothing.
fn read(kind: &str, data: Value) -> serde_json::Result<Option<(Uuid, Progress)>> {
    // What we have given up ourselves is settled by whoever gave it up, who knows why.
    let (reference, told) = match kind {
        "charge.succeeded" | "charge.declined" => {
            let charge: Charge = serde_json::from_value(data)?;
            if charge.was_voided() {
                return Ok(None);
            }
            (charge.reference.clone(), Progress::Settled(charge.settlement(reason::DEADLINE)))
        }
        "authorization.authorized" | "authorization.declined" => {
            let authorization: Authorization = serde_json::from_value(data)?;
            if authorization.was_voided() {
                return Ok(None);
            }
            (authorization.reference.clone(), authorization.progress(reason::DEADLINE))
        }
        _ => return Ok(None),
    };
    Ok(Uuid::parse_str(&reference).ok().map(|order| (order, told)))
}

fn taken(outcome: &'static str) -> StatusCode {
    metrics::counter!("payment_callbacks_total", "outcome" => outcome).increment(1);
    StatusCode::NO_CONTENT
}

fn invalid(error: &serde_json::Error) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "callback-invalid", "The call-back cannot be read")
        .detail(error.to_string())
}
