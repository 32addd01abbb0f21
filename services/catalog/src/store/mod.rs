//! Where products live. [`ProductStore`] is all the rest of the service knows about it.
//!
//! A store keeps three promises: a product is replaced only by its next version, a SKU is on one published
//! product in the whole shop, and every change of a product leaves its event behind, both or
//! neither. Publishing the events is the store's business too, since only it knows where they wait.
//!
//! There are two: [`PostgresStore`] and [`cassandra::CassandraStore`]. One test-suite runs on both.

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
    /// Of the body: the same key with another body is refused.
    pub request_hash: [u8; 32],
}

/// What becomes of a product as it is now; or why nothing does.
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

/// A member's mark; the product is there as long as it is published.
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
    /// Stores a new product with its event and the answer, all or nothing; a repetition is given
    /// the stored answer and changes nothing.
    async fn create(&self, product: Product, once: Once, answer: Answer) -> problem::Result<Response>;

    /// The product as it is now, in any state.
    async fn find(&self, id: Uuid) -> Result<Option<Product>>;

    /// Replaces the version before `product`'s, with its event.
    async fn replace(&self, product: &Product) -> Result<()>;

    /// Replaces the product as it is now by what `step` makes of it, with its event and the answer, all or nothing; a
    /// repetition is given the stored answer and changes nothing.
    async fn change_once(
        &self,
        id: Uuid,
        once: Once,
        step: Step,
        answer: Changed,
    ) -> problem::Result<Response>;

    /// Deletes the product and its marks if it still has this version, and leaves a tombstone.
    async fn delete(&self, id: Uuid, version: i64) -> Result<()>;

    /// Leaves an event of every product as it is now, for a topic that may have none; how many.
    ///
    /// What receivers have already is told again.
    async fn tell_all(&self) -> Result<u64>;

    /// Up to `count` products after `after`.
    async fn list(&self, listing: Listing, after: Option<Uuid>, count: u32) -> Result<Vec<Product>>;

    /// Marks a published product; a second time changes nothing. [`StoreError::Unknown`] when there
    /// is no such published product.
    async fn mark(&self, kind: MarkKind, member: Uuid, product_id: Uuid, at: OffsetDateTime) -> Result<()>;

    /// Takes a mark back; without one changes nothing.
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
