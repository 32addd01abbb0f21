//! Reservations: what buyers ask for, what Redis keeps of it, and every answer it can give.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::id::{BuyerId, OrderId, SaleId};

const MAX_KEY_LENGTH: usize = 128;
const MAX_LINES: usize = 100;

/// Some units of one SKU.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Line {
    pub sku: String,
    /// At least 1.
    pub quantity: u32,
    /// The unit price that the buyer saw, in minor units: at another price nothing is reserved. `None`
    /// accepts whatever the price is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agreed_price: Option<i64>,
}

impl Line {
    /// At whatever the price is.
    pub fn new(sku: impl Into<String>, quantity: u32) -> Self {
        Self { sku: sku.into(), quantity, agreed_price: None }
    }
}

/// A wish to reserve all of `lines`, or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reserve {
    pub sale: SaleId,
    /// A fresh id. It becomes the order's if the reservation succeeds.
    pub order: OrderId,
    pub buyer: BuyerId,
    /// 1–100, no SKU twice.
    pub lines: Vec<Line>,
    /// The idempotency key, 1–128 visible ASCII characters; it belongs to the buyer.
    pub key: String,
    /// Fingerprint of the request's body, at most 128 visible ASCII characters: the same key with another
    /// fingerprint is refused.
    pub request_hash: String,
    /// W3C trace context, carried on the event. A malformed one is left out.
    pub traceparent: Option<String>,
}

impl Reserve {
    /// The first rule that this wish breaks by itself: field and rule.
    pub(crate) fn flaw(&self, sale: SaleId) -> Option<(&'static str, &'static str)> {
        let visible = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if self.sale != sale {
            Some(("sale", "must be the sale of the call"))
        } else if !(1..=MAX_KEY_LENGTH).contains(&self.key.len()) || !visible(&self.key) {
            Some(("key", "must be 1-128 visible ASCII characters"))
        } else if self.request_hash.len() > MAX_KEY_LENGTH || !visible(&self.request_hash) {
            Some(("request_hash", "must be at most 128 visible ASCII characters"))
        } else if !(1..=MAX_LINES).contains(&self.lines.len()) {
            Some(("lines", "must be 1-100 lines"))
        } else if self.lines.iter().any(|line| line.quantity == 0) {
            Some(("lines.quantity", "must be at least 1"))
        } else if self.lines.iter().any(|line| line.agreed_price.is_some_and(|price| price < 0)) {
            Some(("lines.agreed_price", "must not be negative"))
        } else {
            None
        }
    }
}

/// Redis' decision on one [`Reserve`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReserveOutcome {
    Reserved(Reservation),
    /// The same key and body were accepted before. It is the same order, whatever its state is now.
    Duplicate(Reservation),
    /// Fewer units are left than the buyer asked for.
    SoldOut {
        sku: String,
        remaining: u32,
    },
    /// The buyer holds `held` units already and may hold `limit`.
    LimitExceeded {
        sku: String,
        limit: u32,
        held: u32,
    },
    NotOpen {
        opens_at_ms: i64,
    },
    Closed,
    Suspended,
    UnknownSale,
    UnknownSku {
        sku: String,
    },
    /// Some lines cost something else than the buyer saw. It names every one of them, and nothing was
    /// reserved.
    PriceChanged {
        lines: Vec<CurrentPrice>,
    },
    /// The buyer has used this key before, with another body.
    KeyReused,
    /// The wish breaks a rule of [`Reserve`] (a quantity of 0, a SKU twice, an order id in use).
    Invalid {
        field: String,
        rule: String,
    },
}

/// What a SKU costs now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CurrentPrice {
    pub sku: String,
    /// Minor units.
    pub unit_price: i64,
}

/// A reservation as Redis keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    pub order: OrderId,
    pub sale: SaleId,
    pub buyer: BuyerId,
    pub lines: Vec<PricedLine>,
    /// Minor units: the sum over the lines.
    pub amount: i64,
    /// ISO 4217.
    pub currency: String,
    pub state: ReservationState,
    /// Unix milliseconds by Redis' clock.
    pub reserved_at_ms: i64,
    /// Unix milliseconds by Redis' clock. From then on an unpaid reservation expires.
    pub pay_by_ms: i64,
    /// The buyer has said how to pay, but not yet to go ahead.
    pub payment_prepared: bool,
    pub payment_method_id: Option<Uuid>,
    pub delivery_address_id: Option<Uuid>,
    /// How many payments have failed. The next one, or the one under way, has the number after that.
    pub declined_payments: u32,
}

/// A [`Line`] with the price at which it was reserved.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PricedLine {
    pub sku: String,
    pub quantity: u32,
    /// Minor units.
    pub unit_price: i64,
}

/// A buyer's idempotency key that led to an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptedKey {
    pub order: OrderId,
    /// The field in which Redis keeps it.
    pub(crate) field: String,
}

/// The state of a reservation. `Confirmed` and `Released` are final.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReservationState {
    /// Units are held until `pay_by_ms`.
    Reserved,
    /// The payment is under way. The reservation only expires some grace after `pay_by_ms`.
    PaymentSubmitted,
    /// Paid: the units are sold.
    Confirmed,
    /// The units went back.
    Released(ReleaseReason),
}

/// Why units went back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReleaseReason {
    Expired,
    Cancelled,
    PaymentFailed,
}

impl ReleaseReason {
    /// The word for it in events and in Redis.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::PaymentFailed => "payment_failed",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Expired, Self::Cancelled, Self::PaymentFailed].into_iter().find(|r| r.as_str() == text)
    }
}

/// How a buyer wants to pay, and where to deliver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PaymentDetails {
    pub payment_method_id: Option<Uuid>,
    pub delivery_address_id: Option<Uuid>,
}

/// A wish to pay for a reservation now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubmitPayment {
    pub sale: SaleId,
    pub order: OrderId,
    pub buyer: BuyerId,
    /// `None`: use what was prepared before.
    pub details: Option<PaymentDetails>,
    /// W3C trace context, carried on the event. A malformed one is left out.
    pub traceparent: Option<String>,
}

/// Redis' decision on preparing or submitting a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PaymentOutcome {
    /// The details are kept; the deadline still runs.
    Prepared(Reservation),
    /// The payment is under way.
    Submitted(Reservation),
    /// It was submitted before (and may be paid by now); nothing changed.
    AlreadySubmitted(Reservation),
    /// The units went back, or the deadline has passed.
    Released(ReleaseReason),
    /// Nothing was prepared, and the call brought no details.
    NotPrepared,
    /// No such reservation, or another buyer's.
    Unknown,
}

/// Redis' decision on confirming one paid order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfirmOutcome {
    Confirmed,
    AlreadyConfirmed,
    /// Too late: the money has to go back.
    Released(ReleaseReason),
    Unknown,
}

/// Redis' decision on a payment that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeclineOutcome {
    /// The units stay held until `pay_by`, and the buyer may pay for them in another way.
    Held,
    /// Time was up: the units went back, as [`ReleaseReason::PaymentFailed`].
    Released,
    AlreadyReleased(ReleaseReason),
    AlreadyConfirmed,
    Unknown,
}

/// Redis' decision on releasing one order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReleaseOutcome {
    Released,
    AlreadyReleased(ReleaseReason),
    AlreadyConfirmed,
    /// Asked to expire it, but the deadline has not passed or the payment is under way.
    NotDue,
    /// No such reservation, or (for a cancel) it is another buyer's.
    Unknown,
}

/// What came of letting deadlines pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expired {
    pub released: usize,
    /// If this is as many as asked for, there may be more.
    pub looked_at: usize,
}
