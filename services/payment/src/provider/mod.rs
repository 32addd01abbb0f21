//! The payment provider as this service sees it.
//!
//! Every call may end without an answer, and the trait is built around that: [`ProviderError::Unreachable`]
//! says that nothing was sent, [`ProviderError::Unknown`] that it may have happened. Every call can be
//! repeated safely: those that move money under their idempotency key, the others by nature.

mod http;
pub mod signature;
pub(crate) mod wire;

use async_trait::async_trait;
use serde::Deserialize;
use thiserror::Error;
use time::OffsetDateTime;
use uuid::Uuid;

pub use http::HttpProvider;

use crate::domain::dispute::Claim;
use crate::domain::payment::{Progress, Settlement, reason};

/// What we ask to charge or to authorize.
#[derive(Clone, Debug)]
pub struct ChargeOrder {
    pub idempotency_key: Uuid,
    /// The reference to find the charge by: the order's id, so that the provider's own list shows whether an
    /// order was charged once.
    pub reference: Uuid,
    pub token: String,
    /// Minor units.
    pub amount: i64,
    pub currency: String,
}

/// A charge, as the provider has it on record.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Charge {
    #[serde(deserialize_with = "wire::id")]
    pub id: String,
    #[serde(deserialize_with = "wire::reference")]
    pub reference: String,
    pub status: ChargeStatus,
    #[serde(default, deserialize_with = "wire::reason")]
    pub reason: Option<String>,
    /// Minor units.
    #[serde(deserialize_with = "wire::amount")]
    pub amount: i64,
    #[serde(deserialize_with = "wire::currency")]
    pub currency: String,
    /// How many minor units went back so far.
    #[serde(default, deserialize_with = "wire::amount")]
    pub refunded: i64,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChargeStatus {
    Succeeded,
    Declined,
}

/// Money set aside, as the provider has it on record.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Authorization {
    #[serde(deserialize_with = "wire::id")]
    pub id: String,
    #[serde(deserialize_with = "wire::reference")]
    pub reference: String,
    pub status: AuthorizationStatus,
    #[serde(default, deserialize_with = "wire::reason")]
    pub reason: Option<String>,
    /// Minor units.
    #[serde(deserialize_with = "wire::amount")]
    pub amount: i64,
    #[serde(deserialize_with = "wire::currency")]
    pub currency: String,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthorizationStatus {
    /// Neither captured nor voided yet.
    Authorized,
    Declined,
    Captured,
    Voided,
}

impl Authorization {
    /// The money in question.
    pub fn claim(&self) -> Claim<'_> {
        let Self { id, reference, amount, currency, .. } = self;
        Claim { provider_id: id, reference, amount: *amount, currency }
    }

    /// It holds nothing because we closed its reference or gave it up ourselves.
    pub fn was_voided(&self) -> bool {
        self.status == AuthorizationStatus::Voided
            || (self.status == AuthorizationStatus::Declined && self.reason.as_deref() == Some(VOIDED))
    }

    /// What it means for its payment; `void_reason` says why it was given up, if it was.
    pub fn progress(self, void_reason: &str) -> Progress {
        if self.was_voided() {
            return Progress::Settled(Settlement::Voided { reason: void_reason.to_owned() });
        }
        match self.status {
            AuthorizationStatus::Declined => Progress::Settled(Settlement::Failed {
                reason: self.reason.unwrap_or_else(|| reason::DECLINED.to_owned()),
                closed: false,
            }),
            // After the capture, repeating the capture under its own key returns the charge.
            AuthorizationStatus::Authorized | AuthorizationStatus::Captured | AuthorizationStatus::Voided => {
                Progress::Authorized { authorization_id: self.id }
            }
        }
    }
}

/// Why the provider declines a charge whose reference was closed by [`PaymentProvider::settle`].
const VOIDED: &str = "voided";

/// The provider's code if the key was used for something else before. Then nobody knows what that was.
pub const KEY_REUSED: &str = "idempotency_key_reused";

/// The provider's code if less is left of a charge than should go back.
pub const EXCEEDS_CHARGE: &str = "refund_exceeds_charge";

impl Charge {
    /// The money in question.
    pub fn claim(&self) -> Claim<'_> {
        let Self { id, reference, amount, currency, .. } = self;
        Claim { provider_id: id, reference, amount: *amount, currency }
    }

    /// It was declined because we closed its reference ourselves, not because of the card.
    pub fn was_voided(&self) -> bool {
        self.status == ChargeStatus::Declined && self.reason.as_deref() == Some(VOIDED)
    }

    /// What this charge means for its payment; `void_reason` says why its reference was closed, if
    /// it was.
    pub fn settlement(self, void_reason: &str) -> Settlement {
        if self.was_voided() {
            return Settlement::Voided { reason: void_reason.to_owned() };
        }
        match self.status {
            ChargeStatus::Succeeded => {
                Settlement::Charged { charge_id: self.id, charged_at: self.created_at }
            }
            ChargeStatus::Declined => Settlement::Failed {
                reason: self.reason.unwrap_or_else(|| reason::DECLINED.to_owned()),
                closed: false,
            },
        }
    }
}

/// Money that went back, as the provider reports it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct MadeRefund {
    #[serde(deserialize_with = "wire::id")]
    pub id: String,
    #[serde(deserialize_with = "wire::id")]
    pub charge_id: String,
    #[serde(deserialize_with = "wire::reference")]
    pub reference: String,
    /// Minor units.
    #[serde(deserialize_with = "wire::amount")]
    pub amount: i64,
    #[serde(deserialize_with = "wire::currency")]
    pub currency: String,
}

impl MadeRefund {
    /// The money in question.
    pub fn claim(&self) -> Claim<'_> {
        let Self { id, reference, amount, currency, .. } = self;
        Claim { provider_id: id, reference, amount: *amount, currency }
    }
}

/// A page of one of the provider's lists.
#[derive(Clone, Debug, Deserialize)]
pub struct ProviderPage<T> {
    pub data: Vec<T>,
    pub next_cursor: Option<String>,
}

/// The range of a list: made within `[since, until)` by the provider's clock, oldest first.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    pub since: OffsetDateTime,
    pub until: OffsetDateTime,
}

#[derive(Debug, Error)]
pub enum ProviderError {
    /// No connection: the provider surely saw nothing of this call.
    #[error("the payment provider cannot be reached: {0}")]
    Unreachable(String),
    /// No answer, or none that says how it ended: it may have happened.
    #[error("the payment provider gave no usable answer: {0}")]
    Unknown(String),
    /// The provider refuses this very request and would refuse it again.
    #[error("the payment provider refused the request: {code}: {message}")]
    Refused { code: String, message: String },
}

#[async_trait]
pub trait PaymentProvider: Send + Sync {
    /// Sets money aside, or returns what became of the money set aside under the same key before.
    async fn authorize(&self, order: &ChargeOrder) -> Result<Authorization, ProviderError>;

    /// Captures what an authorization holds, or returns the charge made under the same key before.
    async fn capture(&self, key: Uuid, authorization_id: &str) -> Result<Charge, ProviderError>;

    /// Voids what an authorization holds; refused once it is captured.
    async fn void(&self, key: Uuid, authorization_id: &str) -> Result<Authorization, ProviderError>;

    /// Charges in one call, or returns the charge made under the same key before.
    async fn charge(&self, order: &ChargeOrder) -> Result<Charge, ProviderError>;

    /// The last word on `reference`: the charge that was made; or `None`, and then none will follow. Money
    /// set aside for it is given up.
    async fn settle(&self, reference: Uuid) -> Result<Option<Charge>, ProviderError>;

    /// Refunds `amount` minor units of a charge and returns the provider's id of the refund.
    async fn refund(&self, key: Uuid, charge_id: &str, amount: i64) -> Result<String, ProviderError>;

    /// The charge with this id, if the provider made one.
    async fn find_charge(&self, id: &str) -> Result<Option<Charge>, ProviderError>;

    /// The authorization with this id, if the provider knows it.
    async fn find_authorization(&self, id: &str) -> Result<Option<Authorization>, ProviderError>;

    /// Money taken.
    async fn charges(
        &self,
        window: Window,
        cursor: Option<&str>,
    ) -> Result<ProviderPage<Charge>, ProviderError>;

    /// Money set aside, whatever became of it.
    async fn authorizations(
        &self,
        window: Window,
        cursor: Option<&str>,
    ) -> Result<ProviderPage<Authorization>, ProviderError>;
}
