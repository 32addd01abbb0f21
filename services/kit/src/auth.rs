//! Who calls: access tokens verified by every service by itself.
//!
//! A token is an `EdDSA` JWT signed by the member service. [`Verifier`] checks it against the
//! published keys, once: a verified token is remembered by its hash until it expires, so that the
//! hot path pays for one hash and two look-ups: the second is whether the session of the token has
//! ended since. The extractors [`Member`], [`Seller`] and [`Admin`] hand the [`Claims`] to handlers.

mod claims;
mod extract;
mod keys;
mod published;
mod revocations;
mod verifier;

pub use claims::{Claims, Role};
pub use extract::{Admin, Member, Seller, session_ended};
pub use jsonwebtoken::jwk::{Jwk, JwkSet};
pub use revocations::{RevocationPage, Revoked};
pub use verifier::{AuthError, Verifier};
