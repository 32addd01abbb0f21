//! P5 and P6: which card to charge and which address to send to. The test plays payment and delivery.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures::future::join_all;
use rocketmart_contracts::event::{OrderReleased, Payload as _};
use rocketmart_order::api::NeighbourArgs;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::shop::{Caller, Shop};

const TOKEN: &str = "the token of the neighbours";

/// Keeps cards or addresses: for each member one, the default.
#[derive(Clone, Default)]
struct Neighbour {
    kept: Arc<std::sync::Mutex<HashMap<Uuid, Uuid>>>,
    calls: Arc<AtomicUsize>,
    takes: Duration,
}

impl Neighbour {
    async fn start(&self, path: &str) -> String {
        let router = Router::new().route(path, post(choose)).with_state(self.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }

    fn keep(&self, member: Uuid) -> Uuid {
        *self.kept.lock().unwrap().entry(member).or_insert_with(Uuid::now_v7)
    }
}

async fn choose(
    State(neighbour): State<Neighbour>,
    headers: HeaderMap,
    Json(asked): Json<Value>,
) -> Response {
    neighbour.calls.fetch_add(1, Ordering::SeqCst);
    if headers["authorization"] != format!("Bearer {TOKEN}") {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    tokio::time::sleep(neighbour.takes).await;
    let kept = neighbour.kept.lock().unwrap();
    let choice = |wish: &Value| {
        let own = kept.get(&serde_json::from_value::<Uuid>(wish["member_id"].clone()).unwrap());
        own.filter(|own| wish["id"].is_null() || wish["id"] == json!(own)).copied()
    };
    let choices: Vec<_> = asked["wishes"].as_array().unwrap().iter().map(choice).collect();
    Json(json!({ "choices": choices })).into_response()
}

struct Played {
    shop: Shop,
    cards: Neighbour,
    addresses: Neighbour,
}

impl Played {
    async fn start(takes: Duration) -> Self {
        let neighbour = || Neighbour { takes, ..Neighbour::default() };
        let (cards, addresses) = (neighbour(), neighbour());
        let shop = Shop::with_neighbours(NeighbourArgs {
            payment_url: Some(cards.start("/internal/v1/payment-methods/choices").await.parse().unwrap()),
            delivery_url: Some(addresses.start("/internal/v1/addresses/choices").await.parse().unwrap()),
            internal_token: Some(TOKEN.into()),
        })
        .await;
        Self { shop, cards, addresses }
    }

    async fn order(&self, buyer: &Caller, sale: Uuid) -> String {
        let (status, order) = buyer.purchase(sale, 1, "k").await;
        assert_eq!(status, 201, "{order}");
        format!("/api/v1/orders/{}/payment", order["id"].as_str().unwrap())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_needs_a_card_and_an_address_that_are_there_and_the_buyers() {
    let played = Played::start(Duration::ZERO).await;
    let sale = played.shop.open_sale(3).await;
    let (buyer, other) = (played.shop.buyer(), played.shop.buyer());
    let pay = played.order(&buyer, sale).await;
    let (their_card, their_home) = (played.cards.keep(other.id), played.addresses.keep(other.id));
    let refused = async |wish: Value, code: &str, fields: &[&str]| {
        let (status, told) = buyer.post(&pay, &wish).await;
        let errors = told["errors"].as_array().cloned().unwrap_or_default();
        let named: Vec<_> = errors.iter().map(|error| error["field"].as_str().unwrap()).collect();
        assert_eq!((status, told["code"].as_str(), &named[..]), (422, Some(code), fields), "{wish} {told}");
    };
    let both = ["payment_method_id", "delivery_address_id"];
    refused(json!({}), "payment-method-missing", &both).await;
    let foreign = json!({ "payment_method_id": their_card, "delivery_address_id": their_home });
    refused(foreign, "payment-method-unknown", &both).await;
    let card = played.cards.keep(buyer.id);
    refused(json!({}), "delivery-address-missing", &both[1..]).await;
    refused(json!({ "delivery_address_id": their_home }), "delivery-address-unknown", &both[1..]).await;
    refused(json!({ "confirm": false }), "delivery-address-missing", &both[1..]).await;
    let home = played.addresses.keep(buyer.id);
    refused(json!({ "payment_method_id": Uuid::nil() }), "payment-method-unknown", &both[..1]).await;

    // Somebody else's order, or an id of none, is reported as unknown before anything else.
    let stranger = played.shop.buyer();
    assert_eq!(stranger.post(&pay, &json!({})).await.1["code"], "order-unknown");
    let (status, paying) = buyer.post(&pay, &json!({})).await;
    assert_eq!(status, 202, "{paying}");
    assert_eq!(paying["payment"]["payment_method_id"], json!(card), "the default, from now on by its id");
    assert_eq!(paying["delivery_address_id"], json!(home));
    // Whatever happens to the card: what was taken was taken.
    played.cards.kept.lock().unwrap().clear();
    for same in [json!({}), json!({ "payment_method_id": card })] {
        let (status, told) = buyer.post(&pay, &same).await;
        assert_eq!(status, 202, "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s8_an_order_of_nothing_needs_no_card() {
    let played = Played::start(Duration::ZERO).await;
    let mut terms = crate::shop::offer(1);
    terms["items"][0]["price"] = json!(0);
    let sale = played.shop.sale(terms).await;
    let buyer = played.shop.buyer();
    let pay = played.order(&buyer, sale).await;
    assert_eq!(buyer.post(&pay, &json!({})).await.1["code"], "delivery-address-missing");
    played.addresses.keep(buyer.id);
    assert_eq!(buyer.post(&pay, &json!({})).await.0, 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_payments_at_once_are_a_few_questions() {
    let played = Played::start(Duration::from_millis(30)).await;
    let mut terms = crate::shop::offer(60);
    terms["name"] = json!("crowd");
    let sale = played.shop.sale(terms).await;
    let mut paths = Vec::new();
    for _ in 0..60 {
        let buyer = played.shop.buyer();
        played.cards.keep(buyer.id);
        played.addresses.keep(buyer.id);
        paths.push((played.order(&buyer, sale).await, buyer));
    }
    let payments = paths.iter().map(|(path, buyer)| async move { buyer.post(path, &json!({})).await });
    for (status, told) in join_all(payments).await {
        assert_eq!(status, 202, "{told}");
        assert!(told["payment"]["payment_method_id"].is_string(), "{told}");
    }
    let calls = played.cards.calls.load(Ordering::SeqCst);
    assert!(calls < 60, "{calls} calls for 60 payments");
}

#[tokio::test(flavor = "multi_thread")]
async fn neighbours_that_do_not_answer_cost_a_moment_and_no_payment() {
    let played = Played::start(Duration::from_mins(1)).await;
    let sale = played.shop.open_sale(3).await;
    let buyer = played.shop.buyer();
    let pay = played.order(&buyer, sale).await;
    let (card, started) = (Uuid::now_v7(), Instant::now());
    let (status, paying) = buyer.post(&pay, &json!({ "payment_method_id": card })).await;
    assert_eq!(status, 202, "{paying}");
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
    assert_eq!(paying["payment"]["payment_method_id"], json!(card));
    assert!(played.shop.told.of(OrderReleased::TYPE, paying["id"].as_str().unwrap()).is_empty());
}
