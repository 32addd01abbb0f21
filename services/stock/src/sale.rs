//! A sale as the engine sees it: what is put on sale, under which fence, and how far it has sold.

use serde::{Deserialize, Serialize};

use crate::id::SaleId;

/// The largest integer that Lua's numbers (IEEE doubles) hold exactly: 2^53 - 1.
pub const MAX_MONEY: i64 = (1 << 53) - 1;

/// What is put on sale. Loading it twice changes nothing; loading it again with more units, more
/// SKUs or a later end adds just those.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaleSpec {
    pub id: SaleId,
    pub name: String,
    /// Never decreases; a smaller one than the last seen is refused.
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

/// One SKU of a sale.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemSpec {
    /// 1–128 visible ASCII characters without `"`, `\`, `|`, `,` and `*`.
    pub sku: String,
    /// All units ever put on sale, not the difference to an earlier load.
    pub units: u32,
    /// Minor units of the sale's currency.
    pub price: i64,
    /// Units one buyer may hold or have bought; `None` is no limit.
    pub per_buyer_limit: Option<u32>,
}

/// What came of loading a sale. A sale loaded for the first time is [`SaleState::Suspended`]: it
/// takes nothing until whoever loaded it has read it back and set it ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoadOutcome {
    /// The sale is new, or units, SKUs or time were added.
    Loaded,
    /// Redis holds exactly this already.
    AlreadyLoaded,
    /// Somebody with a higher fence was here.
    StaleFence { seen: u64 },
    /// The sale was loaded before and this would take something away from it, or the
    /// specification contradicts itself. Nothing was changed.
    ConflictingSpec(Vec<SpecConflict>),
}

/// One rule that a specification broke.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SpecConflict {
    /// Path in the specification: `closes_at_ms`, `items[sku].units`.
    pub field: String,
    /// Rule in words: `must not decrease`.
    pub rule: String,
}

/// Whether a sale takes reservations, apart from its window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SaleState {
    /// Takes reservations while its window is open.
    Ready,
    /// Takes none for now; payments of reservations already made go on.
    Suspended,
    /// Takes none any more; payments of reservations already made go on. Final.
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
    /// Nothing of the sale is left in Redis (perhaps there was nothing).
    Purged,
    StaleFence {
        seen: u64,
    },
    /// Only a closed sale may be forgotten.
    NotClosed,
    /// Reservations are undecided, or events were not yet carried to SQL.
    NotDrained {
        outstanding_reservations: u64,
        stream_length: u64,
    },
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
    /// Redis' clock when this incarnation of the sale was loaded, Unix milliseconds: a sale that
    /// was lost and loaded again has another epoch.
    pub epoch: i64,
    pub opens_at_ms: i64,
    pub closes_at_ms: Option<i64>,
    pub payment_seconds: u32,
    /// In the order of the SKUs' names.
    pub items: Vec<ItemCounters>,
    /// Entries of the stream that are not yet trimmed.
    pub stream_length: u64,
    /// The last entry ever appended (`0-0` before the first): older than what SQL has seen means
    /// that Redis lost writes.
    pub last_event_id: String,
    /// Reservations neither confirmed nor released.
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
