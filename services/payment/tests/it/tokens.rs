//! Access tokens for tests, signed with a key that is published where the service looks for it.

use axum::Json;
use axum::Router;
use axum::routing::get;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rocketmart_kit::auth::{Claims, Role};
use serde_json::json;
use time::OffsetDateTime;
use url::Url;
use uuid::Uuid;

/// An Ed25519 key pair for tests alone.
const KEY: &str =
    "302e020100300506032b657004220420f78f9e938249ac5b7aa16bb208b6e94fb877f2ae1648239b21e0a2ec1aee74f9";
const PUBLIC_KEY: &str = "IM80VlESYQKqEo46Sk-m3Irxvy7VwR0kAG57ilIOvUw";

/// Serves the key set as the member service would, and returns its URL.
pub(crate) async fn publish_keys() -> Url {
    let keys = json!({"keys": [{
        "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": "test", "x": PUBLIC_KEY
    }]});
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/jwks.json", listener.local_addr().unwrap());
    let app = Router::new().route("/jwks.json", get(move || async move { Json(keys) }));
    tokio::spawn(async move { axum::serve(listener, app).await });
    url.parse().unwrap()
}

/// A buyer's access token, valid for an hour.
pub(crate) fn buyer(id: Uuid) -> String {
    let now = OffsetDateTime::now_utc().unix_timestamp();
    let claims = Claims {
        sub: id,
        roles: vec![Role::Buyer],
        sid: Uuid::now_v7(),
        jti: Uuid::now_v7(),
        exp: now + 3_600,
        iat: now,
        iss: "rocketmart".into(),
        aud: "rocketmart".into(),
    };
    let header = Header { kid: Some("test".into()), ..Header::new(Algorithm::EdDSA) };
    jsonwebtoken::encode(&header, &claims, &EncodingKey::from_ed_der(&hex::decode(KEY).unwrap())).unwrap()
}
