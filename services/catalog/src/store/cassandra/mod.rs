//! Products in Cassandra: what a transaction does in PostgreSQL, without one.
//!
//! ```text
//!              ┌ creation ─┐                       ┌ skus     one published product per SKU
//!  requests ───┤           ├── rows (a product with its unpublished events)
//!              └ replace … ┘                       ├ lists    what is where, newest first
//!                                                  └ pending  notes ──▶ publisher ──▶ topic `products`
//! ```
//!
//! A product and the events about it are one row, and one conditional write changes it. Everything else is
//! arranged around that write, so that a crash at any point leaves only what does no harm: a list entry or a
//! note for a change that did not happen, or a claim on a SKU that nobody holds. docs/adr/0004 has the
//! decision and its crash points.

mod cluster;
mod conditional;
mod config;
mod connect;
mod creation;
mod lists;
mod marks;
mod migrations;
mod once;
mod owner;
mod pending;
mod publisher;
mod retelling;
mod rows;
mod skus;

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use axum::response::Response;
use futures::{StreamExt, TryStreamExt, stream};
use rocketmart_kit::config::KafkaConfig;
use rocketmart_kit::problem;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub use self::cluster::Cluster;
use self::conditional::Verdict;
pub use self::config::CassandraConfig;
use self::lists::Walk;
use self::pending::{Note, PendingEvent};
use self::rows::{Kept, Live};
use self::skus::{Claim, Claimant};
use super::{
    Answer, Changed, Listing, Mark, MarkKind, MarkPlace, Once, ProductStore, Result, Step, StoreError,
};
use crate::domain::{Product, State};
use crate::events;

/// How often we try to write a version while its SKUs are contested (a fence refuses, and the version is
/// still the same).
const ATTEMPTS: usize = 5;
/// How many products we read at the same time.
const AT_ONCE: usize = 16;

pub struct CassandraStore {
    cluster: Arc<Cluster>,
}

impl CassandraStore {
    pub fn new(cluster: Cluster) -> Self {
        Self { cluster: Arc::new(cluster) }
    }

    /// An error while no node answers.
    pub(crate) async fn ready(&self) -> anyhow::Result<()> {
        self.cluster.ready().await
    }

    /// Publishes changes until `stop`. Of all replicas, one works at a time.
    pub(crate) async fn publish_loop(
        self: Arc<Self>,
        kafka: KafkaConfig,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        publisher::publish_loop(Arc::clone(&self.cluster), kafka, stop).await
    }

    /// Whole products in the order of the ids; those that no longer exist are left out.
    async fn read_all(&self, ids: &[Uuid]) -> Result<Vec<Product>> {
        let found: Vec<Option<Live>> = stream::iter(ids.iter().copied())
            .map(async |id| Ok::<_, StoreError>(rows::find(&self.cluster, id).await?.live()))
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        Ok(found.into_iter().flatten().map(|live| live.product).collect())
    }

    /// Adds how many members like each.
    async fn with_likes(&self, mut products: Vec<Product>) -> Result<Vec<Product>> {
        let ids: Vec<Uuid> = products.iter().map(|product| product.id).collect();
        for (product, likes) in products.iter_mut().zip(marks::likes_of(&self.cluster, &ids).await?) {
            product.likes = likes;
        }
        Ok(products)
    }

    /// The stored product, if it still has the version that a change was made for.
    async fn at_version(&self, id: Uuid, version: i64) -> Result<Live> {
        let live = rows::find(&self.cluster, id).await?.live().ok_or(StoreError::Unknown)?;
        if live.product.version == version { Ok(live) } else { Err(StoreError::VersionConflict) }
    }

    /// One attempt to replace `before` with `product`; false if only the fence refused.
    async fn try_replace(&self, before: &Live, product: &Product) -> Result<bool> {
        let (cluster, id) = (&*self.cluster, product.id);
        let (old, new): (HashSet<&str>, HashSet<&str>) =
            (before.product.skus().collect(), product.skus().collect());
        let owned = |skus: Vec<&&str>| skus.into_iter().map(|sku| (*sku).to_owned()).collect();
        let dropped = skus::claims_of(cluster, id, owned(old.difference(&new).collect())).await?;
        let wanted = match (product.state, before.product.state) {
            (State::Published, State::Published) => owned(new.difference(&old).collect()),
            // A withdrawn product may have lost its claims, so it claims all of them again.
            (State::Published, State::Draft | State::Withdrawn) => owned(new.iter().collect()),
            (State::Draft | State::Withdrawn, _) => Vec::new(),
        };
        let claimant = Claimant { product_id: id, seller_id: product.seller_id };
        let claimed = match skus::claim_all(cluster, claimant, wanted).await {
            Ok(claimed) => claimed,
            Err(failed) => {
                skus::release(cluster, id, failed.made).await;
                return Err(failed.error);
            }
        };
        let product = &with_claims(product, &claimed);
        let event = &PendingEvent::of(&events::changed(product))?;
        let write_id = Uuid::new_v4();
        let verdict = rows::replace(cluster, before, product, write_id, event).await?;
        if verdict.is_applied() {
            skus::release(cluster, id, dropped).await;
            return Ok(true);
        }
        match rows::find_settled(cluster, id).await? {
            Kept::Live(live) if live.write_id == Some(write_id) => {
                skus::release(cluster, id, dropped).await;
                Ok(true)
            }
            Kept::Live(live) if live.product.version == before.product.version => Ok(false),
            // A later version may have been built on ours.
            Kept::Live(live)
                if verdict == Verdict::RefusedAfterDoubt && live.product.version > product.version =>
            {
                Err(StoreError::OutcomeUnknown(anyhow::anyhow!("overtaken while in doubt")))
            }
            Kept::Live(_) => {
                skus::release(cluster, id, claimed).await;
                Err(StoreError::VersionConflict)
            }
            Kept::Deleted | Kept::Void | Kept::Nothing => {
                skus::release(cluster, id, claimed).await;
                Err(StoreError::Unknown)
            }
        }
    }
}

/// The product with the numbers of the claims that it has just made. Its other claims keep theirs.
fn with_claims(product: &Product, claimed: &[Claim]) -> Product {
    let mut product = product.clone();
    for variant in &mut product.content.variants {
        if let Some(claim) = claimed.iter().find(|claim| claim.sku == variant.sku) {
            variant.claim = Some(claim.number);
        }
    }
    product
}

#[async_trait]
impl ProductStore for CassandraStore {
    async fn create(&self, product: Product, once: Once, answer: Answer) -> problem::Result<Response> {
        creation::create(&self.cluster, product, once, answer).await
    }

    async fn find(&self, id: Uuid) -> Result<Option<Product>> {
        let (kept, likes) = tokio::try_join!(rows::find(&self.cluster, id), marks::likes(&self.cluster, id))?;
        Ok(kept.live().map(|live| Product { likes, ..live.product }))
    }

    async fn replace(&self, product: &Product) -> Result<()> {
        let note = Note::leave(&self.cluster, product.id, product.version).await?;
        lists::enter(&self.cluster, product).await?;
        for _ in 0..ATTEMPTS {
            let before = self.at_version(product.id, product.version - 1).await?;
            if self.try_replace(&before, product).await? {
                note.renew_if_late(&self.cluster).await?;
                if product.state == State::Withdrawn && before.product.is_published() {
                    let skus = product.skus().map(str::to_owned).collect();
                    skus::settle(&self.cluster, product.id, skus).await;
                }
                if product.state != State::Published {
                    lists::leave_published(&self.cluster, product.id, product.version).await?;
                }
                return Ok(());
            }
        }
        Err(StoreError::VersionConflict)
    }

    async fn change_once(
        &self,
        id: Uuid,
        once: Once,
        step: Step,
        answer: Changed,
    ) -> problem::Result<Response> {
        once::change(&self.cluster, id, &once, &step, answer).await
    }

    async fn delete(&self, id: Uuid, version: i64) -> Result<()> {
        let event = PendingEvent::of(&events::deleted(id))?;
        let note = Note::leave(&self.cluster, id, version + 1).await?;
        for _ in 0..ATTEMPTS {
            let before = self.at_version(id, version).await?;
            let skus = before.product.skus().map(str::to_owned).collect();
            let claims = skus::claims_of(&self.cluster, id, skus).await?;
            let verdict = rows::delete(&self.cluster, &before, &event).await?;
            let is_gone = verdict.is_applied()
                || match rows::find_settled(&self.cluster, id).await? {
                    // Whoever deleted it: that is what the caller wanted.
                    Kept::Deleted => verdict == Verdict::RefusedAfterDoubt,
                    _ => false,
                };
            if is_gone {
                note.renew_if_late(&self.cluster).await?;
                skus::release(&self.cluster, id, claims).await;
                return lists::leave_all(&self.cluster, &before.product, version + 1).await;
            }
        }
        Err(StoreError::VersionConflict)
    }

    async fn tell_all(&self) -> Result<u64> {
        retelling::tell_all(&self.cluster).await
    }

    async fn list(&self, listing: Listing, after: Option<Uuid>, count: u32) -> Result<Vec<Product>> {
        let mut walk = match listing {
            Listing::Published => Walk::published(&self.cluster, after).await?,
            Listing::OfSeller(seller) => Walk::OfSeller(seller),
        };
        let (wanted, mut after) = (count as usize, after);
        let mut listed: Vec<Product> = Vec::new();
        while listed.len() < wanted {
            let missing = i32::try_from(wanted - listed.len()).unwrap_or(i32::MAX);
            let ids = walk.ids(&self.cluster, after, missing).await?;
            let Some(last) = ids.last() else { break };
            after = Some(*last);
            let found = self.read_all(&ids).await?;
            listed.extend(found.into_iter().filter(|product| match listing {
                Listing::Published => product.is_published(),
                Listing::OfSeller(seller) => product.seller_id == seller,
            }));
        }
        self.with_likes(listed).await
    }

    async fn mark(&self, kind: MarkKind, member: Uuid, product_id: Uuid, at: OffsetDateTime) -> Result<()> {
        let product = rows::find(&self.cluster, product_id).await?.live();
        if !product.is_some_and(|live| live.product.is_published()) {
            return Err(StoreError::Unknown);
        }
        marks::add(&self.cluster, kind, member, product_id, at).await
    }

    async fn unmark(&self, kind: MarkKind, member: Uuid, product_id: Uuid) -> Result<()> {
        marks::remove(&self.cluster, kind, member, product_id).await
    }

    async fn marks(
        &self,
        kind: MarkKind,
        member: Uuid,
        after: Option<MarkPlace>,
        count: u32,
    ) -> Result<Vec<Mark>> {
        let (wanted, mut after) = (count as usize, after);
        let mut listed: Vec<Mark> = Vec::new();
        while listed.len() < wanted {
            let missing = i32::try_from(wanted - listed.len()).unwrap_or(i32::MAX);
            let places = marks::list(&self.cluster, kind, member, after, missing).await?;
            let Some(last) = places.last() else { break };
            after = Some(*last);
            for place in places {
                match rows::find(&self.cluster, place.product_id).await? {
                    Kept::Live(live) => {
                        let product = Some(live.product).filter(Product::is_published);
                        listed.push(Mark { place, product });
                    }
                    // Marks disappear with their product; this one had not heard of it yet.
                    _ => marks::remove(&self.cluster, kind, member, place.product_id).await?,
                }
            }
        }
        let shown: Vec<Product> = listed.iter().filter_map(|mark| mark.product.clone()).collect();
        let mut shown = self.with_likes(shown).await?.into_iter();
        for mark in listed.iter_mut().filter(|mark| mark.product.is_some()) {
            mark.product = shown.next();
        }
        Ok(listed)
    }
}
