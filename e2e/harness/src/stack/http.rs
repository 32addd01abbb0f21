//! The few HTTP requests that a harness makes itself: probes, and the internal API.
//!
//! HTTP/1.0 on purpose: the server closes the connection after its answer. So the answer is everything read
//! until then, and nothing is kept between two requests.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result};
use serde_json::Value;

const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// Loading a large sale takes the longest.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// A status and a body, which is `Null` if it is not JSON.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Value,
}

pub(super) fn get(port: u16, path: &str) -> Result<Answer> {
    send(port, "GET", path, None, None)
}

/// Sends a request to loopback. After an error the outcome is unknown.
pub(super) fn send(
    port: u16,
    method: &str,
    path: &str,
    token: Option<&str>,
    body: Option<&Value>,
) -> Result<Answer> {
    let mut connection =
        TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], port)), CONNECT_LIMIT)?;
    connection.set_read_timeout(Some(ANSWER_LIMIT))?;
    connection.set_write_timeout(Some(ANSWER_LIMIT))?;
    let body = body.map(Value::to_string).unwrap_or_default();
    let authorization = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    let head = format!(
        "{method} {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n{authorization}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    connection.write_all(head.as_bytes())?;
    connection.write_all(body.as_bytes())?;
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer)?;
    parse(&String::from_utf8_lossy(&answer)).with_context(|| format!("{method} {path}"))
}

fn parse(answer: &str) -> Result<Answer> {
    let (head, body) = answer.split_once("\r\n\r\n").context("the answer was cut short")?;
    let status = head.split_whitespace().nth(1).context("an answer without status")?.parse()?;
    Ok(Answer { status, body: serde_json::from_str(body).unwrap_or(Value::Null) })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn an_answer_has_a_status_and_perhaps_json() {
        let answer = parse("HTTP/1.0 409 Conflict\r\nx: y\r\n\r\n{\"code\":\"sold-out\"}").unwrap();
        assert_eq!((answer.status, answer.body["code"].as_str()), (409, Some("sold-out")));
        assert!(parse("HTTP/1.0 200 OK\r\nx").is_err());
    }
}
