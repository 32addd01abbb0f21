//! A sale as the engine sees it: what is on sale, under which fence, and how much has sold.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::id::SaleId;

/// The largest integer that Lua's numbers (IEEE doubles) hold exactly: 2^53 - 1.
pub const MAX_MONEY: i64 = (1 << 53) - 1;

/// The largest fence: Redis compares fences as Lua numbers.
pub(crate) const MAX_FENCE: u64 = (1 << 53) - 1;

/// What to put on sale. Loading it twice changes nothing. Loading it again with more units, more SKUs or a
/// later end adds just those.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaleSpec {
    pub id: SaleId,
    pub name: String,
    /// Never decreases. One smaller than the last that Redis saw is refused.
    pub fence: u64,
    /// ISO 4217.
    pub currency: String,
    /// Unix milliseconds; compared with Redis' clock.
    pub opens_at_ms: i64,
    /// Unix milliseconds, exclusive; `None` for the standing stock, which has no end.
    pub closes_at_ms: Option<i64>,
    /// How long a buyer may take to submit the payment.
    pub payment_seconds: u32,
    pub items: Vec<ItemSpec>,
}

impl SaleSpec {
    /// The rules that this specification breaks by itself, whatever Redis holds.
    pub(crate) fn conflicts(&self) -> Vec<SpecConflict> {
        let mut conflicts = Vec::new();
        let mut require = |holds: bool, field: String, rule: &str| {
            if !holds {
                conflicts.push(SpecConflict { field, rule: rule.to_owned() });
            }
        };
        require(self.fence <= MAX_FENCE, "fence".into(), "must be at most 2^53 - 1");
        let currency = self.currency.len() == 3 && self.currency.bytes().all(|c| c.is_ascii_uppercase());
        require(currency, "currency".into(), "must be three capital letters (ISO 4217)");
        require(self.payment_seconds > 0, "payment_seconds".into(), "must be at least 1");
        let ends_later = self.closes_at_ms.is_none_or(|closes_at_ms| closes_at_ms > self.opens_at_ms);
        require(ends_later, "closes_at_ms".into(), "must be later than opens_at_ms");
        let mut worth = 0_i128;
        let mut seen = HashSet::new();
        for item in &self.items {
            let field = |name: &str| format!("items[{}].{name}", item.sku);
            require(
                is_sku(&item.sku),
                field("sku"),
                "must be 1-128 visible ASCII characters without \" \\ | , *",
            );
            require(seen.insert(&item.sku), field("sku"), "must not be listed twice");
            require(item.price >= 0, field("price"), "must not be negative");
            require(item.per_buyer_limit != Some(0), field("per_buyer_limit"), "must be at least 1");
            worth += i128::from(item.units) * i128::from(item.price.max(0));
        }
        require(
            worth <= i128::from(MAX_MONEY),
            "items".into(),
            "units times price must be at most 2^53 - 1 in all",
        );
        conflicts
    }
}

/// Whether a SKU can go into records and events without escaping.
fn is_sku(sku: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b'|' | b',' | b'*');
    (1..=128).contains(&sku.len()) && sku.bytes().all(allowed)
}

/// One SKU of a sale.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemSpec {
    /// 1–128 visible ASCII characters without `"`, `\`, `|`, `,` and `*`.
    pub sku: String,
    /// All units ever put on sale, not the difference to an earlier load.
    pub units: u32,
    /// Minor units of the sale's currency.
    pub price: i64,
    /// How many units one buyer may hold or have bought. `None` means no limit.
    pub per_buyer_limit: Option<u32>,
}

/// What came of loading a sale. A sale loaded for the first time is [`SaleState::Suspended`]: it takes
/// nothing until whoever loaded it has read it back and set it ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoadOutcome {
    /// The sale is new, or units, SKUs or time were added.
    Loaded,
    /// Redis holds exactly this already.
    AlreadyLoaded,
    /// Somebody with a higher fence was here.
    StaleFence { seen: u64 },
    /// The sale was loaded before and this would take something away from it, or the specification
    /// contradicts itself. Nothing was changed.
    ConflictingSpec(Vec<SpecConflict>),
}

/// A rule that the specification breaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SpecConflict {
    /// Path in the specification: `closes_at_ms`, `items[sku].units`.
    pub field: String,
    /// Rule in words: `must not decrease`.
    pub rule: String,
}

/// Whether a sale takes reservations, its window aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SaleState {
    /// Takes reservations while its window is open.
    Ready,
    /// Takes none for now. Payments for existing reservations go on.
    Suspended,
    /// Takes no more. Payments for existing reservations go on. Final.
    Closed,
}

impl SaleState {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Suspended => "suspended",
            Self::Closed => "closed",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Ready, Self::Suspended, Self::Closed].into_iter().find(|state| state.as_str() == text)
    }
}

/// What came of setting a sale's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetStateOutcome {
    /// The sale is in that state now (or was already).
    Set,
    StaleFence {
        seen: u64,
    },
    /// Closed is final.
    AlreadyClosed,
    UnknownSale,
}

/// What came of forgetting a sale.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PurgeOutcome {
    /// Redis has nothing left of the sale (perhaps it had nothing).
    Purged,
    StaleFence {
        seen: u64,
    },
    /// Only a closed sale may be forgotten.
    NotClosed,
    /// Some reservations are undecided, or some events have not reached SQL yet.
    NotDrained {
        outstanding_reservations: u64,
        stream_length: u64,
    },
}

/// What came of vouching for a sale: whether Redis still has everything that ever left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VouchOutcome {
    /// It does, and decides about the sale for as long as it runs.
    Vouched,
    /// Redis has an older state, in words.
    Behind(String),
    UnknownSale,
}

/// A sale's counters, read in one atomic step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaleCounters {
    pub name: String,
    pub currency: String,
    /// Redis' clock at the reading, Unix milliseconds.
    pub now_ms: i64,
    pub state: SaleState,
    pub fence: u64,
    /// Redis' clock when this incarnation of the sale was loaded, Unix milliseconds. A sale that was lost and
    /// loaded again has another epoch.
    pub epoch: i64,
    pub opens_at_ms: i64,
    pub closes_at_ms: Option<i64>,
    pub payment_seconds: u32,
    /// In the order of the SKUs' names.
    pub items: Vec<ItemCounters>,
    /// Entries of the stream that have not been trimmed yet.
    pub stream_length: u64,
    /// The last entry ever appended (`0-0` before the first). If it is older than what SQL has seen, Redis
    /// has lost writes.
    pub last_event_id: String,
    /// Reservations that are neither confirmed nor released.
    pub outstanding_reservations: u64,
}

/// One SKU's counters: `preloaded = remaining + reserved + sold`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ItemCounters {
    pub sku: String,
    pub preloaded: u32,
    pub remaining: u32,
    pub reserved: u32,
    pub sold: u32,
    /// Minor units of the sale's currency.
    pub price: i64,
    pub limit: Option<u32>,
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn spec() -> SaleSpec {
        let item = ItemSpec { sku: "tea".into(), units: 5, price: 990, per_buyer_limit: Some(1) };
        SaleSpec {
            id: SaleId(Uuid::nil()),
            name: "spring".into(),
            fence: 1,
            currency: "EUR".into(),
            opens_at_ms: 1_000,
            closes_at_ms: Some(2_000),
            payment_seconds: 60,
            items: vec![item],
        }
    }

    #[test]
    fn a_sound_specification_has_no_conflicts() {
        assert_eq!(spec().conflicts(), []);
        assert_eq!(SaleSpec { closes_at_ms: None, items: vec![], ..spec() }.conflicts(), []);
    }

    #[test]
    fn each_broken_rule_names_its_field() {
        let item = |change: fn(&mut ItemSpec)| {
            let mut spec = spec();
            change(&mut spec.items[0]);
            spec
        };
        let twice = SaleSpec { items: [spec().items, spec().items].concat(), ..spec() };
        for (broken, field) in [
            (SaleSpec { fence: u64::MAX, ..spec() }, "fence"),
            (SaleSpec { currency: "eur".into(), ..spec() }, "currency"),
            (SaleSpec { payment_seconds: 0, ..spec() }, "payment_seconds"),
            (SaleSpec { closes_at_ms: Some(1_000), ..spec() }, "closes_at_ms"),
            (item(|item| item.price = -1), "items[tea].price"),
            (item(|item| item.price = MAX_MONEY), "items"),
            (item(|item| item.per_buyer_limit = Some(0)), "items[tea].per_buyer_limit"),
            (item(|item| item.sku = "a|b".into()), "items[a|b].sku"),
            (item(|item| item.sku = String::new()), "items[].sku"),
            (twice, "items[tea].sku"),
        ] {
            let fields: Vec<_> = broken.conflicts().into_iter().map(|conflict| conflict.field).collect();
            assert_eq!(fields, [field]);
        }
    }
}
