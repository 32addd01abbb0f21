//! The records in the books: authorizations, charges, refunds.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// One attempt to take money from a card; final once it exists.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Charge {
    pub id: String,
    /// The shop's own name for it.
    pub reference: String,
    /// The authorization it was captured from; absent if it was made in one call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization_id: Option<String>,
    pub status: ChargeStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Minor units.
    pub amount: i64,
    pub currency: String,
    /// How much of `amount` went back, in minor units.
    pub refunded: i64,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChargeStatus {
    Succeeded,
    Declined,
}

/// Money on a card set aside for the shop, which then captures or voids it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Authorization {
    pub id: String,
    /// The shop's own name for it.
    pub reference: String,
    pub status: AuthorizationStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// In minor units: what was to be set aside, and below what was captured, voided and refunded.
    pub amount: i64,
    pub captured: i64,
    pub voided: i64,
    pub refunded: i64,
    pub currency: String,
    /// The charge that the capture made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub charge_id: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthorizationStatus {
    /// Set aside, and neither captured nor voided yet.
    Authorized,
    Declined,
    Captured,
    Voided,
}

/// Money given back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Refund {
    pub id: String,
    pub charge_id: String,
    pub reference: String,
    /// Minor units.
    pub amount: i64,
    pub currency: String,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

/// What a shop wants to charge or set aside.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChargeRequest {
    pub(super) token: String,
    pub(super) amount: i64,
    pub(super) currency: String,
    pub(super) reference: String,
}
