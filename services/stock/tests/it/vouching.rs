//! After a restart, Redis decides nothing until somebody has checked that it lost nothing.

use std::time::Duration;

use rocketmart_stock::{
    OrderId, PaymentDetails, ReleaseReason, ReserveOutcome, StockError, StreamPosition, VouchOutcome,
};

use crate::support::{GRACE, Sale, TEA, a_buyer};

async fn restart(sale: &mut Sale) {
    sale.redis.restart().unwrap();
    while sale.stock.ping().await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The youngest entry of the stream.
async fn end(sale: &Sale) -> StreamPosition {
    sale.counters().await.last_event_id.parse().unwrap()
}

#[tokio::test]
async fn after_a_restart_nothing_is_decided_until_it_is_known_that_nothing_is_missing() {
    let mut sale = Sale::of_tea(10).await;
    let held = sale.reserve_tea(a_buyer()).await;
    let (before, session) = (sale.counters().await, sale.stock.session().await.unwrap());
    restart(&mut sale).await;
    assert_ne!(sale.stock.session().await.unwrap(), session);

    let (stock, id, order) = (&sale.stock, sale.id(), held.order);
    let wish = sale.wish(a_buyer(), "key", &[(TEA, 1)]);
    assert_eq!(sale.decide(&wish).await, ReserveOutcome::Suspended);
    let unvouched = StockError::Unvouched;
    assert_eq!(stock.submit_payment(&sale.payment(&held)).await, Err(unvouched.clone()));
    let prepared = stock.prepare_payment(id, order, held.buyer, PaymentDetails::default()).await;
    assert_eq!(prepared, Err(unvouched.clone()));
    assert_eq!(stock.confirm(id, &[order]).await, Err(unvouched.clone()));
    assert_eq!(stock.release(id, &[(order, ReleaseReason::Cancelled)]).await, Err(unvouched.clone()));
    assert_eq!(stock.cancel(id, order, held.buyer).await, Err(unvouched.clone()));
    assert_eq!(stock.expire(id, 10, GRACE).await, Err(unvouched));
    assert_eq!(
        (&sale.counters().await.items, end(&sale).await),
        (&before.items, before.last_event_id.parse().unwrap())
    );

    assert_eq!(stock.vouch(id, 0, end(&sale).await).await, Ok(VouchOutcome::Vouched));
    assert!(matches!(sale.decide(&wish).await, ReserveOutcome::Reserved(_)));
}

#[tokio::test]
async fn a_redis_older_than_what_left_it_is_not_vouched_for() {
    let mut sale = Sale::of_tea(10).await;
    sale.reserve_tea(a_buyer()).await;
    let StreamPosition { ms, sequence } = end(&sale).await;
    restart(&mut sale).await;
    for left in [StreamPosition { ms, sequence: sequence + 1 }, StreamPosition { ms: ms + 1, sequence: 0 }] {
        let outcome = sale.stock.vouch(sale.id(), 0, left).await;
        assert!(matches!(&outcome, Ok(VouchOutcome::Behind(_))), "{outcome:?}");
    }
    let other = sale.stock.vouch(sale.id(), 1, StreamPosition::default()).await;
    assert!(matches!(&other, Ok(VouchOutcome::Behind(_))), "of another incarnation: {other:?}");
    let wish = sale.wish(a_buyer(), "key", &[(TEA, 1)]);
    assert_eq!(sale.decide(&wish).await, ReserveOutcome::Suspended);
}

#[tokio::test]
async fn revoking_stops_decisions_until_the_next_vouching() {
    let sale = Sale::of_tea(10).await;
    sale.stock.revoke(sale.id()).await.unwrap();
    let wish = sale.wish(a_buyer(), "key", &[(TEA, 1)]);
    assert_eq!(sale.decide(&wish).await, ReserveOutcome::Suspended);
    sale.vouch().await;
    assert!(matches!(sale.decide(&wish).await, ReserveOutcome::Reserved(_)));
    let nowhere = OrderId::fresh(sale.id()).0.into();
    assert_eq!(sale.stock.vouch(nowhere, 0, StreamPosition::default()).await, Ok(VouchOutcome::UnknownSale));
}
