//! The frame every process runs in.
//!
//! ```text
//!              ┌ LISTEN        middleware → API, /openapi.json, /docs
//!   Service ───┼ ADMIN_LISTEN  /livez  /readyz (gates)  /metrics
//!              └ tasks         consumers, publishers, refreshers
//! ```
//!
//! The process answers probes and hears signals from the first moment: [`Service::start`] does so while it
//! waits for what the process needs, however long that is down.
//!
//! On SIGTERM readiness fails first, so that traffic goes elsewhere. Then the API stops accepting and
//! finishes what it has, and then the tasks are told to stop and finish their batch. A task that fails ends
//! the process with an error. Kubernetes restarts it, and its back-off is the one place where restarts are
//! paced.

mod admin;
mod body;
mod description;
mod envelope;
mod measure;
mod middleware;
mod security;
mod stop;

use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::SwaggerUi;

use crate::config::ListenConfig;
use crate::request_limits::{RequestLimitArgs, RequestLimits};
use crate::telemetry;
pub use description::published;
pub use rocketmart_server::ConnectionLimits;

use admin::{Gate, Readiness};

/// How long a stopping process keeps serving, so that load balancers notice that it is not ready.
const DRAIN_DELAY: Duration = Duration::from_secs(3);
/// How long requests in progress may take to finish, and then batches. Together with the delay this stays
/// within the 30 seconds that Kubernetes gives a pod.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(13);
/// Longest a request may take unless the component says otherwise.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Task = Box<dyn FnOnce(CancellationToken) -> BoxFuture<anyhow::Result<()>> + Send>;

/// Where a running service listens.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    pub api: SocketAddr,
    pub admin: SocketAddr,
}

/// A process being assembled; [`Service::run`] runs it.
pub struct Service {
    component: &'static str,
    listen: ListenConfig,
    api: Option<OpenApiRouter>,
    shop_description: Option<Value>,
    request_timeout: Duration,
    connections: ConnectionLimits,
    admin_connections: ConnectionLimits,
    rates: Option<RequestLimits>,
    gates: Vec<Gate>,
    tasks: Vec<(&'static str, Task)>,
}

impl Service {
    pub fn new(component: &'static str, listen: &ListenConfig) -> Self {
        Self {
            component,
            listen: listen.clone(),
            api: None,
            shop_description: None,
            request_timeout: REQUEST_TIMEOUT,
            connections: ConnectionLimits::API,
            admin_connections: ConnectionLimits::ADMIN,
            rates: None,
            gates: Vec::new(),
            tasks: Vec::new(),
        }
    }

    /// Serves `api` on `LISTEN` under the standard middleware, with its description at `/openapi.json` and a
    /// page to browse it at `/docs`.
    pub fn api(mut self, api: OpenApiRouter) -> Self {
        self.api = Some(api);
        self
    }

    /// Serves a document of the whole shop at `/openapi/shop.json`, and a page to try it at `/openapi/`.
    pub fn shop_description(mut self, description: Option<Value>) -> Self {
        self.shop_description = description;
        self
    }

    /// Longest a request may take before we answer 503 `request-timeout`.
    pub fn request_timeout(mut self, limit: Duration) -> Self {
        self.request_timeout = limit;
        self
    }

    /// How many requests one member and one address may send to the API.
    pub fn request_limits(mut self, limits: &RequestLimitArgs) -> Self {
        self.rates = Some(RequestLimits::new(limits));
        self
    }

    /// How many connections there may be and how slow they may get, if other than usual: for the API, and for
    /// probes and metrics.
    pub fn connections(mut self, api: ConnectionLimits, admin: ConnectionLimits) -> Self {
        (self.connections, self.admin_connections) = (api, admin);
        self
    }

    /// Adds a named gate to `/readyz`: the process is not ready while `check` fails.
    pub fn ready<F, Fut>(mut self, name: &'static str, check: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        self.gates.push(Gate::new(name, true, check));
        self
    }

    /// Something that only part of the work needs. While `check` fails, `/readyz` names it, but the process
    /// stays ready, so that nobody cuts off the rest.
    pub fn degrades<F, Fut>(mut self, name: &'static str, check: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        self.gates.push(Gate::new(name, false, check));
        self
    }

    /// Work beside the API; a token tells it to stop. An error ends the process.
    pub fn task<F, Fut>(mut self, name: &'static str, run: F) -> Self
    where
        F: FnOnce(CancellationToken) -> Fut + Send + 'static,
        Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        self.tasks.push((name, Box::new(move |stop| Box::pin(run(stop)))));
        self
    }

    /// Runs what `build` puts together until SIGTERM or SIGINT, or until a task fails. The process is alive,
    /// and can be stopped, from the first moment, even while `build` still waits for what it needs.
    pub async fn start(
        listen: &ListenConfig,
        build: impl Future<Output = anyhow::Result<Self>>,
    ) -> anyhow::Result<()> {
        let stop = stop::on_signal()?;
        let admin = Admin::open(listen, ConnectionLimits::ADMIN).await?;
        let built = tokio::select! {
            built = admin.readiness.waiting().during(build) => built?,
            () = stop.cancelled() => {
                tracing::info!("told to stop before everything was there");
                return Ok(());
            }
        };
        built.run_with(admin, stop, DRAIN_DELAY, |_| {}).await
    }

    /// Runs until `stop`. `on_bound` gets the addresses, so port 0 works.
    pub async fn run_until(
        self,
        stop: CancellationToken,
        on_bound: impl FnOnce(Bound),
    ) -> anyhow::Result<()> {
        let admin = Admin::open(&self.listen, self.admin_connections).await?;
        self.run_with(admin, stop, Duration::ZERO, on_bound).await
    }

    async fn run_with(
        self,
        admin: Admin,
        stop: CancellationToken,
        drain_delay: Duration,
        on_bound: impl FnOnce(Bound),
    ) -> anyhow::Result<()> {
        let Admin { address: admin_address, readiness, _stop } = admin;
        let stop_api = CancellationToken::new();
        let mut api_task = JoinSet::new();
        let mut api_address = admin_address;
        if let Some(api) = self.api {
            let listener = bind(self.listen.listen, "LISTEN").await?;
            api_address = listener.local_addr()?;
            let limits = middleware::Limits {
                request: self.request_timeout,
                body: self.connections.body,
                rates: self.rates,
            };
            let router = api_router(api, self.shop_description, limits);
            let served = rocketmart_server::serve(listener, router, self.connections, stop_api.clone());
            api_task.spawn(async move {
                served.await;
                Ok(())
            });
        }
        let stop_tasks = CancellationToken::new();
        let mut tasks = JoinSet::new();
        for (name, run) in self.tasks {
            let work = run(stop_tasks.clone());
            tasks.spawn(async move { work.await.with_context(|| format!("task {name} failed")) });
        }
        readiness.started(self.gates);
        tracing::info!(component = self.component, api = %api_address, admin = %admin_address, "listening");
        on_bound(Bound { api: api_address, admin: admin_address });

        let outcome = tokio::select! {
            () = stop.cancelled() => Ok(()),
            outcome = stop::first_failure(&mut tasks) => outcome,
        };
        readiness.drain();
        tracing::info!(component = self.component, "stopping");
        if outcome.is_ok() {
            tokio::time::sleep(drain_delay).await;
        }
        stop_api.cancel();
        let requests = stop::all_ended(&mut api_task, DRAIN_TIMEOUT, "requests").await;
        stop_tasks.cancel();
        let batches = stop::all_ended(&mut tasks, DRAIN_TIMEOUT, "tasks").await;
        outcome.and(requests).and(batches)
    }
}

/// The listener for probes and metrics; dropping it ends it.
struct Admin {
    address: SocketAddr,
    readiness: Readiness,
    _stop: DropGuard,
}

impl Admin {
    async fn open(listen: &ListenConfig, connections: ConnectionLimits) -> anyhow::Result<Self> {
        let (stop, readiness) = (CancellationToken::new(), Readiness::default());
        let listener = bind(listen.admin_listen, "ADMIN_LISTEN").await?;
        let address = listener.local_addr()?;
        tokio::spawn(telemetry::upkeep(stop.clone()));
        let probes = middleware::wrap_plain(admin::router(readiness.clone()));
        tokio::spawn(rocketmart_server::serve(listener, probes, connections, stop.clone()));
        Ok(Self { address, readiness, _stop: stop.drop_guard() })
    }
}

async fn bind(address: SocketAddr, name: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {name}={address}"))
}

/// The API under its middleware, and its description beside it.
fn api_router(api: OpenApiRouter, shop: Option<Value>, limits: middleware::Limits) -> Router {
    let (router, description) = api.split_for_parts();
    let mut docs = Router::from(SwaggerUi::new("/docs").url("/openapi.json", published(description)));
    if let Some(shop) = shop {
        docs = docs.merge(SwaggerUi::new("/openapi").external_url_unchecked("/openapi/shop.json", shop));
    }
    middleware::wrap(router, limits).merge(middleware::wrap_pages(docs))
}
