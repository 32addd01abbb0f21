//! The internal API of the order service, used as the operator uses it: load a sale, watch it, close it, and
//! get its close-out.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rocketmart_contracts::internal_api::{
    self as api, CloseOut, Command, Fenced, SaleState, SaleStatus, SaleTerms,
};
use serde::{Serialize, de::DeserializeOwned};

use super::http;

/// Pause between two looks at a sale that is still draining.
const PAUSE: Duration = Duration::from_millis(200);

/// Commands for the sales of a shop. Every command can be repeated.
#[derive(Debug, Clone)]
pub struct InternalApi {
    pub(super) ports: Vec<u16>,
    pub(super) token: String,
    /// Sent with every command. An operator's fence grows with each change of leader.
    pub fence: i64,
}

impl InternalApi {
    /// Allocates, loads and reads back, under this client's fence. The caller has to check whether the sale
    /// is ready then.
    pub fn put(&self, sale: &str, terms: &SaleTerms) -> Result<SaleStatus> {
        let terms = SaleTerms { fence: self.fence, ..terms.clone() };
        self.ask("PUT", &Command::Load.path(sale), Some(&terms))
    }

    /// Loads a sale and waits until it is `ready` and verified. Also waits for a SKU that the shop has not
    /// heard of yet, because its event is still on its way.
    pub fn load(&self, sale: &str, terms: &SaleTerms, limit: Duration) -> Result<SaleStatus> {
        until("loaded and verified", limit, || {
            let status = self.put(sale, terms)?;
            if status.state == SaleState::Ready && status.verified {
                return Ok(status);
            }
            bail!("the sale is {status:?}")
        })
    }

    /// Asks for the status of a sale.
    pub fn status(&self, sale: &str) -> Result<SaleStatus> {
        self.ask("GET", &api::sale(sale), None::<&()>)
    }

    /// Sends any command except loading a sale and closing its books.
    pub fn command(&self, sale: &str, command: Command) -> Result<SaleStatus> {
        self.post(sale, command)
    }

    /// Closes a sale, waits until it has drained, and returns its close-out. Differences in the books are in
    /// the close-out, not an error.
    pub fn close_out(&self, sale: &str, limit: Duration) -> Result<CloseOut> {
        until("closed", limit, || self.command(sale, Command::Close))?;
        until("drained", limit, || self.post(sale, Command::CloseOut))
    }

    /// What the operator does when Redis has lost a sale: rebuilds it once nothing is on its way any more,
    /// then resumes it. Returns its status.
    pub fn rebuild(&self, sale: &str, limit: Duration) -> Result<SaleStatus> {
        until("rebuilt", limit, || {
            let status = self.command(sale, Command::Rebuild)?;
            if status.verified {
                return Ok(status);
            }
            bail!("the sale is {status:?}")
        })?;
        until("resumed", limit, || self.command(sale, Command::Resume))
    }

    fn post<T: DeserializeOwned>(&self, sale: &str, command: Command) -> Result<T> {
        self.ask("POST", &command.path(sale), Some(&Fenced { fence: self.fence }))
    }

    /// Asks the replicas in turn until one answers.
    fn ask<T: DeserializeOwned>(&self, method: &str, path: &str, body: Option<&impl Serialize>) -> Result<T> {
        let body = body.map(serde_json::to_value).transpose()?;
        let mut trouble = anyhow::anyhow!("there is no replica of order");
        for port in &self.ports {
            match http::send(*port, method, path, Some(&self.token), body.as_ref()) {
                Ok(answer) if (200..300).contains(&answer.status) => {
                    return serde_json::from_value(answer.body).with_context(|| format!("{method} {path}"));
                }
                Ok(answer) => bail!("{method} {path}: {} {}", answer.status, answer.body),
                Err(error) => trouble = error,
            }
        }
        Err(trouble)
    }
}

/// Repeats `attempt` until it succeeds. The error gives the last reason.
fn until<T>(what: &str, limit: Duration, attempt: impl Fn() -> Result<T>) -> Result<T> {
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
