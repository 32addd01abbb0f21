//! What others get wrong: one test for each bug found in the code of public flash-sale projects, as far as it
//! concerns stock, and one for each promise that the engine makes to a buyer.

use std::time::Duration;

use rocketmart_stock::{
    Coalescer, CoalescerLimits, ConfirmOutcome, LoadOutcome, OrderId, PaymentDetails, PaymentOutcome,
    ReleaseOutcome, ReleaseReason, Reservation, ReserveOutcome, SaleSpec, SaleState, Stock, StockError,
};
use uuid::Uuid;

use crate::support::{CUP, Sale, TEA, a_buyer, expect_reserved, item, now_ms, sold_out, spec};

#[tokio::test]
async fn a_failed_payment_gives_back_that_buyers_units_and_nobody_elses() {
    let sale = Sale::of_tea(10).await;
    let paying = sale.reserve_tea(a_buyer()).await;
    let failing = expect_reserved(sale.decide(&sale.wish(a_buyer(), "key", &[(TEA, 3)])).await);
    let failed = [(failing.order, ReleaseReason::PaymentFailed)];
    assert_eq!(sale.stock.release(sale.id(), &failed).await, Ok(vec![ReleaseOutcome::Released]));
    assert_eq!(sale.tea().await, (9, 1, 0));
    assert_eq!(sale.stock.confirm(sale.id(), &[paying.order]).await, Ok(vec![ConfirmOutcome::Confirmed]));
    assert_eq!(sale.tea().await, (9, 0, 1));
}

#[tokio::test]
async fn nobody_settles_another_buyers_order() {
    let sale = Sale::of_tea(10).await;
    let theirs = sale.reserve_tea(a_buyer()).await;
    let stranger = a_buyer();
    assert_eq!(sale.stock.cancel(sale.id(), theirs.order, stranger).await, Ok(ReleaseOutcome::Unknown));
    let details = PaymentDetails::default();
    let prepared = sale.stock.prepare_payment(sale.id(), theirs.order, stranger, details).await;
    assert_eq!(prepared, Ok(PaymentOutcome::Unknown));
    let payment = sale.payment(&Reservation { buyer: stranger, ..theirs.clone() });
    assert_eq!(sale.stock.submit_payment(&payment).await, Ok(PaymentOutcome::Unknown));
    assert_eq!(sale.stock.get(sale.id(), theirs.order).await, Ok(Some(theirs)));
}

#[tokio::test]
async fn no_amount_raises_the_stock() {
    let sale = Sale::of_tea(10).await;
    let zero = sale.wish(a_buyer(), "key", &[(TEA, 0)]);
    assert!(
        matches!(sale.decide(&zero).await, ReserveOutcome::Invalid { field, .. } if field == "lines.quantity")
    );

    // The types have no negative quantities, but whoever calls the function directly is refused as well.
    let mut connection = sale.connection().await;
    for quantity in ["-5", "0", "1.5", "nan", "", "1e400", "five"] {
        let mut call = redis::cmd("FCALL");
        call.arg("rocketmart_reserve").arg(7);
        for key in ["sale", "stock", "held", "keys", "reservations", "deadlines", "events"] {
            call.arg(format!("rm:{{{}}}:{key}", sale.id()));
        }
        let order = Uuid::new_v4().to_string();
        call.arg(&[
            sale.id().to_string().as_str(),
            "1",
            &order,
            "buyer",
            quantity,
            "hash",
            "",
            "1",
            TEA,
            quantity,
        ]);
        let (_, answer): (String, Vec<redis::Value>) = call.query_async(&mut connection).await.unwrap();
        let outcome: String = redis::from_redis_value(answer[0].clone()).unwrap();
        assert!(outcome == "invalid" || outcome == "sold_out", "{quantity}: {outcome}");
    }
    assert_eq!(sale.tea().await, (10, 0, 0));
}

#[tokio::test]
async fn cancelling_twice_restocks_once() {
    let sale = Sale::of_tea(10).await;
    let reservation = sale.reserve_tea(a_buyer()).await;
    let cancel = || sale.stock.cancel(sale.id(), reservation.order, reservation.buyer);
    assert_eq!(cancel().await, Ok(ReleaseOutcome::Released));
    assert_eq!(cancel().await, Ok(ReleaseOutcome::AlreadyReleased(ReleaseReason::Cancelled)));
    // Twice in one batch, too.
    let reservation = sale.reserve_tea(a_buyer()).await;
    let twice =
        [(reservation.order, ReleaseReason::Cancelled), (reservation.order, ReleaseReason::PaymentFailed)];
    assert_eq!(
        sale.stock.release(sale.id(), &twice).await,
        Ok(vec![ReleaseOutcome::Released, ReleaseOutcome::AlreadyReleased(ReleaseReason::Cancelled)])
    );
    assert_eq!(sale.tea().await, (10, 0, 0));
}

#[tokio::test]
async fn loading_again_while_orders_are_in_flight_overwrites_no_counter() {
    let sale = Sale::of_tea(10).await;
    let sold = sale.reserve_tea(a_buyer()).await;
    sale.reserve_tea(a_buyer()).await;
    sale.stock.confirm(sale.id(), &[sold.order]).await.unwrap();
    assert_eq!(sale.stock.load(&sale.spec).await, Ok(LoadOutcome::AlreadyLoaded));
    assert_eq!(sale.tea().await, (8, 1, 1));
}

#[tokio::test]
async fn a_sold_out_mark_clears_when_units_come_back() {
    let sale = Sale::of_tea(1).await;
    let limits = CoalescerLimits { sold_out_for: Duration::from_hours(1), ..CoalescerLimits::default() };
    let coalescer = Coalescer::new(sale.stock.clone(), limits);
    let last = sale.reserve_tea(a_buyer()).await;
    let buy = || coalescer.reserve(sale.wish(a_buyer(), "key", &[(TEA, 1)]));
    assert_eq!(buy().await, Ok(sold_out()));

    sale.stock.cancel(sale.id(), last.order, last.buyer).await.unwrap();
    let again = expect_reserved(buy().await.unwrap());
    assert_eq!(buy().await, Ok(sold_out()));

    sale.let_deadline_pass(&again).await;
    assert_eq!(sale.expire(10).await, 1);
    expect_reserved(buy().await.unwrap());
    assert_eq!(buy().await, Ok(sold_out()));

    let more = SaleSpec { items: vec![item(TEA, 2, None)], ..sale.spec.clone() };
    assert_eq!(sale.stock.load(&more).await, Ok(LoadOutcome::Loaded));
    expect_reserved(buy().await.unwrap());
    assert_eq!(sale.tea().await, (0, 2, 0));
}

#[tokio::test]
async fn a_sold_out_mark_outlives_another_replicas_restock_by_a_second_at_most() {
    let sale = Sale::of_tea(1).await;
    let coalescer = Coalescer::new(sale.stock.clone(), CoalescerLimits::default());
    let last = sale.reserve_tea(a_buyer()).await;
    let buy = || coalescer.reserve(sale.wish(a_buyer(), "key", &[(TEA, 1)]));
    assert_eq!(buy().await, Ok(sold_out()));
    sale.another_replica().cancel(sale.id(), last.order, last.buyer).await.unwrap();
    assert_eq!(buy().await, Ok(sold_out()), "the mark is believed for a moment");
    tokio::time::sleep(Duration::from_millis(1_050)).await;
    expect_reserved(buy().await.unwrap());
}

#[tokio::test]
async fn a_buyers_limit_counts_what_is_held_and_what_was_bought() {
    let sale = Sale::of(vec![item(TEA, 10, Some(2))]).await;
    let buyer = a_buyer();
    let buy = |key| sale.wish(buyer, key, &[(TEA, 1)]);
    let bought = expect_reserved(sale.decide(&buy("1")).await);
    sale.stock.confirm(sale.id(), &[bought.order]).await.unwrap();
    let held = expect_reserved(sale.decide(&buy("2")).await);
    let refused = ReserveOutcome::LimitExceeded { sku: TEA.to_owned(), limit: 2, held: 2 };
    assert_eq!(sale.decide(&buy("3")).await, refused);
    sale.stock.cancel(sale.id(), held.order, buyer).await.unwrap();
    expect_reserved(sale.decide(&buy("4")).await);
    assert_eq!(sale.decide(&buy("5")).await, refused);
    // Two in one batch share the limit as well.
    let [one, two] = ["1", "2"].map(|key| sale.wish(a_buyer(), key, &[(TEA, 2)]));
    let two = rocketmart_stock::Reserve { buyer: one.buyer, ..two };
    let outcomes = sale.stock.reserve(sale.id(), &[one, two]).await.unwrap();
    assert!(matches!(outcomes[0], ReserveOutcome::Reserved(_)));
    assert_eq!(outcomes[1], refused);
}

#[tokio::test]
async fn the_opening_is_decided_by_redis_and_not_by_a_replica() {
    let sale = Sale::of_tea(1).await;
    let opens_at_ms = now_ms() + 400;
    let soon = SaleSpec { opens_at_ms, ..spec(vec![item(TEA, 10, None)]) };
    sale.stock.load(&soon).await.unwrap();
    sale.stock.set_state(soon.id, soon.fence, SaleState::Ready).await.unwrap();
    let replicas = [sale.another_replica(), sale.another_replica()];
    let buy = async |stock: &Stock| {
        stock
            .reserve(soon.id, &[crate::support::wish(soon.id, a_buyer(), "key", &[(TEA, 1)])])
            .await
            .unwrap()
            .remove(0)
    };
    for replica in &replicas {
        assert_eq!(buy(replica).await, ReserveOutcome::NotOpen { opens_at_ms });
    }
    tokio::time::sleep(Duration::from_millis(450)).await;
    for replica in &replicas {
        let reservation = expect_reserved(buy(replica).await);
        assert!(reservation.reserved_at_ms >= opens_at_ms);
    }
}

#[tokio::test]
async fn a_sale_sells_nothing_before_its_pre_load_was_verified() {
    let sale = Sale::of_tea(1).await;
    let unverified = spec(vec![item(TEA, 10, None)]);
    sale.stock.load(&unverified).await.unwrap();
    let wish = crate::support::wish(unverified.id, a_buyer(), "key", &[(TEA, 1)]);
    let outcome = sale.stock.reserve(unverified.id, std::slice::from_ref(&wish)).await.unwrap();
    assert_eq!(outcome, [ReserveOutcome::Suspended]);
    let never_loaded = rocketmart_stock::Reserve { sale: Uuid::new_v4().into(), ..wish };
    let outcome = sale.stock.reserve(never_loaded.sale, std::slice::from_ref(&never_loaded)).await.unwrap();
    assert_eq!(outcome, [ReserveOutcome::UnknownSale]);
}

#[tokio::test]
async fn a_sale_that_is_over_sells_nothing() {
    let sale = Sale::of_tea(1).await;
    let over = SaleSpec { closes_at_ms: Some(now_ms() - 1), ..spec(vec![item(TEA, 10, None)]) };
    sale.stock.load(&over).await.unwrap();
    sale.stock.set_state(over.id, over.fence, SaleState::Ready).await.unwrap();
    let wish = crate::support::wish(over.id, a_buyer(), "key", &[(TEA, 1)]);
    assert_eq!(sale.stock.reserve(over.id, &[wish]).await.unwrap(), [ReserveOutcome::Closed]);
}

#[tokio::test]
async fn several_skus_are_reserved_together_or_not_at_all() {
    let sale = Sale::of(vec![item(TEA, 10, None), item(CUP, 1, None)]).await;
    let both = sale.wish(a_buyer(), "key", &[(TEA, 2), (CUP, 1)]);
    let reservation = expect_reserved(sale.decide(&both).await);
    assert_eq!(reservation.amount, 3_000);
    let refused = sale.decide(&sale.wish(a_buyer(), "key", &[(TEA, 2), (CUP, 1)])).await;
    assert_eq!(refused, ReserveOutcome::SoldOut { sku: CUP.to_owned(), remaining: 0 });
    let unknown = sale.decide(&sale.wish(a_buyer(), "key", &[(TEA, 2), ("pot", 1)])).await;
    assert_eq!(unknown, ReserveOutcome::UnknownSku { sku: "pot".to_owned() });
    assert_eq!(sale.tea().await, (8, 2, 0));
}

#[tokio::test]
async fn the_last_unit_goes_to_whoever_came_first() {
    let sale = Sale::of_tea(1).await;
    let wishes: Vec<_> = (0..5).map(|_| sale.wish(a_buyer(), "key", &[(TEA, 1)])).collect();
    let outcomes = sale.stock.reserve(sale.id(), &wishes).await.unwrap();
    assert_eq!(expect_reserved(outcomes[0].clone()).buyer, wishes[0].buyer);
    assert!(outcomes[1..].iter().all(|outcome| *outcome == sold_out()));
}

#[tokio::test]
async fn books_that_do_not_balance_are_refused_and_not_written_further() {
    let sale = Sale::of_tea(10).await;
    let reservation = sale.reserve_tea(a_buyer()).await;
    let mut connection = sale.connection().await;
    let stock = format!("rm:{{{}}}:stock", sale.id());
    let _: () = redis::cmd("HINCRBY")
        .arg(&stock)
        .arg("tea:remaining")
        .arg(3)
        .query_async(&mut connection)
        .await
        .unwrap();
    let wish = sale.wish(a_buyer(), "key", &[(TEA, 1)]);
    for refused in [
        sale.stock.reserve(sale.id(), std::slice::from_ref(&wish)).await.map(|_| ()),
        sale.stock.confirm(sale.id(), &[reservation.order]).await.map(|_| ()),
        sale.stock.cancel(sale.id(), reservation.order, reservation.buyer).await.map(|_| ()),
        sale.stock.load(&sale.spec).await.map(|_| ()),
    ] {
        assert!(
            matches!(&refused, Err(StockError::Protocol(text)) if text.contains("INVARIANT") && text.contains("tea")),
            "{refused:?}"
        );
    }
    assert_eq!(sale.stock.get(sale.id(), reservation.order).await, Ok(Some(reservation)));
    assert_eq!(sale.stock.get(sale.id(), wish.order).await, Ok(None));
}

#[tokio::test]
async fn a_wish_that_breaks_a_rule_spoils_nobody_elses() {
    let sale = Sale::of_tea(10).await;
    let mut wishes: Vec<_> = (0..6).map(|_| sale.wish(a_buyer(), "key", &[(TEA, 1)])).collect();
    wishes[0].lines[0].quantity = 0;
    wishes[1].key = "with space".to_owned();
    wishes[2].lines.clear();
    wishes[3].sale = Uuid::new_v4().into();
    wishes[4].lines = [wishes[4].lines.clone(), wishes[4].lines.clone()].concat();
    let outcomes = sale.stock.reserve(sale.id(), &wishes).await.unwrap();
    let fields: Vec<_> = outcomes
        .iter()
        .map(|outcome| match outcome {
            ReserveOutcome::Invalid { field, .. } => field.as_str(),
            _ => "none",
        })
        .collect();
    assert_eq!(fields, ["lines.quantity", "key", "lines", "sale", "lines.sku", "none"]);
    assert_eq!(sale.tea().await, (9, 1, 0));
    assert_eq!(sale.stock.get(sale.id(), OrderId(Uuid::new_v4())).await, Ok(None));
}
