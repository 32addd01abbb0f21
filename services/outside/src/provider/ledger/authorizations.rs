//! Money set aside: captured into a charge once, or voided, never both.

use std::collections::HashMap;

use time::OffsetDateTime;

use super::{Book, Booked, Ledger, Outcome, Refusal, digest, request_digest};
use crate::provider::journal::Entry;
use crate::provider::records::{Authorization, AuthorizationStatus, Charge, ChargeRequest, ChargeStatus};

/// All authorizations, and the calls about them by key.
#[derive(Default)]
pub(super) struct Authorizations {
    book: Book<Authorization>,
    /// Captures and voids.
    calls_by_key: HashMap<String, u64>,
}

impl Ledger {
    /// Sets money aside, unless `key` has done so before: then the answer is what became of it.
    /// `decline` is why the bank would refuse.
    pub(in crate::provider) fn authorize(
        &mut self,
        key: &str,
        request: &ChargeRequest,
        decline: Option<&str>,
    ) -> Result<Outcome<Authorization>, Refusal> {
        let digest = request_digest(request);
        if let Some(made_before) = self.authorizations.book.made_by(key, digest)? {
            return Ok(made_before);
        }
        let reason = if self.voided.contains(&request.reference) { Some("voided") } else { decline };
        let status =
            if reason.is_some() { AuthorizationStatus::Declined } else { AuthorizationStatus::Authorized };
        let authorization = Authorization {
            id: self.authorizations.book.next_id("au", self.run),
            reference: request.reference.clone(),
            status,
            reason: reason.map(str::to_owned),
            amount: request.amount,
            captured: 0,
            voided: 0,
            refunded: 0,
            currency: request.currency.clone(),
            charge_id: None,
            created_at: OffsetDateTime::now_utc(),
        };
        let entry =
            Entry::Authorization { key: key.to_owned(), digest, authorization: authorization.clone() };
        self.record(entry);
        Ok(Outcome { value: authorization, is_new: true })
    }

    /// Makes a charge of what is set aside; answers with that charge when `key` has made it before.
    pub(in crate::provider) fn capture(&mut self, key: &str, id: &str) -> Result<Outcome<Charge>, Refusal> {
        let digest = digest(&["capture", id]);
        let repeated = self.authorizations.is_repeated(key, digest)?;
        let authorization = self.authorization(id).ok_or(Refusal::AuthorizationUnknown)?;
        match (authorization.status, &authorization.charge_id) {
            (AuthorizationStatus::Authorized, _) => {}
            (AuthorizationStatus::Captured, Some(charge)) if repeated => {
                let charge = self.charges.find(charge).ok_or(Refusal::ChargeUnknown)?;
                return Ok(Outcome { value: charge.clone(), is_new: false });
            }
            (AuthorizationStatus::Captured, _) => return Err(Refusal::AuthorizationCaptured),
            (AuthorizationStatus::Declined, _) => return Err(Refusal::AuthorizationDeclined),
            (AuthorizationStatus::Voided, _) => return Err(Refusal::AuthorizationVoided),
        }
        let charge = Charge {
            id: self.charges.next_id("ch", self.run),
            reference: authorization.reference.clone(),
            authorization_id: Some(authorization.id.clone()),
            status: ChargeStatus::Succeeded,
            reason: None,
            amount: authorization.amount,
            currency: authorization.currency.clone(),
            refunded: 0,
            created_at: OffsetDateTime::now_utc(),
        };
        self.record(Entry::Capture { key: key.to_owned(), digest, charge: charge.clone() });
        Ok(Outcome { value: charge, is_new: true })
    }

    /// Gives up what is set aside. Once given up it stays so, whatever the key.
    pub(in crate::provider) fn void_authorization(
        &mut self,
        key: &str,
        id: &str,
    ) -> Result<Outcome<Authorization>, Refusal> {
        let digest = digest(&["void", id]);
        self.authorizations.is_repeated(key, digest)?;
        let authorization = self.authorization(id).ok_or(Refusal::AuthorizationUnknown)?;
        let is_new = match authorization.status {
            AuthorizationStatus::Authorized => true,
            AuthorizationStatus::Voided => false,
            AuthorizationStatus::Captured => return Err(Refusal::AuthorizationCaptured),
            AuthorizationStatus::Declined => return Err(Refusal::AuthorizationDeclined),
        };
        if is_new {
            let (key, authorization_id) = (key.to_owned(), id.to_owned());
            self.record(Entry::AuthorizationVoid { key, digest, authorization_id });
        }
        let authorization = self.authorization(id).ok_or(Refusal::AuthorizationUnknown)?;
        Ok(Outcome { value: authorization.clone(), is_new })
    }

    fn authorization(&self, id: &str) -> Option<&Authorization> {
        self.authorizations.book.find(id)
    }
}

impl Booked for Authorization {
    const UNKNOWN: Refusal = Refusal::AuthorizationUnknown;

    fn id(&self) -> &str {
        &self.id
    }

    fn reference(&self) -> &str {
        &self.reference
    }

    fn created_at(&self) -> OffsetDateTime {
        self.created_at
    }

    fn book(ledger: &Ledger) -> &Book<Self> {
        &ledger.authorizations.book
    }
}

impl Authorizations {
    /// Whether `key` came with this very call before; with another one it is refused.
    fn is_repeated(&self, key: &str, digest: u64) -> Result<bool, Refusal> {
        match self.calls_by_key.get(key) {
            None => Ok(false),
            Some(known) if *known == digest => Ok(true),
            Some(_) => Err(Refusal::KeyReused),
        }
    }

    pub(super) fn add(&mut self, key: String, digest: u64, authorization: Authorization) {
        self.book.add_by_key(key, digest, authorization);
    }

    pub(super) fn captured(&mut self, key: String, digest: u64, charge: &Charge) {
        self.calls_by_key.insert(key, digest);
        if let Some(authorization) = charge.authorization_id.as_deref().and_then(|id| self.book.find_mut(id))
        {
            authorization.status = AuthorizationStatus::Captured;
            authorization.captured = charge.amount;
            authorization.charge_id = Some(charge.id.clone());
        }
    }

    pub(super) fn voided(&mut self, key: String, digest: u64, id: &str) {
        self.calls_by_key.insert(key, digest);
        if let Some(authorization) = self.book.find_mut(id) {
            void(authorization);
        }
    }

    pub(super) fn void_all_of(&mut self, reference: &str) {
        self.book.change_all_of(reference, void);
    }

    pub(super) fn refunded(&mut self, id: &str, amount: i64) {
        if let Some(authorization) = self.book.find_mut(id) {
            authorization.refunded += amount;
        }
    }
}

fn void(authorization: &mut Authorization) {
    if authorization.status == AuthorizationStatus::Authorized {
        authorization.status = AuthorizationStatus::Voided;
        authorization.voided = authorization.amount;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(reference: &str) -> ChargeRequest {
        ChargeRequest {
            token: "tok_1".into(),
            amount: 500,
            currency: "KRW".into(),
            reference: reference.into(),
        }
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
        // The key that set it aside says what became of it.
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
}
