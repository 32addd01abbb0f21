//! Deadlines: who wins when a payment meets its deadline, and how much time a submitted payment gets.

use std::time::Duration;

use rocketmart_stock::{
    ConfirmOutcome, DeclineOutcome, Expired, PaymentDetails, PaymentOutcome, ReleaseOutcome, ReleaseReason,
    SaleSpec, SaleState,
};
use uuid::Uuid;

use crate::support::{GRACE, PAST_DEADLINE, Sale, TEA, a_buyer, expect_reserved, item, now_ms, spec};

#[tokio::test]
async fn of_expire_and_confirm_the_first_wins_and_the_other_learns_it() {
    let sale = Sale::of_tea(10).await;
    let expired = sale.reserve_tea(a_buyer()).await;
    sale.let_deadline_pass(&expired).await;
    assert_eq!(sale.expire(100).await, 1);
    assert_eq!(
        sale.stock.confirm(sale.id(), &[expired.order]).await,
        Ok(vec![ConfirmOutcome::Released(ReleaseReason::Expired)])
    );
    assert_eq!(sale.tea().await, (10, 0, 0));

    let confirmed = sale.reserve_tea(a_buyer()).await;
    sale.let_deadline_pass(&confirmed).await;
    assert_eq!(sale.stock.confirm(sale.id(), &[confirmed.order]).await, Ok(vec![ConfirmOutcome::Confirmed]));
    assert_eq!(sale.expire(100).await, 0);
    let late = [(confirmed.order, ReleaseReason::Expired)];
    assert_eq!(sale.stock.release(sale.id(), &late).await, Ok(vec![ReleaseOutcome::AlreadyConfirmed]));
    assert_eq!(sale.tea().await, (9, 0, 1));
}

#[tokio::test]
async fn expire_and_confirm_at_the_same_time_move_each_unit_once() {
    let sale = Sale::of_tea(200).await;
    let mut orders = Vec::new();
    for _ in 0..200 {
        let reservation = sale.reserve_tea(a_buyer()).await;
        sale.let_deadline_pass(&reservation).await;
        orders.push(reservation.order);
    }
    let (expirer, worker, id) = (sale.another_replica(), sale.another_replica(), sale.id());
    let expiring = tokio::spawn(async move {
        let mut released = 0;
        for _ in 0..40 {
            released += expirer.expire(id, 5, GRACE).await.unwrap().released;
        }
        released
    });
    let mut confirmed = 0;
    for order in orders.iter().rev() {
        confirmed += usize::from(worker.confirm(id, &[*order]).await == Ok(vec![ConfirmOutcome::Confirmed]));
    }
    let released = expiring.await.unwrap();
    assert_eq!(released + confirmed, 200);
    assert_eq!(sale.tea().await, (u32::try_from(released).unwrap(), 0, u32::try_from(confirmed).unwrap()));
}

#[tokio::test]
async fn a_payment_after_the_deadline_is_refused_even_if_the_expirer_has_not_come_by() {
    let sale = Sale::of_tea(1).await;
    let late = sale.reserve_tea(a_buyer()).await;
    sale.stock.prepare_payment(sale.id(), late.order, late.buyer, PaymentDetails::default()).await.unwrap();
    sale.let_deadline_pass(&late).await;
    let refused = PaymentOutcome::Released(ReleaseReason::Expired);
    assert_eq!(sale.stock.submit_payment(&sale.payment(&late)).await, Ok(refused));
}

#[tokio::test]
async fn a_deadline_of_a_second_passes_after_a_second() {
    let sale = Sale::of_tea(1).await;
    let brief = SaleSpec { payment_seconds: 1, ..spec(vec![item(TEA, 10, None)]) };
    sale.stock.load(&brief).await.unwrap();
    sale.stock.set_state(brief.id, brief.fence, SaleState::Ready).await.unwrap();
    let wish = crate::support::wish(brief.id, a_buyer(), "key", &[(TEA, 1)]);
    let reservation = expect_reserved(sale.stock.reserve(brief.id, &[wish]).await.unwrap().remove(0));
    assert_eq!(reservation.pay_by_ms, reservation.reserved_at_ms + 1_000);
    assert_eq!(sale.stock.expire(brief.id, 10, GRACE).await.unwrap().released, 0);
    tokio::time::sleep(Duration::from_millis(1_050)).await;
    assert_eq!(sale.stock.expire(brief.id, 10, GRACE).await.unwrap().released, 1);
}

#[tokio::test]
async fn a_submitted_payment_expires_a_grace_after_its_deadline_and_not_before() {
    let sale = Sale::of_tea(2).await;
    let paying = sale.reserve_tea(a_buyer()).await;
    let submitted = sale.stock.submit_payment(&sale.payment(&paying)).await.unwrap();
    assert!(matches!(submitted, PaymentOutcome::Submitted(_)));
    sale.let_deadline_pass(&paying).await;
    let expire = async |grace| sale.stock.expire(sale.id(), 10, grace).await.unwrap();
    let since_deadline = Duration::from_millis(u64::try_from(now_ms() - PAST_DEADLINE).unwrap());

    let still_in_grace = since_deadline + Duration::from_hours(1);
    assert_eq!(expire(still_in_grace).await, Expired { released: 0, looked_at: 1 });
    assert_eq!(expire(still_in_grace).await, Expired { released: 0, looked_at: 0 }, "looked at once");
    let forced = [(paying.order, ReleaseReason::Expired)];
    assert_eq!(sale.stock.release(sale.id(), &forced).await, Ok(vec![ReleaseOutcome::NotDue]));
    assert_eq!(sale.tea().await, (1, 1, 0));

    sale.let_deadline_pass(&paying).await;
    let just_over = since_deadline.saturating_sub(Duration::from_hours(1));
    assert_eq!(expire(just_over).await, Expired { released: 1, looked_at: 1 });
    assert_eq!(sale.tea().await, (2, 0, 0), "the unit is on sale again");
    let late = sale.stock.confirm(sale.id(), &[paying.order]).await;
    assert_eq!(
        late,
        Ok(vec![ConfirmOutcome::Released(ReleaseReason::Expired)]),
        "money that comes late loses"
    );
}

#[tokio::test]
async fn a_payment_is_submitted_as_it_was_prepared_and_only_once() {
    let sale = Sale::of_tea(1).await;
    let reservation = sale.reserve_tea(a_buyer()).await;
    let unprepared = rocketmart_stock::SubmitPayment { details: None, ..sale.payment(&reservation) };
    assert_eq!(sale.stock.submit_payment(&unprepared).await, Ok(PaymentOutcome::NotPrepared));
    let details = PaymentDetails { payment_method_id: Some(Uuid::new_v4()), delivery_address_id: None };
    let prepared = sale.stock.prepare_payment(sale.id(), reservation.order, reservation.buyer, details).await;
    assert!(matches!(prepared, Ok(PaymentOutcome::Prepared(reservation)) if reservation.payment_prepared));
    let Ok(PaymentOutcome::Submitted(submitted)) = sale.stock.submit_payment(&unprepared).await else {
        panic!()
    };
    assert_eq!(submitted.payment_method_id, details.payment_method_id);
    let again = sale.stock.submit_payment(&sale.payment(&reservation)).await;
    assert_eq!(again, Ok(PaymentOutcome::AlreadySubmitted(submitted)), "other details change nothing");
}

#[tokio::test]
async fn p4_a_declined_payment_leaves_the_units_with_their_buyer_until_the_deadline() {
    let sale = Sale::of_tea(10).await;
    let reservation = sale.reserve_tea(a_buyer()).await;
    let (order, payment) = (reservation.order, sale.payment(&reservation));
    let declined = async |number| sale.stock.decline_payments(sale.id(), &[(order, number)]).await;
    for number in 1..=2 {
        let paid = sale.stock.submit_payment(&payment).await;
        assert!(matches!(paid, Ok(PaymentOutcome::Submitted(_))), "{paid:?}");
        assert_eq!(declined(number).await, Ok(vec![DeclineOutcome::Held]));
        assert_eq!(sale.tea().await, (9, 1, 0));
    }
    // The second, reported again while the third is under way, changes nothing.
    let paid = sale.stock.submit_payment(&payment).await;
    assert!(
        matches!(&paid, Ok(PaymentOutcome::Submitted(third)) if third.declined_payments == 2),
        "{paid:?}"
    );
    assert_eq!(declined(2).await, Ok(vec![DeclineOutcome::Held]));
    let paid = sale.stock.submit_payment(&payment).await;
    assert!(matches!(paid, Ok(PaymentOutcome::AlreadySubmitted(_))), "one at a time: {paid:?}");

    sale.let_deadline_pass(&reservation).await;
    assert_eq!(declined(3).await, Ok(vec![DeclineOutcome::Released]));
    assert_eq!(declined(3).await, Ok(vec![DeclineOutcome::AlreadyReleased(ReleaseReason::PaymentFailed)]));
    assert_eq!(sale.tea().await, (10, 0, 0));
    let entries = sale.stock.read_events(sale.id(), "0", 100, Duration::ZERO).await.unwrap();
    let events = entries.into_iter().flat_map(|entry| entry.events);
    let submitted = events.filter(|event| event.event_type.ends_with("payment_submitted.v1"));
    let numbers: Vec<_> = submitted
        .map(|event| serde_json::from_str::<serde_json::Value>(&event.data).unwrap()["attempt"].clone())
        .collect();
    assert_eq!(numbers, [serde_json::Value::Null, 2.into(), 3.into()]);
}

#[tokio::test]
async fn p4_a_declined_order_that_is_not_paid_otherwise_expires() {
    let sale = Sale::of_tea(10).await;
    let reservation = sale.reserve_tea(a_buyer()).await;
    sale.stock.submit_payment(&sale.payment(&reservation)).await.unwrap();
    sale.stock.decline_payments(sale.id(), &[(reservation.order, 1)]).await.unwrap();
    sale.let_deadline_pass(&reservation).await;
    assert_eq!(sale.expire(100).await, 1);
    assert_eq!(sale.tea().await, (10, 0, 0));
}
