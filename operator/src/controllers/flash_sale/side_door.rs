//! The side door of a shop's order service: commands that move stock, and how a sale stands.
//!
//! Every command carries a fencing token and can be repeated; an answer that did not arrive is an
//! unknown outcome, resolved by looking again.

mod close_out;
mod standing;

use std::time::Duration;

use reqwest::{Method, StatusCode};
use rocketmart_crds::{
    FlashSale,
    flash_sale::{CloseOutReport, Difference},
};
use serde_json::{Value, json};

pub(crate) use close_out::LISTED;
pub use standing::{Catalogue, Discrepancy, Item, KnownSku, Outstanding, Rebuilt, Standing, State};

/// Longest wait for an answer. Loading and close-out of a large sale take longest.
const TIMEOUT: Duration = Duration::from_secs(20);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// What a command does to a sale.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Command {
    /// Allocate, load, read back; also adds units and time to a loaded sale.
    Load,
    Suspend,
    Resume,
    Close,
    Cancel,
    CloseOut,
    /// Make it anew in Redis, which has lost it, from PostgreSQL.
    Rebuild,
}

/// Why a command or a look did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The outcome is unknown.
    #[error("the order service at {url} does not answer: {reason}")]
    Unavailable { url: String, reason: String },
    /// Rules that the sale breaks, each naming field and rule.
    #[error("{0}")]
    Refused(String),
    /// Another leader has acted on this sale since.
    #[error("a newer operator commands this sale: {0}")]
    StaleFence(String),
    /// Something is still on its way.
    #[error("the sale is not drained yet")]
    NotDrained,
    /// The sale cannot be rebuilt before what is on its way has arrived.
    #[error("{0}")]
    InFlight(String),
    #[error("the order service answered something unexpected: {0}")]
    Unexpected(String),
}

/// The answer to a command.
#[derive(Debug)]
pub enum Answer {
    Standing(Standing),
    /// The close-out, and all differences that were told, of which the report lists the first.
    Report(CloseOutReport, Vec<Difference>),
}

/// The side door of one shop.
#[derive(Clone, Debug)]
pub struct SideDoor {
    http: reqwest::Client,
    url: String,
    token: String,
}

/// A client for all side doors.
pub fn client() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder().timeout(TIMEOUT).connect_timeout(CONNECT_TIMEOUT).build()
}

impl SideDoor {
    /// `url` without a path.
    pub fn new(http: reqwest::Client, url: String, token: String) -> Self {
        Self { http, url, token }
    }

    /// How the sale stands; `None` when the shop has never heard of it.
    pub async fn look(&self, uid: &str) -> Result<Option<Standing>, Error> {
        let (status, body) = self.send(Method::GET, &format!("sales/{uid}"), None).await?;
        if status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        self.accepted(status, body).and_then(parse).map(Some)
    }

    /// What the catalog has published of the SKUs of a sale.
    pub async fn catalogue(&self, sale: &FlashSale) -> Result<Catalogue, Error> {
        let skus = sale.spec.items.iter().map(|item| ("sku", &item.sku));
        let question = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(skus).finish();
        let (status, body) = self.send(Method::GET, &format!("skus?{question}"), None).await?;
        self.accepted(status, body).and_then(parse)
    }

    /// Gives a command; repeating one that was carried out changes nothing.
    pub async fn command(
        &self,
        uid: &str,
        command: Command,
        sale: &FlashSale,
        fence: i64,
    ) -> Result<Answer, Error> {
        let fenced = json!({ "fence": fence });
        let (method, path, body) = match command {
            Command::Load => (Method::PUT, String::new(), offer(sale, fence)),
            Command::Suspend => (Method::POST, "/suspend".to_owned(), fenced),
            Command::Resume => (Method::POST, "/resume".to_owned(), fenced),
            Command::Close => (Method::POST, "/close".to_owned(), fenced),
            Command::Cancel => (Method::POST, "/cancel".to_owned(), fenced),
            Command::CloseOut => (Method::POST, "/close-out".to_owned(), fenced),
            Command::Rebuild => (Method::POST, "/rebuild".to_owned(), fenced),
        };
        let (status, body) = self.send(method, &format!("sales/{uid}{path}"), Some(body)).await?;
        let body = self.accepted(status, body)?;
        if command == Command::CloseOut {
            let (report, differences) = close_out::report(parse(body)?);
            return Ok(Answer::Report(report, differences));
        }
        parse(body).map(Answer::Standing)
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<(StatusCode, Value), Error> {
        let unavailable = |error: reqwest::Error| Error::Unavailable {
            url: self.url.clone(),
            // The chain of causes says what happened (refused, timed out, no such name).
            reason: chain(&error),
        };
        let mut request =
            self.http.request(method, format!("{}/internal/v1/{path}", self.url)).bearer_auth(&self.token);
        if let Some(body) = &body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(unavailable)?;
        let status = response.status();
        let text = response.text().await.map_err(unavailable)?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }

    /// The body of a success, or the problem in the words of its `code`.
    fn accepted(&self, status: StatusCode, body: Value) -> Result<Value, Error> {
        if status.is_success() {
            return Ok(body);
        }
        let detail = body["detail"].as_str().or(body["title"].as_str()).unwrap_or("no detail").to_owned();
        Err(match (status, body["code"].as_str().unwrap_or_default()) {
            (_, "stale-fence") => Error::StaleFence(detail),
            (_, "not-drained") => Error::NotDrained,
            (_, "events-in-flight" | "rebuild-superseded") => Error::InFlight(detail),
            (StatusCode::UNPROCESSABLE_ENTITY, _) => Error::Refused(broken_rules(&body).unwrap_or(detail)),
            (status, code) if status.is_server_error() => {
                let code = if code.is_empty() { String::new() } else { format!(" ({code})") };
                Error::Unavailable { url: self.url.clone(), reason: format!("{status}: {detail}{code}") }
            }
            (status, _) => Error::Unexpected(format!("{status}: {body}")),
        })
    }
}

/// `items[0].sku: is not known to the catalog (known)`, one per rule.
fn broken_rules(problem: &Value) -> Option<String> {
    let errors = problem["errors"].as_array().filter(|errors| !errors.is_empty())?;
    let word = |error: &Value, key: &str| error[key].as_str().unwrap_or("?").to_owned();
    let rules = errors.iter().map(|error| {
        format!("spec.{}: {} ({})", word(error, "field"), word(error, "detail"), word(error, "rule"))
    });
    Some(rules.collect::<Vec<_>>().join("; "))
}

fn parse<T: serde::de::DeserializeOwned>(body: Value) -> Result<T, Error> {
    serde_json::from_value(body).map_err(|error| Error::Unexpected(error.to_string()))
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// The body of a PUT.
fn offer(sale: &FlashSale, fence: i64) -> Value {
    let items: Vec<Value> = sale
        .spec
        .items
        .iter()
        .map(|item| {
            json!({
                "sku": item.sku, "units": item.units, "price": item.price,
                "per_buyer_limit": item.per_buyer_limit,
            })
        })
        .collect();
    json!({
        "name": sale.metadata.name,
        "fence": fence,
        "items": items,
        "currency": sale.spec.currency,
        // Not as a `Time`, which is written without its fraction of a second.
        "opens_at": sale.spec.opens_at.0.to_string(),
        "closes_at": sale.spec.closes_at.0.to_string(),
        "payment_seconds": sale.spec.payment_deadline_seconds,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_told_to_the_fraction_of_a_second() {
        let sale: FlashSale = serde_json::from_value(json!({
            "apiVersion": "rocketmart.dev/v1alpha1", "kind": "FlashSale", "metadata": {"name": "sale"},
            "spec": {
                "shop": "rocket", "currency": "KRW", "items": [{"sku": "A", "units": 1, "price": 1}],
                "opensAt": "2030-01-01T10:00:00.250Z", "closesAt": "2030-01-01T11:00:00Z",
            },
        }))
        .unwrap();
        let offer = offer(&sale, 1);
        assert_eq!(
            (&offer["opens_at"], &offer["closes_at"]),
            (&json!("2030-01-01T10:00:00.25Z"), &json!("2030-01-01T11:00:00Z"))
        );
    }

    fn answer(status: StatusCode, body: Value) -> Result<Value, Error> {
        let door = SideDoor::new(client().unwrap(), "http://rocket-order.mart.svc".into(), "token".into());
        door.accepted(status, body)
    }

    #[test]
    fn a_refusal_names_each_field_and_rule() {
        let body = json!({"code": "validation-failed", "errors": [
            {"field": "items[0].sku", "rule": "known", "detail": "the catalog has published no SKU `X`"}
        ]});
        let error = answer(StatusCode::UNPROCESSABLE_ENTITY, body).unwrap_err();
        assert_eq!(error.to_string(), "spec.items[0].sku: the catalog has published no SKU `X` (known)");
    }

    #[test]
    fn a_server_error_is_an_unknown_outcome() {
        let error = answer(StatusCode::SERVICE_UNAVAILABLE, json!({"detail": "Redis is away"})).unwrap_err();
        assert!(matches!(error, Error::Unavailable { .. }));
    }

    /// K21
    #[test]
    fn a_server_error_names_the_address_and_what_the_order_service_said() {
        let body = json!({"code": "backing-store-unavailable", "detail": "Redis is away"});
        let error = answer(StatusCode::SERVICE_UNAVAILABLE, body).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the order service at http://rocket-order.mart.svc does not answer: 503 Service Unavailable: Redis is \
             away (backing-store-unavailable)"
        );
        let bare = answer(StatusCode::BAD_GATEWAY, Value::String("upstream".into())).unwrap_err();
        assert!(bare.to_string().ends_with("does not answer: 502 Bad Gateway: no detail"), "{bare}");
    }

    #[test]
    fn a_fence_that_is_too_old_is_told_apart() {
        let error = answer(StatusCode::CONFLICT, json!({"code": "stale-fence"})).unwrap_err();
        assert!(matches!(error, Error::StaleFence(_)));
    }
}
