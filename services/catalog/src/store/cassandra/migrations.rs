//! The schema. Any number of replicas may bring it up to date at once.
//!
//! Cassandra has no transactions for its schema, and two nodes that create the same table at the same time
//! may end up with two. So one replica works at a time. It holds a row that every other replica waits for,
//! and that expires by itself in case the replica dies. The two tables that this needs first have fixed ids,
//! so two of them are the same one. Statements can be repeated without harm (`IF NOT EXISTS`), so a migration
//! that was cut short is simply run again.

use std::time::Duration;

use anyhow::Context;
use scylla::client::session::Session;
use scylla::statement::unprepared::Statement;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use uuid::Uuid;

use super::cluster::Cluster;
use super::config::CassandraConfig;

/// Append only; never edit a file that was released.
const MIGRATIONS: [(i32, &str); 2] = [
    (1, include_str!("../../../migrations/cassandra/0001_catalog.cql")),
    (2, include_str!("../../../migrations/cassandra/0002_claims_and_counts.cql")),
];

const LOCK_TABLE: &str = "migration_lock (name text PRIMARY KEY, holder uuid)";
const LOG_TABLE: &str = "migrations (number int PRIMARY KEY, checksum text, applied_at timestamp)";

/// Seconds after which the lock of a dead replica is free.
const LOCK_SECONDS: i32 = 60;
const WAIT: Duration = Duration::from_millis(250);
/// Schema changes take longer than other statements.
const SCHEMA_TIMEOUT: Duration = Duration::from_secs(30);

/// Creates the keyspace unless it is there. Whoever created it first has decided its replication.
pub(super) async fn make_keyspace(session: &Session, config: &CassandraConfig) -> anyhow::Result<()> {
    let keyspace = &config.cassandra_keyspace;
    let found = session
        .query_unpaged(
            "SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = ?",
            (keyspace,),
        )
        .await?;
    if found.into_rows_result()?.rows_num() > 0 {
        return Ok(());
    }
    let create = format!(
        "CREATE KEYSPACE IF NOT EXISTS {keyspace} \
         WITH replication = {{'class': 'NetworkTopologyStrategy', '{}': {}}}",
        config.cassandra_datacenter, config.cassandra_replication_factor
    );
    session.query_unpaged(schema_statement(&create), ()).await?;
    Ok(())
}

pub(super) async fn run(cluster: &Cluster) -> anyhow::Result<()> {
    for table in [LOCK_TABLE, LOG_TABLE] {
        make_table(cluster, table).await?;
    }
    let me = Uuid::new_v4();
    loop {
        if is_up_to_date(cluster).await? {
            return Ok(());
        }
        let mine = cluster
            .conditionally(
                "INSERT INTO migration_lock (name, holder) VALUES ('schema', ?) IF NOT EXISTS USING TTL ?",
                (me, LOCK_SECONDS),
            )
            .await?;
        let holder: Vec<(Option<Uuid>,)> =
            cluster.read_settled("SELECT holder FROM migration_lock WHERE name = 'schema'", ()).await?;
        if mine.is_applied() || holder.first().is_some_and(|(holder,)| *holder == Some(me)) {
            break;
        }
        tokio::time::sleep(WAIT).await;
    }
    let done = apply_missing(cluster, me).await;
    let free = "DELETE FROM migration_lock WHERE name = 'schema' IF holder = ?";
    if let Err(error) = cluster.conditionally(free, (me,)).await {
        tracing::warn!(%error, "the migration lock stays until it expires");
    }
    done
}

/// Creates a table that is not part of the migrations, however many do so at once.
pub(super) async fn make_table(cluster: &Cluster, table: &str) -> anyhow::Result<()> {
    let id = table_id(cluster, table);
    change(cluster, &format!("CREATE TABLE IF NOT EXISTS {table} WITH ID = {id}")).await
}

/// The same for every replica, and different in every keyspace: ids are unique in a cluster.
fn table_id(cluster: &Cluster, table: &str) -> Uuid {
    let keyspace = cluster.session.get_session().get_keyspace().unwrap_or_default();
    Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("rocketmart {keyspace} {table}").as_bytes())
}

/// Whether every migration was applied, with the content that it has here.
async fn is_up_to_date(cluster: &Cluster) -> anyhow::Result<bool> {
    let applied: Vec<(i32, String)> = cluster.read("SELECT number, checksum FROM migrations", ()).await?;
    for (number, text) in MIGRATIONS {
        match applied.iter().find(|(applied, _)| *applied == number) {
            Some((_, applied)) => anyhow::ensure!(
                *applied == checksum(text),
                "migration {number} was applied with another content; a released migration is never edited"
            ),
            None => return Ok(false),
        }
    }
    Ok(true)
}

async fn apply_missing(cluster: &Cluster, me: Uuid) -> anyhow::Result<()> {
    let applied: Vec<(i32,)> = cluster.read("SELECT number FROM migrations", ()).await?;
    for (number, text) in MIGRATIONS {
        if applied.contains(&(number,)) {
            continue;
        }
        for statement in statements(text) {
            let kept = cluster
                .conditionally(
                    "UPDATE migration_lock USING TTL ? SET holder = ? WHERE name = 'schema' IF holder = ?",
                    (LOCK_SECONDS, me, me),
                )
                .await?;
            anyhow::ensure!(kept.is_applied(), "the migration lock was lost on the way");
            change(cluster, &statement).await.with_context(|| format!("migration {number}: {statement}"))?;
        }
        cluster
            .write(
                "INSERT INTO migrations (number, checksum, applied_at) VALUES (?, ?, ?)",
                (number, checksum(text), OffsetDateTime::now_utc()),
            )
            .await?;
        tracing::info!(number, "migrated");
    }
    Ok(())
}

/// Makes one change to the schema, and returns once all nodes have it.
async fn change(cluster: &Cluster, statement: &str) -> anyhow::Result<()> {
    cluster.session.get_session().query_unpaged(schema_statement(statement), ()).await?;
    Ok(())
}

fn schema_statement(text: &str) -> Statement {
    let mut statement = Statement::new(text);
    statement.set_request_timeout(Some(SCHEMA_TIMEOUT));
    statement.set_is_idempotent(true);
    statement
}

/// The statements of a file, without comments.
fn statements(text: &str) -> Vec<String> {
    let code: Vec<&str> = text.lines().map(|line| line.split("--").next().unwrap_or_default()).collect();
    code.join("\n")
        .split(';')
        .map(str::trim)
        .filter(|statement| !statement.is_empty())
        .map(str::to_owned)
        .collect()
}

fn checksum(text: &str) -> String {
    hex::encode(Sha256::digest(statements(text).join(";\n")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_cut_into_statements_without_its_comments() {
        let cut = statements(
            "-- first; really\nCREATE TABLE a (x int); -- an x\n\nCREATE TABLE b (\n  y int\n);\n",
        );
        assert_eq!(cut, ["CREATE TABLE a (x int)", "CREATE TABLE b (\n  y int\n)"]);
    }

    #[test]
    fn every_statement_can_be_repeated() {
        for (number, text) in MIGRATIONS {
            for statement in statements(text) {
                assert!(statement.contains("IF NOT EXISTS"), "migration {number}: {statement}");
            }
        }
    }

    #[test]
    fn migrations_are_numbered_without_a_gap() {
        let numbers: Vec<i32> = MIGRATIONS.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, (1..=i32::try_from(numbers.len()).unwrap()).collect::<Vec<_>>());
    }
}
