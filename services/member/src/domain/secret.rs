//! Opaque tokens: refresh tokens and those in links. We store only their hash, so a copy of the database
//! opens nothing.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// 256 random bits cannot be guessed, so one fast hash without salt is enough to store it.
pub(crate) struct Secret(String);

/// What we store of a [`Secret`].
pub(crate) type SecretHash = [u8; 32];

/// Stored so that we can give the same successor again.
pub(crate) type Salt = [u8; 32];

impl Secret {
    pub(crate) fn random() -> Self {
        Self(URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()))
    }

    /// The token that follows `presented`, always the same for the same salt. Either alone says nothing about
    /// it: a thief of the database lacks the token, and a thief of the token lacks the salt.
    pub(crate) fn successor(presented: &str, salt: &Salt) -> Self {
        // HMAC takes a key of any length.
        let Ok(mac) = Hmac::<Sha256>::new_from_slice(presented.as_bytes()) else { return Self::random() };
        let bytes = mac.chain_update(salt).finalize().into_bytes();
        Self(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Shows the token, for its only receiver.
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

/// The hash of a token that somebody presents, whatever it looks like.
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

    #[test]
    fn a_successor_follows_from_token_and_salt_together_m2() {
        let of = |token: &str, salt: u8| Secret::successor(token, &[salt; 32]).reveal().to_owned();
        assert_eq!(of("a", 1), of("a", 1));
        assert_eq!(of("a", 1).len(), 43);
        assert_ne!(of("a", 1), of("b", 1));
        assert_ne!(of("a", 1), of("a", 2));
    }
}
