//! What is found, in which order and in what form.

use serde_json::{Value, json};

use crate::shop::{Search, Shop, product, titles};

/// A small shop window, searched.
async fn window() -> (Shop, Search) {
    let shop = Shop::open().await;
    let mut headphones = product("Wireless headphones", 59_000);
    headphones["description"] = json!("Noise cancelling & <light>, for long flights.");
    headphones["categories"] = json!(["audio"]);
    let mut earphones = product("무선이어폰 프로", 39_000);
    earphones["description"] = json!("소음 제거 기능이 있는 이어폰");
    earphones["categories"] = json!(["audio", "mobile"]);
    earphones["variants"][0]["quantity"] = json!(0);
    let mut charger = product("Wireless charger", 25_000);
    charger["categories"] = json!(["mobile"]);
    charger["tags"] = json!(["qi"]);
    let mut draft = product("Wireless secret", 1);
    draft["state"] = json!("draft");
    shop.announce(&[headphones, earphones, charger, draft]).await;
    let search = shop.ready_search().await;
    (shop, search)
}

#[tokio::test(flavor = "multi_thread")]
async fn products_are_found_by_word_beginning_typo_and_tag_in_any_script() {
    let (_shop, search) = window().await;
    for (q, expected) in [
        ("headphones", vec!["Wireless headphones"]),
        ("HEADPH", vec!["Wireless headphones"]),
        ("haedphones", vec!["Wireless headphones"]),
        ("wireles charger", vec!["Wireless charger"]),
        ("cancelling", vec!["Wireless headphones"]),
        ("qi", vec!["Wireless charger"]),
        ("이어폰", vec!["무선이어폰 프로"]),
        ("무선 이어폰", vec!["무선이어폰 프로"]),
        ("소음", vec!["무선이어폰 프로"]),
        ("secret", vec![]),
        ("빨간 구두", vec![]),
    ] {
        assert_eq!(search.titles(&[("q", q)]).await, expected, "{q}");
    }
    assert_eq!(search.titles(&[]).await.len(), 3, "without words everything published is listed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hit_says_what_a_shop_window_shows_and_why_it_was_found() {
    let (_shop, search) = window().await;
    let page = search.page(&[("q", "headphones long")]).await;
    let hit = &page["data"][0];
    assert_eq!(hit["title"], "Wireless headphones");
    assert_eq!(hit["title_highlighted"], "Wireless <em>headphones</em>");
    assert_eq!(hit["snippet"], "Noise cancelling &amp; &lt;light&gt;, for <em>long</em> flights.");
    assert_eq!(
        (&hit["price_from"], &hit["currency"], &hit["in_stock"], &hit["categories"]),
        (&json!(59_000), &json!("KRW"), &json!(true), &json!(["audio"]))
    );
    let korean = search.page(&[("q", "이어폰")]).await;
    assert_eq!(korean["data"][0]["title_highlighted"], "무선<em>이어폰</em> 프로");
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_narrow_and_facets_count() {
    let (_shop, search) = window().await;
    let sorted = |filter: (&'static str, &'static str)| [filter, ("sort", "price")];
    for (filter, expected) in [
        (("category", "mobile"), vec!["Wireless charger", "무선이어폰 프로"]),
        (("in_stock", "true"), vec!["Wireless charger", "Wireless headphones"]),
        (("min_price", "30000"), vec!["무선이어폰 프로", "Wireless headphones"]),
        (("max_price", "39000"), vec!["Wireless charger", "무선이어폰 프로"]),
        (("currency", "USD"), vec![]),
    ] {
        assert_eq!(search.titles(&sorted(filter)).await, expected, "{filter:?}");
    }
    let page = search.page(&[("q", "wireless"), ("category", "audio")]).await;
    assert_eq!(titles(&page), ["Wireless headphones"]);
    assert_eq!(
        page["facets"]["categories"],
        json!([{ "value": "audio", "count": 1 }, { "value": "mobile", "count": 1 }]),
        "the category filter does not narrow its own facet"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn hits_are_sorted_as_asked() {
    let (_shop, search) = window().await;
    let by = async |sort| search.titles(&[("sort", sort)]).await;
    assert_eq!(by("price").await, ["Wireless charger", "무선이어폰 프로", "Wireless headphones"]);
    assert_eq!(by("price-desc").await, ["Wireless headphones", "무선이어폰 프로", "Wireless charger"]);
    let relevant = search.titles(&[("q", "wireless"), ("sort", "relevance")]).await;
    assert_eq!(relevant.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_neither_repeat_nor_miss_while_products_come_and_go() {
    let shop = Shop::open().await;
    let cups: Vec<Value> = (1..=7).map(|n| product(&format!("Cup {n}"), n * 100)).collect();
    shop.announce(&cups).await;
    let search = shop.ready_search().await;
    let query = [("q", "cup"), ("sort", "price"), ("limit", "3")];

    let first = search.page(&query).await;
    assert_eq!(titles(&first), ["Cup 1", "Cup 2", "Cup 3"]);
    shop.announce(&[product("Cup 0", 1)]).await;
    shop.delete(&cups[4]).await;
    search.finds(&[("q", "cup"), ("sort", "price"), ("limit", "2")], &["Cup 0", "Cup 1"]).await;
    search.finds(&[("q", "5")], &[]).await;

    let mut rest = Vec::new();
    let mut cursor = first["next_cursor"].as_str().map(str::to_owned);
    while let Some(after) = cursor {
        let page = search.page(&[query.as_slice(), &[("cursor", &after)]].concat()).await;
        rest.extend(titles(&page));
        assert_eq!(page["has_more"], json!(page["next_cursor"].is_string()));
        cursor = page["next_cursor"].as_str().map(str::to_owned);
    }
    assert_eq!(rest, ["Cup 4", "Cup 6", "Cup 7"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_query_names_field_and_rule() {
    let (_shop, search) = window().await;
    let by_price = search.page(&[("sort", "price"), ("limit", "1")]).await;
    let foreign = by_price["next_cursor"].as_str().unwrap();
    let long = "x".repeat(201);
    let many_words = "a ".repeat(25);
    for (query, status, field) in [
        ([("q", long.as_str()), ("limit", "1")], 422, "q"),
        ([("min_price", "-1"), ("limit", "1")], 422, "min_price"),
        ([("min_price", "2"), ("max_price", "1")], 422, "max_price"),
        ([("q", many_words.as_str()), ("limit", "1")], 422, "q"),
        ([("currency", "KWR"), ("limit", "1")], 422, "currency"),
        ([("min_price", "cheap"), ("limit", "1")], 400, "min_price"),
        ([("in_stock", "maybe"), ("limit", "1")], 400, "in_stock"),
        ([("sort", "random"), ("limit", "1")], 400, "sort"),
        ([("q", "a"), ("limit", "1000")], 422, "limit"),
        ([("q", "a"), ("cursor", "nonsense")], 400, "cursor"),
        ([("sort", "newest"), ("cursor", foreign)], 422, "cursor"),
        ([("q", "a"), ("page", "2")], 400, "page"),
    ] {
        let (found, body) = search.get(&query).await;
        assert_eq!((found, &body["errors"][0]["field"]), (status, &json!(field)), "{query:?}: {body:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn to_sort_or_filter_by_price_over_several_currencies_one_is_named_s11() {
    let shop = Shop::open().await;
    let mut dollars = product("Cup in dollars", 900);
    dollars["currency"] = json!("USD");
    shop.announce(&[product("Cup in won", 1_000), dollars]).await;
    let search = shop.ready_search().await;
    for query in [("sort", "price"), ("sort", "price-desc"), ("min_price", "1"), ("max_price", "1000")] {
        let (status, refused) = search.get(&[("q", "cup"), query]).await;
        assert_eq!((status, &refused["code"]), (422, &json!("validation-failed")), "{query:?}");
        assert_eq!(
            (&refused["errors"][0]["field"], &refused["errors"][0]["rule"]),
            (&json!("currency"), &json!("required"))
        );
        assert_eq!(search.titles(&[query, ("currency", "USD"), ("q", "cup")]).await, ["Cup in dollars"]);
        assert_eq!(search.titles(&[query, ("q", "won")]).await, ["Cup in won"], "there is only one to mean");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sku_finds_its_product_f3() {
    let (shop, search) = window().await;
    let mut lamp = product("Desk lamp", 100);
    lamp["variants"][0]["sku"] = json!("LAMP-9-RED");
    shop.announce(&[lamp]).await;
    search.finds(&[("q", "lamp-9-red")], &["Desk lamp"]).await;
    search.finds(&[("q", "LAMP-9")], &["Desk lamp"]).await;
}
