//! What the member service publishes for all processes: the keys, and the sessions that have ended.
//!
//! A process asks for each at its own pace, whether or not the last request failed. That pace is all the
//! protection the member service needs: nothing is retried in between, and no circuit delays the first good
//! answer.

use std::time::Duration;

use serde::de::DeserializeOwned;
use url::{Position, Url};

use crate::client::{Call, CallError, Client, Limits};

const TIMEOUT: Duration = Duration::from_secs(5);

pub(super) struct Published {
    pub(super) url: Url,
    client: Client,
}

impl Published {
    pub(super) fn at(url: Url) -> anyhow::Result<Self> {
        let limits =
            Limits { connect: TIMEOUT, timeout: TIMEOUT, retries: 0, circuit: None, ..Limits::default() };
        let client = Client::with_limits(url.join("/")?, "member", limits)?;
        Ok(Self { url, client })
    }

    /// What is published now. `parameter` is added to the address, if there is one.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        parameter: Option<(&str, &str)>,
    ) -> Result<T, CallError> {
        let call = Call::get(&self.url[Position::BeforePath..Position::AfterQuery]);
        let call = parameter.into_iter().fold(call, |call, (name, value)| call.query(name, value));
        self.client.call(call).await
    }
}
