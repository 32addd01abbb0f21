//! The side door of the order service, used as the operator does: load a sale, watch it, close it,
//! close its books.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::http;

/// Between two looks at a sale that is still draining.
const PAUSE: Duration = Duration::from_millis(200);

/// Commands for the sales of a shop. Every command can be repeated.
#[derive(Debug, Clone)]
pub struct SideDoor {
    pub(super) ports: Vec<u16>,
    pub(super) token: String,
    /// Sent with every command; an operator's grows with each change of leader.
    pub fence: i64,
}

impl SideDoor {
    /// `PUT`: allocates, loads, reads back. `terms` as in docs/contracts.md, without `fence`. Answers
    /// the sale's status; whether it is `ready` is for the caller to look at.
    pub fn put(&self, sale: &str, terms: &Value) -> Result<Value> {
        let mut body = terms.clone();
        body["fence"] = json!(self.fence);
        self.ask("PUT", &format!("sales/{sale}"), Some(&body))
    }

    /// Loads a sale and waits until it is `ready` and verified. A SKU that the shop has not heard of
    /// yet (its event is on its way) is waited for as well.
    pub fn load(&self, sale: &str, terms: &Value, limit: Duration) -> Result<Value> {
        until("loaded and verified", limit, || {
            let status = self.put(sale, terms)?;
            if status["state"] == "ready" && status["verified"] == true {
                return Ok(status);
            }
            bail!("the sale is {status}")
        })
    }

    /// How a sale stands.
    pub fn status(&self, sale: &str) -> Result<Value> {
        self.ask("GET", &format!("sales/{sale}"), None)
    }

    /// `suspend`, `resume`, `close`, `cancel`, `rebuild`, …
    pub fn command(&self, sale: &str, command: &str) -> Result<Value> {
        self.ask("POST", &format!("sales/{sale}/{command}"), Some(&json!({"fence": self.fence})))
    }

    /// Closes a sale, waits until it has drained, and answers its close-out. Differences in the books
    /// are in the answer, not an error.
    pub fn close_out(&self, sale: &str, limit: Duration) -> Result<Value> {
        until("closed", limit, || self.command(sale, "close"))?;
        until("drained", limit, || self.command(sale, "close-out"))
    }

    /// What the operator does when Redis has lost a sale: rebuilds it, as soon as nothing is on its way
    /// any more, and resumes it. Answers its status.
    pub fn rebuild(&self, sale: &str, limit: Duration) -> Result<Value> {
        until("rebuilt", limit, || {
            let status = self.command(sale, "rebuild")?;
            if status["verified"] == true {
                return Ok(status);
            }
            bail!("the sale is {status}")
        })?;
        until("resumed", limit, || self.command(sale, "resume"))
    }

    /// Asks the first replica that answers.
    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let mut trouble = anyhow::anyhow!("there is no replica of order");
        for port in &self.ports {
            match http::send(*port, method, &format!("/internal/v1/{path}"), Some(&self.token), body) {
                Ok(answer) if (200..300).contains(&answer.status) => return Ok(answer.body),
                Ok(answer) => bail!("{method} {path}: {} {}", answer.status, answer.body),
                Err(error) => trouble = error,
            }
        }
        Err(trouble)
    }
}

/// Repeats `attempt` until it succeeds; the last reason is in the error.
fn until(what: &str, limit: Duration, attempt: impl Fn() -> Result<Value>) -> Result<Value> {
    let deadline = Instant::now() + limit;
    loop {
        match attempt() {
            Ok(value) => return Ok(value),
            Err(error) if Instant::now() >= deadline => {
                return Err(error)
                    .with_context(|| format!("the sale was not {what} within {} s", limit.as_secs()));
            }
            Err(_) => thread::sleep(PAUSE),
        }
    }
}
