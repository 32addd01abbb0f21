//! Configuration: one small [`clap::Args`] struct per concern.
//!
//! A component flattens the ones it needs into its own `Args`. Every value comes from the environment
//! variable named in docs/contracts.md, or from the flag of the same name.

mod kafka;
mod owner;

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection as _, PgConnection, PgPool};
use tokio::time::timeout;
use url::Url;

use crate::problem::is_unavailable;
use crate::startup::wait_for;

pub use self::kafka::{KafkaConfig, KafkaSecurity, SaslMechanism};

/// Where a process listens: its API, and its probes and metrics.
#[derive(Args, Clone, Debug)]
pub struct ListenConfig {
    /// Address of the HTTP API.
    #[arg(long, env = "LISTEN", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// Address of `/livez`, `/readyz` and `/metrics`.
    #[arg(long, env = "ADMIN_LISTEN", default_value = "0.0.0.0:9090")]
    pub admin_listen: SocketAddr,
}

/// The PostgreSQL database of a service.
#[derive(Args, Clone)]
pub struct DatabaseConfig {
    /// `postgres://user:password@host/database`
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: String,
    /// Upper bound of the connection pool of this process.
    #[arg(long, env = "DATABASE_MAX_CONNECTIONS", default_value_t = 8)]
    pub database_max_connections: u32,
    /// Whose database it has to be, such as `namespace/name` of the Shop. When absent, nobody's in particular.
    // Components that use Redis have the same setting for it.
    #[arg(id = "database_shop_id", long = "database-shop-id", env = "SHOP_ID")]
    pub shop_id: Option<String>,
}

/// What `/readyz` calls the database.
const POSTGRESQL: &str = "postgresql";
/// Longest a statement may run; a runaway query must not hold locks forever.
const STATEMENT_TIMEOUT: &str = "30s";
/// Longest a statement waits for a lock.
const LOCK_TIMEOUT: &str = "10s";
/// Longest a transaction may sit idle; its process has probably hung.
const IDLE_TRANSACTION_TIMEOUT: &str = "60s";
/// How long a request waits for a free connection before it is refused.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

impl DatabaseConfig {
    /// Opens the pool. Waits until the server answers and the database is this shop's, and says what it waits
    /// for.
    ///
    /// A malformed URL fails at once.
    pub async fn connect(&self) -> anyhow::Result<PgPool> {
        let options = PgConnectOptions::from_str(&self.database_url)
            .context("DATABASE_URL is not a PostgreSQL URL")?
            .application_name("rocketmart")
            .options([
                ("statement_timeout", STATEMENT_TIMEOUT),
                ("lock_timeout", LOCK_TIMEOUT),
                ("idle_in_transaction_session_timeout", IDLE_TRANSACTION_TIMEOUT),
            ]);
        let place = format!(
            "{}:{}/{}",
            options.get_host(),
            options.get_port(),
            options.get_database().unwrap_or_default()
        );
        // We open a single connection first because it says why it failed; the pool would only say that it
        // timed out.
        wait_for(
            POSTGRESQL,
            |_| true,
            async || {
                let opening = timeout(ACQUIRE_TIMEOUT, PgConnection::connect_with(&options)).await;
                let opened = opening.map_err(anyhow::Error::from).and_then(|opened| Ok(opened?));
                let mut connection = opened.with_context(|| place.clone())?;
                if let Some(shop) = &self.shop_id {
                    owner::claim(&mut connection, shop).await.with_context(|| place.clone())?;
                }
                anyhow::Ok(connection.close().await?)
            },
        )
        .await?;
        let pool = PgPoolOptions::new()
            .max_connections(self.database_max_connections)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_lazy_with(options);
        Ok(pool)
    }
}

/// The URL holds a password, so it stays out of logs.
impl fmt::Debug for DatabaseConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatabaseConfig")
            .field("database_url", &"…")
            .field("database_max_connections", &self.database_max_connections)
            .field("shop_id", &self.shop_id)
            .finish()
    }
}

/// Brings the schema up to date. Any number of replicas may do so at once (advisory lock).
///
/// Migrations may take longer than a request, so they run without the statement time-outs. While PostgreSQL
/// is down they wait.
pub async fn migrate(pool: &PgPool, migrator: &Migrator) -> anyhow::Result<()> {
    let is_away = |error: &MigrateError| match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => is_unavailable(error),
        _ => false,
    };
    wait_for(POSTGRESQL, is_away, || migrate_once(pool, migrator))
        .await
        .context("cannot bring the schema up to date")
}

async fn migrate_once(pool: &PgPool, migrator: &Migrator) -> Result<(), MigrateError> {
    let mut connection = pool.acquire().await?;
    sqlx::query("SELECT set_config('statement_timeout', '0', false), set_config('lock_timeout', '0', false)")
        .execute(&mut *connection)
        .await?;
    migrator.run(&mut *connection).await?;
    // We changed the session's settings, so the connection must not go back to the pool.
    connection.close().await?;
    Ok(())
}

/// Whose access tokens are accepted.
#[derive(Args, Clone, Debug)]
pub struct AuthConfig {
    /// Expected `iss`.
    #[arg(long, env = "AUTH_ISSUER", default_value = "rocketmart")]
    pub auth_issuer: String,
    /// Expected `aud`.
    #[arg(long, env = "AUTH_AUDIENCE", default_value = "rocketmart")]
    pub auth_audience: String,
    /// Where the signing keys are published.
    #[arg(long, env = "AUTH_JWKS_URL")]
    pub auth_jwks_url: Option<Url>,
    /// Where the sessions that ended before their tokens are told.
    #[arg(long, env = "AUTH_REVOCATIONS_URL")]
    pub auth_revocations_url: Option<Url>,
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct All {
        #[command(flatten)]
        database: DatabaseConfig,
    }

    fn all() -> All {
        All::parse_from(["test", "--database-url", "postgres://u:secret@localhost/order"])
    }

    #[test]
    fn the_database_password_is_not_shown_by_debug() {
        assert!(!format!("{:?}", all().database).contains("secret"));
    }
}
