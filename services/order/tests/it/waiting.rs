//! Reservations whose units are under way: another order gave them back, and SQL does not know yet.

use rocketmart_kit::kafka::{HandleError, Handler};
use rocketmart_order::store::trust;
use rocketmart_stock::{OrderId, ReleaseOutcome, ReleaseReason, SaleId};
use uuid::Uuid;

use crate::deliveries::{books, failed, released, reserve, reserved, submitted, succeeded, worker};
use crate::rebuild::{command, flush, rebuild};
use crate::shop::Shop;

const WAITING: &str = "SELECT count(*) FROM waiting_events";
const PARKED: &str = "SELECT count(*) FROM parked_payments";
const ORDERS: &str = "SELECT count(*) FROM orders";

/// In Redis, one buyer has given back the only unit and another has it. Returns the sale, the first and the
/// second order.
async fn handed_on(shop: &Shop) -> (Uuid, Uuid, Uuid) {
    let sale = shop.open_sale(1).await;
    let first = reserve(shop, sale).await;
    let given_back = [(OrderId(first), ReleaseReason::PaymentFailed)];
    shop.backing.stock.release(SaleId(sale), &given_back).await.unwrap();
    (sale, first, reserve(shop, sale).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unit_that_was_given_back_and_sold_again_is_booked_in_whichever_order_the_news_come() {
    let shop = Shop::with_api_only().await;
    let (sale, first, second) = handed_on(&shop).await;
    let (one, other) = (worker(&shop), worker(&shop));
    one.handle(&[reserved(sale, first, 1)]).await.unwrap();

    let early = [reserved(sale, second, 1), submitted(sale, second)];
    other.handle(&early[..1]).await.unwrap();
    other.handle(&early[1..]).await.unwrap();
    other.book_deferred_reservations().await.unwrap();
    assert_eq!((shop.backing.number(WAITING).await, shop.backing.number(ORDERS).await), (2, 1));
    assert_eq!(shop.backing.number("SELECT count(*) FROM inbox").await, 1, "the relay must keep them");

    one.handle(&[released(sale, first)]).await.unwrap();
    let (here, there) = tokio::join!(one.book_deferred_reservations(), other.book_deferred_reservations());
    here.and(there).unwrap();
    assert_eq!((shop.backing.number(WAITING).await, shop.backing.number(ORDERS).await), (0, 2));
    assert_eq!(shop.backing.ledger().await, [1, 0, 1, 0]);
    let asked = "SELECT count(*) FROM outbox WHERE type LIKE '%payment_requested%'";
    assert_eq!(shop.backing.number(asked).await, 1, "what came after the reservation followed it");

    // The relay may have sent them again meanwhile.
    let once = books(&shop).await;
    other.handle(&early).await.unwrap();
    assert_eq!(books(&shop).await, once);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_the_relay_sends_again_does_not_book_a_reservation_twice() {
    let shop = Shop::with_api_only().await;
    let (sale, first, second) = handed_on(&shop).await;
    let worker = worker(&shop);
    worker.handle(&[reserved(sale, first, 1)]).await.unwrap();
    let early = [reserved(sale, second, 1), submitted(sale, second)];
    worker.handle(&early).await.unwrap();
    // The copy comes together with the units, before anybody has looked at what waits.
    worker.handle(&[released(sale, first), early[0].clone()]).await.unwrap();
    worker.book_deferred_reservations().await.unwrap();
    assert_eq!((shop.backing.number(WAITING).await, shop.backing.number(ORDERS).await), (0, 2));
    assert_eq!(shop.backing.ledger().await, [1, 0, 1, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_refuses_to_oversell_even_if_redis_were_wrong() {
    let shop = Shop::with_api_only().await;
    let sale = shop.open_sale(3).await;
    let batch = [
        reserved(sale, Uuid::now_v7(), 2),
        reserved(sale, Uuid::now_v7(), 2),
        reserved(sale, Uuid::now_v7(), 1),
    ];
    let worker = worker(&shop);
    worker.handle(&batch).await.unwrap();
    assert_eq!(shop.backing.ledger().await, [3, 0, 3, 0], "what fits is booked");
    worker.book_deferred_reservations().await.unwrap();
    assert_eq!((shop.backing.number(WAITING).await, shop.backing.number(ORDERS).await), (1, 2));

    // Its units do not come. When the relay sends it again, it is parked.
    let long_ago = "UPDATE waiting_events SET since = now() - interval '1 day'";
    sqlx::query(long_ago).execute(&shop.backing.pool).await.unwrap();
    worker.book_deferred_reservations().await.unwrap();
    let refused = worker.handle(&batch).await;
    assert!(matches!(refused, Err(HandleError::Poison { index: 1, .. })), "{refused:?}");
    assert_eq!(shop.backing.ledger().await, [3, 0, 3, 0]);
    assert_eq!(shop.backing.number(ORDERS).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_sale_is_not_rebuilt_without_what_waits_for_its_units() {
    let shop = Shop::with_api_only().await;
    let (sale, first, second) = handed_on(&shop).await;
    let worker = worker(&shop);
    worker.handle(&[reserved(sale, first, 1)]).await.unwrap();
    worker.handle(&[reserved(sale, second, 1)]).await.unwrap();
    let lost = "UPDATE sales SET doubt = 'lost', doubted_at = now(), drained = true";
    sqlx::query(lost).execute(&shop.backing.pool).await.unwrap();
    assert_eq!(trust::is_drained(&shop.backing.pool, sale).await.unwrap(), Some(false));
    worker.handle(&[released(sale, first)]).await.unwrap();
    worker.book_deferred_reservations().await.unwrap();
    assert_eq!(trust::is_drained(&shop.backing.pool, sale).await.unwrap(), Some(true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_sale_whose_units_a_failed_payment_has_to_give_back_is_rebuilt() {
    let shop = Shop::with_api_only().await;
    let sale = shop.open_sale(2).await;
    let paid = reserve(&shop, sale).await;
    let first = reserve(&shop, sale).await;
    let given_back = [(OrderId(first), ReleaseReason::PaymentFailed)];
    shop.backing.stock.release(SaleId(sale), &given_back).await.unwrap();
    let second = reserve(&shop, sale).await;
    let worker = worker(&shop);
    for order in [paid, first] {
        worker.handle(&[reserved(sale, order, 1), submitted(sale, order)]).await.unwrap();
    }
    worker.handle(&[reserved(sale, second, 1)]).await.unwrap();

    // Redis had decided that the first order's payment failed, and SQL does not know.
    flush(&shop).await;
    let in_flight = async || {
        let (status, answer) = command(&shop, sale, "rebuild").await;
        assert_eq!((status, answer["code"].as_str()), (409, Some("events-in-flight")), "{answer}");
        worker.book_deferred_payments().await.unwrap();
        worker.book_deferred_reservations().await.unwrap();
        (shop.backing.number(WAITING).await, shop.backing.number(PARKED).await)
    };
    worker.handle(&[succeeded(paid), failed(first)]).await.unwrap();
    assert_eq!(in_flight().await, (1, 2), "something may be on its way that decides it otherwise");
    let drained = "UPDATE sales SET drained = true WHERE doubt IS NOT NULL";
    sqlx::query(drained).execute(&shop.backing.pool).await.unwrap();
    assert_eq!(in_flight().await, (0, 1), "a payment that succeeded waits for Redis");
    assert_eq!(shop.backing.ledger().await, [2, 0, 2, 0]);

    rebuild(&shop, sale).await;
    worker.book_deferred_payments().await.unwrap();
    assert_eq!(shop.backing.ledger().await, [2, 0, 1, 1]);
    let states = "SELECT count(*) FROM orders WHERE (id, state) IN (($1, 'paid'), ($2, 'payment_failed'), ($3, 'reserved'))";
    let as_told: i64 = sqlx::query_scalar(states)
        .bind(paid)
        .bind(first)
        .bind(second)
        .fetch_one(&shop.backing.pool)
        .await
        .unwrap();
    assert_eq!(as_told, 3);
    // In the rebuilt Redis the second order has the unit.
    let again = shop.backing.stock.release(SaleId(sale), &given_back).await.unwrap();
    assert_eq!(again, [ReleaseOutcome::AlreadyReleased(ReleaseReason::PaymentFailed)]);
}
