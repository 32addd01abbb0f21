//! Who calls: access tokens verified by every service by itself.
//!
//! A token is an `EdDSA` JWT signed by the member service. [`Verifier`] checks it against the
//! published keys, once: a verified token is remembered by its hash until it expires, so that the
//! hot path pays for one hash and one look-up. The extractors [`Member`], [`Seller`] and [`Admin`]
//! hand the [`Claims`] to handlers.

mod claims;
mod extract;
mod keys;
mod verifier;

pub use claims::{Claims, Role};
pub use extract::{Admin, Member, Seller};
pub use jsonwebtoken::jwk::{Jwk, JwkSet};
pub use verifier::{AuthError, Verifier};
