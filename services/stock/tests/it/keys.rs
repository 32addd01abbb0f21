//! One key, one order, whatever is retried, refused or made up.

use std::time::Duration;

use rocketmart_stock::{
    Coalescer, CoalescerLimits, ReleaseReason, ReservationState, ReserveOutcome, SaleState,
};

use crate::support::{Sale, TEA, a_buyer, expect_reserved, sold_out};

#[tokio::test]
async fn a_repeated_key_finds_its_order_although_the_sale_is_marked_as_sold_out() {
    let sale = Sale::of_tea(1).await;
    let limits = CoalescerLimits { sold_out_for: Duration::from_hours(1), ..CoalescerLimits::default() };
    let coalescer = Coalescer::new(sale.stock.clone(), limits);
    // The last unit goes through another replica, and its answer is lost.
    let wish = sale.wish(a_buyer(), "key", &[(TEA, 1)]);
    let lost = sale.another_replica().reserve(sale.id(), std::slice::from_ref(&wish)).await.unwrap();
    assert_eq!(coalescer.reserve(sale.wish(a_buyer(), "key", &[(TEA, 1)])).await, Ok(sold_out()));
    let again = coalescer.reserve(wish.clone()).await.unwrap();
    let ReserveOutcome::Duplicate(found) = again else { panic!("{again:?}") };
    assert_eq!(ReserveOutcome::Reserved(found), lost[0]);
    let mut other_body = wish;
    other_body.request_hash = "other".to_owned();
    assert_eq!(coalescer.reserve(other_body).await, Ok(ReserveOutcome::KeyReused));
}

#[tokio::test]
async fn a_call_retried_with_the_same_key_sells_once() {
    let sale = Sale::of_tea(10).await;
    let wish = sale.wish(a_buyer(), "key", &[(TEA, 2)]);
    let first = expect_reserved(sale.decide(&wish).await);
    // The retry may have made up another order id, and may meet the first in one batch.
    let retry = sale.wish(wish.buyer, "key", &[(TEA, 2)]);
    let again = sale.stock.reserve(sale.id(), &[retry.clone(), retry]).await.unwrap();
    assert_eq!(again, vec![ReserveOutcome::Duplicate(first.clone()); 2]);
    assert_eq!(sale.tea().await, (8, 2, 0));

    // Whatever has become of the order since, the key stays its own.
    sale.stock.cancel(sale.id(), first.order, first.buyer).await.unwrap();
    sale.set_state(SaleState::Closed).await;
    let ReserveOutcome::Duplicate(cancelled) = sale.decide(&wish).await else { panic!() };
    assert_eq!(cancelled.state, ReservationState::Released(ReleaseReason::Cancelled));
    assert_eq!(sale.tea().await, (10, 0, 0));
}

#[tokio::test]
async fn a_key_belongs_to_its_buyer_and_to_one_body() {
    let sale = Sale::of_tea(10).await;
    let wish = sale.wish(a_buyer(), "key", &[(TEA, 2)]);
    expect_reserved(sale.decide(&wish).await);
    assert_eq!(sale.decide(&sale.wish(wish.buyer, "key", &[(TEA, 1)])).await, ReserveOutcome::KeyReused);
    expect_reserved(sale.decide(&sale.wish(a_buyer(), "key", &[(TEA, 1)])).await);
}

#[tokio::test]
async fn a_refused_wish_leaves_its_key_free() {
    let sale = Sale::of_tea(1).await;
    let last = sale.reserve_tea(a_buyer()).await;
    let wish = sale.wish(a_buyer(), "key", &[(TEA, 1)]);
    assert_eq!(sale.decide(&wish).await, sold_out());
    sale.stock.cancel(sale.id(), last.order, last.buyer).await.unwrap();
    expect_reserved(sale.decide(&wish).await);
}

#[tokio::test]
async fn an_order_id_in_use_is_refused_and_keeps_its_owner() {
    let sale = Sale::of_tea(10).await;
    let theirs = sale.reserve_tea(a_buyer()).await;
    let mut intruder = sale.wish(a_buyer(), "key", &[(TEA, 1)]);
    intruder.order = theirs.order;
    assert!(
        matches!(sale.decide(&intruder).await, ReserveOutcome::Invalid { field, .. } if field == "order")
    );
    assert_eq!(sale.stock.get(sale.id(), theirs.order).await, Ok(Some(theirs)));
}
