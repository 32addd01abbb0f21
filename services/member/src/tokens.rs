//! Access tokens: signed here with Ed25519, verified everywhere with the keys published here. And tokens of
//! known devices, which nobody else accepts, because they are for another audience.

use anyhow::Context;
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use rocketmart_kit::auth::{Claims, Role};
use rocketmart_kit::config::AuthConfig;
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

/// The person a token is for.
pub(crate) struct Bearer<'a> {
    pub(crate) member: Uuid,
    pub(crate) session: Uuid,
    pub(crate) roles: &'a [Role],
    /// A token does not outlive its session.
    pub(crate) ends_at: OffsetDateTime,
}

/// A signed token and how long it is valid.
pub(crate) struct AccessToken {
    pub(crate) token: String,
    pub(crate) lifetime: Duration,
}

/// How long we remember a device after its member last logged in from it.
pub(crate) const DEVICE_LIFETIME: Duration = Duration::days(180);

/// A device that a member has logged in from. It opens nothing; it only has password tries of its own.
#[derive(Serialize, Deserialize)]
struct Device {
    /// The member.
    sub: Uuid,
    /// The device, the same each time.
    jti: Uuid,
    exp: i64,
    iss: String,
    aud: String,
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
    /// `pem` holds one or more Ed25519 keys in PKCS#8. The first one signs, and all are published. So a new
    /// key can be known before it signs, and an old one stays known until its last token has expired.
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

    /// The keys that other services verify with.
    pub(crate) fn published(&self) -> &JwkSet {
        &self.published
    }

    pub(crate) fn lifetime(&self) -> Duration {
        self.lifetime
    }

    pub(crate) fn issue(&self, bearer: &Bearer<'_>) -> anyhow::Result<AccessToken> {
        let now = OffsetDateTime::now_utc();
        let lifetime = self.lifetime.min(bearer.ends_at - now);
        let claims = Claims {
            iss: self.iss.clone(),
            aud: self.aud.clone(),
            sub: bearer.member,
            sid: bearer.session,
            jti: Uuid::new_v4(),
            iat: now.unix_timestamp(),
            exp: (now + lifetime).unix_timestamp(),
            roles: bearer.roles.to_vec(),
        };
        let token = encode(&self.header, &claims, &self.key).context("cannot sign an access token")?;
        Ok(AccessToken { token, lifetime })
    }

    /// A token for a device that `member` has just logged in from.
    pub(crate) fn issue_device(&self, member: Uuid, device: Uuid) -> anyhow::Result<String> {
        let claims = Device {
            sub: member,
            jti: device,
            exp: (OffsetDateTime::now_utc() + DEVICE_LIFETIME).unix_timestamp(),
            iss: self.iss.clone(),
            aud: self.device_audience(),
        };
        encode(&self.header, &claims, &self.key).context("cannot sign a device's token")
    }

    /// The device of `token`, if it is one of `member`'s.
    pub(crate) fn device(&self, token: &str, member: Uuid) -> Option<Uuid> {
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[&self.iss]);
        validation.set_audience(&[self.device_audience()]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        let keys = self.published.keys.iter().filter_map(|jwk| DecodingKey::from_jwk(jwk).ok());
        let claims = keys.into_iter().find_map(|key| decode::<Device>(token, &key, &validation).ok())?.claims;
        (claims.sub == member).then_some(claims.jti)
    }

    fn device_audience(&self) -> String {
        format!("{}/device", self.aud)
    }
}

/// The PEM blocks of a file, in order.
fn blocks(pem: &str) -> impl Iterator<Item = String> {
    const BEGIN: &str = "-----BEGIN ";
    pem.split(BEGIN).skip(1).map(|rest| format!("{BEGIN}{}", rest.trim_end()))
}

/// A key and its public half, named by its RFC 7638 thumbprint: replicas that share the file agree on the
/// name without talking to each other.
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
    fn a_device_is_known_to_its_member_alone_and_opens_nothing_m4() {
        let issuer = issuer(&pem([1; 32])).unwrap();
        let (member, device) = (Uuid::new_v4(), Uuid::new_v4());
        let token = issuer.issue_device(member, device).unwrap();
        assert_eq!(issuer.device(&token, member), Some(device));
        assert_eq!(issuer.device(&token, Uuid::new_v4()), None);
        assert_eq!(issuer.device("made up", member), None);
        let ends_at = OffsetDateTime::now_utc() + Duration::HOUR;
        let access = issuer
            .issue(&Bearer { member, session: Uuid::new_v4(), roles: &[Role::Buyer], ends_at })
            .unwrap();
        assert_eq!(issuer.device(&access.token, member), None, "an access token is no device's");
        assert_eq!(super::tests::issuer(&pem([2; 32])).unwrap().device(&token, member), None);
    }

    #[test]
    fn an_access_token_does_not_outlive_its_session_m3() {
        let issuer = issuer(&pem([1; 32])).unwrap();
        let signed = |left: Duration| {
            let ends_at = OffsetDateTime::now_utc() + left;
            let bearer = Bearer { member: Uuid::nil(), session: Uuid::nil(), roles: &[], ends_at };
            issuer.issue(&bearer).unwrap().lifetime
        };
        assert_eq!(signed(Duration::DAY), Duration::minutes(15));
        assert!(signed(Duration::MINUTE) <= Duration::MINUTE);
    }

    #[test]
    fn a_file_without_an_ed25519_key_is_refused() {
        assert!(issuer("").is_err());
        assert!(issuer("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").is_err());
    }
}
