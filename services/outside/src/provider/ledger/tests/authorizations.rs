use crate::provider::ledger::{Ledger, Refusal};
use crate::provider::records::{AuthorizationStatus, ChargeRequest};

fn request(reference: &str) -> ChargeRequest {
    ChargeRequest { token: "tok_1".into(), amount: 500, currency: "KRW".into(), reference: reference.into() }
}

fn authorized(ledger: &mut Ledger, reference: &str) -> String {
    ledger.authorize(reference, &request(reference), None).unwrap().value.id
}

#[test]
fn what_is_set_aside_is_captured_once_under_one_key() {
    let mut ledger = Ledger::default();
    let id = authorized(&mut ledger, "order-1");
    assert!(ledger.charges.of("order-1").is_empty(), "only captured money is a charge");
    let charge = ledger.capture("c", &id).unwrap();
    let again = ledger.capture("c", &id).unwrap();
    assert!(charge.is_new && !again.is_new);
    assert_eq!(charge.value, again.value);
    assert_eq!(ledger.capture("another key", &id), Err(Refusal::AuthorizationCaptured));
    assert_eq!(ledger.void_authorization("v", &id), Err(Refusal::AuthorizationCaptured));
    assert_eq!(ledger.charges.of("order-1"), [charge.value]);
}

#[test]
fn a_voided_authorization_is_never_captured() {
    let mut ledger = Ledger::default();
    let id = authorized(&mut ledger, "order-1");
    assert!(ledger.void_authorization("v", &id).unwrap().is_new);
    assert!(!ledger.void_authorization("v", &id).unwrap().is_new);
    assert_eq!(ledger.capture("c", &id), Err(Refusal::AuthorizationVoided));
    // The key that set it aside now returns what became of it.
    let repeated = ledger.authorize("order-1", &request("order-1"), None).unwrap();
    assert_eq!((repeated.value.status, repeated.is_new), (AuthorizationStatus::Voided, false));
}

#[test]
fn a_key_stands_for_one_call() {
    let mut ledger = Ledger::default();
    let (first, second) = (authorized(&mut ledger, "order-1"), authorized(&mut ledger, "order-2"));
    assert_eq!(ledger.authorize("order-1", &request("order-3"), None), Err(Refusal::KeyReused));
    ledger.capture("k", &first).unwrap();
    assert_eq!(ledger.capture("k", &second), Err(Refusal::KeyReused));
    assert_eq!(ledger.void_authorization("k", &second), Err(Refusal::KeyReused));
}

#[test]
fn closing_a_reference_gives_up_what_is_set_aside_and_sets_nothing_aside_any_more() {
    let mut ledger = Ledger::default();
    let id = authorized(&mut ledger, "order-1");
    assert_eq!(ledger.void("order-1"), None);
    assert_eq!(ledger.capture("c", &id), Err(Refusal::AuthorizationVoided));
    let late = ledger.authorize("late", &request("order-1"), None).unwrap().value;
    assert_eq!((late.status, late.reason.as_deref()), (AuthorizationStatus::Declined, Some("voided")));
    assert_eq!(ledger.capture("d", &late.id), Err(Refusal::AuthorizationDeclined));
}

#[test]
fn the_list_shows_what_became_of_each_amount() {
    let mut ledger = Ledger::default();
    let ids = ["order-1", "order-2", "order-3"].map(|order| authorized(&mut ledger, order));
    let charge = ledger.capture("c", &ids[0]).unwrap().value;
    ledger.refund("r", &charge.id, Some(200)).unwrap();
    ledger.void_authorization("v", &ids[1]).unwrap();
    let (all, next) = ledger.authorizations.book.page(0, 10, None, None);
    let amounts: Vec<_> = all.iter().map(|a| (a.amount, a.captured, a.voided, a.refunded)).collect();
    assert_eq!(amounts, [(500, 500, 0, 200), (500, 0, 500, 0), (500, 0, 0, 0)]);
    assert_eq!(next, None);
}
