//! One call to the books: the digest that its key stands for, and its result.

use sha2::{Digest, Sha256};

use crate::provider::records::ChargeRequest;

/// Why the books refuse a call.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::provider) enum Refusal {
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

/// A result, and whether this very call produced it or repeated an earlier one.
#[derive(Debug, PartialEq)]
pub(in crate::provider) struct Outcome<T> {
    pub(in crate::provider) value: T,
    pub(in crate::provider) is_new: bool,
}

pub(super) fn request_digest(request: &ChargeRequest) -> u64 {
    digest(&[&request.token, &request.amount.to_string(), &request.currency, &request.reference])
}

/// Tells two bodies under the same key apart without storing them.
pub(super) fn digest(parts: &[&str]) -> u64 {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part.len().to_be_bytes());
        hasher.update(part.as_bytes());
    }
    let hash = hasher.finalize();
    hash.iter().take(8).fold(0, |number, &byte| number << 8 | u64::from(byte))
}
