use super::*;

fn line(quantity: i64) -> Vec<Line> {
    vec![Line { sku: "MUG".into(), quantity, unit_price: 5 }]
}

/// Ten units: one sold to buyer 1 by payment 101, one expired for buyer 2, nine left.
fn quiet() -> Books {
    let held = |id, state| Held {
        order_id: Uuid::from_u128(id),
        buyer_id: Uuid::from_u128(id),
        state,
        lines: line(1),
        amount: 5,
    };
    let booked = |id, state, payment_id: Option<u128>| Booked {
        order_id: Uuid::from_u128(id),
        buyer_id: Uuid::from_u128(id),
        state,
        lines: line(1),
        amount: 5,
        was_paid: payment_id.is_some(),
        given_back: 0,
        payment_id: payment_id.map(Uuid::from_u128),
    };
    let units = Counters { preloaded: 10, remaining: 9, reserved: 0, sold: 1 };
    Books {
        redis: vec![held(1, OrderState::Paid), held(2, OrderState::Expired)],
        orders: vec![booked(1, OrderState::Shipped, Some(101)), booked(2, OrderState::Expired, None)],
        charges: vec![Charge {
            payment_id: Uuid::from_u128(101),
            order_id: Uuid::from_u128(1),
            outcome: ChargeOutcome::Succeeded,
            amount: Some(5),
            refunded: 0,
        }],
        items: vec![ItemBooks { sku: "MUG".into(), per_buyer_limit: 1, redis: Some(units), ledger: units }],
    }
}

#[test]
fn books_that_agree_have_no_difference() {
    let report = compare(&quiet());
    assert_eq!(report.differences, []);
    assert_eq!(report.matched, 2);
    assert_eq!(report.endings, Endings { paid: 1, expired: 1, ..Endings::default() });
}

#[test]
fn each_planted_difference_is_found_by_its_kind() {
    type Plant = fn(&mut Books);
    let cases: &[(Plant, &str)] = &[
        (|b| drop(b.orders.remove(1)), "order-missing"),
        (|b| drop(b.redis.remove(1)), "reservation-missing"),
        (|b| b.redis[1].state = OrderState::Paid, "state-differs"),
        (|b| b.redis[0].buyer_id = Uuid::from_u128(9), "buyer-differs"),
        (|b| b.redis[0].lines = line(2), "content-differs"),
        (|b| b.charges.clear(), "payment-missing"),
        (|b| b.charges[0].amount = Some(4), "payment-amount-differs"),
        (|b| b.charges[0].payment_id = Uuid::from_u128(102), "payment-differs"),
        (|b| b.charges[0].order_id = Uuid::from_u128(2), "payment-not-refunded"),
        (|b| b.charges[0].order_id = Uuid::from_u128(3), "payment-without-order"),
        (
            |b| {
                let second = Charge { payment_id: Uuid::from_u128(102), ..b.charges[0].clone() };
                b.charges.push(second);
            },
            "charged-twice",
        ),
        (|b| b.items[0].redis.as_mut().unwrap().sold += 1, "redis-unbalanced"),
        (|b| b.items[0].ledger.remaining -= 1, "ledger-unbalanced"),
        (
            |b| {
                let redis = b.items[0].redis.as_mut().unwrap();
                (redis.sold, redis.remaining) = (2, 8);
            },
            "counters-differ",
        ),
        (|b| b.items[0].redis = None, "sku-missing"),
        (|b| b.orders[0].was_paid = false, "orders-differ-from-ledger"),
        (|b| cancel(b, 4), "payment-not-refunded"),
        (|b| b.orders[0].given_back = 2, "payment-amount-differs"),
        (|b| b.charges[0].refunded = 2, "payment-amount-differs"),
        (|b| b.charges[0].refunded = 5, "payment-missing"),
        (|b| b.items[0].per_buyer_limit = 0, "limit-exceeded"),
        (
            |b| {
                b.redis[1].state = OrderState::Reserved;
                b.orders[1].state = OrderState::Reserved;
            },
            "still-reserved",
        ),
    ];
    for (plant, kind) in cases {
        let mut books = quiet();
        plant(&mut books);
        let report = compare(&books);
        assert!(
            report.differences.iter().any(|d| d.kind.to_string() == *kind),
            "{kind}: {:?}",
            report.differences
        );
    }
}

#[test]
fn a_refunded_charge_of_a_released_order_agrees() {
    let mut books = quiet();
    books.charges.push(Charge {
        payment_id: Uuid::from_u128(102),
        order_id: Uuid::from_u128(2),
        outcome: ChargeOutcome::Refunded,
        amount: Some(5),
        refunded: 5,
    });
    assert_eq!(compare(&books).differences, []);
}

/// Order 1 was cancelled after it was paid; `refunded` of its money went back.
fn cancel(books: &mut Books, refunded: i64) {
    (books.orders[0].state, books.orders[0].given_back) = (OrderState::Cancelled, 5);
    books.charges[0].refunded = refunded;
}

#[test]
fn an_order_cancelled_after_its_payment_stays_sold_and_keeps_no_money() {
    let mut books = quiet();
    cancel(&mut books, 5);
    let report = compare(&books);
    assert_eq!(report.differences, []);
    assert_eq!(report.endings, Endings { cancelled: 1, expired: 1, ..Endings::default() });
    assert_eq!(report.items[0].units.sold, 1, "the unit itself is ordinary stock now");
}

#[test]
fn an_order_returned_in_part_keeps_the_money_of_the_rest() {
    let mut books = quiet();
    (books.orders[0].state, books.orders[0].given_back) = (OrderState::Delivered, 2);
    books.charges[0].refunded = 2;
    assert_eq!(compare(&books).differences, []);
}

#[test]
fn the_list_of_differences_is_bounded_and_their_number_is_not() {
    let mut books = quiet();
    let lost = books.redis[0].clone();
    books.redis.extend((1000..7000).map(|id| Held { order_id: Uuid::from_u128(id), ..lost.clone() }));
    let report = compare(&books);
    assert_eq!((report.differences.len(), report.differences_total), (MAX_DIFFERENCES, 6_000));
}
