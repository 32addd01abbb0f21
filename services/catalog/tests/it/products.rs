//! The life of a product, who may touch it, and how lists page.

use serde_json::{Value, json};

use crate::shop::{Shop, mug, sku, variant};

async fn a_product_is_created_edited_published_withdrawn_and_deleted(shop: Shop) {
    let (seller, stranger) = (shop.seller(), shop.stranger());

    let created = seller.create(&mug()).await.expect(201);
    assert_eq!((created.body["state"].as_str(), created.body["version"].as_i64()), (Some("draft"), Some(1)));
    assert_eq!(created.etag, "\"1\"");
    assert_eq!(created.body["seller_id"], seller.id.to_string());
    let path = format!("/api/v1/products/{}", created.id());
    stranger.get(&path).await.refused(404, "product-unknown");
    assert_eq!(seller.get(&path).await.expect(200).body, created.body);

    let two = json!({ "title": "Red mug", "variants": [variant(&sku(), 100), variant(&sku(), 200)] });
    let edited = seller.edit(&created.id(), &created.etag, &two).await.expect(200);
    assert_eq!(edited.etag, "\"2\"");
    assert_eq!(edited.body["title"], "Red mug");
    assert_eq!(edited.body["description"], created.body["description"], "what is left out stays");
    assert_eq!(edited.body["variants"], two["variants"], "a list replaces the list before, in its order");

    seller.post(&format!("{path}/withdraw")).await.refused(409, "product-not-published");
    let published = seller.post(&format!("{path}/publish")).await.expect(200);
    assert_eq!((published.etag.as_str(), published.body["state"].as_str()), ("\"3\"", Some("published")));
    assert_eq!(
        seller.post(&format!("{path}/publish")).await.expect(200).etag,
        "\"3\"",
        "again changes nothing"
    );
    assert_eq!(stranger.get(&path).await.expect(200).body, published.body);

    let withdrawn = seller.post(&format!("{path}/withdraw")).await.expect(200);
    assert_eq!(withdrawn.body["state"], "withdrawn");
    stranger.get(&path).await.refused(404, "product-unknown");

    seller.delete(&path, Some("\"3\"")).await.refused(412, "version-conflict");
    seller.delete(&path, Some(&withdrawn.etag)).await.expect(204);
    seller.get(&path).await.refused(404, "product-unknown");
}

async fn another_sellers_product_cannot_be_changed(shop: Shop) {
    let (owner, other, buyer) = (shop.seller(), shop.seller(), shop.buyer());
    let product = owner.published(&mug()).await;
    let path = format!("/api/v1/products/{}", product.id());

    other
        .edit(&product.id(), &product.etag, &json!({ "title": "Mine" }))
        .await
        .refused(404, "product-unknown");
    other.post(&format!("{path}/withdraw")).await.refused(404, "product-unknown");
    other.delete(&path, Some(&product.etag)).await.refused(404, "product-unknown");
    buyer.create(&mug()).await.refused(403, "forbidden");
    buyer.edit(&product.id(), &product.etag, &json!({ "title": "Mine" })).await.refused(403, "forbidden");
    shop.stranger().create(&mug()).await.refused(401, "unauthenticated");
    assert_eq!(owner.get(&path).await.body, product.body, "nothing changed");
}

async fn a_change_made_for_an_older_version_is_refused(shop: Shop) {
    let seller = shop.seller();
    let created = seller.create(&mug()).await.expect(201);
    let (id, path) = (created.id(), format!("/api/v1/products/{}", created.id()));

    seller.edit(&id, &created.etag, &json!({ "title": "First" })).await.expect(200);
    seller.edit(&id, &created.etag, &json!({ "title": "Second" })).await.refused(412, "version-conflict");
    let unconditional = seller.send(reqwest::Method::PATCH, &path, &[], Some(&json!({ "title": "x" }))).await;
    unconditional.refused(428, "if-match-missing");
    seller.delete(&path, None).await.refused(428, "if-match-missing");
    seller.edit(&id, "2", &json!({ "title": "x" })).await.refused(400, "if-match-invalid");
    assert_eq!(seller.get(&path).await.body["title"], "First");
}

async fn of_many_changes_for_one_version_exactly_one_wins(shop: Shop) {
    let seller = shop.seller();
    let created = seller.create(&mug()).await.expect(201);
    let (id, seller) = (created.id(), &seller);

    let edits = (0..8).map(|n| {
        let (id, etag) = (id.clone(), created.etag.clone());
        async move { seller.edit(&id, &etag, &json!({ "title": format!("Mug {n}") })).await.status }
    });
    let mut statuses = futures::future::join_all(edits).await;
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412, 412, 412, 412, 412, 412, 412]);
    assert_eq!(seller.get(&format!("/api/v1/products/{id}")).await.body["version"], 2);
}

async fn a_sku_belongs_to_one_published_product_and_is_free_after_deletion(shop: Shop) {
    let (first, second) = (shop.seller(), shop.seller());
    let taken = sku();
    let owner = first.published(&with(vec![variant(&taken, 1)])).await;

    let draft = second.create(&with(vec![variant(&sku(), 1), variant(&taken, 1)])).await.expect(201);
    let refused = second.publish(&draft.id()).await.refused(409, "sku-taken");
    assert_eq!(refused.body["errors"][0]["field"], "variants[1].sku");
    assert_eq!(refused.body["errors"][0]["rule"], "taken");
    assert_eq!(refused.body["errors"].as_array().unwrap().len(), 1);
    assert!(refused.body["errors"][0]["detail"].as_str().unwrap().contains(&taken));

    let other = second.published(&mug()).await;
    let grab = json!({ "variants": [variant(&taken, 1)] });
    second.edit(&other.id(), &other.etag, &grab).await.refused(409, "sku-taken");
    let unchanged = second.get(&format!("/api/v1/products/{}", other.id())).await;
    assert_eq!(unchanged.body, other.body, "a refused change leaves nothing behind");

    first.delete(&format!("/api/v1/products/{}", owner.id()), Some(&owner.etag)).await.expect(204);
    second.edit(&other.id(), &other.etag, &grab).await.expect(200);
    second.publish(&draft.id()).await.refused(409, "sku-taken");
}

async fn a_draft_takes_no_sku_whether_it_is_left_or_deleted_s2(shop: Shop) {
    let (rightful, hostile) = (shop.seller(), shop.seller());
    let (left, deleted) = (sku(), sku());
    hostile.create(&with(vec![variant(&left, 1)])).await.expect(201);
    let draft = hostile.create(&with(vec![variant(&deleted, 1)])).await.expect(201);
    hostile.delete(&format!("/api/v1/products/{}", draft.id()), Some(&draft.etag)).await.expect(204);

    let product = rightful.published(&with(vec![variant(&left, 1), variant(&deleted, 1)])).await;
    assert_eq!(product.body["state"], "published");
    let mine = hostile.get("/api/v1/products?seller=me").await.expect(200);
    assert_eq!(mine.each("variants").len(), 1, "the draft that was left stays as it is");
}

async fn a_sku_that_was_published_and_deleted_by_somebody_else_is_free_s2(shop: Shop) {
    let (rightful, hostile) = (shop.seller(), shop.seller());
    let wanted = sku();
    for _ in 0..2 {
        let squatting = hostile.published(&with(vec![variant(&wanted, 1)])).await;
        let path = format!("/api/v1/products/{}", squatting.id());
        hostile.delete(&path, Some(&squatting.etag)).await.expect(204);
    }
    rightful.published(&with(vec![variant(&wanted, 1)])).await;
}

async fn a_withdrawn_product_keeps_its_sku_from_others_and_leaves_it_to_its_seller_s2(shop: Shop) {
    let (seller, other) = (shop.seller(), shop.seller());
    let (wanted, kept) = (sku(), sku());
    let first = seller.published(&with(vec![variant(&kept, 7), variant(&wanted, 1)])).await;
    seller.post(&format!("/api/v1/products/{}/withdraw", first.id())).await.expect(200);
    let theirs = other.create(&with(vec![variant(&wanted, 1)])).await.expect(201);
    other.publish(&theirs.id()).await.refused(409, "sku-taken");

    let second = seller.published(&with(vec![variant(&wanted, 2)])).await;
    let refused = seller.publish(&first.id()).await.refused(409, "sku-taken");
    assert_eq!(refused.body["errors"][0]["field"], "variants[1].sku");
    let withdrawn = seller.get(&format!("/api/v1/products/{}", first.id())).await.expect(200);
    assert_eq!(withdrawn.each_variant("sku"), [json!(kept), json!(wanted)], "it is as it was");
    let theirs = other.create(&with(vec![variant(&kept, 1)])).await.expect(201);
    other.publish(&theirs.id()).await.refused(409, "sku-taken");

    seller.delete(&format!("/api/v1/products/{}", second.id()), Some(&second.etag)).await.expect(204);
    let again = seller.publish(&first.id()).await.expect(200);
    assert_eq!(again.each_variant("price"), [json!(7), json!(1)]);
}

fn with(variants: Vec<Value>) -> Value {
    let mut product = mug();
    product["variants"] = variants.into();
    product
}

async fn a_repeated_creation_answers_as_the_first_and_creates_nothing(shop: Shop) {
    let seller = shop.seller();
    let product = mug();
    let first = seller.create_with_key("once", &product).await.expect(201);
    let again = seller.create_with_key("once", &product).await.expect(201);
    assert_eq!((again.id(), &again.etag), (first.id(), &first.etag));
    seller.create_with_key("once", &mug()).await.refused(422, "idempotency-key-reused");
    let unkeyed = seller.send(reqwest::Method::POST, "/api/v1/products", &[], Some(&mug())).await;
    unkeyed.refused(400, "idempotency-key-missing");
    assert_eq!(seller.get("/api/v1/products?seller=me").await.each("id").len(), 1);
    shop.seller().create_with_key("once", &mug()).await.expect(201);
}

async fn lists_page_newest_first_and_show_drafts_to_their_seller_only(shop: Shop) {
    let (seller, other, stranger) = (shop.seller(), shop.seller(), shop.stranger());
    let mut published = Vec::new();
    for _ in 0..5 {
        published.insert(0, Value::from(seller.published(&mug()).await.id()));
    }
    let draft = Value::from(seller.create(&mug()).await.expect(201).id());
    other.create(&mug()).await.expect(201);

    let first = stranger.get("/api/v1/products?limit=2").await.expect(200);
    assert_eq!(first.each("id"), published[..2]);
    // A product that is published meanwhile shifts no page.
    let newest = Value::from(other.published(&mug()).await.id());
    let cursor = first.body["next_cursor"].as_str().unwrap();
    let second = stranger.get(&format!("/api/v1/products?limit=2&cursor={cursor}")).await.expect(200);
    assert_eq!(second.each("id"), published[2..4]);
    let cursor = second.body["next_cursor"].as_str().unwrap();
    let third = stranger.get(&format!("/api/v1/products?limit=2&cursor={cursor}")).await.expect(200);
    assert_eq!(third.each("id"), published[4..]);
    assert_eq!((&third.body["has_more"], &third.body["next_cursor"]), (&json!(false), &Value::Null));
    assert_eq!(stranger.get("/api/v1/products").await.each("id")[0], newest);

    let mine = seller.get("/api/v1/products?seller=me").await.expect(200).each("id");
    assert_eq!((mine.len(), &mine[0]), (6, &draft));
    stranger.get("/api/v1/products?seller=me").await.refused(401, "unauthenticated");
}

crate::on_both_stores![
    a_product_is_created_edited_published_withdrawn_and_deleted,
    another_sellers_product_cannot_be_changed,
    a_change_made_for_an_older_version_is_refused,
    of_many_changes_for_one_version_exactly_one_wins,
    a_sku_belongs_to_one_published_product_and_is_free_after_deletion,
    a_draft_takes_no_sku_whether_it_is_left_or_deleted_s2,
    a_sku_that_was_published_and_deleted_by_somebody_else_is_free_s2,
    a_withdrawn_product_keeps_its_sku_from_others_and_leaves_it_to_its_seller_s2,
    a_repeated_creation_answers_as_the_first_and_creates_nothing,
    lists_page_newest_first_and_show_drafts_to_their_seller_only,
];
