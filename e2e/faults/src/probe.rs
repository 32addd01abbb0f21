//! Does the shop work? A probe buyer buys and pays, and looks until the order is paid.
//!
//! The whole way counts: the purchase (order, Redis), the relay, Kafka, order-worker, payment-worker, the
//! provider and back. So a recovery lasts until the last of them has recovered.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use http::Method;
use rocketmart_loadtest::{
    client::{Answer, Call, Client},
    history::{History, Operation, Outcome, Record, now_us},
    people::{ADDRESSES, Person, home},
};
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{Instant, timeout},
};
use uuid::Uuid;

use crate::products::PROBE;

/// How often another buyer sets out while none has bought and paid.
const INTERVAL: Duration = Duration::from_millis(500);
const MINDS_CHANGED: usize = 5;
const LOOK: Duration = Duration::from_millis(100);

/// A member, her payment method and an address.
#[derive(Debug, Clone)]
pub struct ProbeBuyer {
    person: Person,
    method: Value,
}

impl ProbeBuyer {
    /// Registers a card and an address for this member.
    pub async fn with_card_and_home(person: Person, shop: &Client, provider: &Client) -> Result<Self> {
        let card = json!({"card_number": "4242424242424242"});
        let call = Call { body: Some(&card), ..Call::default() };
        let token = provider.send(Method::POST, "/v1/tokens", call).await?;
        let method = json!({
            "provider_token": token.expect_success("a token")?["token"],
            "label": "probe",
        });
        let key = Uuid::now_v7().to_string();
        let call = Call {
            token: Some(&person.token),
            idempotency_key: Some(&key),
            body: Some(&method),
            if_match: None,
        };
        let answer = shop.send(Method::POST, "/api/v1/payment-methods", call).await?;
        let method = answer.expect_success("a payment method")?["id"].clone();
        let (home, key) = (home(), Uuid::now_v7().to_string());
        let call = Call {
            token: Some(&person.token),
            idempotency_key: Some(&key),
            body: Some(&home),
            if_match: None,
        };
        shop.send(Method::POST, ADDRESSES, call).await?.expect_success("an address")?;
        Ok(Self { person, method })
    }
}

/// All probe buyers of a run, and what they share.
#[derive(Debug)]
pub struct ProbePool {
    shop: Client,
    sale: String,
    history: History,
    buyers: Vec<ProbeBuyer>,
}

impl ProbePool {
    /// These buyers, for a sale of this shop.
    pub fn new(shop: Client, buyers: Vec<ProbeBuyer>, sale: &str, history: History) -> Self {
        Self { shop, sale: sale.to_owned(), history, buyers }
    }

    /// Sends one buyer after another until one has bought and paid; returns how long that took.
    pub async fn until_one_succeeds(self: &Arc<Self>, limit: Duration) -> Result<Duration> {
        let started = Instant::now();
        let mut under_way = JoinSet::new();
        let mut last = None;
        for turn in 0.. {
            let left = limit.saturating_sub(started.elapsed());
            if left.is_zero() {
                break;
            }
            let pool = Arc::clone(self);
            under_way.spawn(async move { timeout(left, pool.buy_and_pay(turn)).await.context("too slow")? });
            let next = Instant::now() + INTERVAL;
            while let Ok(Some(ended)) = tokio::time::timeout_at(next, under_way.join_next()).await {
                match ended? {
                    Ok(()) => return Ok(started.elapsed()),
                    Err(error) => last = Some(error),
                }
            }
            tokio::time::sleep_until(next).await;
        }
        let reason = last.map_or_else(|| "none of them has ended".to_owned(), |error| format!("{error:#}"));
        bail!("nobody could buy and pay within {} s: {reason}", limit.as_secs())
    }

    /// The sale they buy in.
    pub fn sale(&self) -> &str {
        &self.sale
    }

    /// Ends the history and returns it.
    pub fn finish(self) -> Result<Vec<Record>> {
        self.history.finish()
    }

    /// Some buy twice, cancel the second order, and cancel it again, as a nervous client does: the unit must
    /// come back only once. If nothing else were reserved, the engine would refuse to give back more than it
    /// has. So the first order stays reserved until it expires.
    pub async fn change_their_minds(&self) -> Result<()> {
        for ProbeBuyer { person, .. } in self.buyers.iter().take(MINDS_CHANGED) {
            self.buy(person).await?;
            let order = self.buy(person).await?;
            let path = format!("/api/v1/orders/{order}/cancel");
            let nothing = json!({});
            for time in 0..2 {
                let key = Uuid::now_v7().to_string();
                let call = Call {
                    token: Some(&person.token),
                    idempotency_key: Some(&key),
                    body: Some(&nothing),
                    if_match: None,
                };
                let answer = self.shop.send(Method::POST, &path, call).await?;
                // The shop may answer the second cancellation as it likes; what it did is checked later.
                if time == 0 {
                    answer.expect_success("cancelling")?;
                }
            }
        }
        Ok(())
    }

    async fn buy(&self, person: &Person) -> Result<Uuid> {
        let path = format!("/api/v1/sales/{}/purchases", self.sale);
        let body = json!({"sku": PROBE, "quantity": 1});
        let bought = self.ask(Operation::Purchase, person, &path, &body, Some(Uuid::now_v7()), None).await?;
        let bought = bought.expect_success("a purchase")?;
        Ok(bought["id"].as_str().context("an order without id")?.parse()?)
    }

    async fn buy_and_pay(&self, turn: usize) -> Result<()> {
        let ProbeBuyer { person, method } = &self.buyers[turn % self.buyers.len()];
        let order = self.buy(person).await?;
        let body = json!({"payment_method_id": method});
        let path = format!("/api/v1/orders/{order}/payment");
        self.ask(Operation::ConfirmPayment, person, &path, &body, None, Some(order))
            .await?
            .expect_success("a payment")?;
        loop {
            let answer = self.shop.get(&format!("/api/v1/orders/{order}"), Some(&person.token)).await?;
            match answer.body["state"].as_str() {
                Some("reserved") | None => tokio::time::sleep(LOOK).await,
                Some("expired" | "payment_failed" | "cancelled") => bail!("its order is {}", answer.body),
                Some(_) => return Ok(()),
            }
        }
    }

    async fn ask(
        &self,
        operation: Operation,
        person: &Person,
        path: &str,
        body: &Value,
        key: Option<Uuid>,
        order: Option<Uuid>,
    ) -> Result<Answer> {
        let started_us = now_us();
        let text = key.map(|key| key.to_string());
        let call = Call {
            token: Some(&person.token),
            idempotency_key: text.as_deref(),
            body: Some(body),
            if_match: None,
        };
        let answer = self.shop.send(Method::POST, path, call).await;
        let told: Option<&Answer> = answer.as_ref().ok();
        let outcome = match told.map(|answer| answer.status) {
            Some(status) if status.is_success() => Outcome::Ok,
            Some(status) if status.is_client_error() && status.as_u16() != 429 => Outcome::Refused,
            _ => Outcome::Unknown,
        };
        self.history.record(Record {
            operation,
            buyer: person.id,
            key,
            started_us,
            ended_us: now_us(),
            outcome,
            status: told.map_or(0, |answer| answer.status.as_u16()),
            code: told.map(|answer| answer.code().to_owned()).unwrap_or_default(),
            order: order
                .or_else(|| told.filter(|_| outcome == Outcome::Ok)?.body["id"].as_str()?.parse().ok()),
        })?;
        answer
    }

    /// The next buyer tries one purchase, whatever comes of it.
    pub async fn try_to_buy(&self, turn: usize) -> Result<Answer> {
        let ProbeBuyer { person, .. } = &self.buyers[turn % self.buyers.len()];
        let path = format!("/api/v1/sales/{}/purchases", self.sale);
        let body = json!({"sku": PROBE, "quantity": 1});
        self.ask(Operation::Purchase, person, &path, &body, Some(Uuid::now_v7()), None).await
    }
}
