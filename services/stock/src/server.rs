//! Where Redis is, and how to get in: addresses, login, TLS.
//!
//! ```text
//!   one server by its address ─────────────┐
//!   the master that Sentinels name ────────┼──> a connection (connection.rs) to the one that decides
//!   the master of a sale in a cluster ─────┘
//! ```
//! A server or Sentinel that we ask for the master may not have heard of the last change. So we ask all of
//! them at once. Each change is counted, and we believe the answer with the highest count.

use std::fmt;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo, RedisError,
    TlsCertificates,
};
use tokio::task::JoinSet;

use crate::error::StockError;

/// How long we wait for any one of several that we ask at the same time.
pub(crate) const ASK_TIMEOUT: Duration = Duration::from_millis(500);
/// How a certificate begins in a PEM file.
const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// How to reach Redis.
#[derive(Clone, Debug)]
pub enum Server {
    /// `redis://[user:password@]host:port`, or `rediss://` for TLS, and who signed its certificate.
    Url(String, Trusted),
    Sentinel(SentinelGroup),
    Cluster(ClusterNodes),
}

/// Who may have signed a server's certificate.
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
    /// Whether we use TLS with Redis and the Sentinels, and who signed their certificates.
    pub tls: Option<Trusted>,
    /// How many replicas must have written a change before it counts as made.
    pub min_replicas: usize,
}

/// Masters that share out the sales, each with its replicas.
#[derive(Clone)]
pub struct ClusterNodes {
    /// Some of the nodes, `host:port`; all of them is best.
    pub addresses: Vec<String>,
    /// User and password of the nodes.
    pub username: Option<String>,
    pub password: Option<String>,
    /// Whether we use TLS with them, and who signed their certificates.
    pub tls: Option<Trusted>,
    /// How many of a master's replicas must have written a change before it counts as made.
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

/// Passwords stay out of logs.
impl fmt::Debug for ClusterNodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterNodes")
            .field("addresses", &self.addresses)
            .field("min_replicas", &self.min_replicas)
            .finish_non_exhaustive()
    }
}

/// How to get in at a server, whatever its address.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    user: RedisConnectionInfo,
    tls: Option<Trusted>,
}

impl Login {
    pub(crate) fn new(username: Option<&str>, password: Option<&str>, tls: Option<Trusted>) -> Self {
        let mut user = RedisConnectionInfo::default();
        if let Some(username) = username {
            user = user.set_username(username);
        }
        if let Some(password) = password {
            user = user.set_password(password);
        }
        Self { user, tls }
    }

    /// The server at `host:port`. An IPv6 address stands in brackets.
    pub(crate) fn at(&self, address: &str) -> Result<Client, StockError> {
        let (host, port) = address
            .rsplit_once(':')
            .and_then(|(host, port)| Some((host, port.parse().ok()?)))
            .filter(|(host, _)| !host.is_empty())
            .ok_or_else(|| StockError::Unavailable(format!("`{address}` is not host:port")))?;
        self.client(host.trim_start_matches('[').trim_end_matches(']'), port)
    }

    pub(crate) fn client(&self, host: &str, port: u16) -> Result<Client, StockError> {
        let host = host.to_owned();
        let address = match self.tls {
            None => ConnectionAddr::Tcp(host, port),
            Some(_) => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
        };
        let info = address.into_connection_info().map_err(unavailable)?.set_redis_settings(self.user.clone());
        client(info, self.tls.as_ref().unwrap_or(&Trusted::Public))
    }
}

/// Uses TLS if the address asks for it.
pub(crate) fn client(server: impl IntoConnectionInfo, trusted: &Trusted) -> Result<Client, StockError> {
    let info = server.into_connection_info().map_err(unavailable)?;
    let client = match (info.addr(), trusted) {
        (ConnectionAddr::TcpTls { .. }, Trusted::Only(authorities)) => {
            if !authorities.windows(BEGIN.len()).any(|text| text == BEGIN) {
                return Err(StockError::Unavailable("there is no certificate in the PEM file".to_owned()));
            }
            let root_cert = Some(authorities.clone());
            Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert })
        }
        // If you name an authority, you do not want plain text.
        (_, Trusted::Only(_)) => {
            let detail = "there is an authority for TLS, and an address without: it begins with rediss://";
            return Err(StockError::Unavailable(detail.to_owned()));
        }
        (_, Trusted::Public) => Client::open(info),
    };
    client.map_err(unavailable)
}

pub(crate) async fn open(
    server: &Client,
    connect: Duration,
    response: Option<Duration>,
) -> Result<MultiplexedConnection, RedisError> {
    let config =
        AsyncConnectionConfig::new().set_connection_timeout(Some(connect)).set_response_timeout(response);
    server.get_multiplexed_async_connection_with_config(&config).await
}

/// Asks all of them the same thing at once, and returns what came back. `what` says in words what we ask for.
pub(crate) async fn ask_all<T, F>(
    asked: &[Client],
    what: &str,
    ask: impl Fn(Client) -> F,
) -> Result<Vec<T>, StockError>
where
    T: Send + 'static,
    F: Future<Output = Result<T, String>> + Send + 'static,
{
    let mut answers = JoinSet::new();
    for server in asked {
        let (address, answer) = (server.get_connection_info().addr().to_string(), ask(server.clone()));
        answers.spawn(async move {
            let told = tokio::time::timeout(ASK_TIMEOUT, answer).await;
            told.unwrap_or_else(|_| Err("no answer".to_owned()))
                .map_err(|problem| format!("{address}: {problem}"))
        });
    }
    let (mut told, mut problems) = (Vec::new(), Vec::new());
    while let Some(answer) = answers.join_next().await {
        match answer {
            Ok(Ok(said)) => told.push(said),
            Ok(Err(problem)) => problems.push(problem),
            Err(_stopped) => {}
        }
    }
    if told.is_empty() {
        return Err(StockError::Unavailable(format!("nobody says {what}: {}", problems.join("; "))));
    }
    Ok(told)
}

pub(crate) fn unavailable(error: RedisError) -> StockError {
    StockError::Unavailable(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sentinel::Locator;

    fn group(sentinels: &[&str]) -> SentinelGroup {
        SentinelGroup {
            sentinels: sentinels.iter().map(|address| (*address).to_owned()).collect(),
            master: "mart".to_owned(),
            username: None,
            password: Some("hidden".to_owned()),
            sentinel_password: Some("hidden".to_owned()),
            tls: None,
            min_replicas: 1,
        }
    }

    #[test]
    fn an_address_names_host_and_port() {
        for good in ["a:26379", "10.0.0.1:26379", "[::1]:26379"] {
            assert!(Locator::of_sentinels(&group(&[good])).is_ok(), "{good}");
        }
        for bad in ["a", "a:", ":26379", "a:x", "a:65536", ""] {
            let refused = Locator::of_sentinels(&group(&["a:26379", bad]));
            assert!(matches!(refused, Err(StockError::Unavailable(_))), "{bad}");
        }
    }

    #[test]
    fn passwords_stay_out_of_logs() {
        assert!(!format!("{:?}", group(&["a:26379"])).contains("hidden"));
        assert!(!format!("{:?}", Locator::of_sentinels(&group(&["a:26379"]))).contains("hidden"));
    }
}
