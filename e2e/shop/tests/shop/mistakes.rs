//! What others get wrong, and what we do instead: mistakes found in the code of other flash-sale projects,
//! each tried on ours. (`cargo xtask faults` tries those that need a crash at the wrong moment.)

use reqwest::Method;
use rocketmart_shop::{DECLINED_CARD, GOOD_CARD, PASSWORD, Shop, Units, eventually, unique};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn one_buyers_failure_never_hands_back_anothers_unit() {
    let shop = Shop::open().await;
    let (lucky, unlucky) = (shop.buyer().await, shop.buyer().await);
    let sale = shop.sale_of(2).await;
    shop.card(&unlucky, DECLINED_CARD).await;
    shop.card(&lucky, GOOD_CARD).await;
    shop.address(&unlucky).await;
    shop.address(&lucky).await;
    let kept = shop.purchase(&lucky, &sale).await.expect(201);
    let failing = shop.purchase(&unlucky, &sale).await.expect(201);
    shop.pay(&unlucky, &failing, &json!({})).await.expect(202);
    shop.failed_payment(&unlucky, &failing).await;
    let cancel = format!("/api/v1/orders/{}/cancel", failing["id"].as_str().unwrap());
    shop.post(&cancel).by(&unlucky).json(&json!({})).await.expect(200);
    shop.units_become(
        &sale,
        "only the unit of the failed payment is back",
        Units { remaining: 1, reserved: 1, sold: 0 },
    )
    .await;
    shop.pay(&lucky, &kept, &json!({})).await.expect(202);
    shop.units_become(&sale, "the other one is sold", Units { remaining: 1, reserved: 0, sold: 1 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_negative_or_zero_amount_never_raises_the_stock() {
    let shop = Shop::open().await;
    let buyer = shop.buyer().await;
    let sale = shop.sale_of(2).await;
    for quantity in [-1, 0, i64::from(i32::MIN), i64::MIN] {
        let wrong = json!({"sku": sale.sku, "quantity": quantity});
        shop.purchase(&buyer, &sale).json(&wrong).await.refused(422, "validation-failed");
    }
    assert_eq!(shop.units(&sale).await, Units { remaining: 2, reserved: 0, sold: 0 });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_double_cancel_restocks_once() {
    let shop = Shop::open().await;
    let buyer = shop.buyer().await;
    let sale = shop.sale_of(2).await;
    let order = shop.purchase(&buyer, &sale).await.expect(201);
    let path = format!("/api/v1/orders/{}/cancel", order["id"].as_str().unwrap());
    let cancel = || shop.post(&path).by(&buyer).json(&json!({})).send();
    for answer in futures::future::join_all([cancel(), cancel(), cancel()]).await {
        answer.unwrap().expect(200);
    }
    shop.order_in(&buyer, order["id"].as_str().unwrap(), &["cancelled"]).await;
    // The order is cancelled in Redis first, then in the books.
    let back = Units { remaining: 2, reserved: 0, sold: 0 };
    shop.units_become(&sale, "the unit is back once", back).await;
    for _ in 0..2 {
        shop.purchase(&shop.buyer().await, &sale).await.expect(201);
    }
    shop.purchase(&shop.buyer().await, &sale).await.refused(409, "sold-out");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sold_out_mark_clears_when_a_unit_comes_back() {
    let shop = Shop::open().await;
    let (buyer, later) = (shop.buyer().await, shop.buyer().await);
    let sale = shop.sale_of(1).await;
    let order = shop.purchase(&buyer, &sale).await.expect(201);
    shop.purchase(&later, &sale).await.refused(409, "sold-out");
    let path = format!("/api/v1/orders/{}/cancel", order["id"].as_str().unwrap());
    shop.post(&path).by(&buyer).json(&json!({})).await.expect(200);
    eventually("the unit is sold again", async || {
        (shop.purchase(&later, &sale).await.status == 201).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_buyer_limit_holds_across_sessions_and_retries() {
    let shop = Shop::open().await;
    let member = shop.sign_up("buyer").await;
    let sale = shop.sale_of(3).await;
    let first = shop.purchase(&member, &sale).key("once").await.expect(201);
    let again = shop.purchase(&member, &sale).key("once").await.expect(201);
    assert_eq!(first["id"], again["id"], "the same key is the same order");
    let session = shop.log_in(&member.email, PASSWORD).await.expect(201);
    let elsewhere = rocketmart_shop::Member {
        token: session["access_token"].as_str().unwrap().to_owned(),
        ..member.clone()
    };
    shop.purchase(&elsewhere, &sale).await.refused(409, "buyer-limit-exceeded");
    let other = json!({"sku": sale.sku, "quantity": 2});
    shop.purchase(&member, &sale).key("once").json(&other).await.refused(422, "idempotency-key-reused");
}

#[tokio::test(flavor = "multi_thread")]
async fn clicks_at_the_same_moment_sell_what_there_is_and_no_more() {
    let shop = Shop::open().await;
    let sale = shop.sale_of(3).await;
    let mut buyers = Vec::new();
    for _ in 0..10 {
        buyers.push(shop.buyer().await);
    }
    let clicks = buyers.iter().map(|buyer| shop.purchase(buyer, &sale).send());
    let answers = futures::future::join_all(clicks).await;
    let bought = answers.into_iter().map(|answer| answer.unwrap().status).filter(|status| *status == 201);
    assert_eq!(bought.count(), 3);
    shop.units_become(&sale, "the books agree", Units { remaining: 0, reserved: 3, sold: 0 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_that_names_a_user_is_not_believed() {
    let shop = Shop::open().await;
    let member = shop.buyer().await;
    for header in ["x-user", "x-user-id", "x-member-id", "x-forwarded-user", "x-auth-user"] {
        let pretended = shop.get("/api/v1/orders").header(header, &member.id.to_string()).await;
        pretended.refused(401, "unauthenticated");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_not_followed_the_link_cannot_log_in() {
    let shop = Shop::open().await;
    let email = format!("{}@members.example", unique("unverified"));
    let sign_up = json!({"email": email, "password": PASSWORD, "name": "Ada"});
    shop.post("/api/v1/members").json(&sign_up).await.expect(202);
    shop.mailed_token(&email, "/members/verify").await;
    shop.log_in(&email, PASSWORD).await.refused(401, "invalid-credentials");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_is_a_long_secret_that_works_once_and_not_a_short_code() {
    let shop = Shop::open().await;
    let member = shop.sign_up("buyer").await;
    shop.call(Method::POST, "/api/v1/password-resets")
        .json(&json!({"email": member.email}))
        .await
        .expect(202);
    let token = shop.mailed_token(&member.email, "/password-resets/confirm").await;
    assert!(token.len() >= 32, "{} characters", token.len());
    let confirm = async |token: &str| {
        let new = json!({"token": token, "password": "another fine pass phrase"});
        shop.post("/api/v1/password-resets/confirm").json(&new).await
    };
    for guess in ["0000", "1234", &token[1..]] {
        confirm(guess).await.refused(410, "link-invalid");
    }
    confirm(&token).await.expect(204);
    confirm(&token).await.refused(410, "link-invalid");
}
