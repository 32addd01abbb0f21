//! Balanced books pass. Each planted error is found by the invariant it breaks.

use time::OffsetDateTime;
use uuid::Uuid;

use super::*;
use crate::books::{Counters, Payment, Reservation, Units};

const SKU: &str = "ROCKET";

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

/// Two units: order 1 of buyer 11 is paid and shipped, order 2 of buyer 12 expired.
fn balanced() -> (Vec<Told>, Books) {
    let units = Units::from([(SKU.to_owned(), 1)]);
    let counters = Counters { preloaded: 2, remaining: 1, reserved: 0, sold: 1 };
    let mut books = Books {
        counters: BTreeMap::from([(SKU.to_owned(), counters)]),
        ledger: BTreeMap::from([(SKU.to_owned(), counters)]),
        limits: BTreeMap::from([(SKU.to_owned(), 1)]),
        charges: vec![Charge { reference: id(1).to_string(), succeeded: true, amount: 100, refunded: 0 }],
        reserved_events: BTreeSet::from([id(1), id(2)]),
        succeeded_events: BTreeSet::from([id(1)]),
        ..Books::default()
    };
    books.payments.insert(id(1), Payment { state: "succeeded".into(), amount: 100, refunded: 0 });
    books.shipments.insert(id(1), "preparing".into());
    let mut history = Vec::new();
    for (number, in_redis, in_sql) in [(1, "confirmed", "paid"), (2, "expired", "expired")] {
        let (order, buyer, key) = (id(number), id(10 + number), id(30 + number));
        books.reservations.insert(order, Reservation { state: in_redis.into(), buyer, units: units.clone() });
        books.orders.insert(
            order,
            Order {
                state: in_sql.into(),
                buyer,
                amount: 100,
                units: units.clone(),
                paid_at: (in_sql == "paid").then_some(time::OffsetDateTime::UNIX_EPOCH),
                refunded: 0,
                pay_by: None,
                released_at: None,
            },
        );
        books.keys.insert((buyer, key.to_string()), order);
        history.push(Told {
            operation: "purchase".into(),
            buyer,
            key: Some(key),
            outcome: "ok".into(),
            order: Some(order),
            ended_us: 2_000_000,
        });
    }
    (history, books)
}

/// The invariants that `plant` breaks.
fn broken(plant: impl FnOnce(&mut Vec<Told>, &mut Books)) -> Vec<&'static str> {
    let (mut history, mut books) = balanced();
    plant(&mut history, &mut books);
    all(&history, &books)
        .into_iter()
        .filter(|(_, verdict)| verdict.difference > 0)
        .map(|(name, _)| name)
        .collect()
}

fn order(books: &mut Books, number: u128) -> &mut Order {
    books.orders.get_mut(&id(number)).expect("an order of the fixture")
}

#[test]
fn balanced_books_have_no_difference() {
    assert_eq!(broken(|_, _| {}), Vec::<&str>::new());
}

#[test]
fn a_lost_order_is_found() {
    assert!(broken(|_, books| drop(books.orders.remove(&id(2)))).contains(&"I3"));
}

#[test]
fn an_order_that_went_with_redis_is_no_difference_if_the_rebuild_names_its_moment() {
    let at = |seconds| OffsetDateTime::from_unix_timestamp(seconds).unwrap();
    let lose = |unknown: Vec<_>, late: i64, amount: i64| {
        broken(|history, books| {
            history.push(Told {
                operation: "purchase".into(),
                buyer: id(13),
                key: Some(id(33)),
                outcome: "ok".into(),
                order: Some(id(3)),
                ended_us: 2_000_000,
            });
            books.reserved_events.insert(id(3)); // it was in the relay's hands, and came too late
            books.unknown = unknown;
            books.late = late;
            let charge = Charge { reference: id(3).to_string(), succeeded: true, amount, refunded: 0 };
            books.charges.extend(Some(charge).filter(|charge| charge.amount > 0));
        })
    };
    assert_eq!(lose(vec![(at(1), at(2))], 1, 0), Vec::<&str>::new());
    assert_eq!(lose(vec![(at(3), at(4))], 0, 0), ["I3", "I6", "I7"]);
    assert_eq!(lose(vec![], 0, 0), ["I3", "I6", "I7"]);
    // The order had left Redis, so Kafka should have it, and nobody should have been charged for it.
    assert_eq!(lose(vec![(at(1), at(2))], 0, 0), ["I7"]);
    assert_eq!(lose(vec![(at(1), at(2))], 1, 100), ["I4"]);
}

#[test]
fn an_order_that_never_ends_is_found() {
    assert!(broken(|_, books| order(books, 2).state = "reserved".into()).contains(&"I3"));
}

#[test]
fn an_extra_unit_is_found() {
    let found = broken(|_, books| books.counters.get_mut(SKU).expect("the SKU").remaining += 1);
    assert!(found.contains(&"I1"));
}

#[test]
fn a_unit_sold_beyond_the_stock_is_found() {
    let found = broken(|_, books| {
        for items in [&mut books.counters, &mut books.ledger] {
            *items.get_mut(SKU).expect("the SKU") =
                Counters { preloaded: 0, remaining: -1, reserved: 0, sold: 1 };
        }
    });
    assert!(found.contains(&"I2"));
}

#[test]
fn a_double_charge_is_found() {
    let found = broken(|_, books| {
        let again = books.charges[0].clone();
        books.charges.push(again);
    });
    assert_eq!(found, ["I4"]);
}

#[test]
fn a_charge_for_an_expired_order_that_was_not_refunded_is_found() {
    let charge = |books: &mut Books, refunded| {
        books.payments.insert(id(2), Payment { state: "succeeded".into(), amount: 100, refunded });
        books.charges.push(Charge { reference: id(2).to_string(), succeeded: true, amount: 100, refunded });
        books.succeeded_events.insert(id(2));
    };
    assert!(broken(|_, books| charge(books, 0)).contains(&"I4"));
    assert_eq!(broken(|_, books| charge(books, 100)), Vec::<&str>::new());
}

#[test]
fn a_shipment_of_an_unpaid_order_is_found() {
    assert_eq!(broken(|_, books| drop(books.shipments.insert(id(2), "preparing".into()))), ["I4"]);
}

/// Order 1, cancelled after payment and before it was shipped, all money back.
fn cancel_after_payment(books: &mut Books) {
    let cancelled = order(books, 1);
    (cancelled.state, cancelled.refunded) = ("cancelled".into(), 100);
    books.charges[0].refunded = 100;
    books.payments.get_mut(&id(1)).expect("the payment").refunded = 100;
    books.shipments.insert(id(1), "cancelled".into());
}

#[test]
fn an_order_cancelled_after_payment_keeps_the_books_balanced() {
    assert_eq!(broken(|_, books| cancel_after_payment(books)), Vec::<&str>::new());
    let unsold = broken(|_, books| {
        cancel_after_payment(books);
        for items in [&mut books.counters, &mut books.ledger] {
            *items.get_mut(SKU).expect("the SKU") =
                Counters { preloaded: 2, remaining: 2, reserved: 0, sold: 0 };
        }
    });
    assert_eq!(unsold, ["I1"]);
}

#[test]
fn a_cancelled_order_whose_money_did_not_come_back_is_found() {
    let found = broken(|_, books| {
        cancel_after_payment(books);
        books.charges[0].refunded = 0;
    });
    assert_eq!(found, ["I4"]);
}

#[test]
fn a_cancelled_order_that_is_shipped_is_found() {
    let found = broken(|_, books| {
        cancel_after_payment(books);
        books.shipments.insert(id(1), "shipped".into());
    });
    assert_eq!(found, ["I4"]);
}

#[test]
fn what_a_return_gave_back_is_compared_among_order_payment_and_provider() {
    let returned = |books: &mut Books, [of_order, of_payment, of_charge]: [i64; 3]| {
        let kept = order(books, 1);
        (kept.state, kept.refunded) = ("completed".into(), of_order);
        books.payments.get_mut(&id(1)).expect("the payment").refunded = of_payment;
        books.charges[0].refunded = of_charge;
    };
    assert_eq!(broken(|_, books| returned(books, [40, 40, 40])), Vec::<&str>::new());
    assert_eq!(broken(|_, books| returned(books, [40, 40, 0])), ["I4"]);
    assert_eq!(broken(|_, books| returned(books, [40, 100, 40])), ["I7"]);
    assert_eq!(broken(|_, books| returned(books, [0, 40, 40])), ["I4", "I7"]);
}

#[test]
fn an_order_paid_in_redis_alone_is_found() {
    assert!(broken(|_, books| order(books, 1).paid_at = None).contains(&"I7"));
}

#[test]
fn a_buyer_over_the_limit_is_found() {
    let found = broken(|_, books| {
        order(books, 1).units.insert(SKU.into(), 2);
    });
    assert!(found.contains(&"I5"));
}

#[test]
fn a_key_answered_with_two_orders_is_found() {
    let found = broken(|history, _| {
        let mut again = history[0].clone();
        again.order = Some(id(2));
        history.push(again);
    });
    assert_eq!(found, ["I6"]);
}

#[test]
fn a_difference_between_redis_and_postgresql_is_found() {
    let found = broken(|_, books| {
        books.reservations.get_mut(&id(2)).expect("a reservation").state = "cancelled".into();
    });
    assert_eq!(found, ["I7"]);
}

#[test]
fn an_event_missing_in_kafka_is_found() {
    let found = broken(|_, books| {
        books.reserved_events.remove(&id(1));
    });
    assert_eq!(found, ["I7"]);
}

#[test]
fn a_paid_order_without_a_shipment_is_found() {
    assert_eq!(broken(|_, books| drop(books.shipments.remove(&id(1)))), ["I7"]);
}

#[test]
fn an_order_that_expired_after_its_payment_was_accepted_is_found() {
    let found = broken(|history, _| {
        let submitted = Told { operation: "confirm_payment".into(), key: None, ..history[1].clone() };
        history.push(submitted);
    });
    assert_eq!(found, ["I3"]);
}

#[test]
fn an_order_that_expired_after_its_card_was_declined_is_in_order() {
    let found = broken(|history, books| {
        let submitted = Told { operation: "confirm_payment".into(), key: None, ..history[1].clone() };
        let order = submitted.order.expect("an order");
        history.push(submitted);
        books.payments.insert(order, Payment { state: "failed".into(), amount: 100, refunded: 0 });
    });
    assert_eq!(found, Vec::<&str>::new());
}

#[test]
fn a_decline_that_only_kafka_remembers_counts_and_a_void_alone_does_not() {
    let voided = |history: &mut Vec<Told>, books: &mut Books| {
        let submitted = Told { operation: "confirm_payment".into(), key: None, ..history[1].clone() };
        let order = submitted.order.expect("an order");
        history.push(submitted);
        books.payments.insert(order, Payment { state: "voided".into(), amount: 100, refunded: 0 });
        order
    };
    let told = broken(|history, books| {
        let order = voided(history, books);
        books.declined_events.insert(order);
    });
    assert_eq!(told, Vec::<&str>::new());
    let untold = broken(|history, books| {
        voided(history, books);
    });
    assert_eq!(untold, ["I3"]);
}

#[test]
fn a_sale_before_the_opening_and_an_early_expiry_are_found() {
    let second = |seconds| time::OffsetDateTime::from_unix_timestamp(seconds).ok();
    assert_eq!(broken(|_, books| books.opens_at = second(3)), ["I3"]);
    assert_eq!(broken(|_, books| books.opens_at = second(1)), Vec::<&str>::new());
    let expired = |books: &mut Books, at| {
        let order = order(books, 2);
        (order.pay_by, order.released_at) = (second(10), second(at));
    };
    assert_eq!(broken(|_, books| expired(books, 9)), ["I3"]);
    assert_eq!(broken(|_, books| expired(books, 10)), Vec::<&str>::new());
}

#[test]
fn a_shopper_told_another_order_than_redis_remembers_is_found() {
    let found = broken(|_, books| {
        let key = books.keys.keys().next().cloned().expect("a key");
        books.keys.insert(key, id(99));
    });
    assert_eq!(found, ["I6"]);
}

#[test]
fn what_an_emptied_kafka_does_not_have_is_no_difference() {
    let found = broken(|_, books| {
        books.kafka_was_emptied = true;
        books.reserved_events.clear();
        books.succeeded_events.clear();
    });
    assert_eq!(found, Vec::<&str>::new());
}

#[test]
fn only_what_exceeds_the_price_after_refunds_counts_as_charged_twice() {
    let (_, mut books) = balanced();
    assert!(charged_twice(&books).is_empty());
    books.charges.push(Charge { refunded: 100, ..books.charges[0].clone() });
    assert!(charged_twice(&books).is_empty());
    books.charges[1].refunded = 0;
    assert_eq!(charged_twice(&books), [id(1)]);
}

#[test]
fn an_unknown_purchase_is_resolved_by_a_later_answer_or_by_what_redis_remembers() {
    let (mut history, books) = balanced();
    let unknown = |buyer, key| Told {
        operation: "purchase".into(),
        buyer: id(buyer),
        key: Some(id(key)),
        outcome: "unknown".into(),
        order: None,
        ended_us: 1,
    };
    let refused = Told { outcome: "refused".into(), ..unknown(70, 80) };
    // Buyer 11 got an answer in the end. Buyer 12 never did, but the order is there.
    history.retain(|told| told.buyer != id(12));
    history.extend([unknown(11, 31), unknown(12, 32), unknown(70, 80), refused, unknown(71, 81)]);
    let expected =
        Unknowns { keys: 4, answered_later: 1, had_happened: 1, refused_later: 1, had_not_happened: 1 };
    assert_eq!(unknowns(&history, &books), expected);
}
