//! How a return progresses, and what it moves.

use rocketmart_contracts::event::{Payload as _, RefundRequested};

use super::*;
use crate::domain::batch::Batch;
use crate::domain::facts::{
    ORDER, batch, delivered, paid, refund_failed, refunded, refunded_unasked, return_is, told,
};
use crate::domain::order::PaymentState;

const FIRST: Uuid = Uuid::from_u128(61);
const SECOND: Uuid = Uuid::from_u128(62);
/// The order was delivered at 30.
const WINDOW: i64 = 100;

#[expect(clippy::unnecessary_wraps, reason = "a wish as `request_return` takes it")]
fn mugs(quantity: i64) -> Option<Vec<Units>> {
    Some(vec![Units { sku: "MUG".into(), quantity }])
}

fn ask_at(
    now: i64,
    batch: &mut Batch,
    id: Uuid,
    wanted: Option<Vec<Units>>,
) -> Result<Return, NotReturnable> {
    let wish = |order: &mut Order, effects: &mut Effects| {
        order.request_return(id, wanted, "too small".into(), now, WINDOW, effects)
    };
    batch.decide(ORDER, wish).unwrap()
}

fn ask(batch: &mut Batch, id: Uuid, wanted: Option<Vec<Units>>) -> Result<Return, NotReturnable> {
    ask_at(40, batch, id, wanted)
}

fn state(batch: &mut Batch) -> (OrderState, PaymentState) {
    batch.decide(ORDER, |order, _| Ok::<_, ()>((order.state, order.payment.state))).unwrap().unwrap()
}

fn rule(refused: Result<Return, NotReturnable>) -> String {
    match refused.unwrap_err() {
        NotReturnable::Line { index, field, rule, .. } => format!("{index} {field} {rule}"),
        other => other.to_string(),
    }
}

/// What we asked the payment service to refund.
fn asked_back(batch: Batch) -> Vec<i64> {
    let emitted = batch.finish().effects.emitted.into_iter();
    let amounts = emitted.filter_map(|emitted| match emitted.event {
        OrderEvent::RefundRequested(refund) => Some(refund.amount),
        _ => None,
    });
    amounts.collect()
}

fn money(batch: &mut Batch) -> (i64, i64) {
    let refunds = batch.decide(ORDER, |order, _| Ok::<_, ()>(order.refunds)).unwrap().unwrap();
    (refunds.requested, refunds.done)
}

#[test]
fn p3_a_return_gives_back_what_the_provider_did_not_give_back_before() {
    let mut some = batch(delivered());
    some.apply(4, refunded_unasked(600)).unwrap();
    assert_eq!((state(&mut some).1, money(&mut some)), (PaymentState::Succeeded, (600, 600)));
    ask(&mut some, FIRST, None).unwrap();
    some.apply(5, return_is(FIRST, event::ReturnState::Received)).unwrap();
    some.apply(6, refunded(FIRST, 400)).unwrap();
    assert_eq!(state(&mut some), (OrderState::Refunded, PaymentState::Refunded));
    assert_eq!((money(&mut some), asked_back(some)), ((1000, 1000), vec![400]));

    // All of it went back before: there is nothing to ask for.
    let mut all = batch(delivered());
    all.apply(4, refunded_unasked(1000)).unwrap();
    assert_eq!(state(&mut all), (OrderState::Delivered, PaymentState::Refunded));
    ask(&mut all, FIRST, None).unwrap();
    all.apply(5, return_is(FIRST, event::ReturnState::Received)).unwrap();
    assert_eq!(state(&mut all), (OrderState::Refunded, PaymentState::Refunded));
    assert_eq!(asked_back(all), Vec::<i64>::new());

    // This happens while a return's money is under way, so less of it can go back then.
    let mut meanwhile = batch(delivered());
    ask(&mut meanwhile, FIRST, None).unwrap();
    meanwhile.apply(4, return_is(FIRST, event::ReturnState::Received)).unwrap();
    meanwhile.apply(5, refunded_unasked(600)).unwrap();
    meanwhile.apply(6, refunded(FIRST, 400)).unwrap();
    assert_eq!(state(&mut meanwhile), (OrderState::Refunded, PaymentState::Refunded));
    assert_eq!(money(&mut meanwhile), (1000, 1000));
}

#[test]
fn a_whole_order_comes_back_and_its_money_follows_each_once() {
    let mut batch = batch(delivered());
    let made = ask(&mut batch, FIRST, None).unwrap();
    assert_eq!((made.amount, made.lines[0].quantity), (1000, 2));
    for step in [
        event::ReturnState::Announced,
        event::ReturnState::Received,
        event::ReturnState::Received,
        event::ReturnState::InTransit,
    ] {
        batch.apply(4, return_is(FIRST, step)).unwrap();
    }
    assert_eq!(state(&mut batch), (OrderState::Returned, PaymentState::RefundRequested));
    for _ in 0..2 {
        batch.apply(5, refunded(FIRST, 1000)).unwrap();
    }
    assert_eq!(state(&mut batch), (OrderState::Refunded, PaymentState::Refunded));
    let outcome = batch.finish();
    assert_eq!(
        outcome.effects.stock["MUG"],
        StockMove { on_hand: 0, allocated: -2, shelved: 0 },
        "sold, and back"
    );
    assert_eq!(told(&outcome).iter().filter(|told| **told == RefundRequested::TYPE).count(), 1);
    assert_eq!(outcome.made[0].returns[0].tracking_number.as_deref(), Some("BACK1"));
}

#[test]
fn after_a_part_the_order_is_delivered_again_and_the_rest_may_follow() {
    let mut batch = batch(delivered());
    assert_eq!(ask(&mut batch, FIRST, mugs(1)).unwrap().amount, 500);
    batch.apply(4, return_is(FIRST, event::ReturnState::Received)).unwrap();
    batch.apply(5, refunded(FIRST, 500)).unwrap();
    assert_eq!(state(&mut batch), (OrderState::Delivered, PaymentState::Succeeded));
    assert_eq!(rule(ask(&mut batch, SECOND, mugs(2))), "0 quantity within-bought");
    ask(&mut batch, SECOND, None).unwrap();
    batch.apply(6, return_is(SECOND, event::ReturnState::Received)).unwrap();
    batch.apply(7, refunded(SECOND, 500)).unwrap();
    assert_eq!(state(&mut batch), (OrderState::Refunded, PaymentState::Refunded));
    assert_eq!(batch.finish().made[0].refunds.done, 1000);
}

#[test]
fn of_two_returns_at_once_the_order_tells_of_the_one_that_has_furthest_to_go() {
    let mut batch = batch(delivered());
    ask(&mut batch, FIRST, mugs(1)).unwrap();
    ask(&mut batch, SECOND, mugs(1)).unwrap();
    assert_eq!(ask(&mut batch, Uuid::from_u128(63), None), Err(NotReturnable::NothingLeft));
    batch.apply(4, return_is(FIRST, event::ReturnState::Received)).unwrap();
    assert_eq!(state(&mut batch).0, OrderState::ReturnRequested);
    batch.apply(5, refunded(FIRST, 500)).unwrap();
    assert_eq!(state(&mut batch), (OrderState::ReturnRequested, PaymentState::Succeeded));
    batch.apply(6, return_is(SECOND, event::ReturnState::Received)).unwrap();
    assert_eq!(state(&mut batch), (OrderState::Returned, PaymentState::RefundRequested));
    batch.apply(7, refunded(SECOND, 500)).unwrap();
    assert_eq!(state(&mut batch).0, OrderState::Refunded);
}

#[test]
fn a_refund_of_a_return_that_failed_holds_the_order_until_it_works() {
    let mut batch = batch(delivered());
    ask(&mut batch, FIRST, mugs(1)).unwrap();
    batch.apply(4, return_is(FIRST, event::ReturnState::Received)).unwrap();
    batch.apply(5, refund_failed(FIRST, 500)).unwrap();
    assert_eq!(state(&mut batch), (OrderState::Returned, PaymentState::RefundFailed));
    batch.apply(6, refunded(FIRST, 500)).unwrap();
    assert_eq!(state(&mut batch), (OrderState::Delivered, PaymentState::Succeeded));
}

#[test]
fn a_wish_that_breaks_a_rule_names_it_and_changes_nothing() {
    let two =
        |sku: &str| vec![Units { sku: "MUG".into(), quantity: 1 }, Units { sku: sku.into(), quantity: 1 }];
    let mut batch = batch(delivered());
    for (wanted, broken) in [
        (mugs(3), "0 quantity within-bought"),
        (mugs(0), "0 quantity at-least-one"),
        (mugs(-1), "0 quantity at-least-one"),
        (Some(two("MUG")), "1 sku unique"),
        (Some(two("PEN")), "1 sku in-order"),
    ] {
        assert_eq!(rule(ask(&mut batch, FIRST, wanted)), broken);
    }
    let late = ask_at(30 + WINDOW, &mut batch, FIRST, None);
    assert_eq!(late, Err(NotReturnable::TooLate { until_ms: 30 + WINDOW }));
    assert_eq!(state(&mut batch).0, OrderState::Delivered);
    assert_eq!(
        batch.apply(4, return_is(FIRST, event::ReturnState::Received)),
        Err(UnknownReturn(FIRST).into())
    );
    assert!(batch.finish().effects.returns.is_empty());
}

#[test]
fn only_what_is_with_the_buyer_is_returned() {
    let mut under_way = batch(paid());
    assert_eq!(ask(&mut under_way, FIRST, None), Err(NotReturnable::State(OrderState::Paid)));
    let mut over = batch(delivered());
    over.decide(ORDER, Order::complete).unwrap().unwrap();
    assert_eq!(ask(&mut over, FIRST, None), Err(NotReturnable::State(OrderState::Completed)));
}

#[test]
fn every_state_of_a_return_reads_back_from_its_name() {
    for state in ReturnState::ALL {
        assert_eq!(ReturnState::parse(state.as_str()), Some(state));
        assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
    }
}
