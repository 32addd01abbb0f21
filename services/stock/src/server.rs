//! Where Redis is: one server by its address, or the master of a group that Sentinels watch over.
//!
//! Sentinels agree on who is the master and count every change; of several answers the one with the
//! highest count is the newest. What they say is not taken for granted: the server itself has to say that
//! it is a master. Whether it has everything that its predecessor had is not asked here, but by whoever
//! vouches for a sale.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo, RedisError,
    TlsCertificates, Value,
};
use tokio::task::JoinSet;

use crate::error::StockError;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Longest that a Sentinel is waited for; others are asked at the same time.
const ASK_TIMEOUT: Duration = Duration::from_millis(500);
/// How a certificate begins in a PEM file.
const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// How to reach Redis.
#[derive(Clone, Debug)]
pub enum Server {
    /// `redis://[user:password@]host:port`, or `rediss://` for TLS, and who signed its certificate.
    Url(String, Trusted),
    Sentinel(SentinelGroup),
}

/// Who may have signed the certificate of a server.
#[derive(Clone, Debug, Default)]
pub enum Trusted {
    /// The public authorities that browsers trust.
    #[default]
    Public,
    /// Those in this PEM file, and nobody else.
    Only(Vec<u8>),
}

/// A master and its replicas, watched over by Sentinels.
#[derive(Clone)]
pub struct SentinelGroup {
    /// Some of the Sentinels, `host:port`; all of them is best.
    pub sentinels: Vec<String>,
    /// The name under which they know the master.
    pub master: String,
    /// User and password of the master.
    pub username: Option<String>,
    pub password: Option<String>,
    /// Password of the Sentinels.
    pub sentinel_password: Option<String>,
    /// Whether Redis and Sentinels are spoken to by TLS, and who signed their certificates.
    pub tls: Option<Trusted>,
    /// Replicas that must have written a change before it counts as made.
    pub min_replicas: usize,
}

/// Passwords stay out of logs.
impl fmt::Debug for SentinelGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SentinelGroup")
            .field("sentinels", &self.sentinels)
            .field("master", &self.master)
            .field("min_replicas", &self.min_replicas)
            .finish_non_exhaustive()
    }
}

/// Finds the server that decides.
#[derive(Clone, Debug)]
pub(crate) enum Locator {
    Fixed(Client),
    Sentinels { sentinels: Vec<Client>, master: String, login: RedisConnectionInfo, tls: Option<Trusted> },
}

impl Locator {
    pub(crate) fn new(server: &Server) -> Result<Self, StockError> {
        Ok(match server {
            Server::Url(url, trusted) => Self::Fixed(client(url.as_str(), trusted)?),
            Server::Sentinel(group) => {
                let asking = login(None, group.sentinel_password.as_deref());
                let sentinels = group.sentinels.iter().map(|address| {
                    let (host, port) = parse(address)?;
                    place(host, port, &asking, group.tls.as_ref())
                });
                Self::Sentinels {
                    sentinels: sentinels.collect::<Result<_, _>>()?,
                    master: group.master.clone(),
                    login: login(group.username.as_deref(), group.password.as_deref()),
                    tls: group.tls.clone(),
                }
            }
        })
    }

    /// Whether another server may be the one tomorrow.
    pub(crate) fn may_move(&self) -> bool {
        matches!(self, Self::Sentinels { .. })
    }

    /// The server that decides, as far as anybody knows.
    pub(crate) async fn find(&self) -> Result<Client, StockError> {
        match self {
            Self::Fixed(client) => Ok(client.clone()),
            Self::Sentinels { sentinels, master, login, tls } => {
                let Told { host, port, .. } = ask_all(sentinels, master).await?;
                place(&host, port, login, tls.as_ref())
            }
        }
    }

    /// Opens a connection to a server that was found.
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
                return Err(StockError::Unavailable(format!(
                    "{address} is not a master, though Sentinel says so"
                )));
            }
        }
        Ok(connection)
    }
}

/// What a Sentinel says.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    /// How often the master has changed, as far as it knows.
    epoch: u64,
    host: String,
    port: u16,
}

async fn ask_all(sentinels: &[Client], master: &str) -> Result<Told, StockError> {
    let mut asked = JoinSet::new();
    for sentinel in sentinels {
        let (sentinel, master) = (sentinel.clone(), master.to_owned());
        asked.spawn(async move {
            let told = tokio::time::timeout(ASK_TIMEOUT, ask(&sentinel, &master)).await;
            told.map_err(|_| "no answer".to_owned())
                .and_then(|told| told)
                .map_err(|problem| format!("{}: {problem}", sentinel.get_connection_info().addr()))
        });
    }
    let (mut newest, mut problems) = (None::<Told>, Vec::new());
    while let Some(told) = asked.join_next().await {
        match told {
            Ok(Ok(told)) if newest.as_ref().is_none_or(|newest| newest.epoch < told.epoch) => {
                newest = Some(told);
            }
            Ok(Ok(_)) => {}
            Ok(Err(problem)) => problems.push(problem),
            Err(_stopped) => {}
        }
    }
    newest.ok_or_else(|| {
        StockError::Unavailable(format!("no Sentinel says where {master} is: {}", problems.join("; ")))
    })
}

async fn ask(sentinel: &Client, master: &str) -> Result<Told, String> {
    let told = async {
        let mut connection = open(sentinel, ASK_TIMEOUT, Some(ASK_TIMEOUT)).await?;
        let mut questions = redis::pipe();
        // The first knows earlier than the second of a change that is under way.
        questions.cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(master);
        questions.cmd("SENTINEL").arg("MASTER").arg(master);
        questions.query_async::<(Option<(String, u16)>, HashMap<String, String>)>(&mut connection).await
    };
    let (address, known) = told.await.map_err(|error: RedisError| error.to_string())?;
    let (host, port) = address.ok_or("it does not know this master")?;
    let epoch = known.get("config-epoch").and_then(|epoch| epoch.parse().ok());
    Ok(Told { epoch: epoch.ok_or("it names no config-epoch")?, host, port })
}

async fn open(
    server: &Client,
    connect: Duration,
    response: Option<Duration>,
) -> Result<MultiplexedConnection, RedisError> {
    let config =
        AsyncConnectionConfig::new().set_connection_timeout(Some(connect)).set_response_timeout(response);
    server.get_multiplexed_async_connection_with_config(&config).await
}

/// TLS is spoken where the address asks for it.
fn client(server: impl IntoConnectionInfo, trusted: &Trusted) -> Result<Client, StockError> {
    let info = server.into_connection_info().map_err(unavailable)?;
    let client = match (info.addr(), trusted) {
        (ConnectionAddr::TcpTls { .. }, Trusted::Only(authorities)) => {
            if !authorities.windows(BEGIN.len()).any(|text| text == BEGIN) {
                return Err(StockError::Unavailable("there is no certificate in the PEM file".to_owned()));
            }
            let root_cert = Some(authorities.clone());
            Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert })
        }
        // Nobody who names an authority wants to speak in the clear.
        (_, Trusted::Only(_)) => {
            let detail = "there is an authority for TLS, and an address without: it begins with rediss://";
            return Err(StockError::Unavailable(detail.to_owned()));
        }
        (_, Trusted::Public) => Client::open(info),
    };
    client.map_err(unavailable)
}

fn parse(address: &str) -> Result<(&str, u16), StockError> {
    let (host, port) = address
        .rsplit_once(':')
        .and_then(|(host, port)| Some((host, port.parse().ok()?)))
        .filter(|(host, _)| !host.is_empty())
        .ok_or_else(|| StockError::Unavailable(format!("`{address}` is not host:port")))?;
    // An IPv6 address stands in brackets.
    Ok((host.trim_start_matches('[').trim_end_matches(']'), port))
}

fn place(
    host: &str,
    port: u16,
    login: &RedisConnectionInfo,
    tls: Option<&Trusted>,
) -> Result<Client, StockError> {
    let host = host.to_owned();
    let address = match tls {
        None => ConnectionAddr::Tcp(host, port),
        Some(_) => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
    };
    let info = address.into_connection_info().map_err(unavailable)?.set_redis_settings(login.clone());
    client(info, tls.unwrap_or(&Trusted::Public))
}

fn login(username: Option<&str>, password: Option<&str>) -> RedisConnectionInfo {
    let mut login = RedisConnectionInfo::default();
    if let Some(username) = username {
        login = login.set_username(username);
    }
    if let Some(password) = password {
        login = login.set_password(password);
    }
    login
}

fn unavailable(error: RedisError) -> StockError {
    StockError::Unavailable(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(sentinels: &[&str]) -> Server {
        Server::Sentinel(SentinelGroup {
            sentinels: sentinels.iter().map(|address| (*address).to_owned()).collect(),
            master: "mart".to_owned(),
            username: None,
            password: Some("hidden".to_owned()),
            sentinel_password: Some("hidden".to_owned()),
            tls: None,
            min_replicas: 1,
        })
    }

    #[test]
    fn an_address_names_host_and_port() {
        for good in ["a:26379", "10.0.0.1:26379", "[::1]:26379"] {
            assert!(Locator::new(&group(&[good])).is_ok(), "{good}");
        }
        for bad in ["a", "a:", ":26379", "a:x", "a:65536", ""] {
            let refused = Locator::new(&group(&["a:26379", bad]));
            assert!(matches!(refused, Err(StockError::Unavailable(_))), "{bad}");
        }
    }

    #[test]
    fn passwords_stay_out_of_logs() {
        assert!(!format!("{:?}", group(&["a:26379"])).contains("hidden"));
        assert!(!format!("{:?}", Locator::new(&group(&["a:26379"]))).contains("hidden"));
    }
}
