//! Random changes of a FlashSale, good and bad, in random order (after Acto). Whatever came before, the
//! sale ends up where the last good spec alone leads, and a refused change has changed nothing.
//!
//! A sequence begins before the stock is loaded and continues while the sale is open or paused. The API
//! server refuses some changes. Only the order service refuses others; the sale then says so until the
//! change is undone.

use std::time::Duration;

use futures::future::join_all;
use kube::{ResourceExt, api::DeleteParams};
use rocketmart_crds::{FlashSale, Phase};
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, sale_condition, shop},
    dice::Dice,
    market::{apply_token, launch, phase},
    order_service::{self, eventually, from_now, supply},
};

const STEPS: usize = 14;
/// Units of each SKU in the standing stock.
const SUPPLY: i64 = 1_000;

/// How a sale ends after its changes.
#[derive(Clone, Copy, Debug)]
enum End {
    ClosedEarly,
    Deleted,
}

/// A sale with its own SKU.
struct Life<'a> {
    cluster: Cluster,
    service: &'a order_service::Shop,
    sku: String,
}

impl<'a> Life<'a> {
    async fn new(service: &'a order_service::Shop, namespace: &str) -> Self {
        let cluster = Cluster::new(namespace).await;
        cluster.apply(shop("nowhere:9092")).await.unwrap();
        apply_token(&cluster).await;
        let sku = namespace.to_uppercase();
        supply(&service.backing.pool, &sku, SUPPLY).await;
        Self { cluster, service, sku }
    }

    /// Applies the spec with this life's SKU.
    async fn apply(&self, sale: &Value) -> kube::Result<()> {
        let mut sale = sale.clone();
        if let Some(item) = sale["spec"]["items"].get_mut(0) {
            item["sku"] = json!(self.sku);
        }
        self.cluster.apply(sale).await
    }

    async fn get(&self) -> FlashSale {
        self.cluster.api::<FlashSale>().get("launch").await.unwrap()
    }

    /// How the order service says the sale stands; `Null` until it has heard of it.
    async fn standing(&self, id: &str) -> Value {
        let (status, answer) = self.service.operator().get(&format!("/internal/v1/sales/{id}")).await;
        if status == 200 { answer } else { Value::Null }
    }

    /// `on_hand, allocated` of the SKU.
    async fn stock(&self) -> (i64, i64) {
        sqlx::query_as("SELECT on_hand, allocated FROM stock WHERE sku = $1")
            .bind(&self.sku)
            .fetch_one(&self.service.backing.pool)
            .await
            .unwrap()
    }

    /// Waits until the sale is loaded on its spec's terms, and sells or pauses as the spec says.
    async fn is_in_force(&self) {
        eventually(&format!("{} is in force", self.sku), async || {
            let sale = self.get().await;
            let standing = self.standing(&sale.uid().unwrap()).await;
            let (state, seen_as) =
                if sale.spec.suspend { ("suspended", Phase::Paused) } else { ("ready", Phase::Open) };
            let status = sale.status.clone().unwrap_or_default();
            standing["state"] == state
                && standing["verified"] == true
                && standing["items"][0]["preloaded"] == sale.spec.items[0].units
                && standing["closes_at_ms"] == sale.spec.closes_at.0.as_millisecond()
                && status.phase == Some(seen_as)
                && status.observed_generation == sale.metadata.generation
                && status.totals.is_some_and(|totals| totals.preloaded == sale.spec.items[0].units)
                && is_as_declared(&sale, seen_as)
        })
        .await;
    }

    /// The API server refuses this, so it is as if nobody had ever tried.
    async fn is_refused(&self, spoiled: &Value) {
        let before = self.get().await;
        let answer = self.apply(spoiled).await;
        assert!(answer.is_err(), "{} in {:?}: accepted {spoiled}", self.sku, phase(&before));
        let after = self.get().await;
        assert_eq!((after.metadata.generation, after.spec), (before.metadata.generation, before.spec));
    }

    /// Asks for more units than there are, which the API server cannot know. Nothing is allotted, the sale
    /// says so, and it recovers when the number is set back.
    async fn is_too_greedy(&self, good: &Value) {
        self.is_in_force().await;
        let stock = self.stock().await;
        let mut greedy = good.clone();
        greedy["spec"]["items"][0]["units"] = json!(SUPPLY * 1_000);
        self.apply(&greedy).await.unwrap();
        self.cluster
            .sale_that("launch", "named the rule", |sale| {
                sale_condition(sale, "Ready", "False").is_some_and(|said| said.contains("(within-stock)"))
            })
            .await;
        assert_eq!(self.stock().await, stock, "{}: some of it was allotted", self.sku);
        self.apply(good).await.unwrap();
        self.is_in_force().await;
    }

    /// What the API server and the order service say about the sale, without what differs between lives.
    async fn outcome(&self, id: &str) -> Value {
        let sale = self.cluster.api::<FlashSale>().get_opt("launch").await.unwrap();
        let seen = sale.map(|sale| {
            let status = sale.status.unwrap();
            let verdicts = status.conditions.iter().map(|it| (&it.type_, &it.status, &it.reason));
            let report = status.report.as_ref().map(|report| (&report.orders, &report.items, report.matched));
            json!({
                "spec": sale.spec, "phase": status.phase, "items": status.items, "totals": status.totals,
                "conditions": verdicts.collect::<Vec<_>>(), "report": report,
            })
        });
        // Redis keeps a finished sale only for a while.
        let standing = self.standing(id).await;
        let books = ["state", "ledger", "opens_at_ms", "closes_at_ms"].map(|field| &standing[field]);
        let outcome = json!({ "seen": seen, "books": books, "stock": self.stock().await });
        serde_json::from_str(&outcome.to_string().replace(&self.sku, "SKU")).unwrap()
    }

    async fn ends(&self, mut sale: Value, end: End) {
        let api = self.cluster.api::<FlashSale>();
        match end {
            End::ClosedEarly => {
                sale["spec"]["closeEarly"] = json!(true);
                self.apply(&sale).await.unwrap();
                let closed = |sale: &FlashSale| phase(sale) == Some(Phase::Closed);
                self.cluster.sale_that("launch", "was closed", closed).await;
            }
            End::Deleted => {
                api.delete("launch", &DeleteParams::default()).await.unwrap();
                eventually("the sale is gone", async || api.get_opt("launch").await.unwrap().is_none()).await;
            }
        }
    }
}

/// Changes the sale to another one that is good in every phase.
fn change(sale: &mut Value, dice: &mut Dice, step: usize) {
    let spec = &mut sale["spec"];
    match dice.below(5) {
        0 | 1 => {
            let units = spec["items"][0]["units"].as_i64().unwrap();
            spec["items"][0]["units"] = json!(units + [1, 5, 20][dice.below(3)]);
        }
        // Each step moves it later.
        2 => spec["closesAt"] = json!(from_now(3_600 * (2 + i64::try_from(step).unwrap()))),
        3 => spec["suspend"] = json!(dice.below(2) == 0),
        _ => spec["preScale"] = json!({ "order-worker": 1 + dice.below(4) }),
    }
}

/// Changes the sale to one that is refused in every phase, or only once its stock is loaded.
fn spoil(sale: &mut Value, dice: &mut Dice, loaded: bool) {
    let spec = &mut sale["spec"];
    match dice.below(if loaded { 14 } else { 6 }) {
        0 => spec["closesAt"] = spec["opensAt"].clone(),
        1 => spec["items"][0]["perBuyerLimit"] = json!(1_000_000),
        2 => spec["shop"] = json!("another"),
        3 => spec["items"] = json!([]),
        4 => spec["preScale"] = json!({ "orders": 1 }),
        5 => spec["surprise"] = json!(1),
        6 => spec["items"][0]["units"] = json!(1),
        7 => spec["items"][0]["price"] = json!(1),
        8 => spec["currency"] = json!("USD"),
        9 => spec["opensAt"] = json!(from_now(-60)),
        10 => spec["closesAt"] = json!(from_now(600)),
        11 => spec["paymentDeadlineSeconds"] = json!(6),
        12 => spec["preloadLeadSeconds"] = json!(6),
        _ => {
            let items = spec["items"].as_array_mut().unwrap();
            items.push(json!({ "sku": "ANOTHER", "units": 1, "price": 1 }));
        }
    }
}

/// Nothing is wrong: the reason of `Ready` is the phase.
fn is_as_declared(sale: &FlashSale, phase: Phase) -> bool {
    let mut conditions = sale.status.iter().flat_map(|status| &status.conditions);
    conditions.any(|it| it.type_ == "Ready" && it.reason == phase.to_string())
}

/// Whether the terms can no longer be taken back. Between these phases it is the operator's turn.
fn is_loaded(sale: &FlashSale) -> bool {
    matches!(
        phase(sale),
        Some(Phase::Preloading | Phase::Ready | Phase::Open | Phase::SoldOut | Phase::Paused)
    )
}

async fn wander(service: &order_service::Shop, seed: u64, end: End) {
    let mut dice = Dice(seed);
    let wandering = Life::new(service, &format!("wandering-sale-{seed}")).await;
    let operator = wandering.cluster.sales_operator(&service.api, 1).await;
    let mut good = launch(5, 3_600, 10);
    wandering.apply(&good).await.unwrap();
    let mut bad = 0;
    for step in 0..STEPS {
        match dice.below(5) {
            0 | 1 => {
                let mut spoiled = good.clone();
                spoil(&mut spoiled, &mut dice, is_loaded(&wandering.get().await));
                wandering.is_refused(&spoiled).await;
                bad += 1;
            }
            2 if step > STEPS / 2 => wandering.is_too_greedy(&good).await,
            _ => {
                change(&mut good, &mut dice, step);
                wandering.apply(&good).await.unwrap();
            }
        }
        // Sometimes the next change comes before the last one has taken effect.
        tokio::time::sleep(Duration::from_millis([0, 50, 600][dice.below(3)])).await;
    }
    assert!(bad > 0, "seed {seed} spoils nothing");
    wandering.is_in_force().await;

    let straight = Life::new(service, &format!("straight-sale-{seed}")).await;
    let other = straight.cluster.sales_operator(&service.api, 1).await;
    straight.apply(&good).await.unwrap();
    straight.is_in_force().await;
    let ids = [wandering.get().await.uid().unwrap(), straight.get().await.uid().unwrap()];
    assert_eq!(wandering.outcome(&ids[0]).await, straight.outcome(&ids[1]).await, "seed {seed}");

    tokio::join!(wandering.ends(good.clone(), end), straight.ends(good, end));
    assert_eq!(wandering.outcome(&ids[0]).await, straight.outcome(&ids[1]).await, "seed {seed} {end:?}");
    assert_eq!(wandering.stock().await, (SUPPLY, 0), "seed {seed}: every unit is back");
    operator.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn random_changes_of_a_sale_end_where_the_last_good_spec_alone_leads() {
    let service = order_service::Shop::open().await;
    let seeds = [(2, End::ClosedEarly), (11, End::Deleted), (42, End::ClosedEarly)];
    join_all(seeds.map(|(seed, end)| wander(&service, seed, end))).await;
}
