//! Charges, refunds and voids. Authorizations and restarts have their own files.

mod authorizations;
mod restarts;

use super::*;

fn request(reference: &str, amount: i64) -> ChargeRequest {
    ChargeRequest { token: "tok_1".into(), amount, currency: "KRW".into(), reference: reference.into() }
}

#[test]
fn the_same_key_gives_the_same_charge_and_another_body_is_refused() {
    let mut ledger = Ledger::default();
    let first = ledger.charge("k", &request("order-1", 500), None).unwrap();
    let again = ledger.charge("k", &request("order-1", 500), Some("card_declined")).unwrap();
    assert!(first.is_new && !again.is_new);
    assert_eq!(first.value, again.value);
    assert_eq!(ledger.charge("k", &request("order-1", 501), None), Err(Refusal::KeyReused));
    assert_eq!(ledger.charges.of("order-1").len(), 1);
}

#[test]
fn refunds_never_exceed_the_charge() {
    let mut ledger = Ledger::default();
    let charge = ledger.charge("k", &request("order-1", 500), None).unwrap().value;
    assert_eq!(ledger.refund("r1", &charge.id, Some(200)).unwrap().value.amount, 200);
    assert!(!ledger.refund("r1", &charge.id, Some(200)).unwrap().is_new);
    assert_eq!(ledger.refund("r2", &charge.id, Some(301)), Err(Refusal::ExceedsCharge { refundable: 300 }));
    assert_eq!(ledger.refund("r3", &charge.id, None).unwrap().value.amount, 300);
    assert_eq!(ledger.charges.find(&charge.id).unwrap().refunded, 500);
    assert_eq!(ledger.refund("r4", &charge.id, None), Err(Refusal::ExceedsCharge { refundable: 0 }));
}

#[test]
fn a_voided_reference_takes_no_charge_any_more() {
    let mut ledger = Ledger::default();
    assert_eq!(ledger.void("order-1"), None);
    let late = ledger.charge("k", &request("order-1", 500), None).unwrap().value;
    assert_eq!((late.status, late.reason.as_deref()), (ChargeStatus::Declined, Some("voided")));
}

#[test]
fn voiding_a_charged_reference_returns_the_charge() {
    let mut ledger = Ledger::default();
    let charge = ledger.charge("k", &request("order-1", 500), None).unwrap().value;
    assert_eq!(ledger.void("order-1"), Some(charge));
}

#[test]
fn the_list_is_cut_into_pages_without_gaps() {
    let mut ledger = Ledger::default();
    for n in 0..5 {
        ledger.charge(&format!("k{n}"), &request(&format!("order-{n}"), 1), None).unwrap();
    }
    let (first, next) = ledger.charges.page(0, 3, None, None);
    let (rest, end) = ledger.charges.page(next.unwrap(), 3, None, None);
    let references: Vec<_> = first.iter().chain(&rest).map(|c| c.reference.as_str()).collect();
    assert_eq!(references, ["order-0", "order-1", "order-2", "order-3", "order-4"]);
    assert_eq!(end, None);
    assert!(ledger.charges.page(0, 3, Some(OffsetDateTime::now_utc()), None).0.is_empty());
}
