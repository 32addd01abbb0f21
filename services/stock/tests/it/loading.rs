//! Putting a sale on, changing it while it is open, and taking it off, by operators of which two may act at
//! once.

use rocketmart_stock::{
    CurrentPrice, ItemSpec, LoadOutcome, PurgeOutcome, ReleaseReason, ReserveOutcome, SaleId, SaleSpec,
    SaleState, SetStateOutcome,
};
use std::time::Duration;
use uuid::Uuid;

use crate::support::{CUP, Sale, TEA, a_buyer, expect_reserved, item, now_ms, spec};

async fn conflicts(sale: &Sale, spec: &SaleSpec) -> Vec<String> {
    match sale.stock.load(spec).await.unwrap() {
        LoadOutcome::ConflictingSpec(conflicts) => {
            conflicts.into_iter().map(|conflict| conflict.field).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_loaded_sale_reads_back_as_it_was_asked_for() {
    let sale = Sale::of(vec![item(TEA, 10, Some(2)), item(CUP, 5, None)]).await;
    let counters = sale.counters().await;
    assert_eq!((counters.name.as_str(), counters.currency.as_str()), ("spring", "EUR"));
    assert_eq!((counters.state, counters.fence), (SaleState::Ready, 7));
    assert_eq!(
        (counters.opens_at_ms, counters.closes_at_ms),
        (sale.spec.opens_at_ms, sale.spec.closes_at_ms)
    );
    assert_eq!(counters.payment_seconds, 3_600);
    assert_eq!((counters.stream_length, counters.last_event_id.as_str()), (0, "0-0"));
    assert!((now_ms() - counters.now_ms).abs() < 5_000 && counters.epoch <= counters.now_ms);
    let items: Vec<_> =
        counters.items.iter().map(|item| (item.sku.as_str(), item.preloaded, item.limit)).collect();
    assert_eq!(items, [(CUP, 5, None), (TEA, 10, Some(2))]);
    assert_eq!(sale.stock.sales().await, Ok(vec![sale.id()]));
    assert_eq!(sale.stock.counters(SaleId(Uuid::new_v4())).await, Ok(None));
}

#[tokio::test]
async fn two_operators_at_once_load_once() {
    let sale = Sale::of_tea(1).await;
    let spec = spec(vec![item(TEA, 100, None)]);
    let (one, two) = (sale.another_replica(), sale.another_replica());
    let mut outcomes = [one.load(&spec).await.unwrap(), two.load(&spec).await.unwrap()];
    outcomes.sort_by_key(|outcome| *outcome == LoadOutcome::AlreadyLoaded);
    assert_eq!(outcomes, [LoadOutcome::Loaded, LoadOutcome::AlreadyLoaded]);
    assert_eq!(one.counters(spec.id).await.unwrap().unwrap().items[0].preloaded, 100);
}

#[tokio::test]
async fn an_operator_with_a_stale_fence_changes_nothing() {
    let sale = Sale::of_tea(10).await;
    let newer = SaleSpec { fence: 9, ..sale.spec.clone() };
    assert_eq!(sale.stock.load(&newer).await, Ok(LoadOutcome::AlreadyLoaded));
    let more = SaleSpec { fence: 8, items: vec![item(TEA, 99, None)], ..sale.spec.clone() };
    assert_eq!(sale.stock.load(&more).await, Ok(LoadOutcome::StaleFence { seen: 9 }));
    let closing = sale.stock.set_state(sale.id(), 8, SaleState::Closed).await;
    assert_eq!(closing, Ok(SetStateOutcome::StaleFence { seen: 9 }));
    assert_eq!(sale.stock.purge(sale.id(), 8).await, Ok(PurgeOutcome::StaleFence { seen: 9 }));
    assert_eq!(sale.tea().await, (10, 0, 0));
    assert_eq!(sale.counters().await.state, SaleState::Ready);
}

#[tokio::test]
async fn an_open_sale_takes_more_units_more_skus_and_more_time() {
    let sale = Sale::of_tea(2).await;
    sale.reserve_tea(a_buyer()).await;
    let more = SaleSpec {
        closes_at_ms: sale.spec.closes_at_ms.map(|at| at + 1_000),
        items: vec![item(TEA, 5, None), item(CUP, 1, Some(1))],
        ..sale.spec.clone()
    };
    assert_eq!(sale.stock.load(&more).await, Ok(LoadOutcome::Loaded));
    assert_eq!(sale.stock.load(&more).await, Ok(LoadOutcome::AlreadyLoaded));
    assert_eq!(sale.tea().await, (4, 1, 0));
    let counters = sale.counters().await;
    assert_eq!((counters.items.len(), counters.closes_at_ms), (2, more.closes_at_ms));
    assert_eq!(counters.state, SaleState::Ready, "a sale that sells goes on selling");
}

#[tokio::test]
async fn nothing_is_taken_away_from_an_open_sale() {
    let sale = Sale::of(vec![item(TEA, 10, Some(2)), item(CUP, 5, None)]).await;
    let before = sale.counters().await;
    let with = |tea: ItemSpec| SaleSpec { items: vec![tea, item(CUP, 5, None)], ..sale.spec.clone() };
    let tea = item(TEA, 10, Some(2));
    for (changed, field) in [
        (with(ItemSpec { units: 9, ..tea.clone() }), "items[tea].units"),
        (with(ItemSpec { price: 999, ..tea.clone() }), "items[tea].price"),
        (with(ItemSpec { per_buyer_limit: Some(1), ..tea.clone() }), "items[tea].per_buyer_limit"),
        (with(ItemSpec { per_buyer_limit: None, ..tea.clone() }), "items[tea].per_buyer_limit"),
        (SaleSpec { items: vec![tea.clone()], ..sale.spec.clone() }, "items[cup]"),
        (SaleSpec { opens_at_ms: sale.spec.opens_at_ms + 1, ..sale.spec.clone() }, "opens_at_ms"),
        (
            SaleSpec { closes_at_ms: sale.spec.closes_at_ms.map(|at| at - 1), ..sale.spec.clone() },
            "closes_at_ms",
        ),
        (SaleSpec { closes_at_ms: None, ..sale.spec.clone() }, "closes_at_ms"),
        (SaleSpec { payment_seconds: 10, ..sale.spec.clone() }, "payment_seconds"),
        (SaleSpec { currency: "USD".to_owned(), ..sale.spec.clone() }, "currency"),
        (SaleSpec { name: "autumn".to_owned(), ..sale.spec.clone() }, "name"),
        (with(ItemSpec { price: -1, ..tea.clone() }), "items[tea].price"),
    ] {
        assert_eq!(conflicts(&sale, &changed).await, [field]);
    }
    let after = sale.counters().await;
    assert_eq!(
        (after.items, after.fence, after.closes_at_ms),
        (before.items, before.fence, before.closes_at_ms)
    );
}

#[tokio::test]
async fn a_window_may_be_moved_until_it_opens() {
    let sale = Sale::of_tea(1).await;
    let (opens_at_ms, closes_at_ms) = (now_ms() + 60_000, Some(now_ms() + 120_000));
    let planned = SaleSpec { opens_at_ms, closes_at_ms, ..spec(vec![item(TEA, 10, None)]) };
    assert_eq!(sale.stock.load(&planned).await, Ok(LoadOutcome::Loaded));
    let moved = SaleSpec { opens_at_ms: opens_at_ms - 1_000, closes_at_ms: Some(opens_at_ms + 5), ..planned };
    assert_eq!(sale.stock.load(&moved).await, Ok(LoadOutcome::Loaded));
    assert_eq!(sale.stock.counters(moved.id).await.unwrap().unwrap().opens_at_ms, moved.opens_at_ms);
}

#[tokio::test]
async fn standing_stock_follows_its_catalog() {
    let sale = Sale::of_tea(1).await;
    let standing = SaleSpec { closes_at_ms: None, ..spec(vec![item(TEA, 10, None), item(CUP, 5, None)]) };
    sale.stock.load(&standing).await.unwrap();
    sale.stock.set_state(standing.id, standing.fence, SaleState::Ready).await.unwrap();
    let wish = crate::support::wish(standing.id, a_buyer(), "key", &[(TEA, 3)]);
    let reservation = expect_reserved(sale.stock.reserve(standing.id, &[wish]).await.unwrap().remove(0));

    let load = async |tea: ItemSpec| {
        sale.stock.load(&SaleSpec { items: vec![tea], ..standing.clone() }).await.unwrap()
    };
    let cheaper = ItemSpec { price: 500, ..item(TEA, 3, Some(4)) };
    assert_eq!(
        load(cheaper).await,
        LoadOutcome::Loaded,
        "fewer units, another price, and no word about cups"
    );
    assert!(
        matches!(load(item(TEA, 2, None)).await, LoadOutcome::ConflictingSpec(_)),
        "three are spoken for"
    );

    let items = sale.stock.counters(standing.id).await.unwrap().unwrap().items;
    assert_eq!((items[0].sku.as_str(), items[0].remaining), (CUP, 5));
    assert_eq!((items[1].preloaded, items[1].remaining, items[1].reserved), (3, 0, 3));
    assert_eq!((items[1].price, items[1].limit), (500, Some(4)));
    assert_eq!(reservation.amount, 3_000, "who reserved pays the price of then");
}

#[tokio::test]
async fn a_suspended_sale_pauses_selling_but_not_paying() {
    let sale = Sale::of_tea(10).await;
    let reservation = sale.reserve_tea(a_buyer()).await;
    sale.set_state(SaleState::Suspended).await;
    assert_eq!(sale.decide(&sale.wish(a_buyer(), "key", &[(TEA, 1)])).await, ReserveOutcome::Suspended);
    sale.stock.submit_payment(&sale.payment(&reservation)).await.unwrap();
    sale.stock.confirm(sale.id(), &[reservation.order]).await.unwrap();
    sale.set_state(SaleState::Ready).await;
    sale.reserve_tea(a_buyer()).await;
    assert_eq!(sale.tea().await, (8, 1, 1));
}

#[tokio::test]
async fn closed_is_final() {
    let sale = Sale::of_tea(10).await;
    sale.set_state(SaleState::Closed).await;
    sale.set_state(SaleState::Closed).await;
    let resumed = sale.stock.set_state(sale.id(), 100, SaleState::Ready).await;
    assert_eq!(resumed, Ok(SetStateOutcome::AlreadyClosed));
    assert_eq!(sale.decide(&sale.wish(a_buyer(), "key", &[(TEA, 1)])).await, ReserveOutcome::Closed);
    let more = SaleSpec { items: vec![item(TEA, 11, None)], ..sale.spec.clone() };
    assert_eq!(conflicts(&sale, &more).await, ["state"]);
    assert_eq!(sale.stock.load(&sale.spec).await, Ok(LoadOutcome::AlreadyLoaded));
    let unknown = sale.stock.set_state(SaleId(Uuid::new_v4()), 1, SaleState::Ready).await;
    assert_eq!(unknown, Ok(SetStateOutcome::UnknownSale));
}

#[tokio::test]
async fn a_sale_is_forgotten_only_when_closed_and_drained() {
    let sale = Sale::of_tea(10).await;
    let reservation = sale.reserve_tea(a_buyer()).await;
    let purge = || sale.stock.purge(sale.id(), 7);
    assert_eq!(purge().await, Ok(PurgeOutcome::NotClosed));
    sale.set_state(SaleState::Closed).await;
    let undrained = |outstanding_reservations, stream_length| {
        Ok(PurgeOutcome::NotDrained { outstanding_reservations, stream_length })
    };
    assert_eq!(purge().await, undrained(1, 1));
    sale.stock.release(sale.id(), &[(reservation.order, ReleaseReason::Cancelled)]).await.unwrap();
    assert_eq!(purge().await, undrained(0, 2));
    let entries = sale.stock.read_events(sale.id(), "0", 10, Duration::ZERO).await.unwrap();
    sale.stock.trim(sale.id(), &entries[1].id).await.unwrap();
    assert_eq!(purge().await, Ok(PurgeOutcome::Purged));
    assert_eq!(purge().await, Ok(PurgeOutcome::Purged), "once more is fine");
    assert_eq!(sale.stock.sales().await, Ok(vec![]));
    let left: Vec<String> =
        redis::cmd("KEYS").arg("*").query_async(&mut sale.connection().await).await.unwrap();
    assert_eq!(left, Vec::<String>::new());
}

#[tokio::test]
async fn who_saw_another_price_reserves_nothing_and_is_told_every_line_that_changed() {
    let sale = Sale::of_tea(1).await;
    let sugar = item("sugar", 5, None);
    let standing =
        SaleSpec { closes_at_ms: None, ..spec(vec![item(TEA, 5, None), item(CUP, 5, None), sugar.clone()]) };
    sale.stock.load(&standing).await.unwrap();
    sale.stock.set_state(standing.id, standing.fence, SaleState::Ready).await.unwrap();
    let mut wish = crate::support::wish(standing.id, a_buyer(), "key", &[(TEA, 1), (CUP, 2), ("sugar", 1)]);
    for line in &mut wish.lines {
        line.agreed_price = Some(1_000);
    }
    let now = |sku: &str, price| ItemSpec { price, ..item(sku, 5, None) };
    let changed = SaleSpec { items: vec![now(TEA, 900), now(CUP, 1_100), sugar], ..standing.clone() };
    assert_eq!(sale.stock.load(&changed).await, Ok(LoadOutcome::Loaded));

    let decide = async |wish: &rocketmart_stock::Reserve| {
        sale.stock.reserve(standing.id, std::slice::from_ref(wish)).await.unwrap().remove(0)
    };
    let current = |sku: &str, unit_price| CurrentPrice { sku: sku.to_owned(), unit_price };
    let lines = vec![current(TEA, 900), current(CUP, 1_100)];
    assert_eq!(decide(&wish).await, ReserveOutcome::PriceChanged { lines });
    let counters = sale.stock.counters(standing.id).await.unwrap().unwrap();
    assert!(counters.items.iter().all(|item| item.remaining == 5), "{counters:?}");

    (wish.lines[0].agreed_price, wish.lines[1].agreed_price) = (Some(900), Some(1_100));
    let reservation = expect_reserved(decide(&wish).await);
    assert_eq!(reservation.amount, 900 + 2 * 1_100 + 1_000, "the key was not used up by the refusal");
    sale.stock.load(&SaleSpec { items: vec![now(TEA, 950)], ..standing.clone() }).await.unwrap();
    assert!(matches!(decide(&wish).await, ReserveOutcome::Duplicate(_)), "what was bought stays bought");
    let named = sale.stock.counters_of(standing.id, [CUP, "gone"]).await.unwrap().unwrap();
    assert_eq!(named.items.len(), 1);
    assert_eq!((named.items[0].remaining, named.items[0].price), (3, 1_100));
}

#[tokio::test]
async fn standing_stock_forgets_decided_orders_and_counts_on() {
    let sale = Sale::of_tea(1).await;
    let standing = SaleSpec { closes_at_ms: None, ..spec(vec![item(TEA, 10, Some(3))]) };
    let (stock, id) = (&sale.stock, standing.id);
    stock.load(&standing).await.unwrap();
    stock.set_state(id, standing.fence, SaleState::Ready).await.unwrap();
    let buyer = a_buyer();
    let reserve = async |key: &str| {
        let wish = crate::support::wish(id, buyer, key, &[(TEA, 1)]);
        stock.reserve(id, &[wish]).await.unwrap().remove(0)
    };
    let bought = expect_reserved(reserve("bought").await);
    let given_back = expect_reserved(reserve("given-back").await);
    let held = expect_reserved(reserve("held").await);
    stock.confirm(id, &[bought.order]).await.unwrap();
    stock.release(id, &[(given_back.order, ReleaseReason::Cancelled)]).await.unwrap();
    let (next, all) = stock.scan_keys(id, 0, 100).await.unwrap();
    assert_eq!((next, all.len()), (0, 3));
    let before = stock.counters(id).await.unwrap().unwrap();

    assert_eq!(stock.forget(id, &all).await, Ok(2), "what is not decided stays");
    assert_eq!(stock.forget(id, &all).await, Ok(2), "once more is fine");
    let after = stock.counters(id).await.unwrap().unwrap();
    assert_eq!((&after.items, after.outstanding_reservations), (&before.items, 1));
    assert_eq!(stock.get(id, bought.order).await.unwrap(), None);
    assert_eq!(stock.get(id, held.order).await.unwrap(), Some(held.clone()));
    assert!(matches!(reserve("held").await, ReserveOutcome::Duplicate(same) if same == held));
    // One is held and none is remembered, so the limit of three leaves two.
    for key in ["bought", "more"] {
        expect_reserved(reserve(key).await);
    }
    assert!(matches!(reserve("too-many").await, ReserveOutcome::LimitExceeded { held: 3, .. }));

    let promised = sale.reserve_tea(a_buyer()).await;
    sale.stock.release(sale.id(), &[(promised.order, ReleaseReason::Cancelled)]).await.unwrap();
    let (_, keys) = sale.stock.scan_keys(sale.id(), 0, 100).await.unwrap();
    assert_eq!(sale.stock.forget(sale.id(), &keys).await, Ok(0), "a sale that ends is purged as a whole");
}
