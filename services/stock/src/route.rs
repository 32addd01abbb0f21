//! Which connection leads to a sale.

use std::sync::Arc;
use std::time::Duration;

use crate::cluster::Cluster;
use crate::connection::Connection;
use crate::error::StockError;
use crate::owner::Owner;
use crate::sentinel::Locator;
use crate::server::Server;

/// Always the same connection, or that of the master that owns the key's slot.
#[derive(Clone, Debug)]
pub(crate) enum Route {
    One(Arc<Connection>),
    Cluster(Arc<Cluster>),
}

impl Route {
    pub(crate) fn new(
        server: &Server,
        owner: Option<Owner>,
        response_timeout: Duration,
    ) -> Result<Self, StockError> {
        let one = |locator, min_replicas| {
            Self::One(Arc::new(Connection::new(locator, owner.clone(), min_replicas, response_timeout)))
        };
        Ok(match server {
            Server::Url(url, trusted) => one(Locator::of_url(url, trusted)?, 0),
            Server::Sentinel(group) => one(Locator::of_sentinels(group)?, group.min_replicas),
            Server::Cluster(nodes) => {
                Self::Cluster(Arc::new(Cluster::new(nodes, owner.clone(), response_timeout)?))
            }
        })
    }

    pub(crate) async fn to(&self, key: &str) -> Result<Arc<Connection>, StockError> {
        match self {
            Self::One(connection) => Ok(Arc::clone(connection)),
            Self::Cluster(cluster) => cluster.to(key).await,
        }
    }

    /// The connections to all servers that decide, and the names that tell these apart.
    pub(crate) async fn all(&self) -> Result<Vec<(String, Arc<Connection>)>, StockError> {
        match self {
            Self::One(connection) => Ok(vec![(String::new(), Arc::clone(connection))]),
            Self::Cluster(cluster) => cluster.all().await,
        }
    }
}
