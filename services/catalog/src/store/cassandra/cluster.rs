//! The connection, and the one place that knows how to send statements.
//!
//! Plain reads and writes ask a quorum of the local datacenter, and the driver may repeat them. Only
//! [`super::conditional`] sends conditional writes (lightweight transactions).

use futures::TryStreamExt;
use scylla::client::caching_session::{CachingSession, CachingSessionBuilder};
use scylla::client::session::Session;
use scylla::serialize::row::SerializeRow;
use scylla::statement::Consistency;
use scylla::statement::unprepared::Statement;

use crate::store::{Result, StoreError};

/// How many prepared statements we keep; more than there are.
const STATEMENTS: usize = 128;

/// The cluster, with its keyspace in use. [`CassandraConfig::connect`](super::CassandraConfig::connect)
/// brings its schema up to date before anybody else gets it.
pub struct Cluster {
    pub(super) session: CachingSession,
}

impl Cluster {
    /// Expects a session with its keyspace in use.
    pub(super) fn new(session: Session) -> Self {
        Self { session: CachingSessionBuilder::new(session).max_capacity(STATEMENTS).build() }
    }

    /// Reads rows as a quorum has them.
    pub(super) async fn read<R: OwnedRow>(&self, query: &str, values: impl SerializeRow) -> Result<Vec<R>> {
        self.rows(statement(query), values).await
    }

    /// Reads rows after every conditional write that began earlier: one that was left half-way is finished
    /// first, or can never happen any more.
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

    /// A write that says the same thing however often we repeat it.
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

/// A row that borrows nothing from the answer that it came in.
pub(super) trait OwnedRow:
    for<'frame, 'metadata> scylla::deserialize::row::DeserializeRow<'frame, 'metadata>
{
}

impl<R> OwnedRow for R where
    R: for<'frame, 'metadata> scylla::deserialize::row::DeserializeRow<'frame, 'metadata>
{
}
