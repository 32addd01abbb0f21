//! Where Cassandra is, and which keyspace is the catalog's.

use std::fmt;

/// The Cassandra cluster of the catalog.
#[derive(clap::Args, Clone)]
pub struct CassandraConfig {
    /// Some nodes to begin with, `host[:port],…`; the others are learnt from them.
    #[arg(long, env = "CASSANDRA_CONTACT_POINTS", value_delimiter = ',')]
    pub cassandra_contact_points: Vec<String>,
    /// The keyspace; made when it is not there.
    #[arg(long, env = "CASSANDRA_KEYSPACE", default_value = "catalog")]
    pub cassandra_keyspace: String,
    /// The datacenter whose nodes are asked and hold the data.
    #[arg(long, env = "CASSANDRA_DATACENTER", default_value = "datacenter1")]
    pub cassandra_datacenter: String,
    /// Copies of each row in the datacenter, when the keyspace is made.
    #[arg(long, env = "CASSANDRA_REPLICATION_FACTOR", default_value_t = 3)]
    pub cassandra_replication_factor: u8,
    #[arg(long, env = "CASSANDRA_USER")]
    pub cassandra_user: Option<String>,
    #[arg(long, env = "CASSANDRA_PASSWORD", hide_env_values = true)]
    pub cassandra_password: Option<String>,
}

/// The password stays out of logs.
impl fmt::Debug for CassandraConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CassandraConfig")
            .field("contact_points", &self.cassandra_contact_points)
            .field("keyspace", &self.cassandra_keyspace)
            .field("datacenter", &self.cassandra_datacenter)
            .field("replication_factor", &self.cassandra_replication_factor)
            .field("user", &self.cassandra_user)
            .finish_non_exhaustive()
    }
}

impl CassandraConfig {
    /// Names go into statements as they are, so only a narrow alphabet is allowed.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            !self.cassandra_contact_points.is_empty(),
            "CASSANDRA_CONTACT_POINTS is required with CATALOG_STORE=cassandra"
        );
        let keyspace = &self.cassandra_keyspace;
        anyhow::ensure!(
            keyspace.len() <= 48
                && keyspace.starts_with(|c: char| c.is_ascii_lowercase())
                && keyspace.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'),
            "CASSANDRA_KEYSPACE has to be 1 to 48 of a-z, 0-9 and _, starting with a letter"
        );
        let datacenter = &self.cassandra_datacenter;
        anyhow::ensure!(
            !datacenter.is_empty()
                && datacenter.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.')),
            "CASSANDRA_DATACENTER has to be letters, digits, '_', '-' and '.'"
        );
        anyhow::ensure!(
            self.cassandra_replication_factor > 0,
            "CASSANDRA_REPLICATION_FACTOR has to be at least 1"
        );
        Ok(())
    }
}
