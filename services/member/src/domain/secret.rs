//! Opaque tokens: refresh tokens and the ones in links. We keep only their hash, so a copy of the
//! database opens nothing.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// 256 random bits: beyond guessing, so one fast hash without salt is enough to store it.
pub(crate) struct Secret(String);

/// What is stored of a [`Secret`].
pub(crate) type SecretHash = [u8; 32];

impl Secret {
    pub(crate) fn random() -> Self {
        Self(URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()))
    }

    /// For its one receiver.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }

    pub(crate) fn hash(&self) -> SecretHash {
        hash(&self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Of a token somebody presents, whatever it looks like.
pub(crate) fn hash(presented: &str) -> SecretHash {
    Sha256::digest(presented).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_presented_secret_has_the_stored_hash_and_another_has_not() {
        let secret = Secret::random();
        assert_eq!(secret.reveal().len(), 43);
        assert_eq!(hash(secret.reveal()), secret.hash());
        assert_ne!(Secret::random().hash(), secret.hash());
    }
}
