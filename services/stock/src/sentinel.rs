//! The server that decides: one with a fixed address, or the master that the Sentinels name.
//!
//! Sentinels agree on the master and count every change. The server itself must also say that it is a master.
//! Whether it has everything that its predecessor had is not checked here, but by whoever vouches for a sale.

use std::collections::HashMap;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Client, RedisError, Value};

use crate::error::StockError;
use crate::server::{ASK_TIMEOUT, Login, SentinelGroup, Trusted, ask_all, client, open, unavailable};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
pub(crate) enum Locator {
    Fixed(Client),
    Sentinels { sentinels: Vec<Client>, master: String, login: Login },
}

impl Locator {
    pub(crate) fn of_url(url: &str, trusted: &Trusted) -> Result<Self, StockError> {
        client(url, trusted).map(Self::Fixed)
    }

    pub(crate) fn of_sentinels(group: &SentinelGroup) -> Result<Self, StockError> {
        let asking = Login::new(None, group.sentinel_password.as_deref(), group.tls.clone());
        Ok(Self::Sentinels {
            sentinels: group.sentinels.iter().map(|address| asking.at(address)).collect::<Result<_, _>>()?,
            master: group.master.clone(),
            login: Login::new(group.username.as_deref(), group.password.as_deref(), group.tls.clone()),
        })
    }

    /// Whether the server may be another one tomorrow.
    pub(crate) fn may_move(&self) -> bool {
        matches!(self, Self::Sentinels { .. })
    }

    /// The server that decides, as far as anybody knows.
    pub(crate) async fn find(&self) -> Result<Client, StockError> {
        match self {
            Self::Fixed(client) => Ok(client.clone()),
            Self::Sentinels { sentinels, master, login } => {
                let what = format!("where the master {master} is");
                let told = ask_all(sentinels, &what, |sentinel| ask(sentinel, master.clone())).await?;
                let newest = told.into_iter().max_by_key(|told| told.epoch);
                let Told { host, port, .. } = newest.ok_or(StockError::Unavailable(what))?;
                login.client(&host, port)
            }
        }
    }

    /// Opens a connection to a server that `find` returned.
    pub(crate) async fn dial(
        &self,
        server: &Client,
        response_timeout: Option<Duration>,
    ) -> Result<MultiplexedConnection, StockError> {
        let mut connection = open(server, CONNECT_TIMEOUT, response_timeout).await.map_err(unavailable)?;
        if self.may_move() {
            let role: Vec<Value> =
                redis::cmd("ROLE").query_async(&mut connection).await.map_err(unavailable)?;
            if role.first() != Some(&Value::BulkString(b"master".to_vec())) {
                let address = server.get_connection_info().addr();
                let detail = format!("{address} is not a master, though Sentinel says so");
                return Err(StockError::Unavailable(detail));
            }
        }
        Ok(connection)
    }
}

/// What a Sentinel says.
struct Told {
    /// How often the master has changed, as far as this Sentinel knows.
    epoch: u64,
    host: String,
    port: u16,
}

async fn ask(sentinel: Client, master: String) -> Result<Told, String> {
    let told = async {
        let mut connection = open(&sentinel, ASK_TIMEOUT, Some(ASK_TIMEOUT)).await?;
        let mut questions = redis::pipe();
        // In a change that is under way, the first command knows sooner than the second.
        questions.cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(&master);
        questions.cmd("SENTINEL").arg("MASTER").arg(&master);
        questions.query_async::<(Option<(String, u16)>, HashMap<String, String>)>(&mut connection).await
    };
    let (address, known) = told.await.map_err(|error: RedisError| error.to_string())?;
    let (host, port) = address.ok_or("it does not know this master")?;
    let epoch = known.get("config-epoch").and_then(|epoch| epoch.parse().ok());
    Ok(Told { epoch: epoch.ok_or("it names no config-epoch")?, host, port })
}
