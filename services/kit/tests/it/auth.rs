use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::extract::FromRef;
use axum::routing::get;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::{Request, StatusCode};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rocketmart_kit::auth::{Admin, AuthError, Claims, Jwk, JwkSet, Member, Role, Seller, Verifier};
use serde_json::json;
use tokio::net::TcpListener;
use tower::ServiceExt;
use uuid::Uuid;

use crate::support::auth_config;

/// The member service's part: a signing key.
pub(crate) struct Signer {
    id: String,
    key: EncodingKey,
}

impl Signer {
    pub(crate) fn new(id: &str) -> Self {
        // PKCS#8 around 32 random bytes is an Ed25519 key (RFC 8410).
        let mut der = hex::decode("302e020100300506032b657004220420").unwrap();
        der.extend(rand::random::<[u8; 32]>());
        Self { id: id.to_owned(), key: EncodingKey::from_ed_der(&der) }
    }

    fn jwk(&self) -> Jwk {
        let mut jwk = Jwk::from_encoding_key(&self.key, Algorithm::EdDSA).unwrap();
        jwk.common.key_id = Some(self.id.clone());
        jwk
    }

    pub(crate) fn sign(&self, claims: &serde_json::Value) -> String {
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(self.id.clone());
        jsonwebtoken::encode(&header, claims, &self.key).unwrap()
    }
}

pub(crate) fn set(signers: &[&Signer]) -> JwkSet {
    JwkSet { keys: signers.iter().map(|signer| signer.jwk()).collect() }
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().try_into().unwrap()
}

pub(crate) fn claims(roles: &[Role]) -> serde_json::Value {
    serde_json::to_value(Claims {
        sub: Uuid::now_v7(),
        roles: roles.to_vec(),
        sid: Uuid::now_v7(),
        jti: Uuid::now_v7(),
        exp: now() + 60,
        iat: now(),
        iss: "rocketmart".to_owned(),
        aud: "rocketmart".to_owned(),
    })
    .unwrap()
}

fn with(mut claims: serde_json::Value, key: &str, value: serde_json::Value) -> serde_json::Value {
    claims[key] = value;
    claims
}

pub(crate) fn verifier(signer: &Signer) -> Verifier {
    Verifier::from_jwks(&auth_config(), &set(&[signer]))
}

#[tokio::test]
async fn a_token_of_ours_is_accepted_with_its_claims() {
    let signer = Signer::new("one");
    let claims = claims(&[Role::Buyer, Role::Seller]);
    let verified = verifier(&signer).verify(&signer.sign(&claims)).await.unwrap();
    assert_eq!(serde_json::to_value(&*verified).unwrap(), claims);
}

#[tokio::test]
async fn wrong_issuer_audience_and_expiry_are_refused() {
    let signer = Signer::new("one");
    let verifier = verifier(&signer);
    for (claim, value, error) in [
        ("iss", json!("someone-else"), AuthError::Invalid),
        ("aud", json!("another-shop"), AuthError::Invalid),
        ("exp", json!(now() - 60), AuthError::Expired),
        ("sub", json!("not-a-uuid"), AuthError::Invalid),
        ("roles", json!(["root"]), AuthError::Invalid),
    ] {
        let token = signer.sign(&with(claims(&[]), claim, value));
        assert_eq!(verifier.verify(&token).await.unwrap_err(), error, "{claim}");
    }
    for missing in ["exp", "iss", "aud", "sub", "jti"] {
        let mut claims = claims(&[]);
        claims.as_object_mut().unwrap().remove(missing);
        assert_eq!(
            verifier.verify(&signer.sign(&claims)).await.unwrap_err(),
            AuthError::Invalid,
            "{missing}"
        );
    }
}

#[tokio::test]
async fn a_token_without_signature_is_refused() {
    let signer = Signer::new("one");
    let part = |value: serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    for algorithm in ["none", "None", "NONE"] {
        let header = part(json!({ "alg": algorithm, "kid": "one" }));
        let token = format!("{header}.{}.", part(claims(&[Role::Admin])));
        assert_eq!(verifier(&signer).verify(&token).await.unwrap_err(), AuthError::Invalid);
    }
    let good = signer.sign(&claims(&[]));
    let (unsigned, _) = good.rsplit_once('.').unwrap();
    for token in [unsigned.to_owned(), format!("{unsigned}."), String::new(), "a.b.c".to_owned()] {
        assert_eq!(verifier(&signer).verify(&token).await.unwrap_err(), AuthError::Invalid, "{token}");
    }
}

#[tokio::test]
async fn a_token_signed_with_the_public_key_as_a_secret_is_refused() {
    let signer = Signer::new("one");
    let jwk = serde_json::to_value(signer.jwk()).unwrap();
    let public = BASE64_URL_SAFE_NO_PAD.decode(jwk["x"].as_str().unwrap()).unwrap();
    let secrets = [public, jwk["x"].as_str().unwrap().into(), jwk.to_string().into_bytes()];
    for secret in secrets {
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some("one".to_owned());
        let key = EncodingKey::from_secret(&secret);
        let token = jsonwebtoken::encode(&header, &claims(&[Role::Admin]), &key).unwrap();
        assert_eq!(verifier(&signer).verify(&token).await.unwrap_err(), AuthError::Invalid);
    }
}

#[tokio::test]
async fn a_token_of_another_key_under_our_id_is_refused() {
    let (ours, theirs) = (Signer::new("one"), Signer::new("one"));
    let token = theirs.sign(&claims(&[]));
    assert_eq!(verifier(&ours).verify(&token).await.unwrap_err(), AuthError::Invalid);
}

#[tokio::test]
async fn a_remembered_token_is_not_verified_again_and_still_expires() {
    let signer = Signer::new("one");
    let verifier = verifier(&signer);
    // Expires within the leeway after about four seconds.
    let token = signer.sign(&with(claims(&[]), "exp", json!(now() - 1)));
    let first = verifier.verify(&token).await.unwrap();
    // A verification returns a new allocation each time; the same one means that the token was remembered.
    assert!(Arc::ptr_eq(&first, &verifier.verify(&token).await.unwrap()));

    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(verifier.verify(&token).await.unwrap_err(), AuthError::Expired);
}

/// A JWKS endpoint whose keys may change, and how often it was asked.
struct Publisher {
    keys: Arc<Mutex<JwkSet>>,
    asked: Arc<AtomicUsize>,
    verifier: Verifier,
}

impl Publisher {
    async fn start(keys: JwkSet) -> Self {
        let keys = Arc::new(Mutex::new(keys));
        let asked = Arc::new(AtomicUsize::new(0));
        let (published, count) = (keys.clone(), asked.clone());
        let router = Router::new().route(
            "/.well-known/jwks.json",
            get(async move || {
                count.fetch_add(1, Ordering::SeqCst);
                axum::Json(published.lock().unwrap().clone())
            }),
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut config = auth_config();
        let url = format!("http://{}/.well-known/jwks.json", listener.local_addr().unwrap());
        config.auth_jwks_url = Some(url.parse().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { keys, asked, verifier: Verifier::from_jwks_url(&config).unwrap() }
    }
}

#[tokio::test]
async fn keys_are_fetched_when_first_needed_and_then_kept() {
    let signer = Signer::new("one");
    let publisher = Publisher::start(set(&[&signer])).await;
    assert!(publisher.verifier.ready().await.is_err());
    for _ in 0..5 {
        publisher.verifier.verify(&signer.sign(&claims(&[]))).await.unwrap();
    }
    assert!(publisher.verifier.ready().await.is_ok());
    assert_eq!(publisher.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn invented_key_ids_do_not_make_us_ask_again_and_again() {
    let signer = Signer::new("one");
    let publisher = Publisher::start(set(&[&signer])).await;
    for n in 0..20 {
        let token = Signer::new(&format!("invented-{n}")).sign(&claims(&[]));
        assert_eq!(publisher.verifier.verify(&token).await.unwrap_err(), AuthError::Invalid);
    }
    assert_eq!(publisher.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_new_key_is_found_and_a_withdrawn_one_forgotten() {
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let publisher = Publisher::start(set(&[&old])).await;
    let old_token = old.sign(&claims(&[]));
    publisher.verifier.verify(&old_token).await.unwrap();

    *publisher.keys.lock().unwrap() = set(&[&new]);
    tokio::time::sleep(Duration::from_secs(6)).await;
    publisher.verifier.verify(&new.sign(&claims(&[]))).await.unwrap();
    assert_eq!(publisher.verifier.verify(&old_token).await.unwrap_err(), AuthError::Invalid);
}

#[tokio::test]
async fn while_there_are_no_keys_nothing_is_said_about_a_token() {
    let mut config = auth_config();
    config.auth_jwks_url = Some("http://127.0.0.1:1/jwks.json".parse().unwrap());
    let verifier = Verifier::from_jwks_url(&config).unwrap();
    let token = Signer::new("one").sign(&claims(&[]));
    assert_eq!(verifier.verify(&token).await.unwrap_err(), AuthError::KeysUnavailable);
}

#[derive(Clone)]
struct App {
    verifier: Verifier,
}

impl FromRef<App> for Verifier {
    fn from_ref(app: &App) -> Self {
        app.verifier.clone()
    }
}

#[tokio::test]
async fn extractors_let_in_by_role() {
    let signer = Signer::new("one");
    let app: Router = Router::new()
        .route("/member", get(async |Member(claims)| claims.sub.to_string()))
        .route("/seller", get(async |_: Seller| ()))
        .route("/admin", get(async |_: Admin| ()))
        .with_state(App { verifier: verifier(&signer) });
    let status = async |path: &str, authorization: Option<String>| {
        let mut request = Request::get(path);
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap().status()
    };
    let bearer = |roles: &[Role]| Some(format!("Bearer {}", signer.sign(&claims(roles))));
    assert_eq!(status("/member", bearer(&[])).await, StatusCode::OK);
    assert_eq!(status("/seller", bearer(&[Role::Seller])).await, StatusCode::OK);
    assert_eq!(status("/seller", bearer(&[Role::Buyer])).await, StatusCode::FORBIDDEN);
    assert_eq!(status("/admin", bearer(&[Role::Seller])).await, StatusCode::FORBIDDEN);
    assert_eq!(status("/admin", bearer(&[Role::Admin])).await, StatusCode::OK);
    assert_eq!(status("/member", None).await, StatusCode::UNAUTHORIZED);
    assert_eq!(status("/member", Some("Basic dTpw".to_owned())).await, StatusCode::UNAUTHORIZED);
    assert_eq!(status("/member", Some("Bearer nonsense".to_owned())).await, StatusCode::UNAUTHORIZED);
}
