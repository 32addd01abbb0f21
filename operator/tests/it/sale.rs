//! A FlashSale on its way to selling: declared, checked, loaded, opened, changed.

use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;
use kube::{
    ResourceExt,
    api::{Patch, PatchParams},
};
use rocketmart_crds::{FlashSale, Phase};
use rocketmart_stock::SaleId;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    cluster::sale_condition,
    market::{Market, launch, phase as phase_of, phases},
    order_service::{MUG, PRICE, eventually, from_now, supply},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_goes_all_the_way_and_ends_with_balanced_books() {
    let market = Market::open("whole-way").await;
    let operator = market.operator(1).await;
    market.apply(&launch(5, 600, 3)).await.unwrap();
    market.until(Phase::Open).await;
    let sale = market.id().await;
    // Three buyers get a unit. One does not pay, and the unit goes to a fourth after the deadline.
    let leaver = market.service.buyer();
    assert_eq!(leaver.purchase(sale, 1, "k").await.0, 201);
    for _ in 0..2 {
        market.service.buy_and_pay(&market.service.buyer(), sale).await;
    }
    market.until(Phase::SoldOut).await;
    let latecomer = market.service.buyer();
    eventually("the unpaid unit is on sale again", async || latecomer.purchase(sale, 1, "k").await.0 == 201)
        .await;
    let (_, order) = latecomer.purchase(sale, 1, "k").await;
    let id = order["id"].as_str().unwrap();
    latecomer.post(&format!("/api/v1/orders/{id}/payment"), &json!({})).await;
    market.service.told.until("rocketmart.order.payment_requested.v1", id, 1).await;
    market.service.payment_succeeds(&order, uuid::Uuid::now_v7()).await;

    let closed = market.until(Phase::Closed).await;
    let entered = phases(&closed);
    let expected =
        [Phase::Scheduled, Phase::Preloading, Phase::Ready, Phase::Open, Phase::SoldOut, Phase::Draining];
    let mut rest = entered.iter();
    assert!(expected.iter().all(|phase| rest.any(|seen| seen == phase)), "{entered:?}");
    let status = closed.status.clone().unwrap();
    let totals = status.totals.unwrap();
    assert_eq!((totals.preloaded, totals.remaining, totals.reserved, totals.sold), (3, 0, 0, 3));
    let report = status.report.unwrap();
    assert_eq!((report.orders.paid, report.orders.expired, report.differences_total), (3, 1, 0));
    assert!(sale_condition(&closed, "Reconciled", "True").is_some());
    assert!(sale_condition(&closed, "Preloaded", "True").is_some());
    assert_eq!(market.service.backing.standing().await, [97, 0]);
    let events = market.events().await;
    for phase in expected {
        assert!(events.contains(&phase.to_string()), "no Event of {phase}: {events:?}");
    }
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_that_the_catalog_does_not_know_says_so_while_it_is_scheduled() {
    let market = Market::open("bad-input").await;
    let operator = market.operator(1).await;
    let item = |sku: &str, units: i64| json!({ "sku": sku, "units": units, "price": PRICE });
    for (spoil, message) in [
        (
            json!({ "items": [item(MUG, 1), item("PEN", 1)] }),
            "spec.items[1].sku: the catalog has published no such SKU (known-to-catalog)",
        ),
        (
            json!({ "items": [item(MUG, 101)] }),
            "spec.items[0].units: 101 more units are wanted, 100 are available (within-stock)",
        ),
        (json!({ "currency": "USD" }), "spec.currency: MUG: the catalog prices it in EUR (same-as-catalog)"),
    ] {
        let mut sale = launch(3600, 600, 1);
        for (field, value) in spoil.as_object().unwrap() {
            sale["spec"][field] = value.clone();
        }
        market.apply(&sale).await.unwrap();
        let said = market
            .cluster
            .sale_that("launch", message, |sale| {
                sale_condition(sale, "Ready", "False").is_some_and(|said| said.contains(message))
            })
            .await;
        assert_eq!(phase_of(&said), Some(Phase::Scheduled));
        assert_eq!(market.standing().await.0, 404, "nothing half-loaded");
    }

    // It recovers by itself once the catalog publishes the SKU.
    let mut sale = launch(3600, 600, 1);
    sale["spec"]["items"] = json!([item("PEN", 1)]);
    market.apply(&sale).await.unwrap();
    market
        .cluster
        .sale_that("launch", "was refused", |s| sale_condition(s, "Ready", "False").is_some())
        .await;
    supply(&market.service.backing.pool, "PEN", 1).await;
    market
        .cluster
        .sale_that("launch", "recovered", |sale| {
            sale_condition(sale, "Ready", "False")
                .is_some_and(|said| said.contains("stock is loaded 2 s before"))
        })
        .await;
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_of_an_unknown_shop_says_so_and_starts_when_the_shop_is_there() {
    let market = Market::open("unknown-shop").await;
    let operator = market.operator(1).await;
    let mut sale = launch(3600, 600, 1);
    sale["spec"]["shop"] = json!("elsewhere");
    market.apply(&sale).await.unwrap();
    let said = market
        .cluster
        .sale_that("launch", "was refused", |sale| sale_condition(sale, "Ready", "False").is_some())
        .await;
    let message = sale_condition(&said, "Ready", "False").unwrap();
    assert!(message.contains("spec.shop: there is no Shop `elsewhere`"), "{message}");
    assert_eq!(phase_of(&said), Some(Phase::Scheduled));
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preload_that_does_not_read_back_never_opens() {
    let market = Market::open("not-verified").await;
    market.apply(&launch(4, 600, 5)).await.unwrap();
    let sale = market.id().await;
    // Somebody else's data lies where the sale's stock should go.
    let client = redis::Client::open(market.service.backing.redis.url()).unwrap();
    let mut redis = client.get_multiplexed_async_connection().await.unwrap();
    let stock = format!("rm:{{{sale}}}:stock");
    let foreign = ["preloaded", "remaining", "reserved", "sold", "price"].map(|of| format!("GHOST:{of}"));
    let mut plant = redis::cmd("HSET");
    plant.arg(&stock);
    for (field, value) in foreign.iter().zip([1, 1, 0, 0, 1]) {
        plant.arg(field).arg(value);
    }
    let _: i64 = plant.query_async(&mut redis).await.unwrap();
    let operator = market.operator(1).await;
    market
        .cluster
        .sale_that("launch", "told that the pre-load does not read back", |sale| {
            sale_condition(sale, "Ready", "False").is_some_and(|said| said.contains("does not read back"))
        })
        .await;
    // Its opening time comes and goes.
    sleep(Duration::from_secs(5)).await;
    let (status, answer) = market.service.buyer().purchase(sale, 1, "k").await;
    assert_ne!(status, 201, "sold from a pre-load that was not verified: {answer}");
    assert!(!phases(&market.get().await).contains(&Phase::Open));

    let _: i64 = redis::cmd("HDEL").arg(&stock).arg(&foreign).query_async(&mut redis).await.unwrap();
    market.until(Phase::Open).await;
    assert_eq!(market.service.buyer().purchase(sale, 1, "k").await.0, 201);
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_sale_grows_pauses_and_resumes_and_loses_nothing_it_promised() {
    let market = Market::open("edits").await;
    let operator = market.operator(1).await;
    let mut sale = launch(3, 600, 2);
    market.apply(&sale).await.unwrap();
    market.until(Phase::Open).await;
    let id = market.id().await;
    assert_eq!(market.service.buyer().purchase(id, 1, "k").await.0, 201);

    // More units and a longer window.
    let later = from_now(7200);
    sale["spec"]["items"][0]["units"] = json!(9);
    sale["spec"]["closesAt"] = json!(later);
    market.apply(&sale).await.unwrap();
    market
        .cluster
        .sale_that("launch", "grew", |sale| {
            sale.status.as_ref().and_then(|s| s.totals).is_some_and(|totals| totals.preloaded == 9)
        })
        .await;
    let counters = market.service.backing.stock.counters(SaleId(id)).await.unwrap().unwrap();
    assert_eq!(counters.items[0].remaining, 8);
    let closes_at = later.parse::<Timestamp>().unwrap().as_millisecond();
    assert_eq!(counters.closes_at_ms, Some(closes_at));

    // The API server refuses what would break a promise, in a seller's words.
    let mut less = sale.clone();
    less["spec"]["items"][0]["units"] = json!(8);
    let refused = market.apply(&less).await.unwrap_err().to_string();
    assert!(refused.contains("units can grow but not shrink"), "{refused}");
    let mut dearer = sale.clone();
    dearer["spec"]["items"][0]["price"] = json!(PRICE + 1);
    let refused = market.apply(&dearer).await.unwrap_err().to_string();
    assert!(refused.contains("price can no longer change"), "{refused}");

    // This asks for more than there is. The sale says so and continues.
    let mut greedy = sale.clone();
    greedy["spec"]["items"][0]["units"] = json!(1_000);
    market.apply(&greedy).await.unwrap();
    market
        .cluster
        .sale_that("launch", "was refused", |sale| {
            sale_condition(sale, "Ready", "False").is_some_and(|said| said.contains("(within-stock)"))
        })
        .await;
    assert_eq!(market.service.buyer().purchase(id, 1, "k").await.0, 201, "it goes on selling");

    // The refused units do not hold up a pause.
    greedy["spec"]["suspend"] = json!(true);
    market.apply(&greedy).await.unwrap();
    market.until(Phase::Paused).await;
    let waiting = market.service.buyer();
    let code = |answer: &Value| answer["code"].as_str().unwrap_or_default().to_owned();
    // The phase is reported before the command is sent.
    let mut tries = 0;
    eventually("selling is paused", async || {
        tries += 1;
        code(&waiting.purchase(id, 1, &format!("try-{tries}")).await.1) == "sale-paused"
    })
    .await;
    greedy["spec"]["suspend"] = json!(false);
    market.apply(&greedy).await.unwrap();
    let next = market.service.buyer();
    eventually("selling goes on", async || next.purchase(id, 1, "k").await.0 == 201).await;
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_opens_on_time_while_no_operator_runs() {
    let market = Market::open("on-time").await;
    let operator = market.operator(1).await;
    market.apply(&launch(5, 600, 20)).await.unwrap();
    let ready = market.until(Phase::Ready).await;
    operator.stop().await;
    let sale = market.id().await;
    let opens_at = ready.spec.opens_at.0.as_millisecond();

    let (buyer, stock) = (market.service.buyer(), &market.service.backing.stock);
    loop {
        // Read before asking, so that a busy machine cannot make the opening look late.
        let asked_at = stock.counters(SaleId(sale)).await.unwrap().unwrap().now_ms;
        let (status, answer) = buyer.purchase(sale, 1, "k").await;
        if status == 201 {
            let at: Timestamp = answer["reserved_at"].as_str().unwrap().parse().unwrap();
            assert!(at.as_millisecond() >= opens_at, "sold before the opening: {answer}");
            return;
        }
        assert_eq!((status, answer["code"].as_str()), (409, Some("sale-not-open")), "{answer}");
        assert!(asked_at < opens_at + 100, "refused {} ms after the opening", asked_at - opens_at);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_sales_of_one_sku_at_once_share_its_stock_and_have_books_of_their_own() {
    let market = Market::open("same-sku").await;
    let operator = market.operator(1).await;
    let named = |name: &str, opens_in: i64, units: i64| {
        let mut sale = launch(opens_in, 600, units);
        sale["metadata"]["name"] = json!(name);
        sale
    };
    let (first, second) = (named("launch", 3, 60), named("encore", 4, 40));
    for sale in [&first, &second] {
        market.apply(sale).await.unwrap();
    }
    let is = |phase: Phase| move |sale: &FlashSale| phase_of(sale) == Some(phase);
    let mut ids = Vec::new();
    for name in ["launch", "encore"] {
        let open = market.cluster.sale_that(name, "was open", is(Phase::Open)).await;
        ids.push(open.uid().unwrap().parse().unwrap());
    }
    assert_eq!(market.service.backing.standing().await, [100, 100]);
    // Nothing is left for a third sale.
    market.apply(&named("greedy", 3_600, 1)).await.unwrap();
    market
        .cluster
        .sale_that("greedy", "was refused", |sale| {
            sale_condition(sale, "Ready", "False").is_some_and(|said| said.contains("(within-stock)"))
        })
        .await;
    // Each sale has its own limit of one per buyer.
    let buyer = market.service.buyer();
    for id in &ids {
        market.service.buy_and_pay(&buyer, *id).await;
    }
    for (name, mut sale, units) in [("launch", first, 60), ("encore", second, 40)] {
        sale["spec"]["closeEarly"] = json!(true);
        market.apply(&sale).await.unwrap();
        let closed = market.cluster.sale_that(name, "was closed", is(Phase::Closed)).await;
        assert!(sale_condition(&closed, "Reconciled", "True").is_some(), "{name}");
        let totals = closed.status.unwrap().totals.unwrap();
        assert_eq!((totals.preloaded, totals.sold), (units, 1), "{name}");
    }
    assert_eq!(market.service.backing.standing().await, [98, 0]);
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_are_written_at_a_bounded_rate_however_fast_they_change() {
    let market = Market::open("counters").await;
    let operator = market.operator(1).await;
    let mut sale = launch(3, 600, 60);
    sale["spec"]["paymentDeadlineSeconds"] = json!(60);
    market.apply(&sale).await.unwrap();
    market.until(Phase::Open).await;
    let id = market.id().await;
    // An Event announces the phase after the status was written.
    sleep(Duration::from_secs(1)).await;
    let (before, began) = (operator.writes(), Instant::now());
    for round in 0..40 {
        assert_eq!(market.service.buyer().purchase(id, 1, "k").await.0, 201);
        // The operator looks at every touch, and finds other counters.
        let touch = json!({ "metadata": { "annotations": { "touched": round.to_string() } } });
        let api = market.cluster.api::<FlashSale>();
        api.patch("launch", &PatchParams::default(), &Patch::Merge(&touch)).await.unwrap();
        sleep(Duration::from_millis(60)).await;
    }
    let (written, seconds) = (operator.writes() - before, began.elapsed().as_secs());
    assert!(written > 0, "nothing was told while units were sold");
    // One write at the start, and one in each second that has begun since.
    let most = usize::try_from(seconds).unwrap() + 2;
    assert!(written <= most, "{written} writes in {seconds} s");
    // The last write makes up for what was left out.
    market
        .cluster
        .sale_that("launch", "told of all forty", |sale| {
            let totals = sale.status.as_ref().and_then(|status| status.totals);
            totals.is_some_and(|totals| totals.preloaded - totals.remaining >= 40)
        })
        .await;
    operator.stop().await;
}
