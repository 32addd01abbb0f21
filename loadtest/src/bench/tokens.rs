//! Buyers: who they are, the tokens they show and the keys they send.

use std::path::Path;

use anyhow::{Context as _, Result};
use jsonwebtoken::jwk::{Jwk, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rocketmart_kit::auth::{Claims, Role};
use time::OffsetDateTime;
use uuid::Uuid;

/// Longer than any benchmark.
const LIFETIME_SECONDS: i64 = 6 * 3600;

/// Signs tokens as the member service does, with the same key.
pub(crate) struct Signer {
    key: EncodingKey,
    header: Header,
}

impl Signer {
    pub(crate) fn read(pem: &Path) -> Result<Self> {
        let key = EncodingKey::from_ed_pem(&std::fs::read(pem)?).context("the signing key")?;
        let public = Jwk::from_encoding_key(&key, Algorithm::EdDSA)?;
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(public.thumbprint(ThumbprintHash::SHA256)?);
        Ok(Self { key, header })
    }

    pub(crate) fn seller(&self) -> Result<String> {
        self.sign(Uuid::now_v7(), Role::Seller)
    }

    fn sign(&self, member: Uuid, role: Role) -> Result<String> {
        let now = OffsetDateTime::now_utc().unix_timestamp();
        let claims = Claims {
            sub: member,
            roles: vec![role],
            sid: Uuid::now_v7(),
            jti: Uuid::new_v4(),
            exp: now + LIFETIME_SECONDS,
            iat: now,
            iss: "rocketmart".to_owned(),
            aud: "rocketmart".to_owned(),
        };
        encode(&self.header, &claims, &self.key).context("signing a token")
    }
}

/// Many buyers. Buyer `n` modulo their number does act `n`, with a key of its own.
pub(crate) struct Buyers {
    run: u64,
    tokens: Vec<String>,
}

impl Buyers {
    pub(crate) fn sign(signer: &Signer, count: usize) -> Result<Self> {
        let run = rand::random();
        let tokens = (0..count).map(|n| signer.sign(member(run, n), Role::Buyer)).collect::<Result<_>>()?;
        Ok(Self { run, tokens })
    }

    pub(crate) fn ids(&self) -> Vec<Uuid> {
        (0..self.tokens.len()).map(|n| member(self.run, n)).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.tokens.len()
    }

    pub(crate) fn id_of(&self, n: u64) -> Uuid {
        member(self.run, self.place(n))
    }

    pub(crate) fn token_of(&self, n: u64) -> &str {
        &self.tokens[self.place(n)]
    }

    /// The idempotency key of act `n`.
    pub(crate) fn key_of(&self, n: u64) -> Uuid {
        Uuid::from_u64_pair(self.run, n)
    }

    fn place(&self, n: u64) -> usize {
        usize::try_from(n).unwrap_or(usize::MAX) % self.tokens.len()
    }
}

fn member(run: u64, n: usize) -> Uuid {
    Uuid::from_u64_pair(run.rotate_left(17), n as u64)
}
