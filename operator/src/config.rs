//! Configuration of the operator, from flags or the environment.

use std::net::SocketAddr;

use clap::{Parser, ValueEnum};

/// The operator of Rocket Mart: turns Shops and `FlashSales` into running shops and sales.
#[derive(Clone, Debug, Parser)]
#[command(name = "rocketmart-operator", version)]
pub struct Config {
    /// Watches this namespace only. When absent, all.
    #[arg(long, env = "WATCH_NAMESPACE")]
    pub watch_namespace: Option<String>,

    /// Namespace of the operator, where its Lease is.
    #[arg(long, env = "POD_NAMESPACE", default_value = "default")]
    pub namespace: String,

    /// Name of this replica; has to be unique among them.
    #[arg(long, env = "POD_NAME", default_value = "rocketmart-operator")]
    pub identity: String,

    /// Name of the Lease that replicas of the operator compete for.
    #[arg(long, env = "LEASE_NAME", default_value = "rocketmart-operator")]
    pub lease_name: String,

    /// Seconds after which a leader that does not renew its Lease is replaced.
    #[arg(long, env = "LEASE_SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u32).range(3..=300))]
    pub lease_seconds: u32,

    /// Seconds beyond its payment deadline after which a `FlashSale` that is being deleted is let go, settled or
    /// not.
    #[arg(long, env = "SETTLE_SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub settle_seconds: u32,

    /// Image of shops that do not name one.
    #[arg(long, env = "SHOP_IMAGE", default_value = concat!("rocketmart:", env!("CARGO_PKG_VERSION")))]
    pub shop_image: String,

    /// Address of a shop's order service, with `{shop}` and `{namespace}` filled in.
    #[arg(long, env = "ORDER_URL", default_value = "http://{shop}-order.{namespace}.svc")]
    pub order_url: String,

    /// Where `/healthz`, `/readyz` and `/metrics` are served.
    #[arg(long, env = "ADMIN_LISTEN", default_value = "0.0.0.0:9090")]
    pub admin_listen: SocketAddr,

    /// Form of log lines.
    #[arg(long, env = "LOG_FORMAT", default_value = "json")]
    pub log_format: LogFormat,
}

/// Form of log lines.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum LogFormat {
    Json,
    Text,
}
