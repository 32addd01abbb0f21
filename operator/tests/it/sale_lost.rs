//! Redis loses an open sale. The sale pauses, is rebuilt from PostgreSQL, opens again, and says so.

use rocketmart_crds::Phase;
use rocketmart_stock::SaleId;
use serde_json::json;

use crate::{
    cluster::sale_condition,
    market::{Market, launch, phase, phases},
    order_service::eventually,
};

async fn flush(market: &Market) {
    let client = redis::Client::open(market.service.backing.redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let _: () = redis::cmd("FLUSHALL").query_async(&mut connection).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_that_redis_lost_is_paused_rebuilt_and_opened_again_by_whichever_operator_leads() {
    let market = Market::open("redis-lost").await;
    let first = market.operator(1).await;
    let mut sale = launch(3, 600, 5);
    sale["spec"]["paymentDeadlineSeconds"] = json!(60);
    market.apply(&sale).await.unwrap();
    market.until(Phase::Open).await;
    let id = market.id().await;
    market.service.buy_and_pay(&market.service.buyer(), id).await;
    let holder = market.service.buyer();
    let (_, held) = holder.purchase(id, 1, "k").await;
    market.service.until_booked(held["id"].as_str().unwrap(), "reserved").await;

    // The first leader does not know yet that it was replaced, and sends commands as well.
    let second = market.operator(2).await;
    flush(&market).await;
    let open = market
        .cluster
        .sale_that("launch", "was rebuilt and opened again", |sale| {
            sale_condition(sale, "Rebuilt", "True").is_some()
                && phase(sale) == Some(Phase::Open)
                && sale_condition(sale, "Ready", "True").is_some()
        })
        .await;
    let entered = phases(&open);
    let paused = entered.iter().rposition(|phase| *phase == Phase::Paused).unwrap();
    assert!(paused + 1 < entered.len(), "{entered:?}");
    let said = sale_condition(&open, "Rebuilt", "True").unwrap();
    assert!(said.contains("from 2 orders in PostgreSQL") && said.contains("are unknown"), "{said}");
    let mut events = Vec::new();
    eventually("it is told in Events", async || {
        events = market.events().await;
        ["Paused", "Rebuilding", "Rebuilt"].iter().all(|wanted| events.iter().any(|event| event == wanted))
    })
    .await;

    let counters = market.service.backing.stock.counters(SaleId(id)).await.unwrap().unwrap();
    let mug = &counters.items[0];
    assert_eq!((mug.preloaded, mug.remaining, mug.reserved, mug.sold), (5, 3, 1, 1));
    assert_eq!(holder.purchase(id, 1, "k").await.1["id"], held["id"], "the same key, the same order");
    market.service.pay(&holder, holder.purchase(id, 1, "k").await).await;
    first.stop().await;
    sale["spec"]["closeEarly"] = json!(true);
    market.apply(&sale).await.unwrap();
    let closed = market.until(Phase::Closed).await;
    let report = closed.status.as_ref().unwrap().report.clone().unwrap();
    assert_eq!((report.orders.paid, report.differences_total), (2, 0));
    assert!(sale_condition(&closed, "Reconciled", "True").is_some());
    second.stop().await;
}
