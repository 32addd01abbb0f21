//! M1: a token is refused once its session has ended, by every verifier that asks.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::Query;
use axum::routing::get;
use http::StatusCode;
use rocketmart_kit::auth::{AuthError, RevocationPage, Revoked, Verifier};
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use crate::auth::{Signer, claims, set};
use crate::support::{auth_config, eventually};

const PAGE: usize = 2;

/// The member service's part: keys, and ended sessions in pages of two.
#[derive(Clone, Default)]
struct Published {
    ended: Arc<Mutex<Vec<Uuid>>>,
    away: Arc<AtomicBool>,
}

#[derive(Deserialize)]
struct After {
    after: Option<String>,
}

impl Published {
    /// A cursor says how much was read. One beyond the end is not one of ours.
    fn page(&self, after: Option<String>) -> Result<axum::Json<RevocationPage>, StatusCode> {
        if self.away.load(Ordering::SeqCst) {
            return Err(StatusCode::SERVICE_UNAVAILABLE);
        }
        let ended = self.ended.lock().unwrap();
        let read: usize = after.map_or(0, |cursor| cursor.parse().unwrap());
        let left = ended.get(read..).ok_or(StatusCode::BAD_REQUEST)?;
        let revoked: Vec<_> =
            left.iter().take(PAGE).map(|sid| Revoked { sid: *sid, until: i64::MAX }).collect();
        Ok(axum::Json(RevocationPage {
            cursor: (read + revoked.len()).to_string(),
            has_more: left.len() > PAGE,
            revoked,
        }))
    }

    async fn verifier(&self, signer: &Signer) -> (Verifier, DropGuard) {
        let (keys, feed) = (set(&[signer]), self.clone());
        let router = Router::new()
            .route("/keys", get(async move || axum::Json(keys.clone())))
            .route("/revocations", get(async move |Query(query): Query<After>| feed.page(query.after)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut config = auth_config();
        let base = format!("http://{}", listener.local_addr().unwrap());
        config.auth_jwks_url = Some(format!("{base}/keys").parse().unwrap());
        config.auth_revocations_url = Some(format!("{base}/revocations").parse().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let verifier = Verifier::from_jwks_url(&config).unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(verifier.clone().refresh_loop(stop.clone()));
        (verifier, stop.drop_guard())
    }

    fn end(&self, session: Uuid) {
        self.ended.lock().unwrap().push(session);
    }
}

/// A token and its session.
fn token(signer: &Signer) -> (String, Uuid) {
    let claims = claims(&[]);
    let session = claims["sid"].as_str().unwrap().parse().unwrap();
    (signer.sign(&claims), session)
}

async fn refused_soon(verifier: &Verifier, token: &str) {
    eventually("the token is refused", async || {
        verifier.verify(token).await.err() == Some(AuthError::SessionEnded)
    })
    .await;
}

#[tokio::test]
async fn a_token_that_is_remembered_is_refused_once_its_session_has_ended() {
    let (signer, published) = (Signer::new("one"), Published::default());
    let (verifier, _stop) = published.verifier(&signer).await;
    let ((ended, session), (other, _)) = (token(&signer), token(&signer));
    verifier.verify(&ended).await.unwrap();
    published.end(session);
    refused_soon(&verifier, &ended).await;
    verifier.verify(&other).await.unwrap();
}

#[tokio::test]
async fn a_list_of_many_pages_is_read_to_its_end() {
    let (signer, published) = (Signer::new("one"), Published::default());
    let tokens: Vec<_> = (0..7).map(|_| token(&signer)).collect();
    for (_, session) in &tokens {
        published.end(*session);
    }
    let (verifier, _stop) = published.verifier(&signer).await;
    for (token, _) in &tokens {
        refused_soon(&verifier, token).await;
    }
}

#[tokio::test]
async fn while_nobody_answers_what_is_known_holds_and_all_others_get_in() {
    let (signer, published) = (Signer::new("one"), Published::default());
    let (verifier, _stop) = published.verifier(&signer).await;
    eventually("ready", async || verifier.ready().await.is_ok()).await;
    let ((ended, session), (later, session_of_later), (other, _)) =
        (token(&signer), token(&signer), token(&signer));
    published.end(session);
    refused_soon(&verifier, &ended).await;

    published.away.store(true, Ordering::SeqCst);
    published.end(session_of_later);
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    assert_eq!(verifier.verify(&ended).await.unwrap_err(), AuthError::SessionEnded);
    verifier.verify(&other).await.unwrap();
    verifier.ready().await.unwrap();

    published.away.store(false, Ordering::SeqCst);
    refused_soon(&verifier, &later).await;
}

#[tokio::test]
async fn a_process_that_starts_while_nobody_answers_asks_and_then_serves() {
    let (signer, published) = (Signer::new("one"), Published::default());
    published.away.store(true, Ordering::SeqCst);
    let (verifier, _stop) = published.verifier(&signer).await;
    eventually("ready", async || verifier.ready().await.is_ok()).await;
    verifier.verify(&token(&signer).0).await.unwrap();
}

#[tokio::test]
async fn a_list_that_begins_anew_is_read_from_its_beginning() {
    let (signer, published) = (Signer::new("one"), Published::default());
    let (verifier, _stop) = published.verifier(&signer).await;
    let ((first, session), (second, session_of_second)) = (token(&signer), token(&signer));
    published.end(Uuid::new_v4());
    published.end(session);
    refused_soon(&verifier, &first).await;
    *published.ended.lock().unwrap() = vec![session_of_second];
    refused_soon(&verifier, &second).await;
    assert_eq!(verifier.verify(&first).await.unwrap_err(), AuthError::SessionEnded);
}
