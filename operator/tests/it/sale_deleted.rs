//! A deleted FlashSale settles and goes. Or it is let go, because somebody says so or because its time is
//! up.

use std::time::Duration;

use k8s_openapi::{api::events::v1::Event, jiff::Timestamp};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use rocketmart_crds::{FlashSale, Phase};
use rocketmart_operator::controllers::flash_sale::{ABANDON, FINALIZER};
use serde_json::json;

use crate::{
    cluster::sale_condition,
    market::{Market, launch},
    operators::Operator,
    order_service::{self, Caller, eventually},
};

/// How long a deleted sale has in these tests beyond the five seconds to pay.
const SETTLE: &[&str] = &["--settle-seconds", "4"];
const LET_GO_AFTER: i64 = 5 + 4;

pub async fn delete(market: &Market) -> Api<FlashSale> {
    let api = market.cluster.api::<FlashSale>();
    api.delete("launch", &DeleteParams::default()).await.unwrap();
    api
}

pub async fn gone(api: &Api<FlashSale>) {
    eventually("the FlashSale is gone", async || api.get_opt("launch").await.unwrap().is_none()).await;
}

/// Waits until this buyer is told that the sale is over.
async fn selling_stops(market: &Market, buyer: &Caller) {
    let id = market.id().await;
    let mut tries = 0;
    eventually("selling has stopped", async || {
        tries += 1;
        buyer.purchase(id, 1, &format!("try-{tries}")).await.1["code"] == "sale-closed"
    })
    .await;
}

/// When and why the operator reported that the sale was deleted without settling.
async fn not_settled(market: &Market) -> (Timestamp, String) {
    let events = market.cluster.api::<Event>().list(&ListParams::default()).await.unwrap();
    let told = events.into_iter().find(|event| event.reason.as_deref() == Some("NotSettled")).unwrap();
    (told.event_time.unwrap().0, told.note.unwrap())
}

/// Waits until the sale says that its order service is away.
async fn nobody_answers(market: &Market) {
    market
        .cluster
        .sale_that("launch", "said that the order service is away", |sale| {
            sale_condition(sale, "Ready", "False").is_some_and(|said| said.contains("does not answer"))
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_sale_stops_selling_settles_and_only_then_goes() {
    let market = Market::open("deleted").await;
    let operator = market.operator(1).await;
    market.apply(&launch(3, 600, 5)).await.unwrap();
    let open = market.until(Phase::Open).await;
    assert!(open.finalizers().iter().any(|finalizer| finalizer == FINALIZER));
    let id = market.id().await;
    market.service.buy_and_pay(&market.service.buyer(), id).await;
    // Somebody holds a unit and still has time to pay for it.
    assert_eq!(market.service.buyer().purchase(id, 1, "k").await.0, 201);
    let api = delete(&market).await;
    selling_stops(&market, &market.service.buyer()).await;
    gone(&api).await;
    assert_eq!(market.service.backing.standing().await, [99, 0], "unsold units are back");
    assert_eq!(market.service.backing.ledger().await, [5, 4, 0, 1]);
    operator.stop().await;
}

/// Loads a sale with one operator, then leaves it to another one that gets no answer from its shop.
async fn loaded_and_left_alone(market: &Market, settings: &[&str]) -> Operator {
    let operator = market.operator(1).await;
    market.apply(&launch(2, 600, 5)).await.unwrap();
    market.until(Phase::Open).await;
    operator.stop().await;
    // Nobody listens there.
    let operator = market.cluster.sales_operator_with("http://127.0.0.1:1", settings).await;
    nobody_answers(market).await;
    operator
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abandoned_sale_goes_at_once_although_nobody_can_settle_it() {
    let market = Market::open("abandoned").await;
    let operator = loaded_and_left_alone(&market, &[]).await;
    let api = delete(&market).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(api.get_opt("launch").await.unwrap().is_some(), "let go without settling");
    let abandon = json!({ "metadata": { "annotations": { ABANDON: "true" } } });
    api.patch("launch", &PatchParams::default(), &Patch::Merge(&abandon)).await.unwrap();
    gone(&api).await;
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_sale_that_does_not_drain_is_let_go_when_its_time_is_over() {
    // Without its relay and its worker, nothing expires and nothing is booked.
    let market = Market::around(order_service::Shop::with_api_only(), "never-drained").await;
    let operator = market.cluster.sales_operator_with(&market.service.api, SETTLE).await;
    market.apply(&launch(2, 600, 5)).await.unwrap();
    market.until(Phase::Open).await;
    assert_eq!(market.service.buyer().purchase(market.id().await, 1, "k").await.0, 201);
    let api = delete(&market).await;
    selling_stops(&market, &market.service.buyer()).await;
    let deleted = market.until(Phase::Draining).await.metadata.deletion_timestamp.unwrap().0;
    gone(&api).await;
    let (told, why) = not_settled(&market).await;
    // The latecomer may also have got a unit before selling stopped.
    assert!(why.contains("outstanding are reservations (") && !why.contains("reservations (0)"), "{why}");
    assert!(told.as_second() - deleted.as_second() >= LET_GO_AFTER, "deleted {deleted}, let go {told}");
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_sale_that_nobody_can_settle_is_let_go_when_its_time_is_over() {
    let market = Market::around(order_service::Shop::with_api_only(), "never-answered").await;
    let operator = loaded_and_left_alone(&market, SETTLE).await;
    let api = delete(&market).await;
    let deleted = market.get().await.metadata.deletion_timestamp.unwrap().0;
    gone(&api).await;
    let (told, why) = not_settled(&market).await;
    assert!(why.contains("does not answer"), "{why}");
    assert!(told.as_second() - deleted.as_second() >= LET_GO_AFTER, "deleted {deleted}, let go {told}");
    operator.stop().await;
}
