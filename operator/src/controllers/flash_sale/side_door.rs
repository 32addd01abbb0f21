//! The side door of a shop's order service: commands that move stock, and how a sale stands.
//!
//! Every command carries a fencing token and can be repeated; an answer that did not arrive is an
//! unknown outcome, resolved by looking again.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use rocketmart_crds::{
    FlashSale,
    flash_sale::{CloseOutReport, Difference, ItemStatus},
};
use serde::Deserialize;
use serde_json::{Value, json};

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

/// State of a sale in the order service.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Loading,
    Ready,
    Suspended,
    Closed,
    Cancelled,
    ClosedOut,
}

/// How a sale stands, by the order service.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub struct Standing {
    pub state: State,
    /// Redis was read just now and holds what SQL promises.
    pub verified: bool,
    /// Redis' clock, Unix milliseconds.
    pub now_ms: i64,
    pub opens_at_ms: i64,
    pub closes_at_ms: i64,
    /// By Redis.
    pub items: Vec<Item>,
    /// By SQL.
    pub ledger: Vec<Item>,
    pub outstanding: Outstanding,
    pub differences: Vec<Discrepancy>,
    /// The last time that Redis lost the sale and it was rebuilt.
    #[serde(default)]
    pub rebuilt: Option<Rebuilt>,
}

/// What came of a rebuild.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub struct Rebuilt {
    /// What Redis had lost, in words.
    pub reason: String,
    pub rebuilt_at: String,
    pub orders: i64,
    /// Payments that waited for it.
    pub parked: i64,
    /// Purchases that Redis acknowledged in between and that are not among the orders are unknown.
    pub unknown_from: String,
    pub unknown_until: String,
    /// Those of them that arrived when it was too late.
    pub late_reservations: i64,
}

/// Where the units of one SKU are.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub struct Item {
    pub sku: String,
    pub preloaded: i64,
    pub remaining: i64,
    pub reserved: i64,
    pub sold: i64,
}

/// What is still on its way; all zero means drained.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
pub struct Outstanding {
    pub reservations: i64,
    pub stream_entries: i64,
    pub outbox: i64,
    pub payments_pending: i64,
}

/// A disagreement, as the order service words it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub struct Discrepancy {
    pub kind: String,
    #[serde(default)]
    pub order_id: Option<String>,
    #[serde(default)]
    pub sku: Option<String>,
    pub detail: String,
}

/// What the catalog has published of the SKUs of a sale; those it has never published are left out.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
pub struct Catalogue {
    pub skus: Vec<KnownSku>,
}

/// A SKU as the catalog published it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub struct KnownSku {
    pub sku: String,
    /// Whether its product is published now.
    pub published: bool,
    /// ISO 4217.
    pub currency: String,
    /// Units that no sale has been allotted.
    pub available: i64,
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
        accepted(status, body).and_then(parse).map(Some)
    }

    /// What the catalog has published of the SKUs of a sale.
    pub async fn catalogue(&self, sale: &FlashSale) -> Result<Catalogue, Error> {
        // The schema allows no character in a SKU that would have to be escaped.
        let question: Vec<_> = sale.spec.items.iter().map(|item| format!("sku={}", item.sku)).collect();
        let (status, body) = self.send(Method::GET, &format!("skus?{}", question.join("&")), None).await?;
        accepted(status, body).and_then(parse)
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
        let body = accepted(status, body)?;
        if command == Command::CloseOut { parse(body).map(report) } else { parse(body).map(Answer::Standing) }
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
}

/// The body of a success, or the problem in the words of its `code`.
fn accepted(status: StatusCode, body: Value) -> Result<Value, Error> {
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
            Error::Unavailable { url: code.to_owned(), reason: format!("{status}: {detail}") }
        }
        (status, _) => Error::Unexpected(format!("{status}: {body}")),
    })
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

#[derive(Deserialize)]
struct CloseOut {
    matched: i64,
    orders: Endings,
    items: Vec<Item>,
    differences: Vec<Discrepancy>,
    differences_total: i64,
    #[serde(default)]
    closed_out_at: Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>,
}

#[derive(Deserialize)]
struct Endings {
    paid: i64,
    expired: i64,
    cancelled: i64,
    payment_failed: i64,
}

/// Differences that a status lists.
pub(super) const LISTED: usize = 20;

fn report(books: CloseOut) -> Answer {
    let differences: Vec<_> = books
        .differences
        .into_iter()
        .map(|found| Difference {
            kind: found.kind,
            order_id: found.order_id,
            sku: found.sku,
            detail: found.detail,
        })
        .collect();
    let report = CloseOutReport {
        matched: books.matched,
        orders: rocketmart_crds::flash_sale::OrderCounts {
            paid: books.orders.paid,
            expired: books.orders.expired,
            cancelled: books.orders.cancelled,
            payment_failed: books.orders.payment_failed,
        },
        items: books.items.iter().map(item_status).collect(),
        differences: differences.iter().take(LISTED).cloned().collect(),
        differences_total: books.differences_total,
        differences_config_map: None,
        closed_out_at: books.closed_out_at,
    };
    Answer::Report(report, differences)
}

pub(super) fn item_status(item: &Item) -> ItemStatus {
    ItemStatus {
        sku: item.sku.clone(),
        preloaded: item.preloaded,
        remaining: item.remaining,
        reserved: item.reserved,
        sold: item.sold,
    }
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

    #[test]
    fn a_refusal_names_each_field_and_rule() {
        let body = json!({"code": "validation-failed", "errors": [
            {"field": "items[0].sku", "rule": "known", "detail": "the catalog has published no SKU `X`"}
        ]});
        let error = accepted(StatusCode::UNPROCESSABLE_ENTITY, body).unwrap_err();
        assert_eq!(error.to_string(), "spec.items[0].sku: the catalog has published no SKU `X` (known)");
    }

    #[test]
    fn a_server_error_is_an_unknown_outcome() {
        let error =
            accepted(StatusCode::SERVICE_UNAVAILABLE, json!({"detail": "Redis is away"})).unwrap_err();
        assert!(matches!(error, Error::Unavailable { .. }));
    }

    #[test]
    fn a_fence_that_is_too_old_is_told_apart() {
        let error = accepted(StatusCode::CONFLICT, json!({"code": "stale-fence"})).unwrap_err();
        assert!(matches!(error, Error::StaleFence(_)));
    }
}
