//! One Cassandra node; each test has its own keyspace.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};

use crate::{
    maven, ports,
    process::{self, Process, Server},
};

/// A Cassandra process.
///
/// It is the only backing server that is less durable than in production. Nobody can take it down and look at
/// what it kept, and with production's durability every table takes a second.
#[derive(Debug)]
pub struct Cassandra {
    _process: Process,
    port: u16,
}

/// It listens after ten seconds on an idle machine, later on a busy one.
const START_LIMIT: Duration = Duration::from_mins(3);

/// The JDK options that Cassandra needs, one per line.
const JDK_OPTIONS: &str = include_str!("../../../../images/cassandra/jdk17.options");

impl Cassandra {
    pub(super) fn start() -> Result<Self> {
        let port = ports::free_port()?;
        let libraries = maven::libraries("cassandra")?;
        let dir = process::scratch("cassandra")?;
        fs::write(configuration(&dir), cassandra_yaml(port, ports::free_port()?, &dir.join("data")))?;
        fs::write(dir.join("logback.xml"), LOGBACK)?;
        let server = Server {
            name: "cassandra",
            program: "java".into(),
            arguments: arguments(&libraries, &dir)?,
            environment: vec![],
            log: dir.join("cassandra.log"),
            user: None,
        };
        Ok(Self { _process: server.start(port, START_LIMIT)?, port })
    }

    /// `host:port` of its native protocol.
    pub fn contact_point(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

/// Only the quick compiler: a test needs a node soon, not a fast one.
fn arguments(libraries: &Path, dir: &Path) -> Result<Vec<String>> {
    let mut arguments: Vec<String> =
        JDK_OPTIONS.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
    arguments.extend([
        format!("-javaagent:{}", agent(libraries)?.display()),
        "-Xms768m".into(),
        "-Xmx768m".into(),
        "-XX:+UseSerialGC".into(),
        "-XX:TieredStopAtLevel=1".into(),
        format!("-Dcassandra.config=file://{}", configuration(dir).display()),
        format!("-Dcassandra.storagedir={}", dir.join("data").display()),
        format!("-Dlogback.configurationFile={}", dir.join("logback.xml").display()),
        // There is no other node to wait for.
        "-Dcassandra.skip_wait_for_gossip_to_settle=0".into(),
        "-Dcassandra.ring_delay_ms=0".into(),
        // Otherwise every schema change writes ten tables to disk, and a test makes a dozen tables.
        "-Dcassandra.test.flush_local_schema_changes=false".into(),
        // Otherwise two nodes on one machine want the same management port.
        "-Dcassandra.jmx.local.port=0".into(),
        "-cp".into(),
        format!("{}/*", libraries.display()),
        "org.apache.cassandra.service.CassandraDaemon".into(),
    ]);
    Ok(arguments)
}

/// The agent that measures objects on the heap, in whatever version is there.
fn agent(libraries: &Path) -> Result<PathBuf> {
    fs::read_dir(libraries)?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("jamm-")))
        .with_context(|| format!("no jamm in {}", libraries.display()))
}

fn configuration(dir: &Path) -> PathBuf {
    dir.join("cassandra.yaml")
}

/// Allocates memory in small pieces, because there are many tables with few rows each.
fn cassandra_yaml(port: u16, storage_port: u16, data: &Path) -> String {
    let data = data.display();
    format!(
        "cluster_name: rocketmart-test
num_tokens: 1
auto_bootstrap: false
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
endpoint_snitch: SimpleSnitch
seed_provider:
  - class_name: org.apache.cassandra.locator.SimpleSeedProvider
    parameters: [{{seeds: \"127.0.0.1:{storage_port}\"}}]
listen_address: 127.0.0.1
rpc_address: 127.0.0.1
storage_port: {storage_port}
native_transport_port: {port}
commitlog_sync: periodic
commitlog_sync_period: 10s
memtable_allocation_type: unslabbed_heap_buffers
auto_snapshot: false
data_file_directories: [{data}/data]
commitlog_directory: {data}/commitlog
saved_caches_directory: {data}/saved_caches
hints_directory: {data}/hints
cdc_raw_directory: {data}/cdc
"
    )
}

const LOGBACK: &str = r#"<configuration>
  <appender name="out" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%date{ISO8601} %-5level %logger{0}: %msg%n</pattern></encoder>
  </appender>
  <root level="WARN"><appender-ref ref="out"/></root>
</configuration>
"#;
