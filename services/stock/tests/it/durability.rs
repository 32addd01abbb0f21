//! Redis is killed, hangs, comes back, or is another one than before.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rocketmart_stock::{
    Coalescer, CoalescerLimits, ConfirmOutcome, LoadOutcome, OrderId, Reserve, ReserveOutcome, Stock,
    StockError,
};
use tokio::task::JoinSet;

use crate::support::{Sale, TEA, a_buyer, expect_reserved};

async fn until_redis_answers(stock: &Stock) {
    while stock.ping().await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_killing_redis_under_load() {
    let mut sale = Sale::of_tea(1_000_000).await;
    let coalescer = Coalescer::new(sale.stock.clone(), CoalescerLimits::default());
    let stop = Arc::new(AtomicBool::new(false));
    let mut buyers = JoinSet::new();
    for _ in 0..64 {
        let (coalescer, stop, id) = (coalescer.clone(), Arc::clone(&stop), sale.id());
        buyers.spawn(async move {
            let (mut acknowledged, mut unknown) = (Vec::<OrderId>::new(), Vec::<Reserve>::new());
            while !stop.load(Ordering::Relaxed) {
                let wish = crate::support::wish(id, a_buyer(), "key", &[(TEA, 1)]);
                match coalescer.reserve(wish.clone()).await {
                    // Suspended until somebody vouches for what came back.
                    Ok(ReserveOutcome::Suspended) | Err(StockError::Unavailable(_)) => {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                    Ok(outcome) => acknowledged.push(expect_reserved(outcome).order),
                    Err(StockError::Unknown(_)) => unknown.push(wish),
                    Err(other) => panic!("{other:?}"),
                }
            }
            (acknowledged, unknown)
        });
    }
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(400)).await;
        sale.redis.kill();
        tokio::time::sleep(Duration::from_millis(50)).await;
        sale.redis.restart().unwrap();
        until_redis_answers(&sale.stock).await;
        sale.vouch().await;
    }
    tokio::time::sleep(Duration::from_millis(400)).await;
    stop.store(true, Ordering::Relaxed);
    let (mut acknowledged, mut unknown) = (Vec::new(), Vec::new());
    for (ok, lost) in buyers.join_all().await {
        acknowledged.extend(ok);
        unknown.extend(lost);
    }
    until_redis_answers(&sale.stock).await;

    assert!(acknowledged.len() > 50, "only {} were acknowledged", acknowledged.len());
    assert!(!unknown.is_empty(), "no kill hit a call");
    for order in &acknowledged {
        assert!(sale.stock.get(sale.id(), *order).await.unwrap().is_some(), "{order} is lost");
    }
    // The same key again decides what was unknown, one way or the other, and only once.
    for wish in &unknown {
        let decided = sale.decide(wish).await;
        assert!(matches!(decided, ReserveOutcome::Reserved(_) | ReserveOutcome::Duplicate(_)), "{decided:?}");
    }
    let (_, reserved, _) = sale.tea().await;
    assert_eq!(reserved as usize, acknowledged.len() + unknown.len());
    let told: usize = sale
        .stock
        .read_events(sale.id(), "0", 1_000_000, Duration::ZERO)
        .await
        .unwrap()
        .iter()
        .map(|entry| entry.events.len())
        .sum();
    assert_eq!(told, reserved as usize, "every reservation is told once");
}

#[tokio::test]
async fn silence_is_unknown_and_the_same_key_finds_out() {
    let sale = Sale::of_tea(10).await;
    let hasty = Stock::with_response_timeout(&sale.redis.url(), Duration::from_millis(150)).unwrap();
    hasty.ping().await.unwrap();
    let wish = sale.wish(a_buyer(), "key", &[(TEA, 1)]);
    sale.redis.signal("STOP").unwrap();
    let silence = hasty.reserve(sale.id(), std::slice::from_ref(&wish)).await;
    assert!(matches!(silence, Err(StockError::Unknown(_))), "{silence:?}");
    sale.redis.signal("CONT").unwrap();
    until_redis_answers(&hasty).await;
    let decided = hasty.reserve(sale.id(), &[wish]).await.unwrap().remove(0);
    assert!(matches!(decided, ReserveOutcome::Reserved(_) | ReserveOutcome::Duplicate(_)), "{decided:?}");
    assert_eq!(sale.tea().await, (9, 1, 0));
}

#[tokio::test]
async fn a_redis_that_is_not_there_is_unavailable_and_not_unknown() {
    let mut sale = Sale::of_tea(10).await;
    let wish = sale.wish(a_buyer(), "key", &[(TEA, 1)]);
    sale.redis.kill();
    let fresh = sale.another_replica();
    let refused = fresh.reserve(sale.id(), std::slice::from_ref(&wish)).await;
    assert!(matches!(refused, Err(StockError::Unavailable(_))), "{refused:?}");
    // The old connection may only find out when it is used; from then on it knows.
    let _ = sale.stock.ping().await;
    let refused = sale.stock.reserve(sale.id(), std::slice::from_ref(&wish)).await;
    assert!(matches!(refused, Err(StockError::Unavailable(_))), "{refused:?}");
    sale.redis.restart().unwrap();
    until_redis_answers(&sale.stock).await;
    sale.vouch().await;
    expect_reserved(sale.decide(&wish).await);
}

#[tokio::test]
async fn a_redis_without_memory_is_unavailable_and_nothing_is_half_done() {
    let sale = Sale::of_tea(10).await;
    let mut connection = sale.connection().await;
    let limit = async |connection: &mut redis::aio::MultiplexedConnection, bytes: &str| {
        let mut config = redis::cmd("CONFIG");
        config.arg("SET").arg("maxmemory").arg(bytes).arg("maxmemory-policy").arg("noeviction");
        config.query_async::<()>(connection).await.unwrap();
    };
    limit(&mut connection, "1000").await;
    let wish = sale.wish(a_buyer(), "key", &[(TEA, 1)]);
    let refused = sale.stock.reserve(sale.id(), std::slice::from_ref(&wish)).await;
    assert!(matches!(refused, Err(StockError::Unavailable(_))), "{refused:?}");
    limit(&mut connection, "0").await;
    assert_eq!(sale.tea().await, (10, 0, 0));
    expect_reserved(sale.decide(&wish).await);
}

#[tokio::test]
async fn a_lost_function_library_comes_back_by_itself() {
    let sale = Sale::of_tea(10).await;
    let reservation = sale.reserve_tea(a_buyer()).await;
    let _: () = redis::cmd("FUNCTION").arg("FLUSH").query_async(&mut sale.connection().await).await.unwrap();
    // It no longer knows that somebody vouched for the sale.
    let refused = sale.stock.confirm(sale.id(), &[reservation.order]).await;
    assert_eq!(refused, Err(StockError::Unvouched));
    sale.vouch().await;
    assert_eq!(
        sale.stock.confirm(sale.id(), &[reservation.order]).await,
        Ok(vec![ConfirmOutcome::Confirmed])
    );
}

#[tokio::test]
async fn an_older_library_is_replaced_and_a_newer_one_is_left_alone() {
    let sale = Sale::of_tea(10).await;
    let mut connection = sale.connection().await;
    let install = async |connection: &mut redis::aio::MultiplexedConnection, version: i64| {
        let source = format!(
            "#!lua name=rocketmart\nredis.register_function {{ function_name = 'rocketmart_version', \
             callback = function() return {version} end, flags = {{ 'no-writes' }} }}"
        );
        let mut load = redis::cmd("FUNCTION");
        load.arg("LOAD").arg("REPLACE").arg(source).query_async::<()>(connection).await.unwrap();
    };
    let version = async |connection: &mut redis::aio::MultiplexedConnection| {
        let mut call = redis::cmd("FCALL");
        call.arg("rocketmart_version").arg(0).query_async::<i64>(connection).await.unwrap()
    };
    let ours = version(&mut connection).await;
    install(&mut connection, ours - 1).await;
    sale.stock.ensure_functions().await.unwrap();
    assert_eq!(version(&mut connection).await, ours);
    sale.vouch().await;
    sale.reserve_tea(a_buyer()).await;

    install(&mut connection, ours + 1).await;
    sale.stock.ensure_functions().await.unwrap();
    sale.another_replica().ping().await.unwrap();
    assert_eq!(version(&mut connection).await, ours + 1);
}

#[tokio::test]
async fn a_sale_that_was_lost_and_loaded_again_has_another_epoch() {
    let mut sale = Sale::of_tea(10).await;
    sale.reserve_tea(a_buyer()).await;
    let before = sale.counters().await;
    sale.redis.restart().unwrap();
    until_redis_answers(&sale.stock).await;
    assert_eq!(sale.counters().await.epoch, before.epoch, "a restart alone is not a loss");
    sale.redis.restart_empty().unwrap();
    until_redis_answers(&sale.stock).await;
    assert_eq!(sale.stock.counters(sale.id()).await, Ok(None));
    assert_eq!(sale.stock.load(&sale.spec).await, Ok(LoadOutcome::Loaded));
    let after = sale.counters().await;
    assert!(after.epoch > before.epoch);
    assert!(after.last_event_id < before.last_event_id);
}
