//! The operator crashes before and after its writes, all the way through a sale and through the creation of
//! a shop. Everything ends as if nothing had happened.

use std::time::Duration;

use futures::future::join_all;
use kube::ResourceExt;
use rocketmart_crds::{FlashSale, Phase, Shop};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    children::children,
    cluster::{Cluster, brokers, condition, shop},
    crashes::{MOST_CRASHES, crashing},
    market::{apply_token, launch, phase},
    order_service::{self, supply},
    scissors::Scissors,
};

const SKU: &str = "SWEPT";

/// Runs until the sale is closed. Ends the sale as soon as it is open.
async fn sale_is_closed(cluster: &Cluster, mut sale: Value) {
    let api = cluster.api::<FlashSale>();
    for _ in 0..900 {
        let seen = api.get("launch").await.unwrap();
        match phase(&seen) {
            Some(Phase::Closed) => return,
            Some(Phase::Open) if !seen.spec.close_early => {
                sale["spec"]["closeEarly"] = json!(true);
                cluster.apply(sale.clone()).await.unwrap();
            }
            _ => {}
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{}: {:?}", cluster.namespace, api.get("launch").await.unwrap().status);
}

async fn life_of_a_sale(service: &order_service::Shop, begin: usize) {
    let cluster = Cluster::new(&format!("cut-sale-{begin}")).await;
    cluster.apply(shop("nowhere:9092")).await.unwrap();
    apply_token(&cluster).await;
    // On a busy machine an operator comes seconds late. No phase is so short that it would be skipped for
    // that.
    let mut sale = launch(12, 3_600, 2);
    sale["spec"]["preloadLeadSeconds"] = json!(6);
    sale["spec"]["items"][0]["sku"] = json!(SKU);
    cluster.apply(sale.clone()).await.unwrap();
    let start = async |scissors: Scissors, term| {
        let url = scissors.proxy(&service.api).await;
        cluster.sales_operator_cut_by(&scissors, &url, term).await
    };
    let crashes = crashing(begin, start, sale_is_closed(&cluster, sale)).await;
    assert!((8..MOST_CRASHES).contains(&crashes), "life {begin}: {crashes} crashes");

    let closed = cluster.api::<FlashSale>().get("launch").await.unwrap();
    let status = closed.status.as_ref().unwrap();
    let report = status.report.as_ref().unwrap();
    assert_eq!((report.differences_total, report.closed_out_at.is_some()), (0, true), "life {begin}");
    assert_eq!(status.totals.unwrap().preloaded, 2, "life {begin}");
    // While there was no operator, the time to load or to open may have come.
    let entered = status.phase_times.iter().map(|entered| entered.phase);
    let entered: Vec<_> = entered.filter(|phase| !matches!(phase, Phase::Scheduled | Phase::Ready)).collect();
    let expected = [Phase::Preloading, Phase::Open, Phase::Draining, Phase::Closed];
    assert_eq!(entered, expected, "life {begin}");
    let id: Uuid = closed.uid().unwrap().parse().unwrap();
    let loaded: i64 = sqlx::query_scalar("SELECT preloaded FROM sale_items WHERE sale_id = $1")
        .bind(id)
        .fetch_one(&service.backing.pool)
        .await
        .unwrap();
    assert_eq!(loaded, 2, "life {begin}: loaded once");
}

#[tokio::test(flavor = "multi_thread")]
async fn crashes_all_through_a_sale_change_nothing_in_the_end() {
    let service = order_service::Shop::open().await;
    supply(&service.backing.pool, SKU, 1_000).await;
    join_all([0, 1, 3, 5].map(|begin| life_of_a_sale(&service, begin))).await;
    let stock: (i64, i64) = sqlx::query_as("SELECT on_hand, allocated FROM stock WHERE sku = 'SWEPT'")
        .fetch_one(&service.backing.pool)
        .await
        .unwrap();
    assert_eq!(stock, (1_000, 0), "every unit came back once");
}

/// Runs until the shop is ready. Its Deployments become ready as soon as they exist.
async fn shop_is_ready(cluster: &Cluster) {
    let api = cluster.api::<Shop>();
    for _ in 0..300 {
        cluster.let_deployments_be_ready().await;
        if condition(&api.get("rocket").await.unwrap(), "Ready", "True").is_some() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    panic!("{}: {:?}", cluster.namespace, api.get("rocket").await.unwrap().status);
}

async fn declared_shop(namespace: &str) -> Cluster {
    let cluster = Cluster::new(namespace).await;
    cluster.apply_secrets().await;
    let mut spec = shop(&brokers().await);
    spec["spec"]["kafka"]["partitions"] = json!(1);
    cluster.apply(spec).await.unwrap();
    cluster
}

#[tokio::test(flavor = "multi_thread")]
async fn crashes_all_through_the_making_of_a_shop_change_nothing_in_the_end() {
    let (calm, cut) = tokio::join!(declared_shop("calm-made"), declared_shop("cut-made"));
    let operator = calm.operator().await;
    shop_is_ready(&calm).await;
    operator.stop().await;

    let start = async |scissors: Scissors, _| cut.shop_operator_cut_by(&scissors).await;
    let crashes = crashing(0, start, shop_is_ready(&cut)).await;
    assert!((20..MOST_CRASHES).contains(&crashes), "{crashes} crashes");
    let (found, expected) = (children(&cut).await, children(&calm).await);
    assert!(expected.len() >= 40, "{:?}", expected.keys());
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (name, object) in found {
        assert_eq!(object, expected[&name], "{name}");
    }
}
