//! P5: what order asks before it takes a payment.

use reqwest::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::shop::{INTERNAL_TOKEN, Process, Shop};

async fn choose(shop: &Shop, api: &Process, token: &str, wishes: &Value) -> (StatusCode, Value) {
    let url = format!("{}/internal/v1/payment-methods/choices", api.url);
    let asked = shop.http.post(url).bearer_auth(token).json(&json!({ "wishes": wishes }));
    let answer = asked.send().await.unwrap();
    (answer.status(), answer.json().await.unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_method_is_the_one_named_or_the_default_and_never_somebody_elses() {
    let shop = Shop::open().await;
    let api = shop.api().await;
    let (buyer, other, nobody) = (Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7());
    let default = shop.add_method(buyer, "tok_1", true).await;
    let second = shop.add_method(buyer, "tok_2", false).await;
    let theirs = shop.add_method(other, "tok_3", true).await;
    let wishes = json!([
        {"member_id": buyer},
        {"member_id": buyer, "id": second},
        {"member_id": buyer, "id": theirs},
        {"member_id": nobody},
        {"member_id": other, "id": null},
        {"member_id": buyer, "id": Uuid::nil()},
        {"member_id": buyer},
    ]);
    let (status, answer) = choose(&shop, &api, INTERNAL_TOKEN, &wishes).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(answer["choices"], json!([default, second, null, null, theirs, null, default]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_door_wants_its_token_and_a_question_of_bounded_length() {
    let shop = Shop::open().await;
    let api = shop.api().await;
    let one = json!([{"member_id": Uuid::now_v7()}]);
    let (status, told) = choose(&shop, &api, &crate::tokens::buyer(Uuid::now_v7()), &one).await;
    assert_eq!((status, &told["code"]), (StatusCode::UNAUTHORIZED, &json!("unauthenticated")));
    let many: Vec<Value> = (0..257).map(|_| one[0].clone()).collect();
    let (status, told) = choose(&shop, &api, INTERNAL_TOKEN, &json!(many)).await;
    assert_eq!((status, &told["code"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("validation-failed")));
}
