//! Forged, foreign and outdated tokens, at every operation of every service that accepts one.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rocketmart_shop::{Shop, stack};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::document;
use crate::operations::{Role, table};

/// The example key of RFC 8410, which belongs to nobody.
const ANOTHERS_KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
    -----END PRIVATE KEY-----\n";

/// Tokens that are almost right, by what is wrong with them.
async fn forgeries(shop: &Shop) -> Vec<(&'static str, String)> {
    let genuine = shop.buyer().await.token;
    let part = |at: usize| -> Value {
        let part = URL_SAFE_NO_PAD.decode(genuine.split('.').nth(at).unwrap()).unwrap();
        serde_json::from_slice(&part).unwrap()
    };
    let (header, claims) = (part(0), part(1));
    let published = shop.get("/.well-known/jwks.json").await.expect(200);
    let public = URL_SAFE_NO_PAD.decode(published["keys"][0]["x"].as_str().unwrap()).unwrap();
    let pem = tokio::task::spawn_blocking(|| {
        let stack = stack().expect("a shop on loopback").blocking_lock();
        std::fs::read(stack.signing_key()).expect("the signing key")
    });
    let ours = EncodingKey::from_ed_pem(&pem.await.unwrap()).unwrap();
    let theirs = EncodingKey::from_ed_pem(ANOTHERS_KEY.as_bytes()).unwrap();
    let sign = |algorithm, key: &EncodingKey, change: Value| {
        let mut claims = claims.clone();
        claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let mut own = Header::new(algorithm);
        own.kid = header["kid"].as_str().map(Into::into);
        encode(&own, &claims, key).unwrap()
    };
    let again = sign(Algorithm::EdDSA, &ours, json!({}));
    shop.get("/api/v1/me").bearer(&again).await.expect(200); // the forger's tools work
    let unsigned = |algorithm: &str| {
        let header = json!({"alg": algorithm, "typ": "JWT", "kid": header["kid"]});
        let parts = [&header, &claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        format!("{}.{}.", parts[0], parts[1])
    };
    let elevated = {
        let mut parts: Vec<String> = genuine.split('.').map(Into::into).collect();
        let mut claims = claims.clone();
        claims["roles"] = json!(["admin", "seller", "buyer"]);
        parts[1] = URL_SAFE_NO_PAD.encode(claims.to_string());
        parts.join(".")
    };
    vec![
        ("alg none", unsigned("none")),
        ("alg none, otherwise spelled", unsigned("NonE")),
        ("HS256 with the public key", sign(Algorithm::HS256, &EncodingKey::from_secret(&public), json!({}))),
        ("signed with another key", sign(Algorithm::EdDSA, &theirs, json!({}))),
        ("changed roles", elevated),
        ("without its signature", genuine.rsplit_once('.').unwrap().0.to_owned() + "."),
        ("for another audience", sign(Algorithm::EdDSA, &ours, json!({"aud": "another-shop"}))),
        ("from another issuer", sign(Algorithm::EdDSA, &ours, json!({"iss": "another-shop"}))),
        ("expired", sign(Algorithm::EdDSA, &ours, json!({"exp": 1_700_000_000}))),
        ("no token at all", "a.b.c".to_owned()),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_foreign_or_expired_token_is_refused_by_every_operation_that_takes_one() {
    let (shop, services) = document::open().await;
    let forgeries = forgeries(&shop).await;
    let mut asked = 0;
    for operation in document::operations(&shop, &services).await {
        if !operation.takes_token() {
            continue;
        }
        let path = operation.parameters("path").iter().fold(operation.path.clone(), |path, name| {
            path.replace(&format!("{{{name}}}"), &Uuid::nil().to_string())
        });
        let good = table().into_iter().find(|row| row.operation == operation.name).and_then(|row| row.good);
        let request = || {
            let call = shop.call(operation.method.clone(), &path).if_match("\"1\"").key("k");
            if let Some(good) = &good { call.json(good) } else { call }
        };
        for (forgery, token) in &forgeries {
            let answer = request().bearer(token).await;
            assert_eq!(answer.status, 401, "{} with a token {forgery}: {}", operation.name, answer.text);
            answer.refused(401, "unauthenticated");
        }
        if operation.needs_token() {
            request().await.refused(401, "unauthenticated");
            request().header("authorization", "Basic YTpi").await.refused(401, "unauthenticated");
        }
        asked += 1;
    }
    assert!(asked > 30, "{asked} operations take a token");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_buyers_token_opens_neither_a_sellers_nor_the_administrators_doors() {
    let (shop, services) = document::open().await;
    let (buyer, seller) = (shop.buyer().await, shop.seller().await);
    let mut asked = 0;
    for operation in document::operations(&shop, &services).await {
        let Some(row) = table().into_iter().find(|row| row.operation == operation.name) else { continue };
        let path = operation.path.replace("{id}", &Uuid::nil().to_string());
        let request = || {
            let call = shop.call(operation.method.clone(), &path).if_match("\"1\"").key("k");
            if let Some(good) = &row.good { call.json(good) } else { call }
        };
        match row.role {
            Role::Seller => drop(request().by(&buyer).await.refused(403, "forbidden")),
            Role::Administrator => drop(request().by(&seller).await.refused(403, "forbidden")),
            Role::Anyone | Role::Buyer => continue,
        }
        asked += 1;
    }
    assert!(asked > 5, "{asked} operations ask for a role");
}
