//! The product as the topic describes it: the data of `rocketmart.product.changed.v1`.
//!
//! Fields that this service does not index are ignored, so that the event may gain fields without it.

use std::collections::BTreeSet;

use serde::Deserialize;
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

/// A whole product at one version. Unit prices are minor units of `currency`.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub(crate) struct ProductSnapshot {
    pub product_id: Uuid,
    pub state: State,
    pub title: String,
    pub description: String,
    pub currency: String,
    #[serde(default)]
    pub categories: BTreeSet<String>,
    #[serde(default)]
    pub tags: Vec<String>,
    pub variants: Vec<Variant>,
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    Draft,
    Published,
    Withdrawn,
    /// A state this version does not know: whatever it is, it is not for sale.
    #[serde(other)]
    Unknown,
}

#[derive(Clone, Debug, Deserialize, ToSchema)]
pub(crate) struct Variant {
    pub sku: String,
    pub price: i64,
    /// Units that can be had: as the seller says, until order has told how many are left ([`stock`](crate::stock)).
    pub quantity: i64,
}

impl ProductSnapshot {
    /// Shoppers only find a published product that has something to buy.
    pub(crate) fn is_searchable(&self) -> bool {
        self.state == State::Published && !self.variants.is_empty()
    }

    /// The lowest price among the variants, in minor units.
    pub(crate) fn price_from(&self) -> i64 {
        self.variants.iter().map(|variant| variant.price).min().unwrap_or_default()
    }

    pub(crate) fn in_stock(&self) -> bool {
        self.variants.iter().any(|variant| variant.quantity > 0)
    }

    /// When the product was created, in Unix milliseconds. Its id is a UUID version 7, which contains that
    /// instant. For an id of another version, the time of the last change is used instead.
    pub(crate) fn created_ms(&self) -> u64 {
        let of_id = self.product_id.get_timestamp().map(|made| {
            let (seconds, nanoseconds) = made.to_unix();
            seconds * 1000 + u64::from(nanoseconds) / 1_000_000
        });
        of_id.unwrap_or_else(|| {
            u64::try_from(self.updated_at.unix_timestamp_nanos() / 1_000_000).unwrap_or_default()
        })
    }
}
