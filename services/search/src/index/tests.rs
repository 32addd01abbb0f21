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
        variants: vec![Variant { sku: format!("SKU-{n}"), price: i64::from(n) * 100, quantity: 1 }],
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
fn a_title_is_found_however_it_is_written_or_typed_f1() {
    let title_and_queries: [(&str, &[&str]); 21] = [
        ("ＵＳＢ-Ｃ 케이블", &["usb", "ＵＳＢ", "usb-c", "케이블", "ㅋㅇㅂ", "케이ㅂ"]),
        ("Straße", &["strasse", "STRASSE", "straße", "STRAẞE", "stras"]),
        ("Kopf\u{ad}hörer", &["Kopfhörer", "kopfhorer", "Kopfh\u{ad}örer", "KOPFHO\u{308}RER"]),
        (
            "무선이어폰",
            &[
                "이어ㅍ",
                "이어포",
                "이어폰",
                "이엎",
                "ㅁㅅㅇㅇㅍ",
                "ㅇㅇㅍ",
                "ㅅㅇㅇ",
                "무선이ㅇ",
                "무ㅅ이어폰",
                "무선ㅇㅇㅍ",
                "ㅁㅅ이어폰",
                "무선 이어ㅍ",
                "무선 ㅇㅇㅍ",
                "무",
                "뭇",
                "ㅁ",
                "ㅇㅇ포",
                "\u{110b}\u{1175}\u{110b}\u{1165}\u{1111}",
                "\u{ffb7}\u{ffb7}\u{ffbd}",
            ],
        ),
        (
            "새 무선 이어폰",
            &[
                "ㅁㅅㅇㅇㅍ",
                "ㅅㅇㅇ",
                "ㅅㅁㅅㅇㅇㅍ",
                "ㅁㅅㅇㅇ포",
                "무선이어ㅍ",
                "무선이어포",
                "무선 ㅇㅇㅍ",
                "무선이어폰",
            ],
        ),
        ("쌀 5㎏", &["5kg", "5㎏", "5KG", "쌀 5kg"]),
        ("Rice 10kg", &["10㎏", "10KG"]),
        ("ﬁlter paper", &["filter", "ﬁlter", "filt"]),
        ("İstanbul kahvesi", &["istanbul", "ISTANBUL", "İSTANBUL", "ıstanbul"]),
        ("Işık", &["isik", "IŞIK", "ışık"]),
        ("Οδυσσεύς", &["ΟΔΥΣΣΕΥΣ", "οδυσσευσ", "Οδυσσεύς", "οδυσσ"]),
        ("ガラスのコップ", &["ｶﾞﾗｽ", "ガラス", "カ\u{3099}ラス", "ｺｯﾌﾟ"]),
        ("كتاب", &["ﻛﺘﺎﺏ", "كِتَاب", "كتـــاب"]),
        ("½ inch pipe 5½", &["1/2", "½", "5 1/2", "5½"]),
        ("Teppich 20 m²", &["m2", "m²", "20 m²"]),
        ("Nike™ Air", &["nike air", "nike™", "nike"]),
        ("닭가슴살", &["다", "달", "닭", "닭가", "ㄷㄱㅅㅅ", "닭가ㅅ", "닭갓"]),
        ("과자", &["고", "과", "괒", "ㄱㅈ", "과ㅈ"]),
        ("값싼 몫", &["갑", "값", "ㄱㅆ", "몫", "목"]),
        ("낚시 세트", &["ㄴㅅ", "낚시", "낚ㅅ", "나"]),
        ("Ⅷ 𝐔𝐒𝐁 ⓤⓢⓑ①", &["viii", "usb1", "usb"]),
    ];
    for (title, queries) in title_and_queries {
        let index = index(vec![product(1, title, ""), product(2, "Zebra", "")]);
        for query in queries {
            assert_eq!(titles(&index, &request(query)), [title], "{title:?} by {query:?}");
        }
    }
}

#[test]
fn what_is_typed_finds_nothing_that_it_cannot_become_f1() {
    let index = index(vec![product(1, "무선이어폰 세트", "ㅋㅋ"), product(2, "코튼 셔츠", "")]);
    for query in ["이어ㅂ", "이어표", "ㅁㅅㅇㅇㅂ", "ㅇㅍㅇ", "이어포 세트", "코트 셔츠", "ㅌㅋ", "므"]
    {
        assert!(titles(&index, &request(query)).is_empty(), "{query}");
    }
    assert_eq!(titles(&index, &request("ㅋㅋ")), ["무선이어폰 세트"], "consonants as they stand in a text");
}

#[test]
fn a_complete_syllable_comes_before_what_it_may_become_f1() {
    let index = index(vec![product(2, "코튼", ""), product(1, "코트", "")]);
    assert_eq!(titles(&index, &request("코트")), ["코트", "코튼"]);
}

#[test]
fn a_category_is_one_in_all_its_spellings_f2() {
    let decomposed = "\u{110f}\u{1161}\u{1111}\u{1166}";
    let spelled = [("카페", 1), (decomposed, 2), ("Audio", 3), ("audio", 4), ("Audio", 5), ("ＡＵＤＩＯ", 6)];
    let index = index(
        spelled
            .map(|(category, n)| ProductSnapshot {
                categories: BTreeSet::from([category.to_owned()]),
                ..product(n, "Thing", "")
            })
            .into(),
    );
    let found = index.search(&request("thing")).unwrap();
    assert_eq!(found.categories, [("Audio".to_owned(), 4), ("카페".to_owned(), 2)]);
    for (category, count) in [("카페", 2), (decomposed, 2), ("AUDIO", 4), (" audio ", 4), ("ｶﾌｪ", 0)]
    {
        let filters = Filters { category: Some(category.to_owned()), ..Filters::default() };
        let found = index.search(&Request { filters, ..request("") }).unwrap();
        assert_eq!(found.hits.len(), count, "{category}");
        assert!(found.hits.iter().flat_map(|hit| &hit.categories).all(|name| name != decomposed));
    }
    assert_eq!(titles(&index, &request(decomposed)).len(), 2, "and so as a word");
}

#[test]
fn a_sku_finds_its_product_before_all_others_f3() {
    let mut mug = product(1, "Blue mug", "");
    mug.variants[0].sku = "MUG-BLUE-300".into();
    let other = product(2, "mug blue 300", "mug-blue-300");
    let index = index(vec![mug, other]);
    for query in ["MUG-BLUE-300", "mug-blue-300", " Mug-Blue-300 ", "ＭＵＧ－ＢＬＵＥ－３００", "mug-blue"]
    {
        assert_eq!(titles(&index, &request(query))[0], "Blue mug", "{query}");
    }
    assert_eq!(titles(&index, &request("SKU-2")), ["mug blue 300"]);
    assert!(titles(&index, &request("MUG-BLUE-30")).contains(&"mug blue 300".to_owned()), "also as words");
}

#[test]
fn prices_are_compared_in_one_currency_only_s11() {
    let in_currency =
        |n, currency: &str| ProductSnapshot { currency: currency.into(), ..product(n, "Cup", "") };
    let index = index(vec![
        in_currency(1, "KRW"),
        in_currency(2, "USD"),
        in_currency(3, "KRW"),
        in_currency(4, "KRW"),
    ]);
    let usd = Filters { currency: Some("USD".into()), ..Filters::default() };
    let cheap = Filters { max_price: Some(300), ..Filters::default() };
    for (sort, filters) in [
        (Sort::Price, Filters::default()),
        (Sort::PriceDesc, Filters::default()),
        (Sort::Newest, cheap.clone()),
    ] {
        let ambiguous = Request { filters, sort, ..request("cup") };
        let Err(SearchError::CurrencyNeeded(found)) = index.search(&ambiguous) else {
            panic!("it is ambiguous")
        };
        assert_eq!(found, ["KRW", "USD"]);
        let filters = Filters { currency: usd.currency.clone(), ..ambiguous.filters.clone() };
        assert_eq!(titles(&index, &Request { filters, ..ambiguous }).len(), 1);
    }
    assert_eq!(
        titles(&index, &Request { sort: Sort::Newest, ..request("cup") }).len(),
        4,
        "no price is compared"
    );
    assert!(
        titles(&index, &Request { sort: Sort::Price, ..request("saucer") }).is_empty(),
        "nor is there any"
    );
}

#[test]
fn a_list_by_price_stays_in_its_currency_when_another_comes_in_s11() {
    let index = index((1..=4).map(|n| product(n, "Cup", "")).collect());
    let by_price = Request { sort: Sort::Price, limit: 2, ..request("cup") };
    let first = index.search(&by_price).unwrap();
    let dollars = ProductSnapshot { currency: "USD".into(), ..product(9, "Cup", "") };
    index.apply(&[Change::Put(Box::new(dollars))]).unwrap();
    let second = index.search(&Request { after: first.next, ..by_price }).unwrap();
    assert_eq!(second.hits.iter().map(|hit| hit.price_from).collect::<Vec<_>>(), [300, 400]);
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
    hat.variants.push(Variant { sku: "HAT-L".into(), price: 9000, quantity: 0 });
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
