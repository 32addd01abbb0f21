//! One shopper, from the first click to leaving the shop.
//!
//! Some leave instead of paying, and some between paying and completing. Some repeat a request with the same
//! key, as a nervous client would. Some try for a second unit with another key. A shopper who is told "sold
//! out" comes back a little later, because unpaid units return.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use http::Method;
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    client::{Answer, Call, Client},
    history::{History, Operation, Outcome, Record, now_us},
    people::{ADDRESSES, Person, home},
};

/// How likely a shopper does each of these, between 0 and 1.
#[derive(Debug, Clone, Copy)]
pub struct Habits {
    pub leaves_before_paying: f64,
    pub leaves_before_completing: f64,
    pub repeats_request: f64,
    pub tries_a_second: f64,
    /// Pays with a card that the provider declines.
    pub card_is_declined: f64,
}

impl Habits {
    /// The seed's load test: a fifth leave instead of paying, a fifth between paying and completing.
    pub const OF_THE_SEED: Self = Self {
        leaves_before_paying: 0.2,
        leaves_before_completing: 0.2,
        repeats_request: 0.1,
        tries_a_second: 0.1,
        card_is_declined: 0.02,
    };
}

/// The earliest shoppers come before the opening.
const EARLIEST_MS: i64 = -300;
const METHODS: &str = "/api/v1/payment-methods";

/// Where a shopper's day ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    SubmittedPayment(Uuid),
    LeftBeforePaying,
    LeftBeforeCompleting,
    OrderExpired,
    WentHomeEmptyHanded,
}

/// What all shoppers of a rush share.
#[derive(Debug)]
pub struct Rush {
    pub shop: Client,
    pub provider: Client,
    pub sale: String,
    pub sku: String,
    pub habits: Habits,
    pub history: History,
    /// Becomes true when nothing is left to buy and nothing will come back.
    pub over: tokio::sync::watch::Receiver<bool>,
    /// The most purchase requests at the same time. A shopper with an order does not queue again.
    pub in_flight: tokio::sync::Semaphore,
    pub opens_at: time::OffsetDateTime,
    /// The last shopper comes this long after the opening.
    pub arrive_within: Duration,
}

#[derive(Debug)]
pub struct Shopper {
    rush: Arc<Rush>,
    person: Person,
    chance: SmallRng,
}

impl Shopper {
    pub fn new(rush: Arc<Rush>, person: Person, seed: u64) -> Self {
        Self { rush, person, chance: SmallRng::seed_from_u64(seed) }
    }

    pub async fn shop(mut self) -> Result<Ending> {
        // Most people click when the sale opens; some are early and are told so.
        let last = i64::try_from(self.rush.arrive_within.as_millis())?;
        let arrival = self.chance.random_range(EARLIEST_MS..last.max(EARLIEST_MS + 1));
        self.sleep_until(self.rush.opens_at + time::Duration::milliseconds(arrival)).await;
        loop {
            let Some((order, key)) = self.reserve().await? else { return Ok(Ending::WentHomeEmptyHanded) };
            if self.happens(self.rush.habits.repeats_request) {
                self.purchase(key).await?;
            }
            if self.happens(self.rush.habits.tries_a_second) {
                self.purchase(Uuid::now_v7()).await?;
            }
            match self.pay(order).await? {
                // The shopper was too slow: somebody else gets the unit, and this shopper tries again.
                Ending::OrderExpired => {}
                ending => return Ok(ending),
            }
        }
    }

    /// Pays for an order, or leaves on the way.
    async fn pay(&mut self, order: Uuid) -> Result<Ending> {
        if self.happens(self.rush.habits.leaves_before_paying) {
            return Ok(Ending::LeftBeforePaying);
        }
        if !self.register_home().await {
            return Ok(Ending::LeftBeforePaying);
        }
        let Some(method) = self.register_card().await? else { return Ok(Ending::LeftBeforePaying) };
        let payment = json!({"payment_method_id": method, "confirm": false});
        let path = format!("/api/v1/orders/{order}/payment");
        if !self.until_known(Operation::PreparePayment, &path, Some(&payment), order).await? {
            return Ok(Ending::OrderExpired);
        }
        if self.happens(self.rush.habits.leaves_before_completing) {
            return Ok(Ending::LeftBeforeCompleting);
        }
        if !self.until_known(Operation::ConfirmPayment, &format!("{path}/confirm"), None, order).await? {
            return Ok(Ending::OrderExpired);
        }
        Ok(Ending::SubmittedPayment(order))
    }

    /// Tries until there is an order or the sale is over.
    async fn reserve(&mut self) -> Result<Option<(Uuid, Uuid)>> {
        let mut key = Uuid::now_v7();
        loop {
            if *self.rush.over.borrow() {
                return Ok(None);
            }
            let (outcome, answer) = self.purchase(key).await?;
            match (outcome, answer) {
                (Outcome::Ok, Some(answer)) => {
                    let order = answer.body["id"].as_str().unwrap_or_default().parse()?;
                    return Ok(Some((order, key)));
                }
                // Retry with the same key: the purchase may have happened.
                (Outcome::Unknown, _) => self.pause(200..800).await,
                (_, Some(answer)) if answer.code() == "sale-not-open" => self.pause(100..600).await,
                (_, Some(answer)) if answer.code() == "sold-out" => {
                    key = Uuid::now_v7();
                    self.pause(2_000..5_000).await;
                }
                _ => return Ok(None),
            }
        }
    }

    async fn purchase(&self, key: Uuid) -> Result<(Outcome, Option<Answer>)> {
        let path = format!("/api/v1/sales/{}/purchases", self.rush.sale);
        let body = json!({"sku": self.rush.sku, "quantity": 1});
        self.ask(Operation::Purchase, &path, Some(&body), Some(key), None).await
    }

    /// Says where the parcel goes. The key is the same at each sale, and so is the address.
    async fn register_home(&mut self) -> bool {
        if self.person.signed_up {
            return true;
        }
        let home = home();
        for _ in 0..20 {
            let call = Call {
                token: Some(&self.person.token),
                idempotency_key: Some("home"),
                body: Some(&home),
                if_match: None,
            };
            match self.rush.shop.send(Method::POST, ADDRESSES, call).await {
                Ok(answer) if answer.status.is_success() || answer.code() == "too-many-addresses" => {
                    return true;
                }
                _ => self.pause(200..800).await,
            }
        }
        false
    }

    /// Registers a payment method with the token that the provider gave for a card.
    async fn register_card(&mut self) -> Result<Option<Value>> {
        let card = if self.happens(self.rush.habits.card_is_declined) {
            "4000000000000002"
        } else {
            "4242424242424242"
        };
        let token = loop {
            let body = json!({"card_number": card, "expiry_month": 12, "expiry_year": 2030, "cvc": "123"});
            let call = Call { body: Some(&body), ..Call::default() };
            match self.rush.provider.send(Method::POST, "/v1/tokens", call).await {
                Ok(answer) if answer.status.is_success() => break answer.body["token"].clone(),
                _ => self.pause(200..800).await,
            }
        };
        let mut key = Uuid::now_v7().to_string();
        for _ in 0..5 {
            let body = json!({"provider_token": token, "label": "my card"});
            let call = Call {
                token: Some(&self.person.token),
                idempotency_key: Some(&key),
                body: Some(&body),
                if_match: None,
            };
            match self.rush.shop.send(Method::POST, METHODS, call).await {
                Ok(answer) if answer.status.is_success() => return Ok(Some(answer.body["id"].clone())),
                Ok(answer) if answer.code() == "too-many-payment-methods" => {
                    self.forget_a_card().await;
                    key = Uuid::now_v7().to_string();
                }
                _ => {}
            }
            self.pause(200..800).await;
        }
        Ok(None)
    }

    /// Makes room for another card, which somebody who was at many sales has to do.
    async fn forget_a_card(&self) {
        let token = Some(self.person.token.as_str());
        let Ok(cards) = self.rush.shop.get(METHODS, token).await else { return };
        let oldest = cards.body["data"].as_array().and_then(|cards| cards.last());
        if let Some(id) = oldest.and_then(|card| card["id"].as_str()) {
            let call = Call { token, ..Call::default() };
            // If there is no answer, the next attempt comes here again.
            let _ = self.rush.shop.send(Method::DELETE, &format!("{METHODS}/{id}"), call).await;
        }
    }

    /// Repeats a step of paying until its outcome is known; false if it was refused.
    async fn until_known(
        &mut self,
        operation: Operation,
        path: &str,
        body: Option<&Value>,
        order: Uuid,
    ) -> Result<bool> {
        for _ in 0..20 {
            match self.ask(operation, path, body, None, Some(order)).await?.0 {
                Outcome::Ok => return Ok(true),
                Outcome::Refused => return Ok(false),
                Outcome::Unknown => self.pause(200..800).await,
            }
        }
        Ok(false)
    }

    /// One request, written to the history whatever its outcome.
    async fn ask(
        &self,
        operation: Operation,
        path: &str,
        body: Option<&Value>,
        key: Option<Uuid>,
        order: Option<Uuid>,
    ) -> Result<(Outcome, Option<Answer>)> {
        let _turn = match operation {
            Operation::Purchase => Some(self.rush.in_flight.acquire().await?),
            Operation::PreparePayment | Operation::ConfirmPayment => None,
        };
        let started_us = now_us();
        let text = key.map(|key| key.to_string());
        let call =
            Call { token: Some(&self.person.token), idempotency_key: text.as_deref(), body, if_match: None };
        let answer = self.rush.shop.send(Method::POST, path, call).await.ok();
        let outcome = match answer.as_ref().map(|answer| answer.status) {
            Some(status) if status.is_success() => Outcome::Ok,
            // Too many requests: it definitely did not happen, but like an unknown one it is worth another
            // try.
            Some(status) if status.is_client_error() && status.as_u16() != 429 => Outcome::Refused,
            _ => Outcome::Unknown,
        };
        let told = answer.as_ref();
        self.rush.history.record(Record {
            operation,
            buyer: self.person.id,
            key,
            started_us,
            ended_us: now_us(),
            outcome,
            status: told.map_or(0, |answer| answer.status.as_u16()),
            code: told.map(|answer| answer.code().to_owned()).unwrap_or_default(),
            order: order
                .or_else(|| told.filter(|_| outcome == Outcome::Ok)?.body["id"].as_str()?.parse().ok()),
        })?;
        Ok((outcome, answer))
    }

    fn happens(&mut self, probability: f64) -> bool {
        self.chance.random_bool(probability)
    }

    async fn pause(&mut self, milliseconds: std::ops::Range<u64>) {
        let pause = Duration::from_millis(self.chance.random_range(milliseconds));
        self.sleep(pause).await;
    }

    async fn sleep_until(&self, at: time::OffsetDateTime) {
        if let Ok(left) = Duration::try_from(at - time::OffsetDateTime::now_utc()) {
            self.sleep(left).await;
        }
    }

    /// Waits at home or in the shop, but gives up at once when the sale is over.
    async fn sleep(&self, time: Duration) {
        let mut over = self.rush.over.clone();
        let _ = tokio::time::timeout(time, over.wait_for(|over| *over)).await;
    }
}
