//! Payment methods over HTTP.

use reqwest::{Method, StatusCode};
use rocketmart_kit::request_limits::RequestLimitArgs;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::api::Client;
use crate::shop::Shop;

#[tokio::test(flavor = "multi_thread")]
async fn the_first_method_is_the_default_and_there_is_always_one() {
    let shop = Shop::open().await;
    let api = shop.api().await;
    let me = Client::new(&shop, &api, Uuid::now_v7());
    let add = async |token: &str, default: bool| -> Uuid {
        let (status, method) =
            me.post("/api/v1/payment-methods", &json!({"provider_token": token, "default": default})).await;
        assert_eq!(status, StatusCode::CREATED, "{method}");
        assert!(method.get("provider_token").is_none(), "a token is not shown again");
        serde_json::from_value(method["id"].clone()).unwrap()
    };
    let default_id = async || -> Uuid {
        let (_, list) = me.get("/api/v1/payment-methods").await;
        let defaults: Vec<&Value> =
            list["data"].as_array().unwrap().iter().filter(|m| m["default"] == true).collect();
        assert_eq!(defaults.len(), 1);
        serde_json::from_value(defaults[0]["id"].clone()).unwrap()
    };
    let first = add("tok_a", false).await;
    let second = add("tok_b", false).await;
    assert_eq!(default_id().await, first);
    let third = add("tok_c", true).await;
    assert_eq!(default_id().await, third);
    let (status, _) = me.call(Method::PUT, &format!("/api/v1/payment-methods/{first}/default"), None).await;
    assert_eq!((status, default_id().await), (StatusCode::NO_CONTENT, first));
    let (status, _) = me.call(Method::DELETE, &format!("/api/v1/payment-methods/{first}"), None).await;
    assert_eq!((status, default_id().await), (StatusCode::NO_CONTENT, third));

    let (_, page) = me.get("/api/v1/payment-methods?limit=1").await;
    assert_eq!((&page["data"][0]["id"], &page["has_more"]), (&json!(third), &json!(true)));
    let next = format!("/api/v1/payment-methods?limit=1&cursor={}", page["next_cursor"].as_str().unwrap());
    let (_, page) = me.get(&next).await;
    assert_eq!((&page["data"][0]["id"], &page["has_more"]), (&json!(second), &json!(false)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_adds_a_method_once() {
    let shop = Shop::open().await;
    let api = shop.api().await;
    let me = Client::new(&shop, &api, Uuid::now_v7());
    let body = json!({"provider_token": "tok_a"});
    let first = me.post_with_key("/api/v1/payment-methods", "k1", &body).await;
    let again = me.post_with_key("/api/v1/payment-methods", "k1", &body).await;
    assert_eq!(first, again);
    let other = me.post_with_key("/api/v1/payment-methods", "k1", &json!({"provider_token": "tok_b"})).await;
    assert_eq!(
        (other.0, &other.1["code"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("idempotency-key-reused"))
    );
    let (_, list) = me.get("/api/v1/payment-methods").await;
    assert_eq!(list["data"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_keeps_a_limited_number_of_methods() {
    let shop = Shop::open().await;
    let api = shop.api().await;
    let me = Client::new(&shop, &api, Uuid::now_v7());
    for n in 0..20 {
        let (status, _) =
            me.post("/api/v1/payment-methods", &json!({"provider_token": format!("tok_{n}")})).await;
        assert_eq!(status, StatusCode::CREATED);
    }
    let (status, problem) = me.post("/api/v1/payment-methods", &json!({"provider_token": "tok_x"})).await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("too-many-payment-methods")));
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_names_field_and_rule() {
    let shop = Shop::open().await;
    let api = shop.api().await;
    let me = Client::new(&shop, &api, Uuid::now_v7());
    let long = "x".repeat(65);
    let table = [
        (json!({}), "provider_token", "required"),
        (json!({"provider_token": 7}), "provider_token", "type"),
        (json!({"provider_token": "4242424242424242"}), "provider_token", "provider-token"),
        (json!({"provider_token": "tok_a", "label": long}), "label", "max-length"),
        (json!({"provider_token": "tok_a", "label": "\u{2800}"}), "label", "visible"),
        (json!({"provider_token": "tok_a", "label": "4242 4242 4242 4242"}), "label", "no-card-number"),
        (json!({"provider_token": "tok_a", "card_number": "4242"}), "card_number", "unknown"),
        (json!({"provider_token": "tok_a", "default": "yes"}), "default", "type"),
    ];
    for (body, field, rule) in table {
        let (status, problem) = me.post("/api/v1/payment-methods", &body).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{body} {problem}");
        assert_eq!(problem["errors"][0]["field"], field, "{body} {problem}");
        assert_eq!(problem["errors"][0]["rule"], rule, "{body} {problem}");
    }
    let (_, list) = me.get("/api/v1/payment-methods").await;
    assert_eq!(list["data"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_of_a_moment_that_cannot_be_is_refused_h2() {
    let shop = Shop::open().await;
    let api = shop.api().await;
    let me = Client::new(&shop, &api, Uuid::now_v7());
    for cursor in [
        // The last day of the year 9999 west of Greenwich, the first of the year -9999, and the year 10000.
        "W1s5OTk5LDM2NSwyMyw1OSw1OSwwLC0yMywwLDBdLCIwMDAwMDAwMC0wMDAwLTAwMDAtMDAwMC0wMDAwMDAwMDAwMDAiXQ",
        "W1stOTk5OSwxLDAsMCwwLDAsMCwwLDBdLCIwMDAwMDAwMC0wMDAwLTAwMDAtMDAwMC0wMDAwMDAwMDAwMDAiXQ",
        "WzI1MzQwMjMwMDgwMDAwMDAwMCwiMDAwMDAwMDAtMDAwMC0wMDAwLTAwMDAtMDAwMDAwMDAwMDAwIl0",
    ] {
        for list in ["/api/v1/payments", "/api/v1/payment-methods"] {
            let (status, problem) = me.get(&format!("{list}?cursor={cursor}")).await;
            assert_eq!(
                (status, &problem["code"]),
                (StatusCode::BAD_REQUEST, &json!("cursor-invalid")),
                "{list}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_who_asks_too_often_is_told_to_wait_h9() {
    let shop = Shop::open().await;
    let limits = RequestLimitArgs {
        requests_per_member: 1,
        request_burst_per_member: 20,
        ..RequestLimitArgs::default()
    };
    let api = shop.api_with(limits).await;
    let (me, other) = (Client::new(&shop, &api, Uuid::now_v7()), Client::new(&shop, &api, Uuid::now_v7()));
    let mut refused = 0;
    for _ in 0..60 {
        let (status, problem) = me.get("/api/v1/payments").await;
        if status == StatusCode::TOO_MANY_REQUESTS {
            assert_eq!(problem["code"], "too-many-requests");
            refused += 1;
        }
    }
    assert!(refused >= 10, "{refused} of 60");
    assert_eq!(other.get("/api/v1/payments").await.0, StatusCode::OK);
}
