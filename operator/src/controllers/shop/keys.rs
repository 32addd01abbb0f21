//! Step 3: make the Secrets that exist once per shop: the key that signs tokens, the token of the order
//! service's internal API, the token that the services use among themselves, and the first administrator's
//! password.
//!
//! We create a Secret when it is missing and never change it: a new signing key would log everybody out. To
//! rotate one, delete its Secret; the pods that use it are rolled. The Secrets go with the shop, except the
//! administrator's. That one stays because the members do: it lets a later shop of the same name open their
//! data.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::api::{ObjectMeta, PostParams};
use rand::{TryRng, rngs::SysRng};

use super::{names, validated_shop::ValidatedShop};
use crate::{Context, telemetry};

/// A generated Secret could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the system gives no random numbers: {0}")]
    Random(#[from] rand::rngs::SysError),
    #[error("creating Secret {name}: {source}")]
    Create { name: String, source: kube::Error },
}

/// The values that a shop generates: Secret and key.
pub(super) fn of(shop: &str) -> [(String, &'static str); 4] {
    [
        (names::signing_key(shop), names::SIGNING_KEY),
        (names::operator_token(shop), names::OPERATOR_TOKEN),
        (names::admin(shop), names::ADMIN_EMAIL),
        (names::admin(shop), names::ADMIN_PASSWORD),
    ]
}

/// The generated Secrets of a shop, by name.
pub(super) async fn ensure(
    shop: &ValidatedShop,
    existing: &BTreeMap<String, Secret>,
    context: &Context,
) -> Result<BTreeMap<String, Secret>, Error> {
    let mut keys = existing.clone();
    for wanted in names::generated(&shop.name) {
        if keys.contains_key(&wanted) {
            continue;
        }
        let secret = generate(shop, &wanted)?;
        metrics::counter!(telemetry::WRITES, "kind" => "Secret", "verb" => "create").increment(1);
        let api = context.namespaced::<Secret>(&shop.namespace);
        // `create` and not `apply`: when two operators run at once, one creates the key; the other fails
        // and looks again.
        let created = api
            .create(
                &PostParams { field_manager: Some(crate::OPERATOR.into()), ..PostParams::default() },
                &secret,
            )
            .await
            .map_err(|source| Error::Create { name: wanted.clone(), source })?;
        keys.insert(wanted, created);
    }
    Ok(keys)
}

fn generate(shop: &ValidatedShop, name: &str) -> Result<Secret, Error> {
    let data: Vec<(&str, String)> = if name == names::signing_key(&shop.name) {
        vec![(names::SIGNING_KEY, ed25519_pem(&random()?))]
    } else if name == names::operator_token(&shop.name) {
        vec![(names::OPERATOR_TOKEN, general_purpose::URL_SAFE_NO_PAD.encode(random::<32>()?))]
    } else if name == names::internal_token(&shop.name) {
        vec![(names::INTERNAL_TOKEN, general_purpose::URL_SAFE_NO_PAD.encode(random::<32>()?))]
    } else {
        vec![
            (names::ADMIN_EMAIL, format!("admin@{}", shop.spec.host)),
            (names::ADMIN_PASSWORD, general_purpose::URL_SAFE_NO_PAD.encode(random::<18>()?)),
        ]
    };
    Ok(Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(shop.namespace.clone()),
            labels: Some(names::shop_labels(&shop.name)),
            owner_references: goes_with(shop, name).then(|| vec![shop.owner.clone()]),
            ..ObjectMeta::default()
        },
        type_: Some("Opaque".to_owned()),
        data: Some(
            data.into_iter().map(|(key, value)| (key.to_owned(), ByteString(value.into_bytes()))).collect(),
        ),
        ..Secret::default()
    })
}

/// Whether a Secret is useless once its shop is gone.
fn goes_with(shop: &ValidatedShop, name: &str) -> bool {
    name != names::admin(&shop.name)
}

fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    SysRng.try_fill_bytes(&mut bytes)?;
    Ok(bytes)
}

/// An Ed25519 private key is any 32 random bytes. RFC 8410 wraps them in PKCS#8.
fn ed25519_pem(seed: &[u8; 32]) -> String {
    const PKCS8_PREFIX: [u8; 16] =
        [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
    let der = [PKCS8_PREFIX.as_slice(), seed].concat();
    format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        general_purpose::STANDARD.encode(der)
    )
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{Algorithm, EncodingKey, Header};

    use super::{super::build::fixture, *};

    #[test]
    fn the_administrators_password_outlives_the_shop_as_the_members_do() {
        let shop = fixture::valid(&fixture::shop());
        let owners = |name: String| generate(&shop, &name).unwrap().metadata.owner_references;
        assert_eq!(owners(names::admin(&shop.name)), None);
        let others =
            names::generated(&shop.name).into_iter().filter(|name| *name != names::admin(&shop.name));
        for name in others {
            assert_eq!(owners(name), Some(vec![shop.owner.clone()]));
        }
    }

    #[test]
    fn the_generated_key_signs_tokens() {
        let key = EncodingKey::from_ed_pem(ed25519_pem(&random().unwrap()).as_bytes()).unwrap();
        let claims = serde_json::json!({ "sub": "somebody" });
        jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), &claims, &key).unwrap();
    }
}
