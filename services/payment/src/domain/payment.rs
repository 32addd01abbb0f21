//! The life of a payment.
//!
//! ```text
//! requested ──> processing ──> succeeded (refunds follow)
//!     │  ^          │  ├─────> failed    (declined)
//!     │  └──────────┘  └─────> voided    (deadline passed or order released, surely not charged)
//!     │   surely unsent
//!     └──> failed (no payment method), voided
//! ```
//! `requested` says that the provider has surely seen nothing; `processing` that it may have. That
//! one distinction decides what may be done without asking the provider.

use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PaymentState {
    Requested,
    Processing,
    Succeeded,
    Failed,
    Voided,
}

impl PaymentState {
    pub const ALL: [Self; 5] =
        [Self::Requested, Self::Processing, Self::Succeeded, Self::Failed, Self::Voided];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Processing => "processing",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Voided => "voided",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }

    /// Final states never change again; only refunds follow a success.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Voided)
    }
}

/// Why a payment did not become a charge, in the words of `payment.failed`.
pub mod reason {
    /// The method is not there or is somebody else's, or the member has no default.
    pub const PAYMENT_METHOD_UNKNOWN: &str = "payment_method_unknown";
    /// It was not charged before its `pay_by`.
    pub const DEADLINE: &str = "deadline";
    /// The order was released first.
    pub const ORDER_RELEASED: &str = "order_released";
    /// The provider declined without saying why.
    pub const DECLINED: &str = "declined";
    /// The provider refused the request itself, for instance an unknown token.
    pub const PROVIDER_REFUSED: &str = "provider_refused";
}

/// Why money did not go back, in the words of `payment.refund_failed`; or the provider's own code.
pub mod refund_reason {
    /// More than what was captured and has not been refunded, nor is about to be.
    pub const EXCEEDS_CAPTURED: &str = "exceeds_captured";
}

/// The payment of an order has an id that follows from the order's, so that even a database restored
/// from an older backup charges with the same idempotency key.
pub fn payment_id(order_id: Uuid) -> Uuid {
    const NAMESPACE: Uuid = Uuid::from_u128(0x6d1f_2c4e_8a57_4b0f_9f52_71c0_5d3e_a801);
    Uuid::new_v5(&NAMESPACE, order_id.as_bytes())
}

/// Likewise the refund asked for by one event.
pub fn refund_id(request_id: &str) -> Uuid {
    const NAMESPACE: Uuid = Uuid::from_u128(0x0b9a_6e31_47d2_4c55_8e0d_2f64_93b7_1ca2);
    Uuid::new_v5(&NAMESPACE, request_id.as_bytes())
}

/// A payment whose turn it is.
#[derive(Clone, Debug)]
pub struct DuePayment {
    pub id: Uuid,
    pub order_id: Uuid,
    /// Minor units.
    pub amount: i64,
    pub currency: String,
    pub provider_token: String,
    pub pay_by: OffsetDateTime,
    pub released: bool,
    /// The provider may have seen it in an earlier attempt.
    pub may_be_charged: bool,
    /// How many times it was taken up, this one included.
    pub attempt: i32,
}

/// What to do with a due payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Charge, or repeat the charge under the same key.
    Charge,
    /// Too late to charge, but it may have been: have the provider say the last word.
    Settle,
    /// Too late, and surely never sent.
    Void,
}

impl DuePayment {
    pub fn step(&self, now: OffsetDateTime) -> Step {
        let too_late = self.released || now >= self.pay_by;
        match (too_late, self.may_be_charged) {
            (false, _) => Step::Charge,
            (true, true) => Step::Settle,
            (true, false) => Step::Void,
        }
    }

    /// Why it is not charged once it is too late.
    pub fn void_reason(&self) -> &'static str {
        if self.released { reason::ORDER_RELEASED } else { reason::DEADLINE }
    }
}

/// How a payment ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Settlement {
    Charged { charge_id: String, charged_at: OffsetDateTime },
    Failed { reason: String },
    Voided { reason: String },
}

#[cfg(test)]
mod tests {
    use time::Duration;

    use super::*;

    fn due(released: bool, may_be_charged: bool) -> DuePayment {
        DuePayment {
            id: Uuid::nil(),
            order_id: Uuid::nil(),
            amount: 1,
            currency: "KRW".into(),
            provider_token: "tok_1".into(),
            pay_by: OffsetDateTime::UNIX_EPOCH,
            released,
            may_be_charged,
            attempt: 1,
        }
    }

    #[test]
    fn nothing_is_charged_at_or_after_the_deadline_or_once_released() {
        let before = OffsetDateTime::UNIX_EPOCH - Duration::milliseconds(1);
        let at = OffsetDateTime::UNIX_EPOCH;
        let table = [
            (before, false, false, Step::Charge),
            (before, false, true, Step::Charge),
            (before, true, false, Step::Void),
            (before, true, true, Step::Settle),
            (at, false, false, Step::Void),
            (at, false, true, Step::Settle),
        ];
        for (now, released, may_be_charged, step) in table {
            assert_eq!(due(released, may_be_charged).step(now), step, "{now} {released} {may_be_charged}");
        }
    }

    #[test]
    fn state_names_read_back() {
        for state in PaymentState::ALL {
            assert_eq!(PaymentState::parse(state.as_str()), Some(state));
        }
        assert_eq!(PaymentState::parse("paid"), None);
    }

    #[test]
    fn an_order_has_one_payment_id() {
        let order = Uuid::from_u128(7);
        assert_eq!(payment_id(order), payment_id(order));
        assert_ne!(payment_id(order), payment_id(Uuid::from_u128(8)));
    }
}
