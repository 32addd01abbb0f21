//! Where the reservations live: in one Redis, on the master of a group that Sentinels watch over, or on the
//! masters of a cluster.

use std::path::PathBuf;
use std::{fmt, fs};

use anyhow::Context;
use rocketmart_stock::{ClusterNodes, SentinelGroup, Server, Stock, Trusted};

/// How to reach Redis: by its URL, by Sentinels, or by nodes of a cluster.
#[derive(Clone, Default, clap::Args)]
pub struct StockConfig {
    /// `redis://[user:password@]host:port`, or `rediss://` for TLS.
    #[arg(
        long,
        env = "REDIS_URL",
        hide_env_values = true,
        required_unless_present_any = ["redis_sentinels", "redis_cluster"],
        conflicts_with_all = ["redis_sentinels", "redis_cluster"]
    )]
    pub redis_url: Option<String>,
    /// Sentinels, `host:port` each, separated by commas.
    #[arg(
        long,
        env = "REDIS_SENTINELS",
        value_delimiter = ',',
        requires = "redis_sentinel_master",
        conflicts_with = "redis_cluster"
    )]
    pub redis_sentinels: Vec<String>,
    /// The name under which the Sentinels know the master.
    #[arg(long, env = "REDIS_SENTINEL_MASTER")]
    pub redis_sentinel_master: Option<String>,
    /// Nodes of a cluster, `host:port` each, separated by commas.
    #[arg(long, env = "REDIS_CLUSTER", value_delimiter = ',')]
    pub redis_cluster: Vec<String>,
    /// User of Redis, with Sentinels and a cluster.
    #[arg(long, env = "REDIS_USERNAME")]
    pub redis_username: Option<String>,
    /// Password of Redis, with Sentinels and a cluster.
    #[arg(long, env = "REDIS_PASSWORD", hide_env_values = true)]
    pub redis_password: Option<String>,
    /// Password of the Sentinels.
    #[arg(long, env = "REDIS_SENTINEL_PASSWORD", hide_env_values = true)]
    pub redis_sentinel_password: Option<String>,
    /// With Sentinels and a cluster: whether they are spoken to by TLS.
    #[arg(long, env = "REDIS_TLS")]
    pub redis_tls: bool,
    /// PEM file of those who may have signed the certificates of Redis, instead of the public authorities.
    #[arg(long, env = "REDIS_CA_FILE")]
    pub redis_ca_file: Option<PathBuf>,
    /// With Sentinels and a cluster: replicas of a master that must have written a change before it is answered.
    #[arg(long, env = "REDIS_MIN_REPLICAS", default_value_t = 1,
        value_parser = clap::value_parser!(u8).range(1..))]
    pub redis_min_replicas: u8,
    /// Whose Redis it has to be, such as `namespace/name` of the Shop. When absent, nobody's in particular.
    #[arg(long, env = "SHOP_ID")]
    pub shop_id: Option<String>,
}

impl StockConfig {
    /// One Redis, by its URL.
    pub fn of_url(url: impl Into<String>) -> Self {
        Self { redis_url: Some(url.into()), ..Self::default() }
    }

    /// A client for the reservation engine; it connects on first use.
    pub fn connect(&self) -> anyhow::Result<Stock> {
        let server = self.server()?;
        Ok(match &self.shop_id {
            Some(shop) => Stock::of_shop(&server, shop)?,
            None => Stock::connect_to(&server)?,
        })
    }

    fn server(&self) -> anyhow::Result<Server> {
        let trusted = match &self.redis_ca_file {
            None => Trusted::Public,
            Some(file) => {
                Trusted::Only(fs::read(file).with_context(|| format!("reading {}", file.display()))?)
            }
        };
        Ok(match &self.redis_url {
            Some(url) => Server::Url(url.clone(), trusted),
            None if !self.redis_cluster.is_empty() => Server::Cluster(ClusterNodes {
                addresses: self.redis_cluster.clone(),
                username: self.redis_username.clone(),
                password: self.redis_password.clone(),
                tls: self.redis_tls.then_some(trusted),
                min_replicas: self.redis_min_replicas.into(),
            }),
            None => Server::Sentinel(SentinelGroup {
                sentinels: self.redis_sentinels.clone(),
                master: self.redis_sentinel_master.clone().unwrap_or_default(),
                username: self.redis_username.clone(),
                password: self.redis_password.clone(),
                sentinel_password: self.redis_sentinel_password.clone(),
                tls: self.redis_tls.then_some(trusted),
                min_replicas: self.redis_min_replicas.into(),
            }),
        })
    }
}

/// The URL may hold a password, so keep it out of the logs.
impl fmt::Debug for StockConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StockConfig")
            .field("redis_sentinels", &self.redis_sentinels)
            .field("redis_sentinel_master", &self.redis_sentinel_master)
            .field("redis_cluster", &self.redis_cluster)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Program {
        #[command(flatten)]
        stock: StockConfig,
    }

    fn parse(arguments: &[&str]) -> Result<StockConfig, clap::Error> {
        Program::try_parse_from(["order"].iter().chain(arguments)).map(|program| program.stock)
    }

    #[test]
    fn redis_is_named_in_one_of_three_ways() {
        let sentinels = ["--redis-sentinels", "a:1,b:2", "--redis-sentinel-master", "mart"];
        assert!(matches!(parse(&["--redis-url", "redis://r"]).unwrap().server(), Ok(Server::Url(..))));
        let Ok(Server::Sentinel(group)) = parse(&sentinels).unwrap().server() else { panic!() };
        assert_eq!((group.sentinels, group.min_replicas), (vec!["a:1".into(), "b:2".into()], 1));
        let Ok(Server::Cluster(nodes)) = parse(&["--redis-cluster", "a:1,b:2"]).unwrap().server() else {
            panic!()
        };
        assert_eq!((nodes.addresses.len(), nodes.min_replicas), (2, 1));
        let both = [&sentinels[..], &["--redis-url", "redis://r"]].concat();
        let those = [&sentinels[..], &["--redis-cluster", "a:1"]].concat();
        for refused in
            [&[][..], &sentinels[..2], &both, &those, &["--redis-url", "r", "--redis-min-replicas", "0"]]
        {
            assert!(parse(refused).is_err(), "{refused:?}");
        }
    }
}
