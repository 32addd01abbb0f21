use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rocketmart_kit::auth::Verifier;
use serde_json::{Value, json};

use crate::shop::{Shop, auth, pem};

/// The claims of a token, unverified.
pub(crate) fn claims(token: &str) -> Value {
    part(token, 1)
}

fn part(token: &str, at: usize) -> Value {
    let part = URL_SAFE_NO_PAD.decode(token.split('.').nth(at).unwrap()).unwrap();
    serde_json::from_slice(&part).unwrap()
}

fn unsigned(header: &Value, claims: &Value) -> String {
    let encoded = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    format!("{}.{}.", encoded[0], encoded[1])
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_tokens_are_refused_by_every_verifier_that_reads_the_published_keys() {
    let shop = Shop::open().await;
    let genuine = shop.join("ada@example.com").await.access;
    let published = reqwest::get(format!("{}/.well-known/jwks.json", shop.api)).await.unwrap();
    assert_eq!(published.headers()["cache-control"], "public, max-age=60");
    let published: Value = published.json().await.unwrap();
    let key = &published["keys"][0];
    assert_eq!((&key["kty"], &key["crv"], &key["use"]), (&json!("OKP"), &json!("Ed25519"), &json!("sig")));
    let verifier =
        Verifier::from_jwks(&auth(), &serde_json::from_value::<JwkSet>(published.clone()).unwrap());
    verifier.verify(&genuine).await.unwrap();
    assert_eq!(part(&genuine, 0)["kid"], key["kid"]);

    let ours = EncodingKey::from_ed_pem(pem(shop.signing_seed).as_bytes()).unwrap();
    let theirs = EncodingKey::from_ed_pem(pem([7; 32]).as_bytes()).unwrap();
    let public = URL_SAFE_NO_PAD.decode(key["x"].as_str().unwrap()).unwrap();
    let claims = claims(&genuine);
    let sign = |algorithm, key: &EncodingKey, change: Value| {
        let mut claims = claims.clone();
        claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let mut header = Header::new(algorithm);
        header.kid = published["keys"][0]["kid"].as_str().map(Into::into);
        encode(&header, &claims, key).unwrap()
    };
    verifier.verify(&sign(Algorithm::EdDSA, &ours, json!({}))).await.expect("the forger's tools work");

    let elevated = {
        let mut parts: Vec<String> = genuine.split('.').map(Into::into).collect();
        let mut elevated = claims.clone();
        elevated["roles"] = json!(["admin"]);
        parts[1] = URL_SAFE_NO_PAD.encode(elevated.to_string());
        parts.join(".")
    };
    for (forgery, token) in [
        ("alg none", unsigned(&json!({"alg": "none", "typ": "JWT", "kid": key["kid"]}), &claims)),
        ("alg none, otherwise spelled", unsigned(&json!({"alg": "nOnE", "kid": key["kid"]}), &claims)),
        ("HS256 with the public key", sign(Algorithm::HS256, &EncodingKey::from_secret(&public), json!({}))),
        (
            "HS256 with the published key as text",
            sign(
                Algorithm::HS256,
                &EncodingKey::from_secret(key["x"].as_str().unwrap().as_bytes()),
                json!({}),
            ),
        ),
        ("another's key", sign(Algorithm::EdDSA, &theirs, json!({}))),
        ("changed claims", elevated),
        ("without signature", genuine.rsplit_once('.').unwrap().0.to_owned() + "."),
        ("for another audience", sign(Algorithm::EdDSA, &ours, json!({"aud": "another-shop"}))),
        ("from another issuer", sign(Algorithm::EdDSA, &ours, json!({"iss": "another-shop"}))),
        ("expired", sign(Algorithm::EdDSA, &ours, json!({"exp": 1_700_000_000}))),
        ("garbage", "a.b.c".to_owned()),
    ] {
        assert!(verifier.verify(&token).await.is_err(), "{forgery}");
        let answer = shop.get("/api/v1/me", &token).await;
        answer.expect_problem(401, "unauthenticated");
        assert_eq!(answer.headers["www-authenticate"], "Bearer", "{forgery}");
    }
}
