//! The verification keys: Ed25519 keys of a JWK set by `kid`.

use std::collections::HashMap;

use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet};

/// The usable keys of a set. Others (another curve, no `kid`) are left out: a set may hold keys that are not
/// for us.
#[derive(Default)]
pub(super) struct Keys {
    by_id: HashMap<String, (String, DecodingKey)>,
}

impl Keys {
    pub(super) fn from_set(set: &JwkSet) -> Self {
        let by_id = set.keys.iter().filter_map(|jwk| {
            let (id, x) = ed25519(jwk)?;
            match DecodingKey::from_jwk(jwk) {
                Ok(key) => Some((id.to_owned(), (x.to_owned(), key))),
                Err(error) => {
                    tracing::warn!(kid = id, %error, "a published key is unusable");
                    None
                }
            }
        });
        Self { by_id: by_id.collect() }
    }

    pub(super) fn get(&self, id: &str) -> Option<&DecodingKey> {
        self.by_id.get(id).map(|(_, key)| key)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Whether every key of `self` is, unchanged, in `newer`.
    pub(super) fn all_in(&self, newer: &Self) -> bool {
        self.by_id.iter().all(|(id, (x, _))| newer.by_id.get(id).is_some_and(|(other, _)| other == x))
    }
}

fn ed25519(jwk: &Jwk) -> Option<(&str, &str)> {
    let id = jwk.common.key_id.as_deref()?;
    match &jwk.algorithm {
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => Some((id, &key.x)),
        _ => None,
    }
}
