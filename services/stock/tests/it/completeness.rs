//! A Redis that loses single keys of a sale, as it does when it evicts them (S7). It decides nothing based on
//! what is left, and the rebuilt sale keeps its limits and its keys.

use redis::aio::MultiplexedConnection;
use rocketmart_stock::{
    Coalescer, CoalescerLimits, PaymentDetails, ReleaseReason, Remembered, ReserveOutcome, Restore,
    RestoreOutcome, SaleState, StockError, StreamPosition, VouchOutcome,
};

use crate::support::{GRACE, Sale, TEA, a_buyer, expect_reserved, item, now_ms, sold_out};

const KEYS: [&str; 7] = ["sale", "stock", "held", "keys", "reservations", "deadlines", "events"];

fn key(sale: &Sale, name: &str) -> String {
    format!("rm:{{{}}}:{name}", sale.id())
}

async fn lose(sale: &Sale, name: &str) {
    let mut connection = sale.connection().await;
    let gone: i64 = redis::cmd("DEL").arg(key(sale, name)).query_async(&mut connection).await.unwrap();
    assert_eq!(gone, 1, "the sale has its {name}");
}

/// Makes the sale look as if a version without anchors had loaded it.
async fn without_anchors(sale: &Sale) -> MultiplexedConnection {
    let mut connection = sale.connection().await;
    for name in ["sale", "stock", "held", "keys", "reservations"] {
        let _: () =
            redis::cmd("HDEL").arg(key(sale, name)).arg("anchor").query_async(&mut connection).await.unwrap();
    }
    let deadlines = key(sale, "deadlines");
    let _: () = redis::cmd("ZREM").arg(deadlines).arg("anchor").query_async(&mut connection).await.unwrap();
    connection
}

#[tokio::test]
async fn a_sale_that_lost_one_of_its_keys_decides_nothing_and_is_whole_again_once_it_is_rebuilt() {
    for name in KEYS {
        let sale = Sale::of(vec![item(TEA, 10, Some(1))]).await;
        let wish = sale.wish(a_buyer(), "key", &[(TEA, 1)]);
        let made = expect_reserved(sale.decide(&wish).await);
        lose(&sale, name).await;

        let second = sale.wish(wish.buyer, "another", &[(TEA, 1)]);
        for wish in [&wish, &second] {
            let outcome = sale.decide(wish).await;
            let refused = matches!(outcome, ReserveOutcome::Suspended | ReserveOutcome::UnknownSale);
            assert!(refused, "without {name}: {outcome:?}");
        }
        let (stock, id, order) = (&sale.stock, sale.id(), made.order);
        let unvouched = StockError::Unvouched;
        assert_eq!(stock.submit_payment(&sale.payment(&made)).await, Err(unvouched.clone()), "{name}");
        let prepared = stock.prepare_payment(id, order, made.buyer, PaymentDetails::default()).await;
        assert_eq!(prepared, Err(unvouched.clone()), "{name}");
        assert_eq!(stock.confirm(id, &[order]).await, Err(unvouched.clone()), "{name}");
        let released = stock.release(id, &[(order, ReleaseReason::PaymentFailed)]).await;
        assert_eq!(released, Err(unvouched.clone()), "{name}");
        assert_eq!(stock.expire(id, 10, GRACE).await, Err(unvouched.clone()), "{name}");
        assert_eq!(stock.load(&sale.spec).await, Err(unvouched), "{name}: never begun anew");
        match stock.vouch(id, 0, StreamPosition::default()).await.unwrap() {
            VouchOutcome::UnknownSale => assert_eq!(name, "sale"),
            VouchOutcome::Behind(why) => assert!(why.ends_with(&format!(": {name}")), "{why}"),
            VouchOutcome::Vouched => panic!("vouched for without {name}"),
        }

        let wish_known = Some((wish.key.clone(), wish.request_hash.clone()));
        let restore = Restore {
            spec: sale.spec.clone(),
            state: SaleState::Ready,
            incarnation: 1,
            stream_from_ms: now_ms() + 60_000,
            reservations: vec![Remembered { reservation: made.clone(), wish: wish_known }],
        };
        assert_eq!(stock.restore(&restore).await, Ok(RestoreOutcome::Restored), "{name}");
        let start = StreamPosition { ms: restore.stream_from_ms, sequence: 0 };
        assert_eq!(stock.vouch(id, 1, start).await, Ok(VouchOutcome::Vouched), "{name}");
        let again = sale.decide(&wish).await;
        assert!(matches!(&again, ReserveOutcome::Duplicate(found) if *found == made), "{name}: {again:?}");
        let more = sale.decide(&second).await;
        assert!(matches!(more, ReserveOutcome::LimitExceeded { held: 1, .. }), "{name}: {more:?}");
    }
}

#[tokio::test]
async fn a_sale_has_all_of_its_keys_before_the_first_purchase_and_after_the_last_was_given_back() {
    for name in KEYS {
        let sale = Sale::of_tea(10).await;
        lose(&sale, name).await;
        let outcome = sale.decide(&sale.wish(a_buyer(), "key", &[(TEA, 1)])).await;
        assert!(
            matches!(outcome, ReserveOutcome::Suspended | ReserveOutcome::UnknownSale),
            "{name}: {outcome:?}"
        );

        let sale = Sale::of_tea(10).await;
        let made = sale.reserve_tea(a_buyer()).await;
        sale.stock.cancel(sale.id(), made.order, made.buyer).await.unwrap();
        sale.vouch().await;
        sale.reserve_tea(a_buyer()).await;
    }
}

#[tokio::test]
async fn a_repetition_is_not_called_sold_out_by_a_redis_that_lost_its_keys() {
    let sale = Sale::of_tea(1).await;
    let coalescer = Coalescer::new(sale.stock.clone(), CoalescerLimits::default());
    let wish = sale.wish(a_buyer(), "key", &[(TEA, 1)]);
    expect_reserved(coalescer.reserve(wish.clone()).await.unwrap());
    let late = sale.wish(a_buyer(), "key", &[(TEA, 1)]);
    assert_eq!(coalescer.reserve(late.clone()).await, Ok(sold_out()));
    lose(&sale, "keys").await;
    for wish in [wish, late] {
        assert_eq!(coalescer.reserve(wish).await, Ok(ReserveOutcome::Suspended));
    }
}

#[tokio::test]
async fn a_sale_loaded_by_an_older_version_goes_on_and_is_watched_from_then_on() {
    let sale = Sale::of_tea(10).await;
    let wish = sale.wish(a_buyer(), "key", &[(TEA, 1)]);
    let made = expect_reserved(sale.decide(&wish).await);
    without_anchors(&sale).await;
    sale.vouch().await;
    let again = sale.decide(&wish).await;
    assert!(matches!(&again, ReserveOutcome::Duplicate(found) if *found == made), "{again:?}");
    sale.stock.cancel(sale.id(), made.order, made.buyer).await.unwrap();
    lose(&sale, "held").await;
    let outcome = sale.decide(&sale.wish(a_buyer(), "key", &[(TEA, 1)])).await;
    assert_eq!(outcome, ReserveOutcome::Suspended);
}

#[tokio::test]
async fn a_sale_loaded_by_an_older_version_is_in_doubt_if_what_is_left_does_not_fit() {
    for name in ["stock", "held", "keys", "reservations", "deadlines", "events"] {
        let sale = Sale::of_tea(10).await;
        sale.reserve_tea(a_buyer()).await;
        without_anchors(&sale).await;
        lose(&sale, name).await;
        let outcome = sale.stock.vouch(sale.id(), 0, StreamPosition::default()).await;
        assert!(matches!(&outcome, Ok(VouchOutcome::Behind(_))), "{name}: {outcome:?}");
    }
}

#[tokio::test]
async fn nothing_is_entrusted_to_a_redis_that_is_set_to_lose_it() {
    let sale = Sale::of_tea(10).await;
    let mut connection = sale.connection().await;
    let mut set = async |setting: &str, value: &str| {
        let mut config = redis::cmd("CONFIG");
        config.arg("SET").arg(setting).arg(value);
        config.query_async::<()>(&mut connection).await.unwrap();
    };
    for (setting, wrong, right) in [
        ("maxmemory-policy", "allkeys-lru", "noeviction"),
        ("maxmemory-policy", "volatile-lru", "noeviction"),
        ("appendfsync", "everysec", "always"),
        ("appendonly", "no", "yes"),
    ] {
        set(setting, wrong).await;
        let more = crate::support::spec(vec![item(TEA, 1, None)]);
        for refused in [
            sale.stock.load(&more).await.map(drop),
            sale.stock.vouch(sale.id(), 0, StreamPosition::default()).await.map(drop),
            sale.stock.ensure_safe().await,
        ] {
            let Err(StockError::Unsafe(why)) = &refused else { panic!("{setting} {wrong}: {refused:?}") };
            assert!(why.contains(setting) && why.contains(wrong), "{why}");
        }
        assert_eq!(sale.stock.counters(more.id).await, Ok(None));
        set(setting, right).await;
        sale.vouch().await;
    }
}

#[tokio::test]
async fn a_redis_that_does_not_tell_its_settings_is_believed_and_what_is_unknown_is_named() {
    let sale = Sale::of_tea(10).await;
    assert_eq!(sale.stock.durability().await.unwrap()[0].unknown(), Vec::<&str>::new());
    let mut connection = sale.connection().await;
    let mut forbid = redis::cmd("ACL");
    forbid.arg("SETUSER").arg("default").arg("-config");
    forbid.query_async::<()>(&mut connection).await.unwrap();
    let told = sale.stock.durability().await.unwrap().remove(0);
    assert_eq!((told.flaw(), told.unknown()), (None, vec!["appendfsync"]));
    sale.vouch().await;
}
