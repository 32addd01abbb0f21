//! From the settings to a cluster that is ready for use.
//!
//! ```text
//!   nodes ──▶ keyspace (made unless it is there) ──▶ whose it is ──▶ schema ──▶ Cluster
//! ```

use std::time::Duration;

use anyhow::Context;
use rocketmart_kit::startup::wait_for;
use scylla::client::execution_profile::ExecutionProfile;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::errors::NewSessionError;
use scylla::policies::load_balancing::DefaultPolicy;
use scylla::statement::{Consistency, SerialConsistency};
use tokio::time::Instant;

use super::cluster::Cluster;
use super::config::CassandraConfig;
use super::{migrations, owner};

/// Longest one attempt of a statement may take. A request has ten seconds in all.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a new keyspace may take to appear.
const KEYSPACE_LIMIT: Duration = Duration::from_secs(10);
const KEYSPACE_PAUSE: Duration = Duration::from_millis(100);

impl CassandraConfig {
    /// Connects and brings the schema up to date. Waits until enough nodes answer and, if a shop is named,
    /// until the keyspace is that shop's.
    pub async fn connect(&self, shop: Option<&str>) -> anyhow::Result<Cluster> {
        self.check()?;
        wait_for("cassandra", |_| true, || self.try_to_connect(shop)).await
    }

    async fn try_to_connect(&self, shop: Option<&str>) -> anyhow::Result<Cluster> {
        let nodes = || format!("no node answers of {:?}", self.cassandra_contact_points);
        let session = self.session().await.with_context(nodes)?;
        migrations::make_keyspace(&session, self).await.context("cannot make the keyspace")?;
        self.use_keyspace(&session).await.context("cannot use the keyspace")?;
        let cluster = Cluster::new(session);
        if let Some(shop) = shop {
            owner::claim(&cluster, shop).await?;
        }
        migrations::run(&cluster).await.context("cannot bring the schema up to date")?;
        cluster.session.get_session().refresh_metadata().await.context("cannot read the schema")?;
        Ok(cluster)
    }

    /// A keyspace that another replica is about to create can be listed already and not be there yet.
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

    async fn session(&self) -> Result<Session, NewSessionError> {
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
