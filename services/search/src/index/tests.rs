//! The index without Kafka or HTTP: what is found, in which order, and how pages follow each other.

use std::collections::BTreeSet;

use time::OffsetDateTime;

use super::*;
use crate::product::{State, Variant};

fn product(n: u8, title: &str, description: &str) -> ProductSnapshot {
    ProductSnapshot {
        product_id: Uuid::from_u128(
            0x0190_0000_0000_7000_8000_0000_0000_0000 | (u128::from(n) << 80) | u128::from(n),
        ),
        state: State::Published,
        title: title.into(),
        description: description.into(),
        currency: "KRW".into(),
        categories: BTreeSet::from(["misc".to_owned()]),
        tags: Vec::new(),
        variants: vec![Variant { price: i64::from(n) * 100, quantity: 1 }],
        updated_at: OffsetDateTime::UNIX_EPOCH,
    }
}

fn index(products: Vec<ProductSnapshot>) -> ProductIndex {
    let index = ProductIndex::in_memory().unwrap();
    let changes: Vec<_> = products.into_iter().map(|product| Change::Put(Box::new(product))).collect();
    index.apply(&changes).unwrap();
    index
}

fn request(text: &str) -> Request {
    Request { text: text.into(), limit: 20, ..Request::default() }
}

fn titles(index: &ProductIndex, request: &Request) -> Vec<String> {
    index.search(request).unwrap().hits.into_iter().map(|hit| hit.title).collect()
}

#[test]
fn a_product_is_found_by_word_beginning_and_one_typo() {
    let index = index(vec![
        product(1, "Wireless headphones", "noise cancelling"),
        product(2, "Garden hose", "green"),
        product(3, "Crème brûlée torch", "for the kitchen"),
    ]);
    for query in ["headphones", "HEADPHONES", "headph", "haedphones", "wireles headphon", "cancelling"] {
        assert_eq!(titles(&index, &request(query)), ["Wireless headphones"], "{query}");
    }
    assert_eq!(titles(&index, &request("creme brulee")), ["Crème brûlée torch"]);
    assert!(titles(&index, &request("headphones garden")).is_empty(), "every word must match");
    assert!(titles(&index, &request("hxxdphones")).is_empty(), "two typos are too many");
    assert_eq!(titles(&index, &request("")).len(), 3, "no words list everything");
    assert!(titles(&index, &request("!!")).is_empty());
}

#[test]
fn text_without_spaces_between_words_is_found_inside() {
    let index = index(vec![
        product(1, "무선이어폰 프로", "소음 제거"),
        product(2, "운동화", "가벼운 러닝화"),
        product(3, "東京タワー模型", "プラモデル"),
        product(4, "เสื้อยืดผ้าฝ้าย", "cotton"),
        product(5, "Беспроводные наушники", "чёрные"),
    ]);
    for query in ["이어폰", "무선", "무선이어폰", "무선 이어폰", "폰", "이어폰 프로", "무선이어푼"]
    {
        assert_eq!(titles(&index, &request(query)), ["무선이어폰 프로"], "{query}");
    }
    assert_eq!(titles(&index, &request("운동화")), ["운동화"]);
    assert_eq!(titles(&index, &request("タワー")), ["東京タワー模型"]);
    assert_eq!(titles(&index, &request("ผ้าฝ้าย")), ["เสื้อยืดผ้าฝ้าย"]);
    assert_eq!(titles(&index, &request("наушники")), ["Беспроводные наушники"]);
    let decomposed: String = unicode_normalization::UnicodeNormalization::nfd("운동화").collect();
    assert_eq!(titles(&index, &request(&decomposed)), ["운동화"]);
}

#[test]
fn a_match_in_the_title_and_an_exact_one_come_first() {
    let index = index(vec![
        product(1, "Bag", "holds a lamp"),
        product(2, "Lamps and shades", "bright"),
        product(3, "Lamp", "bright"),
    ]);
    assert_eq!(titles(&index, &request("lamp")), ["Lamp", "Lamps and shades", "Bag"]);
}

#[test]
fn filters_narrow_without_touching_the_facets_of_their_own_field() {
    let mut shoes = product(10, "Red shoes", "");
    shoes.categories = BTreeSet::from(["shoes".into()]);
    let mut sold_out = product(20, "Red boots", "");
    sold_out.categories = BTreeSet::from(["shoes".into(), "winter".into()]);
    sold_out.variants[0].quantity = 0;
    let mut hat = product(30, "Red hat", "");
    hat.categories = BTreeSet::from(["winter".into()]);
    hat.variants.push(Variant { price: 9000, quantity: 0 });
    let index = index(vec![shoes, sold_out, hat]);
    let with = |filters: Filters| titles(&index, &Request { filters, sort: Sort::Price, ..request("red") });

    assert_eq!(
        with(Filters { category: Some("winter".into()), ..Filters::default() }),
        ["Red boots", "Red hat"]
    );
    assert_eq!(with(Filters { in_stock_only: true, ..Filters::default() }), ["Red shoes", "Red hat"]);
    assert_eq!(
        with(Filters { min_price: Some(1001), max_price: Some(2000), ..Filters::default() }),
        ["Red boots"]
    );
    assert_eq!(
        with(Filters { min_price: Some(8000), ..Filters::default() }),
        ["Red hat"],
        "any variant counts"
    );
    assert!(with(Filters { currency: Some("USD".into()), ..Filters::default() }).is_empty());

    let narrowed = Filters { category: Some("shoes".into()), ..Filters::default() };
    let found = index.search(&Request { filters: narrowed, ..request("red") }).unwrap();
    assert_eq!(found.hits.len(), 2);
    let mut categories = found.categories;
    categories.sort();
    assert_eq!(categories, [("shoes".to_owned(), 2), ("winter".to_owned(), 2)]);
}

#[test]
fn pages_follow_each_other_in_every_order_without_gap_or_repeat() {
    let index = index((1..=25).map(|n| product(n, &format!("Cup {n}"), "same words")).collect());
    for sort in [Sort::Relevance, Sort::Price, Sort::PriceDesc, Sort::Newest] {
        let (mut seen, mut after, mut pages) = (Vec::new(), None, 0);
        loop {
            let found = index.search(&Request { sort, after, limit: 10, ..request("cup") }).unwrap();
            seen.extend(found.hits.iter().map(|hit| hit.price_from));
            pages += 1;
            after = found.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(pages, 3);
        assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), 25, "{sort:?} repeats or misses: {seen:?}");
        match sort {
            Sort::Price => assert!(seen.is_sorted()),
            Sort::PriceDesc | Sort::Newest => assert!(seen.iter().rev().is_sorted()),
            Sort::Relevance => {}
        }
    }
}

#[test]
fn the_last_change_of_a_product_is_the_one_found() {
    let index = index(vec![product(1, "Old name", "")]);
    let mut withdrawn = product(2, "Withdrawn", "");
    withdrawn.state = State::Withdrawn;
    index
        .apply(&[Change::Put(Box::new(product(1, "New name", ""))), Change::Put(Box::new(withdrawn))])
        .unwrap();
    assert_eq!(titles(&index, &request("")), ["New name"]);
    index.apply(&[Change::Remove(product(1, "", "").product_id)]).unwrap();
    assert_eq!(index.product_count(), 0);
}
