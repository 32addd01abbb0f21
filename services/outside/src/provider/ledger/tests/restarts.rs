use std::fs::OpenOptions;
use std::io::Write as _;

use crate::provider::ledger::{Ledger, Listed as _};
use crate::provider::records::AuthorizationStatus::{Authorized, Captured, Voided};
use crate::provider::records::{Authorization, Charge, ChargeRequest};

#[test]
fn charges_survive_a_restart_and_a_torn_line_is_dropped() {
    let path = std::env::temp_dir().join(format!("provider-{}.jsonl", uuid::Uuid::new_v4()));
    let request = ChargeRequest {
        token: "tok_1".into(),
        amount: 7,
        currency: "EUR".into(),
        reference: "order-1".into(),
    };
    let charge = Ledger::open(&path).unwrap().charge("k", &request, None).unwrap().value;
    OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"charge\":{\"k").unwrap();

    let mut restarted = Ledger::open(&path).unwrap();
    let again = restarted.charge("k", &request, None).unwrap();
    assert_eq!((again.value, again.is_new), (charge.clone(), false));
    restarted.refund("r", &charge.id, None).unwrap();
    assert_eq!(Charge::book(&Ledger::open(&path).unwrap()).find(&charge.id).unwrap().refunded, 7);
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn what_became_of_authorizations_survives_a_restart() {
    let path = std::env::temp_dir().join(format!("provider-{}.jsonl", uuid::Uuid::new_v4()));
    let request = |reference: &str| ChargeRequest {
        token: "tok_1".into(),
        amount: 7,
        currency: "EUR".into(),
        reference: reference.into(),
    };
    let mut ledger = Ledger::open(&path).unwrap();
    let ids = ["captured", "voided", "closed", "open"]
        .map(|name| ledger.authorize(name, &request(name), None).unwrap().value.id);
    let charge = ledger.capture("c", &ids[0]).unwrap().value;
    ledger.void_authorization("v", &ids[1]).unwrap();
    ledger.void("closed");

    let mut restarted = Ledger::open(&path).unwrap();
    let statuses = ids.each_ref().map(|id| Authorization::book(&restarted).find(id).unwrap().status);
    assert_eq!(statuses, [Captured, Voided, Voided, Authorized]);
    assert_eq!(restarted.capture("c", &ids[0]).unwrap().value, charge);
    std::fs::remove_file(&path).unwrap();
}
