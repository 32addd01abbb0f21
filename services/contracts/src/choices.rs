//! What order asks payment and delivery before it takes a payment: which card, which address.
//!
//! `POST /internal/v1/payment-methods/choices` and `POST /internal/v1/addresses/choices`, with the shop's
//! internal token. It only reads, so it may be repeated.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub const PAYMENT_METHODS: &str = "/internal/v1/payment-methods/choices";
pub const ADDRESSES: &str = "/internal/v1/addresses/choices";

/// Wishes of one question; one with more is refused.
pub const MOST_WISHES: usize = 256;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wishes {
    /// At most [`MOST_WISHES`].
    pub wishes: Vec<Wish>,
}

/// What a member wants to use.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wish {
    pub member_id: Uuid,
    /// Something of the member's; left out, the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Uuid>,
}

/// In the order of the wishes: what it is, or `None` when the member has no such thing.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Choices {
    pub choices: Vec<Option<Uuid>>,
}
