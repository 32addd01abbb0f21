//! The connection, and the one place that knows how statements are sent.
//!
//! Plain reads and writes ask a quorum of the local datacenter and may be repeated by the driver.
//! Conditional writes (lightweight transactions) are sent by [`super::conditional`] alone.

use std::fmt;
use std::time::Duration;

use anyhow::Context;
use futures::TryStreamExt;
use rocketmart_kit::startup::wait_for;
use scylla::client::caching_session::{CachingSession, CachingSessionBuilder};
use scylla::client::execution_profile::ExecutionProfile;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::policies::load_balancing::DefaultPolicy;
use scylla::serialize::row::SerializeRow;
use scylla::statement::unprepared::Statement;
use scylla::statement::{Consistency, SerialConsistency};
use tokio::time::Instant;

use super::{migrations, owner};
use crate::store::{Result, StoreError};

/// Longest one attempt of a statement may take; a request has ten seconds in all.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a keyspace may take to be there after it was made.
const KEYSPACE_LIMIT: Duration = Duration::from_secs(10);
const KEYSPACE_PAUSE: Duration = Duration::from_millis(100);
/// Prepared statements kept; more than there are.
const STATEMENTS: usize = 128;

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
    /// Names go into statements as they are, so they are narrow.
    fn check(&self) -> anyhow::Result<()> {
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

    /// Connects and brings the schema up to date, waiting until enough nodes answer and the keyspace is the
    /// shop's, if one is named.
    pub async fn connect(&self, shop: Option<&str>) -> anyhow::Result<Cluster> {
        self.check()?;
        wait_for("cassandra", |_| true, || self.try_to_connect(shop)).await
    }

    async fn try_to_connect(&self, shop: Option<&str>) -> anyhow::Result<Cluster> {
        let nodes = || format!("no node answers of {:?}", self.cassandra_contact_points);
        let session = self.session().await.with_context(nodes)?;
        migrations::make_keyspace(&session, self).await.context("cannot make the keyspace")?;
        self.use_keyspace(&session).await.context("cannot use the keyspace")?;
        let cluster =
            Cluster { session: CachingSessionBuilder::new(session).max_capacity(STATEMENTS).build() };
        if let Some(shop) = shop {
            owner::claim(&cluster, shop).await?;
        }
        migrations::run(&cluster).await.context("cannot bring the schema up to date")?;
        cluster.session.get_session().refresh_metadata().await.context("cannot read the schema")?;
        Ok(cluster)
    }

    /// What another replica is about to make can be listed already and not be there yet.
    async fn use_keyspace(&self, session: &Session) -> anyhow::Result<()> {
        let deadline = Instant::now() + KEYSPACE_LIMIT;
        while let Err(error) = session.use_keyspace(&self.cassandra_keyspace, false).await {
            if Instant::now() >= deadline {
                return Err(error.into());
            }
            tokio::time::sleep(KEYSPACE_PAUSE).await;
        }
        Ok(())
    }

    async fn session(&self) -> Result<Session, scylla::errors::NewSessionError> {
        let local = DefaultPolicy::builder().prefer_datacenter(self.cassandra_datacenter.clone()).build();
        let profile = ExecutionProfile::builder()
            .consistency(Consistency::LocalQuorum)
            .serial_consistency(Some(SerialConsistency::LocalSerial))
            .request_timeout(Some(STATEMENT_TIMEOUT))
            .load_balancing_policy(local)
            .build();
        let mut builder = SessionBuilder::new()
            .known_nodes(&self.cassandra_contact_points)
            // What the driver needs to find the nodes of a row, once the schema is there.
            .keyspaces_to_fetch([&self.cassandra_keyspace])
            .fetch_full_schema_metadata(false)
            .refresh_metadata_on_auto_schema_agreement(false)
            .default_execution_profile_handle(profile.into_handle());
        if let Some(user) = &self.cassandra_user {
            builder = builder.user(user, self.cassandra_password.as_deref().unwrap_or_default());
        }
        builder.build().await
    }
}

/// The cluster, with the keyspace in use and the schema up to date.
pub struct Cluster {
    pub(super) session: CachingSession,
}

impl Cluster {
    /// Rows as a quorum has them.
    pub(super) async fn read<R: OwnedRow>(&self, query: &str, values: impl SerializeRow) -> Result<Vec<R>> {
        self.rows(statement(query), values).await
    }

    /// Rows after every conditional write that was begun before: one that was left half-way is
    /// finished first, or can never happen any more.
    pub(super) async fn read_settled<R: OwnedRow>(
        &self,
        query: &str,
        values: impl SerializeRow,
    ) -> Result<Vec<R>> {
        let mut statement = statement(query);
        statement.set_consistency(Consistency::LocalSerial);
        self.rows(statement, values).await
    }

    async fn rows<R: OwnedRow>(&self, statement: Statement, values: impl SerializeRow) -> Result<Vec<R>> {
        let result = self.session.execute_unpaged(statement, values).await?;
        let rows = result.into_rows_result().map_err(StoreError::unreadable)?;
        let rows = rows.rows::<R>().map_err(StoreError::unreadable)?;
        rows.collect::<Result<_, _>>().map_err(StoreError::unreadable)
    }

    /// Hands every row of a whole table to `each`, page by page.
    pub(super) async fn scan<R: OwnedRow>(&self, query: &str, mut each: impl FnMut(R)) -> Result<()> {
        let pager = self.session.execute_iter(statement(query), ()).await.map_err(StoreError::unreadable)?;
        let mut rows = pager.rows_stream::<R>().map_err(StoreError::unreadable)?;
        while let Some(row) = rows.try_next().await.map_err(StoreError::unreadable)? {
            each(row);
        }
        Ok(())
    }

    /// A write that says the same however often it is made.
    pub(super) async fn write(&self, query: &str, values: impl SerializeRow) -> Result<()> {
        self.session.execute_unpaged(statement(query), values).await?;
        Ok(())
    }

    /// An error while no node answers.
    pub(crate) async fn ready(&self) -> anyhow::Result<()> {
        self.session.execute_unpaged(statement("SELECT key FROM system.local"), ()).await?;
        Ok(())
    }
}

fn statement(query: &str) -> Statement {
    let mut statement = Statement::new(query);
    statement.set_is_idempotent(true);
    statement
}

/// A row that borrows nothing from the answer it came in.
pub(super) trait OwnedRow:
    for<'frame, 'metadata> scylla::deserialize::row::DeserializeRow<'frame, 'metadata>
{
}

impl<R> OwnedRow for R where
    R: for<'frame, 'metadata> scylla::deserialize::row::DeserializeRow<'frame, 'metadata>
{
}
