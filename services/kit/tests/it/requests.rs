//! What every request must satisfy, how many there may be, and what every answer tells browsers.

use axum::extract::FromRef;
use rocketmart_kit::auth::{Member, Role, Verifier};
use rocketmart_kit::request_limits::RequestLimitArgs;
use rocketmart_kit::service::Service;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::{Signer, claims, verifier};
use crate::service::{Running, service};
use crate::support::any_port;

/// Sends a request as it is, on a connection of its own, and returns the whole answer.
async fn raw(address: std::net::SocketAddr, request: &str) -> String {
    let mut connection = TcpStream::connect(address).await.unwrap();
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_request_that_different_readers_would_read_differently_is_refused_h6() {
    let running = Running::start(service()).await;
    let (api, admin) = (running.bound.api, running.bound.admin);
    let json = "content-type: application/json\r\ncontent-length: 12\r\nconnection: close\r\n";
    let body = "{\"name\":\"x\"}";
    let post = |headers: &str| format!("POST /things HTTP/1.1\r\n{headers}{json}\r\n{body}");
    assert!(raw(api, &post("host: x\r\n")).await.starts_with("HTTP/1.1 200"));
    for (headers, status, code) in [
        ("", 400, "host-missing"),
        ("host: x\r\nhost: y\r\n", 400, "header-repeated"),
        ("host: x\r\nidempotency-key: a\r\nidempotency-key: a\r\n", 400, "header-repeated"),
        ("host: x\r\nauthorization: Bearer a\r\nauthorization: Bearer b\r\n", 400, "header-repeated"),
        ("host: x\r\ncontent-encoding: gzip\r\n", 415, "content-encoding-unsupported"),
    ] {
        let answer = raw(api, &post(headers)).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{headers}: {answer}");
        assert!(answer.contains(code) && answer.contains("application/problem+json"), "{headers}: {answer}");
    }
    for (address, path) in [(admin, "/livez"), (api, "/docs/")] {
        let nameless = raw(address, &format!("GET {path} HTTP/1.1\r\nconnection: close\r\n\r\n")).await;
        assert!(nameless.starts_with("HTTP/1.1 400"), "{nameless}");
        let old = raw(address, &format!("GET {path} HTTP/1.0\r\n\r\n")).await;
        assert!(old.starts_with("HTTP/1.0 200") || old.starts_with("HTTP/1.1 200"), "{old}");
    }
    running.stop().await.unwrap();
}

#[tokio::test]
async fn one_address_cannot_send_more_than_its_part_h9() {
    let limits = RequestLimitArgs {
        requests_per_address: 1,
        request_burst_per_address: 20,
        ..RequestLimitArgs::default()
    };
    let running = Running::start(service().request_limits(&limits)).await;
    let http = reqwest::Client::new();
    let from = async |address: &str| {
        let request = http.get(format!("http://{}/trace", running.bound.api));
        request.header("x-forwarded-for", format!("10.9.9.9, {address}")).send().await.unwrap()
    };
    let mut refused = Vec::new();
    for _ in 0..60 {
        let answer = from("192.0.2.1").await;
        if answer.status() == 429 {
            refused.push(answer);
        }
    }
    assert!(refused.len() >= 10, "{} of 60", refused.len());
    assert_eq!(refused[0].headers()["retry-after"], "1");
    assert_eq!(refused[0].headers()["content-type"], "application/problem+json");
    assert_eq!(from("192.0.2.2").await.status(), 200);
    // Without a proxy in between, we do not know a caller by its address.
    let direct = http.get(format!("http://{}/trace", running.bound.api)).send().await.unwrap();
    assert_eq!(direct.status(), 200);
    running.stop().await.unwrap();
}

#[derive(Clone)]
struct App(Verifier);

impl FromRef<App> for Verifier {
    fn from_ref(app: &App) -> Self {
        app.0.clone()
    }
}

#[utoipa::path(get, path = "/mine", responses((status = 200)))]
async fn mine(Member(claims): Member) -> String {
    claims.sub.to_string()
}

#[tokio::test]
async fn one_member_cannot_send_more_than_their_part_nor_use_up_another_s_h9() {
    let signer = Signer::new("one");
    let limits = RequestLimitArgs {
        requests_per_member: 1,
        request_burst_per_member: 20,
        ..RequestLimitArgs::default()
    };
    let api = OpenApiRouter::new().routes(routes!(mine)).with_state(App(verifier(&signer)));
    let service = Service::new("test", &any_port()).api(api).request_limits(&limits);
    let running = Running::start(service).await;
    let http = reqwest::Client::new();
    let by = async |token: &str| {
        let request = http.get(format!("http://{}/mine", running.bound.api)).bearer_auth(token);
        request.send().await.unwrap().status().as_u16()
    };
    let (ada, grace) = (claims(&[Role::Buyer]), claims(&[Role::Buyer]));
    // A token in Grace's name with somebody else's signature counts for nobody.
    let forged = Signer::new("one").sign(&grace);
    for _ in 0..60 {
        assert_eq!(by(&forged).await, 401);
    }
    let (ada, grace) = (signer.sign(&ada), signer.sign(&grace));
    let mut statuses = Vec::new();
    for _ in 0..60 {
        statuses.push(by(&ada).await);
    }
    assert!(statuses.starts_with(&[200; 20]), "{statuses:?}");
    assert!(statuses.contains(&429), "{statuses:?}");
    assert_eq!(by(&grace).await, 200);
    running.stop().await.unwrap();
}

#[tokio::test]
async fn behind_tls_every_answer_says_that_it_stays_so_h10() {
    let running = Running::start(service()).await;
    let http = reqwest::Client::new();
    let asked = async |path: &str, scheme: &str| {
        let request = http.get(format!("http://{}{path}", running.bound.api));
        request.header("x-forwarded-proto", scheme).send().await.unwrap()
    };
    for path in ["/trace", "/nowhere", "/docs/", "/openapi.json"] {
        assert_eq!(asked(path, "https").await.headers()["strict-transport-security"], "max-age=31536000");
        assert!(!asked(path, "http").await.headers().contains_key("strict-transport-security"));
    }
    running.stop().await.unwrap();
}

#[tokio::test]
async fn the_page_of_the_api_may_load_what_it_consists_of_and_nothing_else_h10() {
    let running = Running::start(service()).await;
    let page = reqwest::get(format!("http://{}/docs/", running.bound.api)).await.unwrap();
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    for rule in ["default-src 'none'", "script-src 'self'", "connect-src 'self'", "frame-ancestors 'none'"] {
        assert!(policy.contains(rule), "{policy}");
    }
    assert_eq!(page.headers()["x-content-type-options"], "nosniff");
    // The policy allows no script within the page.
    let html = page.text().await.unwrap();
    for script in html.split("<script").skip(1) {
        assert!(script.trim_start().starts_with("src=\"./"), "{script}");
    }
    running.stop().await.unwrap();
}
