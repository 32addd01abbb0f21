//! Who is calling: every service verifies access tokens by itself.
//!
//! A token is an `EdDSA` JWT that the member service signs. [`Verifier`] checks it once against the published
//! keys and then remembers it by its hash until it expires. So the hot path pays for one hash and two
//! look-ups; the second asks whether the token's session has ended since. The extractors [`Member`],
//! [`Seller`] and [`Admin`] hand the [`Claims`] to handlers.

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
