//! The provider's books: charges, their refunds, and references closed for charging; money set aside is
//! in [`authorizations`].
//!
//! The rules are the ones shops rely on. The same idempotency key gives the same charge, and with
//! another body it is refused. Refunds of a charge never add up to more than the charge. A voided
//! reference takes no charge any more and sets nothing aside, which gives a shop that lost an answer a
//! final one. The provider does not check that a reference is charged once: that is the shop's promise, and the list
//! of charges is where a test can see it kept.

mod authorizations;
mod book;

use std::collections::{HashMap, HashSet};

use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use self::authorizations::Authorizations;
pub(super) use self::book::{Book, Booked};
use super::journal::{Entry, Journal};
use super::records::{Charge, ChargeRequest, ChargeStatus, Refund};

/// Why the books refuse something.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    KeyReused,
    ChargeUnknown,
    AuthorizationUnknown,
    /// It was declined, so there is nothing to capture or void.
    AuthorizationDeclined,
    AuthorizationVoided,
    AuthorizationCaptured,
    NotRefundable,
    ExceedsCharge {
        refundable: i64,
    },
}

/// A result and whether this very call brought it about, or repeated an earlier one.
#[derive(Debug, PartialEq)]
pub(super) struct Outcome<T> {
    pub(super) value: T,
    pub(super) is_new: bool,
}

/// Everything that is booked.
pub(super) struct Ledger {
    charges: Book<Charge>,
    refunds_by_key: HashMap<String, (u64, Refund)>,
    authorizations: Authorizations,
    voided: HashSet<String>,
    /// Keeps ids of two runs without a state file apart.
    run: u32,
    journal: Option<Journal>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            charges: Book::default(),
            refunds_by_key: HashMap::new(),
            authorizations: Authorizations::default(),
            voided: HashSet::new(),
            run: rand::random(),
            journal: None,
        }
    }
}

impl Ledger {
    /// From now on every change is also appended to `journal`.
    pub(super) fn keep_in(&mut self, journal: Journal) {
        self.journal = Some(journal);
    }

    /// Makes the charge, unless `key` has made it before. `decline` is why the bank would refuse.
    pub(super) fn charge(
        &mut self,
        key: &str,
        request: &ChargeRequest,
        decline: Option<&str>,
    ) -> Result<Outcome<Charge>, Refusal> {
        let digest = request_digest(request);
        if let Some(made_before) = self.charges.made_by(key, digest)? {
            return Ok(made_before);
        }
        let reason = if self.voided.contains(&request.reference) { Some("voided") } else { decline };
        let charge = Charge {
            id: self.charges.next_id("ch", self.run),
            reference: request.reference.clone(),
            authorization_id: None,
            status: if reason.is_some() { ChargeStatus::Declined } else { ChargeStatus::Succeeded },
            reason: reason.map(str::to_owned),
            amount: request.amount,
            currency: request.currency.clone(),
            refunded: 0,
            created_at: OffsetDateTime::now_utc(),
        };
        self.record(Entry::Charge { key: key.to_owned(), digest, charge: charge.clone() });
        Ok(Outcome { value: charge, is_new: true })
    }

    /// Closes `reference` for charging and returns the charge that got there first, if one did. What is
    /// set aside for it is given up.
    pub(super) fn void(&mut self, reference: &str) -> Option<Charge> {
        let charged =
            self.charges.of(reference).into_iter().find(|charge| charge.status == ChargeStatus::Succeeded);
        if charged.is_none() && !self.voided.contains(reference) {
            self.record(Entry::Void { reference: reference.to_owned() });
        }
        charged
    }

    /// Gives back `amount` minor units, or what is left when `None`.
    pub(super) fn refund(
        &mut self,
        key: &str,
        charge_id: &str,
        amount: Option<i64>,
    ) -> Result<Outcome<Refund>, Refusal> {
        let digest = digest(&[charge_id, &amount.map_or_else(String::new, |a| a.to_string())]);
        if let Some((known, refund)) = self.refunds_by_key.get(key) {
            return if *known == digest {
                Ok(Outcome { value: refund.clone(), is_new: false })
            } else {
                Err(Refusal::KeyReused)
            };
        }
        let charge = self.charges.find(charge_id).ok_or(Refusal::ChargeUnknown)?;
        if charge.status != ChargeStatus::Succeeded {
            return Err(Refusal::NotRefundable);
        }
        let refundable = charge.amount - charge.refunded;
        let amount = amount.unwrap_or(refundable);
        // A free order's charge of nothing can be refunded all the same: nothing.
        let nothing_left = refundable == 0 && charge.amount > 0;
        if amount > refundable || nothing_left {
            return Err(Refusal::ExceedsCharge { refundable });
        }
        let refund = Refund {
            id: format!("re_{:08x}_{:x}", self.run, self.refunds_by_key.len()),
            charge_id: charge.id.clone(),
            reference: charge.reference.clone(),
            amount,
            currency: charge.currency.clone(),
            created_at: OffsetDateTime::now_utc(),
        };
        self.record(Entry::Refund { key: key.to_owned(), digest, refund: refund.clone() });
        Ok(Outcome { value: refund, is_new: true })
    }

    fn record(&mut self, entry: Entry) {
        if let Some(journal) = &mut self.journal {
            journal.append(&entry);
        }
        self.replay(entry);
    }

    /// Takes over a change that was decided before, now or in an earlier run.
    pub(super) fn replay(&mut self, entry: Entry) {
        match entry {
            Entry::Charge { key, digest, charge } => {
                self.charges.add_by_key(key, digest, charge);
            }
            Entry::Authorization { key, digest, authorization } => {
                self.authorizations.add(key, digest, authorization);
            }
            Entry::Capture { key, digest, charge } => {
                self.authorizations.captured(key, digest, &charge);
                self.charges.add(charge);
            }
            Entry::AuthorizationVoid { key, digest, authorization_id } => {
                self.authorizations.voided(key, digest, &authorization_id);
            }
            Entry::Refund { key, digest, refund } => {
                if let Some(charge) = self.charges.find_mut(&refund.charge_id) {
                    charge.refunded += refund.amount;
                    if let Some(id) = &charge.authorization_id {
                        self.authorizations.refunded(id, refund.amount);
                    }
                }
                self.refunds_by_key.insert(key, (digest, refund));
            }
            Entry::Void { reference } => {
                self.authorizations.void_all_of(&reference);
                self.voided.insert(reference);
            }
        }
    }
}

impl Booked for Charge {
    const UNKNOWN: Refusal = Refusal::ChargeUnknown;

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
        &ledger.charges
    }
}

fn request_digest(request: &ChargeRequest) -> u64 {
    digest(&[&request.token, &request.amount.to_string(), &request.currency, &request.reference])
}

/// Tells two bodies under the same key apart without keeping them.
fn digest(parts: &[&str]) -> u64 {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part.len().to_be_bytes());
        hasher.update(part.as_bytes());
    }
    let hash = hasher.finalize();
    hash.iter().take(8).fold(0, |number, &byte| number << 8 | u64::from(byte))
}

#[cfg(test)]
mod tests {
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
        assert_eq!(
            ledger.refund("r2", &charge.id, Some(301)),
            Err(Refusal::ExceedsCharge { refundable: 300 })
        );
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
}
