//! Addresses over HTTP.

use reqwest::{Method, StatusCode};
use rocketmart_kit::request_limits::RequestLimitArgs;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::shop::{Client, INTERNAL_TOKEN, Shop, address};

async fn defaults(client: &Client) -> Vec<Value> {
    let (_, list) = client.get("/api/v1/addresses").await;
    let addresses = list["data"].as_array().unwrap();
    addresses.iter().filter(|a| a["default"] == true).map(|a| a["id"].clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_always_one_default_while_there_is_an_address() {
    let shop = Shop::open().await;
    let api = shop.api().await;
    let me = Client::new(&api, Uuid::now_v7());
    let first = me.add_address("서울").await;
    let second = me.add_address("부산").await;
    assert_eq!(defaults(&me).await, [json!(first)]);
    let (status, _) = me.call(Method::PUT, &format!("/api/v1/addresses/{second}/default"), None).await;
    assert_eq!((status, defaults(&me).await), (StatusCode::NO_CONTENT, vec![json!(second)]));
    let (status, _) = me.call(Method::DELETE, &format!("/api/v1/addresses/{second}"), None).await;
    assert_eq!((status, defaults(&me).await), (StatusCode::NO_CONTENT, vec![json!(first)]));
    let (status, problem) = me.get(&format!("/api/v1/addresses/{second}")).await;
    assert_eq!((status, &problem["code"]), (StatusCode::NOT_FOUND, &json!("address-unknown")));
    me.call(Method::DELETE, &format!("/api/v1/addresses/{first}"), None).await;
    assert_eq!(me.get("/api/v1/addresses").await.1["data"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_keeps_what_it_leaves_out_and_null_clears() {
    let shop = Shop::open().await;
    let api = shop.api().await;
    let me = Client::new(&api, Uuid::now_v7());
    let path = format!("/api/v1/addresses/{}", me.add_address("서울").await);
    let change = json!({"city": "부산", "phone": null, "line2": "3층"});
    let (status, changed) = me.call(Method::PATCH, &path, Some(&change)).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(me.get(&path).await.1, changed);
    assert_eq!(
        (&changed["city"], &changed["phone"], &changed["line2"], &changed["line1"]),
        (&json!("부산"), &Value::Null, &json!("3층"), &json!("세종대로 110"))
    );
    let (status, problem) = me.call(Method::PATCH, &path, Some(&json!({"country": "XX"}))).await;
    assert_eq!(
        (status, &problem["errors"][0]["field"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("country"))
    );
    assert_eq!(me.get(&path).await.1, changed);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_adds_an_address_once() {
    let shop = Shop::open().await;
    let api = shop.api().await;
    let me = Client::new(&api, Uuid::now_v7());
    let add = async |city: &str| {
        me.call_with_key(Method::POST, "/api/v1/addresses", "k1", Some(&address(city))).await
    };
    assert_eq!(add("서울").await, add("서울").await);
    let (status, problem) = add("부산").await;
    assert_eq!(
        (status, &problem["code"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("idempotency-key-reused"))
    );
    assert_eq!(me.get("/api/v1/addresses").await.1["data"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_names_field_and_rule() {
    let shop = Shop::open().await;
    let api = shop.api().await;
    let me = Client::new(&api, Uuid::now_v7());
    let with = |field: &str, value: Value| {
        let mut body = address("서울");
        body[field] = value;
        body
    };
    let mut without_city = address("서울");
    without_city.as_object_mut().unwrap().remove("city");
    let table = [
        (without_city, "city", "required"),
        (with("city", json!(7)), "city", "type"),
        (with("city", json!("")), "city", "required"),
        (with("recipient", json!("x".repeat(101))), "recipient", "max-length"),
        (with("recipient", json!("\u{2800}\u{200b}")), "recipient", "visible"),
        (with("line1", json!("\u{202e}a")), "line1", "no-bidi-controls"),
        (with("line1", json!("a\u{0}b")), "line1", "no-control-characters"),
        (with("postal_code", json!("!")), "postal_code", "postal-code"),
        (with("country", json!("kr")), "country", "country-code"),
        (with("phone", json!("12")), "phone", "phone-number"),
        (with("planet", json!("Earth")), "planet", "unknown"),
        (with("default", json!("yes")), "default", "type"),
    ];
    for (body, field, rule) in table {
        let (status, problem) = me.call(Method::POST, "/api/v1/addresses", Some(&body)).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{body} {problem}");
        assert_eq!(problem["errors"][0]["field"], field, "{body} {problem}");
        assert_eq!(problem["errors"][0]["rule"], rule, "{body} {problem}");
    }
    assert_eq!(me.get("/api/v1/addresses").await.1["data"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn m11_an_address_is_taken_as_its_country_writes_it() {
    let shop = Shop::open().await;
    let api = shop.api().await;
    let me = Client::new(&api, Uuid::now_v7());
    let hong_kong = json!({
        "recipient": "陳大文", "line1": "1 Queen's Road Central", "line2": "", "region": "", "phone": "",
        "country": "HK",
    });
    let (status, kept) = me.call(Method::POST, "/api/v1/addresses", Some(&hong_kong)).await;
    assert_eq!(status, StatusCode::CREATED, "{kept}");
    for absent in ["line2", "city", "region", "postal_code", "phone"] {
        assert_eq!(kept[absent], Value::Null, "{absent}");
    }
    let path = format!("/api/v1/addresses/{}", kept["id"].as_str().unwrap());
    assert_eq!(me.get(&path).await.1, kept);
    let moved =
        json!({"country": "KR", "city": "서울", "postal_code": "04524", "phone": "０２\u{2011}120.0000"});
    let (status, kept) = me.call(Method::PATCH, &path, Some(&moved)).await;
    assert_eq!((status, &kept["phone"]), (StatusCode::OK, &json!("+8221200000")), "{kept}");
    let (status, kept) = me.call(Method::PATCH, &path, Some(&json!({"line2": "", "phone": null}))).await;
    assert_eq!((status, &kept["phone"]), (StatusCode::OK, &Value::Null), "{kept}");
    let (status, told) = me.call(Method::PATCH, &path, Some(&json!({"postal_code": ""}))).await;
    assert_eq!((status, &told["errors"][0]["rule"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("required")));
}

/// P6: what order asks before it takes a payment.
#[tokio::test(flavor = "multi_thread")]
async fn the_internal_door_knows_whose_addresses_are_there() {
    let shop = Shop::open().await;
    let api = shop.api().await;
    let member = Uuid::now_v7();
    let (me, other) = (Client::new(&api, member), Client::new(&api, Uuid::now_v7()));
    let first = me.add_address("서울").await;
    let second = me.add_address("부산").await;
    let theirs = other.add_address("대구").await;
    let gone = me.add_address("인천").await;
    me.call(Method::DELETE, &format!("/api/v1/addresses/{gone}"), None).await;
    let wishes = json!([
        {"member_id": member},
        {"member_id": member, "id": second},
        {"member_id": member, "id": theirs},
        {"member_id": member, "id": gone},
        {"member_id": Uuid::now_v7()},
    ]);
    let door = Client { token: INTERNAL_TOKEN.into(), ..Client::new(&api, member) };
    let path = "/internal/v1/addresses/choices";
    let asked = json!({ "wishes": wishes });
    let (status, answer) = door.call(Method::POST, path, Some(&asked)).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(answer["choices"], json!([first, second, null, null, null]));
    assert_eq!(me.call(Method::POST, path, Some(&asked)).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_elses_address_is_not_found_and_stays_as_it_is() {
    let shop = Shop::open().await;
    let api = shop.api().await;
    let owner = Client::new(&api, Uuid::now_v7());
    let path = format!("/api/v1/addresses/{}", owner.add_address("서울").await);
    let stranger = Client::new(&api, Uuid::now_v7());
    let table = [
        (Method::GET, path.clone(), None),
        (Method::PATCH, path.clone(), Some(json!({"city": "부산"}))),
        (Method::DELETE, path.clone(), None),
        (Method::PUT, format!("{path}/default"), None),
    ];
    for (method, path, body) in table {
        let (status, problem) = stranger.call(method, &path, body.as_ref()).await;
        assert_eq!((status, &problem["code"]), (StatusCode::NOT_FOUND, &json!("address-unknown")), "{path}");
    }
    assert_eq!(owner.get(&path).await.1["city"], "서울");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_wants_a_valid_token_and_sane_parameters() {
    let shop = Shop::open().await;
    let api = shop.api().await;
    let id = Uuid::now_v7();
    let me = Client::new(&api, id);
    let anonymous = Client { token: "not.a.token".into(), ..Client::new(&api, id) };
    let routes = [
        (Method::GET, "/api/v1/addresses".to_owned()),
        (Method::POST, "/api/v1/addresses".to_owned()),
        (Method::GET, format!("/api/v1/addresses/{id}")),
        (Method::PATCH, format!("/api/v1/addresses/{id}")),
        (Method::DELETE, format!("/api/v1/addresses/{id}")),
        (Method::PUT, format!("/api/v1/addresses/{id}/default")),
        (Method::GET, "/api/v1/shipments".to_owned()),
        (Method::GET, format!("/api/v1/shipments/{id}")),
    ];
    for (method, path) in routes {
        let (status, problem) = anonymous.call(method, &path, None).await;
        assert_eq!(
            (status, &problem["code"]),
            (StatusCode::UNAUTHORIZED, &json!("unauthenticated")),
            "{path}"
        );
    }
    let table = [
        ("/api/v1/addresses/seven", StatusCode::BAD_REQUEST, "path-invalid"),
        ("/api/v1/addresses?limit=101", StatusCode::UNPROCESSABLE_ENTITY, "validation-failed"),
        ("/api/v1/shipments?cursor=x", StatusCode::BAD_REQUEST, "cursor-invalid"),
        ("/api/v1/shipments?offset=2", StatusCode::BAD_REQUEST, "query-invalid"),
    ];
    for (path, status, code) in table {
        let (got, problem) = me.get(path).await;
        assert_eq!((got, &problem["code"]), (status, &json!(code)), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_of_a_moment_that_cannot_be_is_refused_h2() {
    let shop = Shop::open().await;
    let api = shop.api().await;
    let me = Client::new(&api, Uuid::now_v7());
    for cursor in [
        // The last day of the year 9999 west of Greenwich, the first of the year -9999, and the year 10000.
        "W1s5OTk5LDM2NSwyMyw1OSw1OSwwLC0yMywwLDBdLCIwMDAwMDAwMC0wMDAwLTAwMDAtMDAwMC0wMDAwMDAwMDAwMDAiXQ",
        "W1stOTk5OSwxLDAsMCwwLDAsMCwwLDBdLCIwMDAwMDAwMC0wMDAwLTAwMDAtMDAwMC0wMDAwMDAwMDAwMDAiXQ",
        "WzI1MzQwMjMwMDgwMDAwMDAwMCwiMDAwMDAwMDAtMDAwMC0wMDAwLTAwMDAtMDAwMDAwMDAwMDAwIl0",
    ] {
        for list in ["/api/v1/shipments", "/api/v1/addresses"] {
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
    let (me, other) = (Client::new(&api, Uuid::now_v7()), Client::new(&api, Uuid::now_v7()));
    let mut refused = 0;
    for _ in 0..60 {
        let (status, problem) = me.get("/api/v1/shipments").await;
        if status == StatusCode::TOO_MANY_REQUESTS {
            assert_eq!(problem["code"], "too-many-requests");
            refused += 1;
        }
    }
    assert!(refused >= 10, "{refused} of 60");
    assert_eq!(other.get("/api/v1/shipments").await.0, StatusCode::OK);
}
