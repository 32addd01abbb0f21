//! A client for the internal API of a shop's order service. It sends commands that move stock, and asks how
//! a sale stands.
//!
//! Every command carries a fencing token and can be repeated. A missing answer is an unknown outcome;
//! looking again resolves it.

mod in_status;

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use reqwest::{Method, StatusCode};
use rocketmart_contracts::internal_api::{self as api, Code, Command, Fenced, SaleStatus, SaleTerms, Skus};
use rocketmart_crds::{
    FlashSale,
    flash_sale::{CloseOutReport, Difference},
};
use serde::Serialize;
use serde_json::Value;
use time::OffsetDateTime;

pub(crate) use in_status::{LISTED, item};

/// Longest wait for an answer. Loading and closing out a large sale take longest.
const TIMEOUT: Duration = Duration::from_secs(20);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a command or a look did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The outcome is unknown.
    #[error("the order service at {url} does not answer: {reason}")]
    Unavailable { url: String, reason: String },
    /// The rules that the sale breaks, each with its field.
    #[error("{0}")]
    Refused(String),
    /// Another leader has since acted on this sale.
    #[error("a newer operator commands this sale: {0}")]
    StaleFence(String),
    /// Something is still on its way.
    #[error("the sale is not drained yet")]
    NotDrained,
    /// The sale cannot be rebuilt until what is under way has arrived.
    #[error("{0}")]
    InFlight(String),
    #[error("the order service answered something unexpected: {0}")]
    Unexpected(String),
}

/// The answer to a command.
#[derive(Debug)]
pub enum Answer {
    Status(SaleStatus),
    /// The close-out report, which lists the first differences, and all the differences we were told of.
    Report(CloseOutReport, Vec<Difference>),
}

/// The internal API of one shop.
#[derive(Clone, Debug)]
pub struct InternalApi {
    http: reqwest::Client,
    url: String,
    token: String,
}

/// A client for all shops.
pub fn client() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder().timeout(TIMEOUT).connect_timeout(CONNECT_TIMEOUT).build()
}

impl InternalApi {
    /// `url` has no path.
    pub fn new(http: reqwest::Client, url: String, token: String) -> Self {
        Self { http, url, token }
    }

    /// Asks how the sale stands; `None` when the shop has never heard of it.
    pub async fn look(&self, uid: &str) -> Result<Option<SaleStatus>, Error> {
        let (status, body) = self.send(Method::GET, &api::sale(uid), None::<&()>).await?;
        if status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        self.accepted(status, body).and_then(parse).map(Some)
    }

    /// Asks what the catalog has published about the SKUs of a sale.
    pub async fn catalogue(&self, sale: &FlashSale) -> Result<Skus, Error> {
        let skus = sale.spec.items.iter().map(|item| ("sku", &item.sku));
        let question = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(skus).finish();
        let (status, body) =
            self.send(Method::GET, &format!("{}?{question}", api::SKUS), None::<&()>).await?;
        self.accepted(status, body).and_then(parse)
    }

    /// Sends a command. Repeating one that was carried out changes nothing.
    pub async fn command(
        &self,
        uid: &str,
        command: Command,
        sale: &FlashSale,
        fence: i64,
    ) -> Result<Answer, Error> {
        let path = command.path(uid);
        let (status, body) = match command {
            Command::Load => self.send(Method::PUT, &path, Some(&terms(sale, fence))).await?,
            _ => self.send(Method::POST, &path, Some(&Fenced { fence })).await?,
        };
        let body = self.accepted(status, body)?;
        if command == Command::CloseOut {
            let (report, differences) = in_status::report(parse(body)?);
            return Ok(Answer::Report(report, differences));
        }
        parse(body).map(Answer::Status)
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<(StatusCode, Value), Error> {
        let unavailable = |error: reqwest::Error| Error::Unavailable {
            url: self.url.clone(),
            // The chain of causes says what happened (connection refused, timed out, no such name).
            reason: chain(&error),
        };
        let mut request = self.http.request(method, format!("{}{path}", self.url)).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(unavailable)?;
        let status = response.status();
        let text = response.text().await.map_err(unavailable)?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }

    /// The body of a success, or the problem, chosen by its `code`.
    fn accepted(&self, status: StatusCode, body: Value) -> Result<Value, Error> {
        if status.is_success() {
            return Ok(body);
        }
        let detail = body["detail"].as_str().or(body["title"].as_str()).unwrap_or("no detail").to_owned();
        let code = body["code"].as_str().unwrap_or_default();
        Err(match (status, Code::parse(code)) {
            (_, Some(Code::StaleFence)) => Error::StaleFence(detail),
            (_, Some(Code::NotDrained)) => Error::NotDrained,
            (_, Some(Code::EventsInFlight | Code::RebuildSuperseded)) => Error::InFlight(detail),
            (StatusCode::UNPROCESSABLE_ENTITY, _) => Error::Refused(broken_rules(&body).unwrap_or(detail)),
            (status, _) if status.is_server_error() => {
                let code = if code.is_empty() { String::new() } else { format!(" ({code})") };
                Error::Unavailable { url: self.url.clone(), reason: format!("{status}: {detail}{code}") }
            }
            (status, _) => Error::Unexpected(format!("{status}: {body}")),
        })
    }
}

/// `items[0].sku: is not known to the catalog (known)`, one for each rule.
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

/// What the sale asks for.
fn terms(sale: &FlashSale, fence: i64) -> SaleTerms {
    let items = sale.spec.items.iter().map(|item| api::Item {
        sku: item.sku.clone(),
        units: item.units,
        price: item.price,
        per_buyer_limit: item.per_buyer_limit,
    });
    SaleTerms {
        name: sale.metadata.name.clone().unwrap_or_default(),
        fence,
        items: items.collect(),
        currency: sale.spec.currency.clone(),
        opens_at: moment(sale.spec.opens_at.0),
        closes_at: moment(sale.spec.closes_at.0),
        payment_seconds: sale.spec.payment_deadline_seconds,
    }
}

/// Exact to the fraction of a second, which a Kubernetes `Time` leaves out.
fn moment(at: Timestamp) -> OffsetDateTime {
    // Both types range from the year -9999 to 9999.
    OffsetDateTime::from_unix_timestamp_nanos(at.as_nanosecond()).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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
        let offer = serde_json::to_value(terms(&sale, 1)).unwrap();
        assert_eq!(
            (&offer["opens_at"], &offer["closes_at"]),
            (&json!("2030-01-01T10:00:00.25Z"), &json!("2030-01-01T11:00:00Z"))
        );
    }

    fn answer(status: StatusCode, body: Value) -> Result<Value, Error> {
        let api = InternalApi::new(client().unwrap(), "http://rocket-order.mart.svc".into(), "token".into());
        api.accepted(status, body)
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
