//! The operator crashes before and after its writes while buyers hold units of a sale that pauses, resumes
//! and ends. At every moment the units are where they belong, and everything ends as if nothing had
//! happened.
//!
//! ```text
//! open ─ one unit sold, two reserved ─▶ paused ─▶ open ─▶ closed early, or deleted
//!                                         └ one of the two is paid; the other expires while the sale drains
//! ```

use std::time::Duration;

use futures::future::join_all;
use kube::{ResourceExt, api::DeleteParams};
use rocketmart_crds::{FlashSale, Phase};
use rocketmart_stock::SaleId;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    cluster::{Cluster, shop},
    crashes::{MOST_CRASHES, crashing},
    market::{apply_token, launch, phase, phases},
    order_service::{self, Caller},
    scissors::Scissors,
};

const UNITS: i64 = 4;
const SOLD: i64 = 2;

/// How a sale ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    ClosedEarly,
    Deleted,
}

/// An open sale.
struct Life<'a> {
    cluster: Cluster,
    service: &'a order_service::Shop,
    sale: Value,
    id: Uuid,
}

impl<'a> Life<'a> {
    async fn begin(service: &'a order_service::Shop, namespace: &str) -> Self {
        let cluster = Cluster::new(namespace).await;
        cluster.apply(shop("nowhere:9092")).await.unwrap();
        apply_token(&cluster).await;
        let mut sale = launch(1, 3_600, UNITS);
        // Long enough to pay, however busy the machine.
        sale["spec"]["paymentDeadlineSeconds"] = json!(10);
        cluster.apply(sale.clone()).await.unwrap();
        let operator = cluster.sales_operator(&service.api, 1).await;
        let open = cluster.sale_that("launch", "was open", |sale| phase(sale) == Some(Phase::Open)).await;
        operator.stop().await;
        let id = open.uid().unwrap().parse().unwrap();
        Self { cluster, service, sale, id }
    }

    /// Changes the spec, and waits until the order service follows.
    async fn change(&self, field: &str, value: bool, state: &str) {
        let mut sale = self.sale.clone();
        sale["spec"][field] = json!(value);
        self.cluster.apply(sale).await.unwrap();
        let operator = self.service.operator();
        self.until(state, async || {
            operator.get(&format!("/internal/v1/sales/{}", self.id)).await.1["state"] == state
        })
        .await;
    }

    /// Waits, and keeps counting the units.
    async fn until(&self, what: &str, holds: impl AsyncFn() -> bool) {
        for _ in 0..600 {
            self.units_are_conserved().await;
            if holds().await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{} never was {what}", self.cluster.namespace);
    }

    /// Every unit that was loaded is somewhere, exactly once, and nothing was loaded twice.
    async fn units_are_conserved(&self) {
        // Once the books are closed, Redis forgets the sale.
        let Some(counters) = self.service.backing.stock.counters(SaleId(self.id)).await.unwrap() else {
            return;
        };
        let mug = &counters.items[0];
        assert_eq!(i64::from(mug.preloaded), UNITS, "{}", self.cluster.namespace);
        assert_eq!(mug.remaining + mug.reserved + mug.sold, mug.preloaded, "{}", self.cluster.namespace);
    }

    /// The rest of the sale. Somebody pays for `held` while the sale is paused.
    async fn goes_on(&self, payer: &Caller, held: Value, end: End) {
        tokio::join!(
            self.change("suspend", true, "suspended"),
            // A pause loses nobody's unit.
            self.service.pay(payer, (201, held)),
        );
        self.change("suspend", false, "ready").await;
        match end {
            End::ClosedEarly => {
                self.change("closeEarly", true, "closed_out").await;
                let closed = |sale: &FlashSale| phase(sale) == Some(Phase::Closed);
                self.cluster.sale_that("launch", "was closed", closed).await;
            }
            End::Deleted => {
                let api = self.cluster.api::<FlashSale>();
                api.delete("launch", &DeleteParams::default()).await.unwrap();
                self.until("gone", async || api.get_opt("launch").await.unwrap().is_none()).await;
            }
        }
    }

    /// What is left of the sale, without its names and times.
    async fn outcome(&self) -> Value {
        let sale = self.cluster.api::<FlashSale>().get_opt("launch").await.unwrap();
        let seen = sale.map(|sale| {
            // While there was no operator, the time to load or to open may have come.
            let on_the_way = |phase: &Phase| !matches!(phase, Phase::Scheduled | Phase::Ready);
            let entered: Vec<_> = phases(&sale).into_iter().filter(on_the_way).collect();
            let status = sale.status.unwrap();
            let verdicts = status.conditions.iter().map(|it| (&it.type_, &it.status, &it.reason));
            let report = status.report.as_ref().unwrap();
            json!({
                "phases": entered, "conditions": verdicts.collect::<Vec<_>>(), "items": status.items,
                "totals": status.totals, "report": (&report.orders, &report.items, report.matched),
            })
        });
        let books: (String, i64, i64, i64, i64) = sqlx::query_as(
            "SELECT state, preloaded, remaining, reserved, sold FROM sales JOIN sale_items ON id = sale_id
             WHERE id = $1",
        )
        .bind(self.id)
        .fetch_one(&self.service.backing.pool)
        .await
        .unwrap();
        let orders: Vec<(String, i64)> = sqlx::query_as(
            "SELECT state, count(*) FROM orders WHERE sale_id = $1 GROUP BY state ORDER BY state",
        )
        .bind(self.id)
        .fetch_all(&self.service.backing.pool)
        .await
        .unwrap();
        json!({ "seen": seen, "books": books, "orders": orders })
    }
}

/// Returns the outcome. Without a `begin`, nobody crashes.
async fn life(service: &order_service::Shop, begin: Option<usize>, end: End) -> Value {
    let name = begin.map_or_else(|| "calm".to_owned(), |begin| format!("cut-{begin}"));
    let life = Life::begin(service, &format!("{name}-{end:?}").to_lowercase()).await;
    service.buy_and_pay(&service.buyer(), life.id).await;
    assert_eq!(service.buyer().purchase(life.id, 1, "k").await.0, 201, "somebody who never pays");
    let payer = service.buyer();
    let (status, held) = payer.purchase(life.id, 1, "k").await;
    assert_eq!(status, 201, "{held}");

    let rest = life.goes_on(&payer, held, end);
    if let Some(begin) = begin {
        let start = async |scissors: Scissors, term: i64| {
            let url = scissors.proxy(&service.api).await;
            // The sale opened in the first term.
            life.cluster.sales_operator_cut_by(&scissors, &url, term + 1).await
        };
        let crashes = crashing(begin, start, rest).await;
        // As many crashes as there are writes left: everything is reported once.
        assert!((5..MOST_CRASHES).contains(&crashes), "{name} {end:?}: {crashes} crashes");
    } else {
        let operator = life.cluster.sales_operator(&service.api, 2).await;
        rest.await;
        operator.stop().await;
    }
    life.outcome().await
}

#[tokio::test(flavor = "multi_thread")]
async fn crashes_all_through_the_end_of_a_sale_whose_units_are_held_change_nothing_in_the_end() {
    let service = order_service::Shop::open().await;
    let ends = [End::ClosedEarly, End::Deleted];
    let begins = [None, Some(0), Some(1), Some(3), Some(5)];
    let lives = begins.iter().flat_map(|begin| ends.map(|end| (*begin, end)));
    let lives: Vec<_> = lives.collect();
    let outcomes = join_all(lives.iter().map(|(begin, end)| life(&service, *begin, *end))).await;
    for ((begin, end), outcome) in lives.iter().zip(&outcomes) {
        let calm = lives.iter().position(|other| *other == (None, *end)).unwrap();
        assert_eq!(outcome, &outcomes[calm], "{begin:?} {end:?}");
        assert_eq!(
            outcome["books"],
            json!(["closed_out", UNITS, UNITS - SOLD, 0, SOLD]),
            "{begin:?} {end:?}"
        );
        assert_eq!(outcome["orders"], json!([["expired", 1], ["paid", 2]]), "{begin:?} {end:?}");
    }
    let sold = SOLD * i64::try_from(lives.len()).unwrap();
    assert_eq!(service.backing.standing().await, [100 - sold, 0], "what was not sold is back, once");
}
