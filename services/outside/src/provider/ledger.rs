//! The provider's books: charges, their refunds, money set aside, and references closed for charging.
//!
//! The rules are those that shops rely on. The same idempotency key gives the same charge; with another body
//! it is refused. Refunds of a charge never add up to more than the charge. A voided reference accepts no
//! more charges and no authorizations, which gives a shop that lost an answer a final one. The provider does
//! not check that a reference is charged only once: that is the shop's promise, and the list of charges is
//! where a test can check it.

mod authorizations;
mod book;
mod call;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::path::Path;

use time::OffsetDateTime;

use self::authorizations::Authorizations;
use self::book::{Book, Booked};
pub(super) use self::call::{Outcome, Refusal};
use self::call::{digest, request_digest};
use super::journal::{Entry, Journal};
use super::records::{Authorization, AuthorizationStatus, Charge, ChargeRequest, ChargeStatus, Refund};

/// Records that have a book in the ledger and appear in a list.
pub(super) trait Listed: Booked {
    /// The refusal if there is nothing under an id.
    const UNKNOWN: Refusal;

    fn book(ledger: &Ledger) -> &Book<Self>;
}

/// Everything that is booked.
pub(super) struct Ledger {
    charges: Book<Charge>,
    refunds_by_key: HashMap<String, (u64, Refund)>,
    authorizations: Authorizations,
    voided: HashSet<String>,
    /// Distinguishes ids of two runs without a state file.
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
    /// The books from the state file at `path`. From now on every change is also appended to it.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let mut ledger = Self::default();
        let journal = Journal::open(path, |entry| ledger.replay(entry))?;
        ledger.journal = Some(journal);
        Ok(ledger)
    }

    /// Makes the charge, unless `key` has already made it. `decline` is why the bank would refuse.
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

    /// Closes `reference` for charging, and returns the charge if one was made first. Money set aside for it
    /// is given up.
    pub(super) fn void(&mut self, reference: &str) -> Option<Charge> {
        let charged =
            self.charges.of(reference).into_iter().find(|charge| charge.status == ChargeStatus::Succeeded);
        if charged.is_none() && !self.voided.contains(reference) {
            self.record(Entry::Void { reference: reference.to_owned() });
        }
        charged
    }

    /// Refunds `amount` minor units; `None` refunds what is left.
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
        // A free order has a charge of nothing. That can be refunded too: nothing.
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

    /// Sets money aside, unless `key` has already done so; then the answer is what became of it. `decline` is
    /// why the bank would refuse.
    pub(super) fn authorize(
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

    /// Charges what is set aside; returns the same charge if `key` has already made it.
    pub(super) fn capture(&mut self, key: &str, id: &str) -> Result<Outcome<Charge>, Refusal> {
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
    pub(super) fn void_authorization(
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

    fn record(&mut self, entry: Entry) {
        if let Some(journal) = &mut self.journal {
            journal.append(&entry);
        }
        self.replay(entry);
    }

    /// Applies a change that was decided before, now or in an earlier run.
    fn replay(&mut self, entry: Entry) {
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

impl Listed for Charge {
    const UNKNOWN: Refusal = Refusal::ChargeUnknown;

    fn book(ledger: &Ledger) -> &Book<Self> {
        &ledger.charges
    }
}

impl Listed for Authorization {
    const UNKNOWN: Refusal = Refusal::AuthorizationUnknown;

    fn book(ledger: &Ledger) -> &Book<Self> {
        &ledger.authorizations.book
    }
}
