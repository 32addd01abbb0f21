//! What a receiver reads of data as its producer may write it.

use serde_json::{Value, json};
use uuid::Uuid;

use super::*;

/// Data that says only what it must is read, and written again the same.
fn stays<P: Payload>(data: &Value) {
    let read: P = serde_json::from_value(data.clone()).unwrap_or_else(|error| panic!("{}: {error}", P::TYPE));
    assert_eq!(serde_json::to_value(&read).unwrap(), *data, "{}", P::TYPE);
}

#[test]
fn what_is_left_out_when_there_is_nothing_to_say_need_not_be_there() {
    let id = Uuid::nil();
    let line = json!({"sku": "MUG", "quantity": 1, "unit_price": 5});
    stays::<Reserved>(&json!({
        "order_id": id, "sale_id": id, "buyer_id": id, "lines": [line], "amount": 5, "currency": "EUR",
        "reserved_at_ms": 1, "pay_by_ms": 2,
    }));
    stays::<PaymentSubmitted>(&json!({
        "order_id": id, "sale_id": id, "buyer_id": id, "submitted_at_ms": 1,
    }));
    stays::<PaymentRequested>(&json!({
        "order_id": id, "sale_id": id, "buyer_id": id, "amount": 5, "currency": "EUR", "pay_by_ms": 2,
    }));
    stays::<OrderPaid>(&json!({
        "order_id": id, "sale_id": id, "buyer_id": id, "lines": [line], "amount": 5, "currency": "EUR",
        "payment_id": id, "paid_at_ms": 3,
    }));
    let refund = json!({"order_id": id, "payment_id": id, "amount": 5, "currency": "EUR", "reason": "r"});
    stays::<RefundRequested>(&refund);
    stays::<CancelRequested>(&json!({"order_id": id, "buyer_id": id}));
    stays::<PaymentFailed>(&json!({"payment_id": id, "order_id": id, "reason": "declined"}));
    let mut refund = refund;
    refund["refund_id"] = json!(id);
    stays::<PaymentRefunded>(&refund);
    stays::<PaymentRefundFailed>(&refund);
    stays::<ShipmentUpdated>(&json!({
        "shipment_id": id, "order_id": id, "state": "preparing", "at_ms": 4,
    }));
    stays::<ReturnUpdated>(&json!({"return_id": id, "order_id": id, "state": "in_transit", "at_ms": 4}));
}

#[test]
fn a_product_of_few_words_is_read_and_fields_not_known_here_are_passed_over() {
    let id = Uuid::nil();
    let product = json!({
        "product_id": id, "seller_id": id, "version": 1, "state": "published", "title": "Mug",
        "description": "", "currency": "EUR", "updated_at": "2026-01-01T00:00:00Z", "colour": "blue",
        "variants": [{"sku": "MUG", "price": 5, "quantity": 1, "weight": 300}],
    });
    let read: ProductChanged = serde_json::from_value(product).unwrap();
    assert!(read.categories.is_empty() && read.variants[0].options.is_empty());
    let units = json!({"sku": "MUG", "quantity": 1, "colour": "blue"});
    assert_eq!(serde_json::from_value::<Units>(units).unwrap().quantity, 1);
}

#[test]
fn the_name_of_a_state_reads_back_and_is_its_serialized_form() {
    for state in ShipmentState::ALL {
        assert_eq!(ShipmentState::parse(state.as_str()), Some(state));
        assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
    }
    for state in ReturnState::ALL {
        assert_eq!(ReturnState::parse(state.as_str()), Some(state));
        assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
    }
    for state in ProductState::ALL {
        assert_eq!(ProductState::parse(state.as_str()), Some(state));
        assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
    }
}

#[test]
fn a_payment_whose_number_is_not_told_is_the_first_one() {
    let told = |attempt: Option<i32>| PaymentFailed {
        payment_id: Uuid::nil(),
        order_id: Uuid::nil(),
        reason: String::new(),
        attempt,
        closed: false,
    };
    assert_eq!((told(None).attempt(), told(Some(2)).attempt()), (1, 2));
}
