//! H4: how long connections may last and how many there may be, seen from the other end.

use std::net::SocketAddr;
use std::time::Duration;

use rocketmart_kit::service::{ConnectionLimits, Service};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::service::{Running, service};
use crate::support::any_port;

/// A limit that a test waits for, and one that it never reaches.
const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_mins(5);
const PATIENCE: Duration = Duration::from_secs(30);

const LIMITS: ConnectionLimits =
    ConnectionLimits { at_most: 64, head: LONG, body: LONG, write: LONG, idle: LONG };

/// More than the buffers at both ends of a connection hold.
const LARGE: usize = 64 * 1024 * 1024;

#[utoipa::path(get, path = "/large", responses((status = 200)))]
async fn large() -> Vec<u8> {
    vec![0; LARGE]
}

async fn with(limits: ConnectionLimits) -> Running {
    Running::start(service().connections(limits, limits)).await
}

struct Other(TcpStream);

impl Other {
    async fn connect(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.unwrap())
    }

    async fn send(&mut self, bytes: &str) {
        self.0.write_all(bytes.as_bytes()).await.unwrap();
    }

    /// The first line of our answer, which comes in one piece.
    async fn answer(&mut self) -> String {
        let mut bytes = vec![0; 16 * 1024];
        let read = tokio::time::timeout(PATIENCE, self.0.read(&mut bytes)).await.expect("an answer").unwrap();
        String::from_utf8_lossy(&bytes[..read]).lines().next().unwrap_or_default().to_owned()
    }

    async fn ask(&mut self, path: &str) -> String {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")).await;
        self.answer().await
    }

    /// Everything until the connection is closed.
    async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let read = tokio::time::timeout(PATIENCE, self.0.read_to_end(&mut rest));
        // A connection that closes while something is on its way ends with an error.
        let _ = read.await.expect("the connection is closed");
        rest
    }
}

#[tokio::test]
async fn who_says_nothing_or_never_ends_a_head_is_sent_away_h4() {
    let running = with(ConnectionLimits { head: SHORT, ..LIMITS }).await;
    for (port, path) in [(running.bound.api, "/trace"), (running.bound.admin, "/livez")] {
        Other::connect(port).await.rest().await;

        let mut slow = Other::connect(port).await;
        slow.send("GET / HTTP/1.1\r\nhost: x\r\n").await;
        slow.rest().await;

        let mut dripping = Other::connect(port).await;
        assert_eq!(dripping.ask(path).await, "HTTP/1.1 200 OK");
        let (mut reader, mut writer) = dripping.0.into_split();
        let drip = async {
            while writer.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let mut rest = Vec::new();
        tokio::select! {
            () = drip => {}
            closed = tokio::time::timeout(PATIENCE, reader.read_to_end(&mut rest)) => {
                let _ = closed.expect("the connection is closed");
            }
        }
    }
    running.stop().await.unwrap();
}

#[tokio::test]
async fn an_idle_connection_may_stay_longer_than_a_head_may_take_h4() {
    let idle = Duration::from_secs(4);
    let running = with(ConnectionLimits { head: SHORT, idle, ..LIMITS }).await;
    for (port, path) in [(running.bound.api, "/trace"), (running.bound.admin, "/livez")] {
        let mut other = Other::connect(port).await;
        assert_eq!(other.ask(path).await, "HTTP/1.1 200 OK");
        tokio::time::sleep(2 * SHORT).await;
        assert_eq!(other.ask(path).await, "HTTP/1.1 200 OK");
        other.rest().await;
    }
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_answered_and_given_up_h4() {
    let running = with(ConnectionLimits { body: SHORT, ..LIMITS }).await;
    let mut other = Other::connect(running.bound.api).await;
    other.send("POST /things HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{").await;
    let answer = String::from_utf8(other.rest().await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("body-timeout"), "{answer}");
    running.stop().await.unwrap();
}

#[tokio::test]
async fn who_does_not_take_an_answer_makes_room_for_others_h4() {
    let api = OpenApiRouter::new().routes(routes!(large));
    let limits = ConnectionLimits { at_most: 1, write: SHORT, ..LIMITS };
    let running =
        Running::start(Service::new("test", &any_port()).api(api).connections(limits, LIMITS)).await;
    let mut deaf = Other::connect(running.bound.api).await;
    deaf.send("GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await;
    deaf.answer().await;
    let mut next = Other::connect(running.bound.api).await;
    assert_eq!(next.ask("/nowhere").await, "HTTP/1.1 404 Not Found");
    assert!(deaf.rest().await.len() < LARGE);
    running.stop().await.unwrap();
}

#[tokio::test]
async fn there_are_so_many_connections_and_idle_ones_go_first_h4() {
    let running = with(ConnectionLimits { at_most: 2, head: Duration::from_secs(2), ..LIMITS }).await;
    let port = running.bound.api;
    let (mut idle, mut other) = (Other::connect(port).await, Other::connect(port).await);
    for connection in [&mut idle, &mut other] {
        assert_eq!(connection.ask("/trace").await, "HTTP/1.1 200 OK");
    }
    // A third one gets a place at once, and the two that have been silent for a while have to connect again.
    let mut third = Other::connect(port).await;
    assert_eq!(third.ask("/trace").await, "HTTP/1.1 200 OK");
    assert!(idle.rest().await.is_empty());
    assert!(other.rest().await.is_empty());
    // Two that never say anything are in the way until their time is over.
    let _silent = [Other::connect(port).await, Other::connect(port).await];
    let mut late = Other::connect(port).await;
    assert_eq!(late.ask("/trace").await, "HTTP/1.1 200 OK");
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_connection_that_never_said_anything_does_not_hold_up_the_end() {
    let running = with(LIMITS).await;
    let mut silent = Other::connect(running.bound.api).await;
    let mut idle = Other::connect(running.bound.api).await;
    assert_eq!(idle.ask("/trace").await, "HTTP/1.1 200 OK");
    running.stop().await.unwrap();
    assert!(silent.rest().await.is_empty());
}

#[tokio::test]
async fn a_head_that_is_too_long_is_refused() {
    let running = with(LIMITS).await;
    let mut other = Other::connect(running.bound.api).await;
    other.send(&format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "x".repeat(40 * 1024))).await;
    let answer = String::from_utf8(other.rest().await).unwrap();
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    running.stop().await.unwrap();
}
