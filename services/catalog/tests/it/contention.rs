//! Many callers at once, at more than one replica.

use futures::future::join_all;
use serde_json::{Value, json};

use crate::events::Listener;
use crate::shop::{Caller, Shop, mug, sku, variant};

async fn of_many_sellers_who_want_one_sku_exactly_one_gets_it(shop: Shop) {
    let other = shop.another_replica().await;
    let wanted = sku();
    let sellers: Vec<Caller> =
        (0..6).map(|n| if n % 2 == 0 { shop.seller() } else { other.seller() }).collect();
    let publications = sellers.iter().map(async |seller| {
        let mut product = mug();
        product["variants"] = json!([variant(&sku(), 1), variant(&wanted, 1)]);
        let id = seller.create(&product).await.expect(201).id();
        seller.publish(&id).await.status
    });
    let mut statuses = join_all(publications).await;
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409, 409, 409, 409, 409]);
    let shown = shop.stranger().get("/api/v1/products").await.expect(200).each("id").len();
    assert_eq!(shown, 1, "who was refused has a draft");
}

async fn one_sku_moves_between_a_sellers_products_and_is_never_on_two(shop: Shop) {
    let other = shop.another_replica().await;
    let seller = shop.seller();
    let contested = sku();
    let (one, two) = (seller.published(&mug()).await, seller.published(&mug()).await);
    let with = || json!({ "variants": [variant(&sku(), 1), variant(&contested, 1)] });
    let without = || json!({ "variants": [variant(&sku(), 1)] });
    let struggle = async |caller: Caller, id: String| {
        for round in 0..6 {
            let product = caller.get(&format!("/api/v1/products/{id}")).await.expect(200);
            let edit = if round % 2 == 0 { with() } else { without() };
            let status = caller.edit(&id, &product.etag, &edit).await.status;
            assert!([200, 409, 412].contains(&status), "{status}");
        }
    };
    tokio::join!(
        struggle(seller.clone(), one.id()),
        struggle(seller.at(&other), two.id()),
        struggle(seller.at(&other), one.id()),
    );
    let mine = seller.get("/api/v1/products?seller=me").await.expect(200);
    let holders =
        mine.each("variants").into_iter().filter(|variants| variants.to_string().contains(&contested));
    assert!(holders.count() <= 1, "{:#}", mine.body);
}

async fn likes_of_many_at_once_are_counted_exactly(shop: Shop) {
    let other = shop.another_replica().await;
    let id = shop.seller().published(&mug()).await.id();
    let like = format!("/api/v1/likes/{id}");
    let buyers: Vec<Caller> = (0..12).map(|_| shop.buyer()).collect();
    // Everyone likes it twice, at two replicas; every third takes it back.
    join_all(buyers.iter().enumerate().map(async |(n, buyer)| {
        let elsewhere = buyer.at(&other);
        let (one, two) = tokio::join!(buyer.put(&like), elsewhere.put(&like));
        assert_eq!((one.status, two.status), (204, 204));
        if n % 3 == 0 {
            buyer.delete(&like, None).await.expect(204);
        }
    }))
    .await;
    let product = shop.stranger().get(&format!("/api/v1/products/{id}")).await.expect(200);
    assert_eq!(product.body["likes"], 8);
    let listed = shop.stranger().get("/api/v1/products").await.expect(200);
    assert_eq!(listed.each("likes"), [json!(8)]);
}

async fn the_count_of_likes_agrees_with_the_list_however_one_member_clicks(shop: Shop) {
    let other = shop.another_replica().await;
    let id = shop.seller().published(&mug()).await.id();
    let like = format!("/api/v1/likes/{id}");
    let (buyer, elsewhere) = {
        let buyer = shop.buyer();
        (buyer.clone(), buyer.at(&other))
    };
    for _ in 0..5 {
        let (on, off) = tokio::join!(buyer.put(&like), elsewhere.delete(&like, None));
        assert_eq!((on.status, off.status), (204, 204));
        let listed = buyer.get("/api/v1/likes").await.expect(200).each("product_id").len();
        let product = buyer.get(&format!("/api/v1/products/{id}")).await.expect(200);
        assert_eq!(product.body["likes"], json!(listed));
    }
}

async fn one_key_makes_one_product_at_any_number_of_replicas(shop: Shop) {
    let other = shop.another_replica().await;
    let seller = shop.seller();
    let product = mug();
    let elsewhere = seller.at(&other);
    let requests = (0..6).map(async |n| {
        let caller = if n % 2 == 0 { &seller } else { &elsewhere };
        caller.create_with_key("once", &product).await
    });
    let mut ids = Vec::new();
    for answer in join_all(requests).await {
        match answer.status {
            201 => ids.push(answer.id()),
            409 => drop(answer.refused(409, "request-in-progress")),
            status => panic!("{status}: {:#}", answer.body),
        }
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "one product, whoever asked");
    assert_eq!(seller.get("/api/v1/products?seller=me").await.each("id"), [Value::from(ids.remove(0))]);
}

async fn events_of_one_product_come_in_the_order_of_its_versions(shop: Shop) {
    let other = shop.another_replica().await;
    let seller = shop.seller();
    let id = seller.create(&mug()).await.expect(201).id();
    let elsewhere = seller.at(&other);
    let rename = async |caller: &Caller, name: &str| {
        for n in 0..5 {
            let product = caller.get(&format!("/api/v1/products/{id}")).await.expect(200);
            caller.edit(&id, &product.etag, &json!({ "title": format!("{name} {n}") })).await;
        }
    };
    tokio::join!(rename(&seller, "one"), rename(&elsewhere, "two"));
    let last = seller.get(&format!("/api/v1/products/{id}")).await.expect(200).body["version"].clone();
    let listener = Listener::of(&shop);
    let mut versions = Vec::new();
    while versions.last() != Some(&last) {
        versions.push(listener.next().await.data["version"].clone());
    }
    // It may be sent again. But a step back that does not climb up again would be the end of an inversion.
    let expected: Vec<Value> = (1..=last.as_i64().unwrap()).map(Value::from).collect();
    assert_eq!(versions, expected);
}

crate::on_both_stores![
    of_many_sellers_who_want_one_sku_exactly_one_gets_it,
    one_sku_moves_between_a_sellers_products_and_is_never_on_two,
    likes_of_many_at_once_are_counted_exactly,
    the_count_of_likes_agrees_with_the_list_however_one_member_clicks,
    one_key_makes_one_product_at_any_number_of_replicas,
    events_of_one_product_come_in_the_order_of_its_versions,
];
