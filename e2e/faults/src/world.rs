//! The shop that faults happen to: its processes, a proxy on every edge, Redis on its own disk.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use rocketmart_checker::audit::Sources;
use rocketmart_harness::{
    backing::Redis,
    ports, process,
    stack::{Backing, Component, InternalApi, Recipe, Stack},
};

use crate::{
    disk::Disk,
    network::{Edge, Edges, Proxy, Trouble},
    probe::ProbePool,
};

/// Longer than all rows take.
const TOKEN_SECONDS: &str = "43200";
/// Short, so that a call without an answer does not take up a whole row.
const PROVIDER_TIMEOUT_MS: &str = "2000";
/// How soon an ended process is restarted; a kubelet waits longer from the second time on.
const REVIVAL: Duration = Duration::from_millis(200);

/// How a world differs from the one that all rows run in.
#[derive(Debug, Clone)]
pub struct Shape {
    /// The built `rocketmart`.
    pub program: PathBuf,
    pub appendfsync: &'static str,
    pub environment: Vec<(Component, &'static str, String)>,
    /// Rows that need a disk fail without one, but some machines have no loop devices.
    pub disk: bool,
}

impl Shape {
    pub fn usual(program: &Path) -> Self {
        Self {
            program: program.to_owned(),
            appendfsync: "always",
            environment: Vec::new(),
            disk: process::running_as_root(),
        }
    }
}

pub struct World {
    program: PathBuf,
    stack: Arc<Mutex<Stack>>,
    edges: Edges,
    disk: Option<Mutex<Disk>>,
    internal_api: InternalApi,
    /// The probe buyers of the current run.
    probe_pool: Mutex<Option<Arc<ProbePool>>>,
    revivals: Arc<AtomicUsize>,
    dropped: Arc<AtomicBool>,
}

impl World {
    /// Starts everything and waits until it is ready.
    pub async fn start(shape: Shape) -> Result<Self> {
        let disk = if shape.disk { Some(Disk::mount()?) } else { None };
        let folder = match &disk {
            Some(disk) => {
                std::fs::create_dir_all(disk.data())?;
                disk.data()
            }
            None => process::scratch("redis")?,
        };
        let (redis_port, kafka_port) = (ports::free_port()?, ports::free_port()?);
        let kafka_proxy = ports::free_port()?;
        let appendfsync = shape.appendfsync;
        let backing = tokio::task::spawn_blocking(move || {
            Backing::start_with(
                // Its disk is small.
                || {
                    Redis::start_in(
                        redis_port,
                        folder,
                        &[("--appendfsync", appendfsync), ("--auto-aof-rewrite-min-size", "16mb")],
                    )
                },
                kafka_port,
                kafka_proxy,
            )
        })
        .await??;
        let mut recipe = Recipe::new(&shape.program)
            .replicas(Component::Order, 2)
            .replicas(Component::OrderRelay, 2)
            .replicas(Component::OrderWorker, 2)
            .replicas(Component::PaymentWorker, 2)
            .env(Component::Member, "ACCESS_TOKEN_SECONDS", TOKEN_SECONDS)
            // A few members stand for many.
            .env(Component::Order, "PURCHASES_PER_MEMBER", "0")
            .env(Component::Order, "UNPAID_ORDERS_PER_MEMBER", "0")
            .env(Component::Order, "UNPAID_UNITS_PER_MEMBER", "0")
            .env(Component::PaymentWorker, "PAYMENT_PROVIDER_TIMEOUT_MS", PROVIDER_TIMEOUT_MS);
        let sql = backing.postgres.port();
        let mut edges = Edges::new();
        for edge in Edge::ALL {
            let (port, upstream) = match edge {
                Edge::Kafka => (kafka_proxy, kafka_port),
                Edge::OrderRedis | Edge::RelayRedis | Edge::WorkerRedis => (ports::free_port()?, redis_port),
                // Its server gets its port below, with the other components.
                Edge::Provider => (ports::free_port()?, 0),
                _ => (ports::free_port()?, sql),
            };
            edges.insert(edge, Arc::new(Proxy::start(port, upstream).await?));
            let redis = format!("redis://127.0.0.1:{port}");
            let database = |name: &str| format!("postgres://postgres@127.0.0.1:{port}/{name}");
            let (component, name, value) = match edge {
                Edge::OrderRedis => (Component::Order, "REDIS_URL", redis),
                Edge::RelayRedis => (Component::OrderRelay, "REDIS_URL", redis),
                Edge::WorkerRedis => (Component::OrderWorker, "REDIS_URL", redis),
                Edge::OrderSql => (Component::Order, "DATABASE_URL", database("order")),
                Edge::RelaySql => (Component::OrderRelay, "DATABASE_URL", database("order")),
                Edge::WorkerSql => (Component::OrderWorker, "DATABASE_URL", database("order")),
                Edge::PaymentSql => (Component::PaymentWorker, "DATABASE_URL", database("payment")),
                Edge::DeliverySql => (Component::DeliveryWorker, "DATABASE_URL", database("delivery")),
                Edge::Provider => {
                    (Component::PaymentWorker, "PAYMENT_PROVIDER_URL", format!("http://127.0.0.1:{port}"))
                }
                Edge::Kafka => continue, // its address is what Kafka tells its clients
            };
            recipe = recipe.env(component, name, value);
        }
        for (component, name, value) in shape.environment {
            recipe = recipe.env(component, name, value);
        }
        let program = shape.program;
        let stack = tokio::task::spawn_blocking(move || recipe.start_on(backing)).await??;
        let provider = stack.url(Component::SimulateProvider);
        let provider = provider.rsplit(':').next().context("the provider's port")?.parse()?;
        edges[&Edge::Provider].aim(provider);
        let internal_api = stack.internal_api();
        let stack = Arc::new(Mutex::new(stack));
        let (revivals, dropped) = (Arc::default(), Arc::default());
        supervise(&stack, &revivals, &dropped);
        let probe_pool = Mutex::default();
        Ok(Self {
            program,
            stack,
            edges,
            disk: disk.map(Mutex::new),
            internal_api,
            probe_pool,
            revivals,
            dropped,
        })
    }

    /// The built `rocketmart`.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// `act` must be quick: nothing else can use the stack meanwhile.
    pub fn with_stack<T>(&self, act: impl FnOnce(&mut Stack) -> T) -> T {
        act(&mut self.stack.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn set_trouble(&self, edge: Edge, trouble: Trouble) -> Result<()> {
        self.edges[&edge].set(trouble)
    }

    pub fn with_disk<T>(&self, act: impl FnOnce(&mut Disk) -> Result<T>) -> Result<T> {
        let disk = self.disk.as_ref().context("needs root and a loop device for a disk of its own")?;
        act(&mut disk.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sets the probe buyers of the current run, for faults that buy something themselves; `None` when it is
    /// over.
    pub fn set_probe_pool(&self, pool: Option<Arc<ProbePool>>) {
        *self.probe_pool.lock().unwrap_or_else(PoisonError::into_inner) = pool;
    }

    pub fn probe_pool(&self) -> Result<Arc<ProbePool>> {
        let pool = self.probe_pool.lock().unwrap_or_else(PoisonError::into_inner);
        pool.clone().context("no sale is under way")
    }

    pub fn internal_api(&self) -> &InternalApi {
        &self.internal_api
    }

    /// How many processes were restarted so far.
    pub fn revivals(&self) -> usize {
        self.revivals.load(Ordering::Relaxed)
    }

    /// Where to find the books; Kafka's from its beginning.
    pub fn sources(&self, history: &Path) -> Sources {
        self.with_stack(|stack| Sources {
            history: history.to_owned(),
            redis_url: stack.backing.redis.url(),
            kafka_brokers: stack.backing.kafka.brokers(),
            topic_prefix: String::new(),
            provider_url: stack.url(Component::SimulateProvider),
            order_database_url: stack.database_url("order"),
            payment_database_url: stack.database_url("payment"),
            delivery_database_url: stack.database_url("delivery"),
            since_ms: 0,
            kafka_was_emptied: false,
        })
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.dropped.store(true, Ordering::Relaxed);
    }
}

/// Restarts processes that ended, as a kubelet does.
fn supervise(stack: &Arc<Mutex<Stack>>, revivals: &Arc<AtomicUsize>, dropped: &Arc<AtomicBool>) {
    let (stack, revivals, dropped) = (Arc::downgrade(stack), Arc::clone(revivals), Arc::clone(dropped));
    thread::spawn(move || {
        while !dropped.load(Ordering::Relaxed) {
            let Some(stack) = stack.upgrade() else { return };
            match stack.lock().unwrap_or_else(PoisonError::into_inner).revive() {
                Ok(revived) => drop(revivals.fetch_add(revived.len(), Ordering::Relaxed)),
                Err(error) => eprintln!("    cannot start a process again: {error:#}"),
            }
            drop(stack);
            thread::sleep(REVIVAL);
        }
    });
}
