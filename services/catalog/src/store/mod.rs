//! Where products are stored. [`ProductStore`] is all that the rest of the service knows about it.
//!
//! A store keeps three promises. A product is replaced only by its next version. A SKU is on one published
//! product in the whole shop. And a product's change and its event are stored together, or neither is.
//! Publishing the events is the store's business too, since only it knows where they wait.
//!
//! There are two: [`PostgresStore`] and [`cassandra::CassandraStore`]. One test suite runs on both.

pub mod cassandra;
mod config;
mod error;
mod postgres;
mod stored;

use std::sync::Arc;

use async_trait::async_trait;
use axum::response::Response;
use rocketmart_kit::extract::IdempotencyKey;
use rocketmart_kit::problem;
use time::OffsetDateTime;
use uuid::Uuid;

pub use self::config::{PostgresConfig, StoreConfig, StoreKind};
pub use self::error::{Result, StoreError};
pub(crate) use self::error::{product_unknown, refusal, version_conflict};
pub use self::postgres::{MIGRATOR, PostgresStore};
use crate::domain::Product;

/// What makes two requests to create a product, or to change it once, the same one.
#[derive(Clone, Debug)]
pub struct Once {
    pub owner: Uuid,
    pub key: IdempotencyKey,
    /// The body's hash: the same key with another body is refused.
    pub request_hash: [u8; 32],
}

/// What becomes of the current product, or why nothing does.
pub type Step = Arc<dyn Fn(Product) -> problem::Result<Product> + Send + Sync>;

/// Turns a changed product into the answer that is stored for repetitions.
pub type Changed = fn(Product) -> Response;

/// Turns the outcome of a creation into the answer that is stored for repetitions.
pub type Answer = fn(Product, Result<()>) -> problem::Result<Response>;

/// Which products a list shows; always newest first.
#[derive(Clone, Copy, Debug)]
pub enum Listing {
    Published,
    OfSeller(Uuid),
}

/// What a member notes about a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkKind {
    Like,
    Wish,
}

impl MarkKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Like => "like",
            Self::Wish => "wish",
        }
    }
}

/// A member's mark. The product is there for as long as it is published.
#[derive(Clone, Debug)]
pub struct Mark {
    pub place: MarkPlace,
    pub product: Option<Product>,
}

/// A mark's place in a member's list (latest first).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkPlace {
    pub marked_at: OffsetDateTime,
    pub product_id: Uuid,
}

#[async_trait]
pub trait ProductStore: Send + Sync + 'static {
    /// Stores a new product with its event and the answer, all or nothing. A repetition gets the stored
    /// answer and changes nothing.
    async fn create(&self, product: Product, once: Once, answer: Answer) -> problem::Result<Response>;

    /// The current product, in any state.
    async fn find(&self, id: Uuid) -> Result<Option<Product>>;

    /// Replaces the version before `product`'s, and stores its event.
    async fn replace(&self, product: &Product) -> Result<()>;

    /// Replaces the current product with what `step` makes of it, together with its event and the answer, all
    /// or nothing. A repetition gets the stored answer and changes nothing.
    async fn change_once(
        &self,
        id: Uuid,
        once: Once,
        step: Step,
        answer: Changed,
    ) -> problem::Result<Response>;

    /// Deletes the product and its marks if it still has this version, and leaves a tombstone.
    async fn delete(&self, id: Uuid, version: i64) -> Result<()>;

    /// Leaves an event of every product in its current version, for a topic that may have none, and returns
    /// how many.
    ///
    /// Receivers get again what they already have.
    async fn tell_all(&self) -> Result<u64>;

    /// Up to `count` products after `after`.
    async fn list(&self, listing: Listing, after: Option<Uuid>, count: u32) -> Result<Vec<Product>>;

    /// Marks a published product; a second time changes nothing. [`StoreError::Unknown`] if there is no such
    /// published product.
    async fn mark(&self, kind: MarkKind, member: Uuid, product_id: Uuid, at: OffsetDateTime) -> Result<()>;

    /// Takes a mark back; without a mark it changes nothing.
    async fn unmark(&self, kind: MarkKind, member: Uuid, product_id: Uuid) -> Result<()>;

    /// Up to `count` marks of a member after `after`, latest first.
    async fn marks(
        &self,
        kind: MarkKind,
        member: Uuid,
        after: Option<MarkPlace>,
        count: u32,
    ) -> Result<Vec<Mark>>;
}
