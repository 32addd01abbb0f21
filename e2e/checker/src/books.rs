//! The books of one sale, as each store has them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use time::OffsetDateTime;
use uuid::Uuid;

/// Units of one SKU.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    pub preloaded: i64,
    pub remaining: i64,
    pub reserved: i64,
    pub sold: i64,
}

/// Units by SKU of one order.
pub type Units = BTreeMap<String, i64>;

/// A reservation record in Redis.
#[derive(Debug, Clone)]
pub struct Reservation {
    /// `reserved`, `submitted`, `confirmed`, `expired`, `cancelled` or `payment_failed`.
    pub state: String,
    pub buyer: Uuid,
    pub units: Units,
}

/// An order in the order service's database.
#[derive(Debug, Clone)]
pub struct Order {
    pub state: String,
    pub buyer: Uuid,
    pub amount: i64,
    pub units: Units,
    /// When the payment was taken. It stays when the order is cancelled or returned later.
    pub paid_at: Option<OffsetDateTime>,
    /// Money that went back to the buyer, as the order service was told.
    pub refunded: i64,
    pub pay_by: Option<OffsetDateTime>,
    pub released_at: Option<OffsetDateTime>,
}

impl Order {
    /// Paid for and not given back.
    pub fn is_paid(&self) -> bool {
        matches!(
            self.state.as_str(),
            "paid" | "preparing" | "shipped" | "delivered" | "completed" | "return_requested"
        )
    }

    /// Took units from the sale for good. What comes back after payment goes to the seller's standing stock,
    /// not to the sale.
    pub fn was_paid(&self) -> bool {
        self.paid_at.is_some()
    }

    /// Ended, and the buyer kept nothing.
    pub fn is_given_back(&self) -> bool {
        self.was_paid() && matches!(self.state.as_str(), "cancelled" | "refunded")
    }

    /// Ended and holds no stock.
    pub fn is_released(&self) -> bool {
        matches!(self.state.as_str(), "expired" | "cancelled" | "payment_failed" | "refunded" | "returned")
    }
}

/// A payment in the payment service's database.
#[derive(Debug, Clone)]
pub struct Payment {
    pub state: String,
    pub amount: i64,
    pub refunded: i64,
}

/// A charge in the payment provider's own list.
#[derive(Debug, Clone)]
pub struct Charge {
    /// The shop's reference: the order's id.
    pub reference: String,
    pub succeeded: bool,
    pub amount: i64,
    pub refunded: i64,
}

/// What all stores say.
#[derive(Debug, Clone, Default)]
pub struct Books {
    /// Counters in Redis, by SKU.
    pub counters: BTreeMap<String, Counters>,
    /// The ledger in PostgreSQL, by SKU.
    pub ledger: BTreeMap<String, Counters>,
    /// Units a buyer may hold, by SKU.
    pub limits: BTreeMap<String, i64>,
    pub reservations: HashMap<Uuid, Reservation>,
    /// Redis: (buyer, idempotency key) → order.
    pub keys: HashMap<(Uuid, String), Uuid>,
    pub orders: HashMap<Uuid, Order>,
    pub payments: HashMap<Uuid, Payment>,
    /// Charges for all orders, of other sales too.
    pub charges: Vec<Charge>,
    /// Shipment state by order.
    pub shipments: HashMap<Uuid, String>,
    /// Orders of this sale with a `reserved` event in Kafka.
    pub reserved_events: BTreeSet<Uuid>,
    /// Orders with a `payment.succeeded` event in Kafka.
    pub succeeded_events: BTreeSet<Uuid>,
    /// Orders with a declined payment, by its event in Kafka.
    pub declined_events: BTreeSet<Uuid>,
    /// Somebody emptied Kafka on purpose: what is missing there is not a difference.
    pub kafka_was_emptied: bool,
    /// When Redis lost the sale: what it acknowledged between the two moments may be in no book.
    pub unknown: Vec<(OffsetDateTime, OffsetDateTime)>,
    /// Of those, how many came to light after the sale was rebuilt without them.
    pub late: i64,
    /// When the sale opens, according to PostgreSQL.
    pub opens_at: Option<OffsetDateTime>,
}
