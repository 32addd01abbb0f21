//! A separate member service for each test: a fresh database, its own mail sink, ports from the system.

use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Method, StatusCode};
use rocketmart_harness::backing::shared;
use rocketmart_kit::config::{AuthConfig, DatabaseConfig, ListenConfig};
use rocketmart_member::api::{self, AdminArgs, Args, LimitArgs, MailArgs, TokenArgs};
use rocketmart_outside::mail::{self, Mail};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

pub(crate) const PASSWORD: &str = "a fine long pass phrase";
pub(crate) const ADMIN: (&str, &str) = ("root@shop.example", "the keeper of the keys");
const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
/// How long a mail may take; far more than it needs.
const PATIENCE: Duration = Duration::from_secs(90);

pub(crate) struct Shop {
    pub(crate) api: String,
    pub(crate) db: sqlx::PgPool,
    pub(crate) mail: MailSink,
    pub(crate) signing_seed: [u8; 32],
    http: reqwest::Client,
    args: Args,
    _key_file: tempfile::NamedTempFile,
    _stop: DropGuard,
}

pub(crate) struct MailSink {
    pub(crate) smtp: SocketAddr,
    http: SocketAddr,
    stop: CancellationToken,
    server: JoinHandle<anyhow::Result<()>>,
}

/// An answer, read completely.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }

    /// Fails the test unless the status is `status`; returns the body.
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        self.json()
    }

    /// Fails the test unless this is a problem with that status and code.
    pub(crate) fn expect_problem(&self, status: u16, code: &str) -> Value {
        let problem = self.expect(status);
        assert_eq!(self.headers["content-type"], "application/problem+json", "{}", self.body);
        assert_eq!(problem["code"], code, "{}", self.body);
        problem
    }
}

/// Tokens of a session.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) access: String,
    pub(crate) refresh: String,
}

impl Session {
    pub(crate) fn from(body: &Value) -> Self {
        let text = |name: &str| body[name].as_str().unwrap().to_owned();
        Self { access: text("access_token"), refresh: text("refresh_token") }
    }
}

impl MailSink {
    pub(crate) async fn start(smtp: SocketAddr) -> Self {
        let stop = CancellationToken::new();
        let (bound, waiting) = oneshot::channel();
        let args = mail::Args { smtp_listen: smtp, mail_http_listen: LOOPBACK };
        let server =
            tokio::spawn(mail::run_until(args, stop.clone(), |addresses| bound.send(addresses).unwrap()));
        let bound = waiting.await.expect("the mail sink starts");
        Self { smtp: bound.smtp, http: bound.http, stop, server }
    }

    /// Frees the port.
    pub(crate) async fn stop(&mut self) {
        self.stop.cancel();
        (&mut self.server).await.unwrap().unwrap();
    }

    pub(crate) async fn all(&self, to: &str) -> Vec<Mail> {
        let url = format!("http://{}/mails?to={to}", self.http);
        reqwest::get(url).await.unwrap().json().await.unwrap()
    }

    /// Waits for a mail to `to` with that subject; returns the newest.
    pub(crate) async fn wait_for(&self, to: &str, subject: &str) -> Mail {
        self.wait_for_several(to, subject, 1).await.swap_remove(0)
    }

    /// Waits for `count` mails to `to` with that subject; returns all, newest first.
    pub(crate) async fn wait_for_several(&self, to: &str, subject: &str, count: usize) -> Vec<Mail> {
        let arrived = async {
            loop {
                let mut mails = self.all(to).await;
                mails.retain(|mail| mail.subject == subject);
                if mails.len() >= count {
                    return mails;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, arrived)
            .await
            .unwrap_or_else(|_| panic!("no {count} mails {subject:?} to {to}"))
    }
}

/// The token of the link in a mail.
pub(crate) fn token_in(mail: &Mail) -> String {
    let (_, rest) = mail.text.split_once("?token=").expect("a link");
    rest.split_whitespace().next().unwrap().to_owned()
}

impl Shop {
    pub(crate) async fn open() -> Self {
        Self::open_with(LimitArgs { attempts_per_address: 0, trusted_proxies: 1 }).await
    }

    pub(crate) async fn open_with(limits: LimitArgs) -> Self {
        let database_url = shared::create_database("member").unwrap();
        let mail = MailSink::start(LOOPBACK).await;
        let signing_seed = rand::random();
        let key_file = key_file(signing_seed);
        let args = Args {
            listen: ListenConfig { listen: LOOPBACK, admin_listen: LOOPBACK },
            database: DatabaseConfig {
                database_url: database_url.clone(),
                database_max_connections: 8,
                shop_id: None,
            },
            auth: auth(),
            tokens: TokenArgs {
                signing_key_file: key_file.path().to_owned(),
                access_token_seconds: 900,
                refresh_token_seconds: 3600,
                session_seconds: 7_776_000,
            },
            mail: MailArgs {
                public_url: "https://shop.example".parse().unwrap(),
                smtp_url: format!("smtp://{}", mail.smtp),
                mail_from: "Rocket Mart <no-reply@rocketmart.example>".parse().unwrap(),
            },
            limits,
            admin: AdminArgs { admin_email: Some(ADMIN.0.into()), admin_password: Some(ADMIN.1.into()) },
            shop_description: None,
        };
        let stop = CancellationToken::new();
        let api = start(args.clone(), stop.clone()).await;
        Self {
            api,
            db: sqlx::PgPool::connect(&database_url).await.unwrap(),
            mail,
            signing_seed,
            http: reqwest::Client::new(),
            args,
            _key_file: key_file,
            _stop: stop.drop_guard(),
        }
    }

    /// Starts one more replica on the same database and returns its URL; it runs until the guard is dropped.
    pub(crate) async fn another_replica(&self) -> (String, DropGuard) {
        let stop = CancellationToken::new();
        (start(self.args.clone(), stop.clone()).await, stop.drop_guard())
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.api))
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        access: Option<&str>,
        body: Option<Value>,
    ) -> Answer {
        let mut request = self.request(method, path);
        if let Some(access) = access {
            request = request.bearer_auth(access);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        answer(request).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, None, Some(body)).await
    }

    pub(crate) async fn get(&self, path: &str, access: &str) -> Answer {
        self.send(Method::GET, path, Some(access), None).await
    }

    pub(crate) async fn sign_up(&self, email: &str) -> Answer {
        self.post("/api/v1/members", json!({"email": email, "password": PASSWORD, "name": "Ada"})).await
    }

    pub(crate) async fn log_in_with(&self, email: &str, password: &str) -> Answer {
        self.post("/api/v1/sessions", json!({"email": email, "password": password})).await
    }

    pub(crate) async fn log_in(&self, email: &str) -> Session {
        Session::from(&self.log_in_with(email, PASSWORD).await.expect(201))
    }

    pub(crate) async fn refresh(&self, token: &str) -> Answer {
        self.post("/api/v1/sessions/refresh", json!({"refresh_token": token})).await
    }

    /// Signs up, follows the mailed link and logs in.
    pub(crate) async fn join(&self, email: &str) -> Session {
        self.sign_up(email).await.expect(202);
        let token = token_in(&self.mail.wait_for(email, "Confirm your e-mail address").await);
        self.post("/api/v1/members/verify", json!({"token": token})).await.expect(204);
        self.log_in(email).await
    }

    pub(crate) async fn admin(&self) -> Session {
        Session::from(&self.log_in_with(ADMIN.0, ADMIN.1).await.expect(201))
    }

    pub(crate) async fn execute(&self, statement: &'static str) {
        sqlx::query(statement).execute(&self.db).await.unwrap();
    }
}

pub(crate) async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    Answer { status, headers, body: response.text().await.unwrap() }
}

async fn start(args: Args, stop: CancellationToken) -> String {
    let service = api::service(args).await.expect("the service starts");
    let (bound, waiting) = oneshot::channel();
    tokio::spawn(service.run_until(stop, |addresses| bound.send(addresses).unwrap()));
    let addresses = waiting.await.expect("the service listens");
    format!("http://{}", addresses.api)
}

pub(crate) fn auth() -> AuthConfig {
    AuthConfig {
        auth_issuer: "rocketmart".into(),
        auth_audience: "rocketmart".into(),
        auth_jwks_url: None,
        auth_revocations_url: None,
    }
}

/// PKCS#8 of an Ed25519 key (RFC 8410) is this prefix and the 32 bytes of the key.
pub(crate) fn pem(seed: [u8; 32]) -> String {
    let mut der = hex::decode("302e020100300506032b657004220420").unwrap();
    der.extend(seed);
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der))
}

fn key_file(seed: [u8; 32]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), pem(seed)).unwrap();
    file
}
