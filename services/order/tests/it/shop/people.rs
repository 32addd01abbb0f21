//! The people who call the API, and their tokens.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::{Client, Method};
use rocketmart_kit::auth::{Claims, Role, Verifier};
use rocketmart_kit::config::AuthConfig;
use serde_json::{Value, json};
use uuid::Uuid;

use super::MUG;

/// The example key of RFC 8410.
const SIGNING_KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
    -----END PRIVATE KEY-----\n";
const PUBLIC_KEY: &str = "Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE";

pub const OPERATOR_TOKEN: &str = "the-operator-of-this-test";

/// Somebody with a token.
#[derive(Clone)]
pub struct Caller {
    pub id: Uuid,
    pub token: String,
    pub api: String,
    pub http: Client,
}

impl Caller {
    pub async fn get(&self, path: &str) -> (u16, Value) {
        self.call(Method::GET, path, None, None).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> (u16, Value) {
        self.call(Method::PUT, path, Some(body), None).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.call(Method::POST, path, Some(body), None).await
    }

    pub async fn send_back(&self, order: &str, key: &str, wish: &Value) -> (u16, Value) {
        self.call(Method::POST, &format!("/api/v1/orders/{order}/returns"), Some(wish), Some(key)).await
    }

    pub async fn purchase(&self, sale: Uuid, quantity: u32, key: &str) -> (u16, Value) {
        let body = json!({ "sku": MUG, "quantity": quantity });
        self.call(Method::POST, &format!("/api/v1/sales/{sale}/purchases"), Some(&body), Some(key)).await
    }

    pub async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        key: Option<&str>,
    ) -> (u16, Value) {
        let mut request = self.http.request(method, format!("{}{path}", self.api)).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(body);
        }
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }
}

pub fn claims() -> Claims {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().cast_signed();
    Claims {
        sub: Uuid::now_v7(),
        roles: vec![Role::Buyer],
        sid: Uuid::now_v7(),
        jti: Uuid::now_v7(),
        exp: now + 600,
        iat: now,
        iss: "rocketmart".into(),
        aud: "rocketmart".into(),
    }
}

pub fn signed(claims: &Claims) -> String {
    let mut header = Header::new(Algorithm::EdDSA);
    header.kid = Some("test".into());
    let key = EncodingKey::from_ed_pem(SIGNING_KEY.as_bytes()).unwrap();
    jsonwebtoken::encode(&header, claims, &key).unwrap()
}

/// What the API uses to verify tokens.
pub fn verifier() -> (AuthConfig, Verifier) {
    let auth = AuthConfig {
        auth_issuer: "rocketmart".into(),
        auth_audience: "rocketmart".into(),
        auth_jwks_url: None,
        auth_revocations_url: None,
    };
    let jwks = serde_json::from_value(json!({ "keys": [
        { "kty": "OKP", "crv": "Ed25519", "kid": "test", "alg": "EdDSA", "use": "sig", "x": PUBLIC_KEY }
    ]}))
    .unwrap();
    let verifier = Verifier::from_jwks(&auth, &jwks);
    (auth, verifier)
}

/// Expired, for somebody else, from somebody else, unsigned, signed with the public key, garbage.
pub fn bad_tokens() -> Vec<String> {
    let good = signed(&claims());
    let body = good.split('.').nth(1).unwrap();
    let mut with_public_key = Header::new(Algorithm::HS256);
    with_public_key.kid = Some("test".into());
    let key = EncodingKey::from_secret(PUBLIC_KEY.as_bytes());
    vec![
        signed(&Claims { exp: claims().iat - 3600, ..claims() }),
        signed(&Claims { aud: "another".into(), ..claims() }),
        signed(&Claims { iss: "another".into(), ..claims() }),
        // {"alg":"none","typ":"JWT"}
        format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{body}."),
        jsonwebtoken::encode(&with_public_key, &claims(), &key).unwrap(),
        format!("{good}x"),
        String::new(),
    ]
}
