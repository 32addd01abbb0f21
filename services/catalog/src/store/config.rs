//! Which store the catalog uses, and where it is.

use rocketmart_kit::config::DatabaseConfig;

use super::cassandra::CassandraConfig;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum StoreKind {
    #[default]
    Postgres,
    Cassandra,
}

/// One of the stores; the settings of the other are not looked at.
#[derive(clap::Args, Clone, Debug)]
pub struct StoreConfig {
    /// Where products are kept.
    #[arg(long, env = "CATALOG_STORE", value_enum, default_value_t)]
    pub catalog_store: StoreKind,
    #[command(flatten)]
    pub postgres: PostgresConfig,
    #[command(flatten)]
    pub cassandra: CassandraConfig,
    /// Whose store it has to be, such as `namespace/name` of the Shop. When absent, nobody's in particular.
    #[arg(long, env = "SHOP_ID")]
    pub shop_id: Option<String>,
}

impl StoreConfig {
    pub(crate) fn database(&self) -> anyhow::Result<DatabaseConfig> {
        let PostgresConfig { database_url, database_max_connections } = self.postgres.clone();
        let Some(database_url) = database_url else {
            anyhow::bail!("DATABASE_URL is required with CATALOG_STORE=postgres")
        };
        Ok(DatabaseConfig { database_url, database_max_connections, shop_id: self.shop_id.clone() })
    }
}

/// [`DatabaseConfig`] that is only needed by one of the stores.
#[derive(clap::Args, Clone)]
pub struct PostgresConfig {
    /// `postgres://user:password@host/database`
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// Upper bound of the connection pool of this process.
    #[arg(long, env = "DATABASE_MAX_CONNECTIONS", default_value_t = 8)]
    pub database_max_connections: u32,
}

/// The URL holds a password, so it stays out of logs.
impl std::fmt::Debug for PostgresConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresConfig")
            .field("database_max_connections", &self.database_max_connections)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct All {
        #[command(flatten)]
        store: StoreConfig,
    }

    #[test]
    fn cassandra_needs_no_database_url_and_postgres_does() {
        let store = All::parse_from([
            "test",
            "--catalog-store",
            "cassandra",
            "--cassandra-contact-points",
            "a,b:9043",
        ])
        .store;
        assert_eq!(store.catalog_store, StoreKind::Cassandra);
        assert_eq!(store.cassandra.cassandra_contact_points, ["a", "b:9043"]);
        let store = All::parse_from(["test"]).store;
        let error = store.database().unwrap_err();
        assert!(error.to_string().contains("DATABASE_URL"), "{error}");
    }

    #[test]
    fn passwords_are_not_shown_by_debug() {
        let store = All::parse_from([
            "test",
            "--database-url",
            "postgres://u:hunter2@db/catalog",
            "--cassandra-password",
            "hunter2",
        ])
        .store;
        assert!(!format!("{store:?}").contains("hunter2"));
    }
}
