//! Money set aside: captured into a charge once, or voided, never both.

use std::collections::HashMap;

use super::book::Book;
use super::call::Refusal;
use crate::provider::records::{Authorization, AuthorizationStatus, Charge};

/// All authorizations, and the calls for them by key.
#[derive(Default)]
pub(super) struct Authorizations {
    pub(super) book: Book<Authorization>,
    /// Captures and voids.
    calls_by_key: HashMap<String, u64>,
}

impl Authorizations {
    /// Whether `key` already came with this very call; with another call it is refused.
    pub(super) fn is_repeated(&self, key: &str, digest: u64) -> Result<bool, Refusal> {
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
