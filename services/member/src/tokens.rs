//! Access tokens: signed here with Ed25519, verified everywhere against the keys published here.

use anyhow::Context;
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rocketmart_kit::auth::{Claims, Role};
use rocketmart_kit::config::AuthConfig;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

/// Whom a token is for.
pub(crate) struct Bearer<'a> {
    pub(crate) member: Uuid,
    pub(crate) session: Uuid,
    pub(crate) roles: &'a [Role],
}

pub(crate) struct Issuer {
    key: EncodingKey,
    header: Header,
    published: JwkSet,
    /// `iss` and `aud` of every token.
    iss: String,
    aud: String,
    lifetime: Duration,
}

impl Issuer {
    /// `pem` holds one or more Ed25519 keys in PKCS#8. The first one signs; all are published, so
    /// that a new key can be made known before it signs, and an old one stay known until its last
    /// token has expired.
    pub(crate) fn new(pem: &str, auth: &AuthConfig, lifetime: Duration) -> anyhow::Result<Self> {
        let keys: Vec<(EncodingKey, Jwk)> = blocks(pem).map(read_key).collect::<Result<_, _>>()?;
        let published = JwkSet { keys: keys.iter().map(|(_, public)| public.clone()).collect() };
        let (key, public) = keys.into_iter().next().context("the signing key file holds no PEM block")?;
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = public.common.key_id;
        Ok(Self {
            key,
            header,
            published,
            iss: auth.auth_issuer.clone(),
            aud: auth.auth_audience.clone(),
            lifetime,
        })
    }

    /// What other services verify with.
    pub(crate) fn published(&self) -> &JwkSet {
        &self.published
    }

    pub(crate) fn lifetime(&self) -> Duration {
        self.lifetime
    }

    pub(crate) fn issue(&self, bearer: &Bearer<'_>) -> anyhow::Result<String> {
        let now = OffsetDateTime::now_utc();
        let claims = Claims {
            iss: self.iss.clone(),
            aud: self.aud.clone(),
            sub: bearer.member,
            sid: bearer.session,
            jti: Uuid::new_v4(),
            iat: now.unix_timestamp(),
            exp: (now + self.lifetime).unix_timestamp(),
            roles: bearer.roles.to_vec(),
        };
        encode(&self.header, &claims, &self.key).context("cannot sign an access token")
    }
}

/// The PEM blocks of a file, one after the other.
fn blocks(pem: &str) -> impl Iterator<Item = String> {
    const BEGIN: &str = "-----BEGIN ";
    pem.split(BEGIN).skip(1).map(|rest| format!("{BEGIN}{}", rest.trim_end()))
}

/// A key and its public half, named by its RFC 7638 thumbprint: replicas that share the file agree
/// on the name without talking.
fn read_key(block: String) -> anyhow::Result<(EncodingKey, Jwk)> {
    let key = EncodingKey::from_ed_pem(block.as_bytes())
        .context("a signing key is not an Ed25519 private key in PKCS#8 PEM")?;
    let mut public = Jwk::from_encoding_key(&key, Algorithm::EdDSA)
        .context("cannot derive the public key (write the key with `openssl genpkey -algorithm ed25519`)")?;
    public.common.key_id = Some(public.thumbprint(ThumbprintHash::SHA256)?);
    public.common.public_key_use = Some(PublicKeyUse::Signature);
    Ok((key, public))
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    /// PKCS#8 of an Ed25519 key (RFC 8410) is this prefix and the 32 bytes of the key.
    fn pem(seed: [u8; 32]) -> String {
        let mut der = hex::decode("302e020100300506032b657004220420").unwrap();
        der.extend(seed);
        format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der))
    }

    fn issuer(pem: &str) -> anyhow::Result<Issuer> {
        let auth = AuthConfig {
            auth_issuer: "us".into(),
            auth_audience: "them".into(),
            auth_jwks_url: None,
            auth_revocations_url: None,
        };
        Issuer::new(pem, &auth, Duration::minutes(15))
    }

    #[test]
    fn the_key_of_rfc_8037_has_the_thumbprint_of_rfc_8037() {
        let seed = hex::decode("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60").unwrap();
        let issuer = issuer(&pem(seed.try_into().unwrap())).unwrap();
        let key = &issuer.published().keys[0];
        assert_eq!(key.common.key_id.as_deref(), Some("kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"));
        let json = serde_json::to_value(issuer.published()).unwrap();
        assert_eq!(json["keys"][0]["x"], "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
        assert!(json["keys"][0].get("d").is_none(), "the private half is never published");
    }

    #[test]
    fn the_first_key_signs_and_all_are_published() {
        let issuer = issuer(&format!("{}{}", pem([1; 32]), pem([2; 32]))).unwrap();
        assert_eq!(issuer.published().keys.len(), 2);
        assert_eq!(issuer.header.kid, issuer.published().keys[0].common.key_id);
    }

    #[test]
    fn a_file_without_an_ed25519_key_is_refused() {
        assert!(issuer("").is_err());
        assert!(issuer("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").is_err());
    }
}
