//! The life of a payment.
//!
//! ```text
//! requested ──> processing ──> authorized ──> capturing ──> succeeded (refunds follow)
//!     │  ^          │  │           │              │
//!     │  └──────────┘  └───────────┼──────────────┴──────> failed    (declined, refused)
//!     │   surely unsent            └─────────────────────> voided    (deadline passed or order
//!     └──> failed (no payment method), voided                         released, surely not charged)
//! ```
//! Each state says what the provider may have seen: nothing (`requested`), the first call (`processing`),
//! only the first call, so that money is set aside (`authorized`), the capture (`capturing`). That decides
//! what we may do without asking the provider. With automatic capture the first call is the only one:
//! `processing` goes to `succeeded`.
//!
//! An order has one payment. If it failed, and the provider surely holds and takes nothing for it, the buyer
//! may ask again with another card. The payment then starts again as `requested`, under another key. So only
//! one request is active at a time, whatever cards were tried before. A payment of nothing has succeeded from
//! the start.

use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use super::dispute::{Claim, Dispute};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PaymentState {
    Requested,
    Processing,
    Authorized,
    Capturing,
    Succeeded,
    Failed,
    Voided,
}

impl PaymentState {
    pub const ALL: [Self; 7] = [
        Self::Requested,
        Self::Processing,
        Self::Authorized,
        Self::Capturing,
        Self::Succeeded,
        Self::Failed,
        Self::Voided,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Processing => "processing",
            Self::Authorized => "authorized",
            Self::Capturing => "capturing",
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
    /// The method does not exist or belongs to somebody else, or the member has no default.
    pub const PAYMENT_METHOD_UNKNOWN: &str = "payment_method_unknown";
    /// It was not charged before its `pay_by`.
    pub const DEADLINE: &str = "deadline";
    /// The order was released before it was charged.
    pub const ORDER_RELEASED: &str = "order_released";
    /// The provider declined without saying why.
    pub const DECLINED: &str = "declined";
    /// The provider refused the request itself, for instance an unknown token.
    pub const PROVIDER_REFUSED: &str = "provider_refused";
    /// The provider answered about a different amount than we asked for: nobody knows what it took.
    pub const ANSWER_DIFFERS: &str = "answer_differs";
}

/// Why money did not go back, or went back unasked, in the words of `payment.refund_failed`; otherwise the
/// provider's own code.
pub mod refund_reason {
    /// More than was captured and is neither refunded nor about to be.
    pub const EXCEEDS_CAPTURED: &str = "exceeds_captured";
    /// Nobody here asked for it: the provider gave it back on its own.
    pub const BY_PROVIDER: &str = "by_provider";
}

/// A payment's id follows from its order's id. So even a database restored from an older backup charges with
/// the same idempotency key.
pub fn payment_id(order_id: Uuid) -> Uuid {
    const NAMESPACE: Uuid = Uuid::from_u128(0x6d1f_2c4e_8a57_4b0f_9f52_71c0_5d3e_a801);
    Uuid::new_v5(&NAMESPACE, order_id.as_bytes())
}

/// Until when a payment may be charged, from Unix milliseconds. What is outside the calendar counts as long past,
/// and is then not charged.
pub fn deadline(pay_by_ms: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(pay_by_ms) * 1_000_000)
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// The key of the first call about a request of a payment; `request` counts from 1.
pub fn request_key(payment_id: Uuid, request: i32) -> Uuid {
    if request <= 1 { payment_id } else { call_key(payment_id, &format!("request {request}")) }
}

/// In the same way, the id of the refund that one event asked for.
pub fn refund_id(request_id: &str) -> Uuid {
    const NAMESPACE: Uuid = Uuid::from_u128(0x0b9a_6e31_47d2_4c55_8e0d_2f64_93b7_1ca2);
    Uuid::new_v5(&NAMESPACE, request_id.as_bytes())
}

/// The key of a later call for a payment; the first one has the payment's id.
pub fn call_key(payment_id: Uuid, call: &str) -> Uuid {
    Uuid::new_v5(&payment_id, call.as_bytes())
}

/// How the money is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capture {
    /// Set the money aside first, then capture it: if the order is released in between, nobody needs a
    /// refund.
    Manual,
    /// Take the money in one call.
    Automatic,
}

impl Capture {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Automatic => "automatic",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        [Self::Manual, Self::Automatic].into_iter().find(|capture| capture.as_str() == name)
    }
}

/// What the provider may have seen of a payment in earlier attempts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Nothing,
    /// The first call, which sets money aside or takes it.
    FirstCall,
    /// Only the first call: this authorization holds the money.
    Authorization(String),
    /// The capture of this authorization as well.
    CaptureOf(String),
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
    /// Which request of the order this is: above 1 if earlier ones failed.
    pub request: i32,
    pub capture: Capture,
    pub seen: Seen,
    /// How many times the payment was taken up, including this one.
    pub attempt: i32,
}

/// What to do with a due payment. Whatever may already have been sent is repeated under the same key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Set the money aside.
    Authorize,
    /// Take what this authorization holds.
    Capture(String),
    /// Take the money in one call.
    Charge,
    /// Too late, but this authorization holds money and surely was not captured: void it.
    GiveUp(String),
    /// Too late, but it may have been charged: the provider has the last word.
    Settle,
    /// Too late, and surely never sent: void the payment.
    Void,
}

impl DuePayment {
    pub fn step(&self, now: OffsetDateTime) -> Step {
        let too_late = self.released || now >= self.pay_by;
        match (&self.seen, self.capture) {
            (Seen::Nothing, _) if too_late => Step::Void,
            (Seen::Authorization(id), _) if too_late => Step::GiveUp(id.clone()),
            _ if too_late => Step::Settle,
            (Seen::Authorization(id) | Seen::CaptureOf(id), _) => Step::Capture(id.clone()),
            (Seen::Nothing | Seen::FirstCall, Capture::Manual) => Step::Authorize,
            (Seen::Nothing | Seen::FirstCall, Capture::Automatic) => Step::Charge,
        }
    }

    /// Why the provider's answer cannot be about this payment; `None` if it can.
    pub fn dispute(&self, answer: Claim<'_>) -> Option<Dispute> {
        answer.against(self.id, self.order_id, self.amount, &self.currency)
    }

    /// The key of the first call for it.
    pub fn key(&self) -> Uuid {
        request_key(self.id, self.request)
    }

    /// The reason for not charging it any more.
    pub fn void_reason(&self) -> &'static str {
        if self.released { reason::ORDER_RELEASED } else { reason::DEADLINE }
    }
}

/// How a payment ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Settlement {
    Charged {
        charge_id: String,
        charged_at: OffsetDateTime,
    },
    /// `closed`: the order may not be charged any more. Otherwise the buyer may ask again.
    Failed {
        reason: String,
        closed: bool,
    },
    Voided {
        reason: String,
    },
}

/// What the provider's answer means for a payment.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// Money is set aside; the capture follows.
    Authorized {
        authorization_id: String,
    },
    Settled(Settlement),
}

#[cfg(test)]
mod tests {
    use time::Duration;

    use super::*;

    fn due(released: bool, capture: Capture, seen: &Seen) -> DuePayment {
        DuePayment {
            id: Uuid::nil(),
            order_id: Uuid::nil(),
            amount: 1,
            currency: "KRW".into(),
            provider_token: "tok_1".into(),
            pay_by: OffsetDateTime::UNIX_EPOCH,
            released,
            request: 1,
            capture,
            seen: seen.clone(),
            attempt: 1,
        }
    }

    #[test]
    fn nothing_is_charged_at_or_after_the_deadline_or_once_released() {
        let at = OffsetDateTime::UNIX_EPOCH;
        let before = at - Duration::milliseconds(1);
        let id = || "au_1".to_owned();
        let table = [
            (Seen::Nothing, Step::Authorize, Step::Charge, Step::Void),
            (Seen::FirstCall, Step::Authorize, Step::Charge, Step::Settle),
            (Seen::Authorization(id()), Step::Capture(id()), Step::Capture(id()), Step::GiveUp(id())),
            (Seen::CaptureOf(id()), Step::Capture(id()), Step::Capture(id()), Step::Settle),
        ];
        for (seen, manual, automatic, too_late) in table {
            for (capture, in_time) in [(Capture::Manual, manual), (Capture::Automatic, automatic)] {
                let step = |now, released| due(released, capture, &seen).step(now);
                assert_eq!(step(before, false), in_time, "{seen:?}");
                assert_eq!(step(at, false), too_late, "{seen:?}");
                assert_eq!(step(before, true), too_late, "{seen:?}");
            }
        }
    }

    #[test]
    fn state_names_read_back() {
        for state in PaymentState::ALL {
            assert_eq!(PaymentState::parse(state.as_str()), Some(state));
        }
        assert_eq!(PaymentState::parse("paid"), None);
        for capture in [Capture::Manual, Capture::Automatic] {
            assert_eq!(Capture::parse(capture.as_str()), Some(capture));
        }
    }

    #[test]
    fn an_order_has_one_payment_id() {
        let order = Uuid::from_u128(7);
        assert_eq!(payment_id(order), payment_id(order));
        assert_ne!(payment_id(order), payment_id(Uuid::from_u128(8)));
        assert_ne!(call_key(order, "capture"), call_key(order, "void"));
    }

    #[test]
    fn p4_each_request_of_an_order_has_keys_of_its_own() {
        let payment = Uuid::from_u128(7);
        assert_eq!(request_key(payment, 1), payment);
        assert_ne!(request_key(payment, 2), request_key(payment, 3));
        assert_ne!(call_key(request_key(payment, 2), "capture"), call_key(payment, "capture"));
    }
}
