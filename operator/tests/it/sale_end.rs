//! How a FlashSale ends. Whoever interferes on the way, nobody loads or settles it twice.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use rocketmart_crds::Phase;
use serde_json::json;
use uuid::Uuid;

use crate::{
    cluster::sale_condition,
    market::{Market, launch, phases},
    order_service::eventually,
    quiet::is_quiet,
    sale_deleted::{delete, gone},
};

#[tokio::test(flavor = "multi_thread")]
async fn closing_early_ends_the_sale_and_returns_what_was_not_sold() {
    let market = Market::open("close-early").await;
    let operator = market.operator(1).await;
    let mut sale = launch(3, 600, 5);
    market.apply(&sale).await.unwrap();
    market.until(Phase::Open).await;
    let id = market.id().await;
    market.service.buy_and_pay(&market.service.buyer(), id).await;
    sale["spec"]["closeEarly"] = json!(true);
    market.apply(&sale).await.unwrap();
    let closed = market.until(Phase::Closed).await;
    assert_eq!(closed.status.unwrap().report.unwrap().orders.paid, 1);
    assert_eq!(market.service.backing.standing().await, [99, 0]);
    let (status, answer) = market.service.buyer().purchase(id, 1, "k").await;
    assert_eq!((status, answer["code"].as_str()), (409, Some("sale-closed")), "{answer}");

    // It is over: nothing changes any more, and nothing holds up its deletion.
    sale["spec"]["suspend"] = json!(true);
    let refused = market.apply(&sale).await.unwrap_err().to_string();
    assert!(refused.contains("this sale has ended"), "{refused}");
    gone(&delete(&market).await).await;
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_that_is_replaced_in_every_phase_loads_once_and_closes_the_books() {
    let market = Market::open("replaced").await;
    let mut sale = launch(6, 600, 5);
    market.apply(&sale).await.unwrap();
    let mut term = 0;
    for phase in [Phase::Scheduled, Phase::Ready, Phase::Open, Phase::Paused, Phase::Open] {
        term += 1;
        let operator = market.operator(term).await;
        if phase == Phase::Paused {
            sale["spec"]["suspend"] = json!(true);
            market.apply(&sale).await.unwrap();
        } else if term == 5 {
            sale["spec"]["suspend"] = json!(false);
            market.apply(&sale).await.unwrap();
        }
        market.until(phase).await;
        operator.crash().await;
    }
    let id = market.id().await;
    assert_eq!(market.service.backing.ledger().await, [5, 5, 0, 0]);
    assert_eq!(market.service.backing.standing().await, [100, 5], "loaded once");
    // The last operator may have crashed after saying that it resumes the sale and before resuming it.
    let operator = market.operator(6).await;
    eventually("it sells", async || market.standing().await.1["state"] == "ready").await;
    market.service.buy_and_pay(&market.service.buyer(), id).await;
    sale["spec"]["closeEarly"] = json!(true);
    market.apply(&sale).await.unwrap();
    market
        .cluster
        .sale_that("launch", "drained", |sale| {
            phases(sale).last().is_some_and(|phase| matches!(phase, Phase::Draining | Phase::Closed))
        })
        .await;
    operator.crash().await;
    let operator = market.operator(7).await;
    let closed = market.until(Phase::Closed).await;
    assert!(sale_condition(&closed, "Reconciled", "True").is_some());
    assert_eq!(market.service.backing.standing().await, [99, 0]);
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_operators_at_once_load_once_and_the_older_one_is_refused() {
    let market = Market::open("two-at-once").await;
    let mut sale = launch(4, 600, 5);
    market.apply(&sale).await.unwrap();
    let (frozen, leader) = (market.operator(1).await, market.operator(2).await);
    market.until(Phase::Open).await;
    assert_eq!(market.service.backing.ledger().await, [5, 5, 0, 0]);
    assert_eq!(market.service.backing.standing().await, [100, 5], "loaded once");
    // The leader continues alone and sends a command.
    frozen.crash().await;
    sale["spec"]["suspend"] = json!(true);
    market.apply(&sale).await.unwrap();
    eventually("it is suspended", async || market.standing().await.1["state"] == "suspended").await;
    assert!(market.standing().await.1["fence"].as_i64().unwrap() >= 2_000_000);
    leader.stop().await;

    // The older leader thaws, and can change nothing.
    let thawed = market.operator(1).await;
    sale["spec"]["suspend"] = json!(false);
    market.apply(&sale).await.unwrap();
    market
        .cluster
        .sale_that("launch", "was left alone by the older operator", |sale| {
            sale_condition(sale, "Ready", "False").is_some_and(|said| said.contains("newer operator"))
        })
        .await;
    assert_eq!(market.standing().await.1["state"], "suspended");
    thawed.stop().await;
    let leader = market.operator(3).await;
    eventually("it sells again", async || market.standing().await.1["state"] == "ready").await;
    leader.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn books_that_differ_are_listed_beside_the_sale_and_signed_off_once_they_agree() {
    let market = Market::open("books-differ").await;
    let operator = market.operator(1).await;
    let mut sale = launch(3, 600, 30);
    market.apply(&sale).await.unwrap();
    market.until(Phase::Open).await;
    let id = market.id().await;
    for _ in 0..25 {
        assert_eq!(market.service.buyer().purchase(id, 1, "k").await.0, 201);
    }
    let booked = "SELECT count(*) FROM orders JOIN sales ON sales.id = sale_id WHERE NOT standing";
    eventually("all orders are booked", async || market.service.backing.number(booked).await == 25).await;
    eventually("nobody paid", async || market.service.backing.ledger().await == [30, 30, 0, 0]).await;
    operator.stop().await;

    // Somebody tampered with the books: every order belongs to another buyer.
    let pool = &market.service.backing.pool;
    let owners: Vec<(Uuid, Uuid)> = sqlx::query_as("SELECT id, buyer_id FROM orders WHERE sale_id = $1")
        .bind(id)
        .fetch_all(pool)
        .await
        .unwrap();
    sqlx::query("UPDATE orders SET buyer_id = gen_random_uuid() WHERE sale_id = $1")
        .bind(id)
        .execute(pool)
        .await
        .unwrap();
    let operator = market.operator(2).await;
    sale["spec"]["closeEarly"] = json!(true);
    market.apply(&sale).await.unwrap();
    let differing = market
        .cluster
        .sale_that("launch", "had a report", |sale| sale_condition(sale, "Reconciled", "False").is_some())
        .await;
    assert_eq!(phases(&differing).last(), Some(&Phase::Draining));
    let report = differing.status.unwrap().report.unwrap();
    assert_eq!((report.differences.len(), report.differences_total), (20, 25));
    let list = market.cluster.api::<ConfigMap>().get(&report.differences_config_map.unwrap()).await.unwrap();
    assert_eq!(list.owner_references()[0].name, "launch");
    let list = &list.data.unwrap()["differences.jsonl"];
    let orders: BTreeSet<Uuid> = list
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|difference| difference["orderId"].as_str().unwrap().parse().unwrap())
        .collect();
    assert_eq!(orders, owners.iter().map(|(order, _)| *order).collect(), "the list is not whole");
    assert_eq!(market.service.backing.standing().await, [100, 30], "units went back although nobody knows");
    is_quiet(&market, "BooksDiffer").await;

    let (orders, buyers): (Vec<Uuid>, Vec<Uuid>) = owners.into_iter().unzip();
    sqlx::query(
        "UPDATE orders SET buyer_id = owners.buyer FROM unnest($1::uuid[], $2::uuid[]) AS owners (id, buyer)
         WHERE orders.id = owners.id",
    )
    .bind(orders)
    .bind(buyers)
    .execute(pool)
    .await
    .unwrap();
    let closed = market.until(Phase::Closed).await;
    assert!(sale_condition(&closed, "Reconciled", "True").is_some());
    assert_eq!(closed.status.unwrap().report.unwrap().differences_total, 0);
    assert_eq!(market.service.backing.standing().await, [100, 0]);
    operator.stop().await;
}
