//! One Kafka, one PostgreSQL and one Cassandra for all tests of a run. Each test has its own topic prefix,
//! database and keyspace.
//!
//! ```text
//! cargo xtask test ── starts them once, passes their addresses on ──▶ every test executable
//! cargo test ───────────────────────────────────────────────────────▶ each executable starts what it needs
//! ```

use std::{
    env,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

use anyhow::{Context as _, Result, anyhow};

use super::{Cassandra, Kafka, Postgres, postgres};

/// The variable that says where a server already runs.
const KAFKA: &str = "TEST_KAFKA_BROKERS";
const POSTGRES: &str = "TEST_POSTGRES_PORT";
const CASSANDRA: &str = "TEST_CASSANDRA_CONTACT_POINT";

/// Bootstrap servers of the shared Kafka.
pub fn brokers() -> Result<String> {
    static STARTED: OnceLock<Result<Kafka, String>> = OnceLock::new();
    told_or_started(KAFKA, || Ok(once(&STARTED, Kafka::start)?.brokers()))
}

/// Makes an empty database in the shared PostgreSQL, whose name begins with `name`, and returns its URL.
pub fn create_database(name: &str) -> Result<String> {
    static STARTED: OnceLock<Result<Postgres, String>> = OnceLock::new();
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let port = told_or_started(POSTGRES, || Ok(once(&STARTED, Postgres::start)?.port().to_string()))?;
    let port = port.parse().with_context(|| format!("{POSTGRES}={port} is no port"))?;
    // Other processes make databases too.
    let database = format!("{name}_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    postgres::create_database(port, &database)?;
    Ok(postgres::url(port, &database))
}

/// `host:port` of the shared Cassandra's native protocol.
pub fn contact_point() -> Result<String> {
    static STARTED: OnceLock<Result<Cassandra, String>> = OnceLock::new();
    told_or_started(CASSANDRA, || Ok(once(&STARTED, Cassandra::start)?.contact_point()))
}

fn told_or_started(variable: &str, start: impl FnOnce() -> Result<String>) -> Result<String> {
    env::var(variable).or_else(|_| start())
}

fn once<T>(started: &'static OnceLock<Result<T, String>>, start: fn() -> Result<T>) -> Result<&'static T> {
    let started = started.get_or_init(|| start().map_err(|error| format!("{error:#}")));
    started.as_ref().map_err(|error| anyhow!("a server for tests: {error}"))
}

/// The servers of a run; dropping this ends them.
#[derive(Debug)]
pub struct Servers {
    kafka: Kafka,
    postgres: Postgres,
    cassandra: Cassandra,
}

impl Servers {
    /// Starts all of them at the same time.
    pub fn start() -> Result<Self> {
        thread::scope(|scope| {
            let (kafka, postgres) = (scope.spawn(Kafka::start), scope.spawn(Postgres::start));
            let cassandra = Cassandra::start()?;
            let panicked = |_| anyhow!("starting a server panicked");
            Ok(Self {
                kafka: kafka.join().map_err(panicked)??,
                postgres: postgres.join().map_err(panicked)??,
                cassandra,
            })
        })
    }

    /// The variables that tell test executables where they are.
    pub fn environment(&self) -> [(&'static str, String); 3] {
        [
            (KAFKA, self.kafka.brokers()),
            (POSTGRES, self.postgres.port().to_string()),
            (CASSANDRA, self.cassandra.contact_point()),
        ]
    }
}
