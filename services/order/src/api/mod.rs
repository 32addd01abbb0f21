//! `order`: what buyers do over HTTP, and the internal API for the operator.
//!
//! The purchase path asks Redis and nothing else. It accepts a purchase and its payment while PostgreSQL
//! and Kafka are away, and while payment and delivery do not answer for card and address. Carts, lists and
//! finished orders come from PostgreSQL.

mod cancel;
mod cart;
mod find;
mod find_sale;
mod limits;
mod neighbours;
mod orders;
mod payments;
mod problems;
mod purchases;
mod reason;
mod returns;
mod sale_list;
mod sales;
mod view;

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRef;
use rocketmart_contracts::component::Component;
use rocketmart_kit::auth::Verifier;
use rocketmart_kit::client_address::TrustedProxies;
use rocketmart_kit::config::{self, AuthConfig, DatabaseConfig, ListenConfig};
use rocketmart_kit::internal;
use rocketmart_kit::service::Service;
use rocketmart_stock::{Coalescer, CoalescerLimits, Stock};
use sqlx::PgPool;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domain::cart::UnpaidLimits;
use crate::internal_api::{self, InternalApi};
use crate::{MIGRATOR, ReturnsConfig, StockConfig, readiness, vouch};
pub use limits::LimitArgs;
use limits::{LookUps, PurchaseLimits};
pub use neighbours::NeighbourArgs;
use neighbours::Neighbours;
use sale_list::SaleList;

const COMPONENT: &str = Component::Order.as_str();
/// The source of the events that buyers' requests lead to.
const SOURCE: &str = "/rocketmart/order";

/// A purchase may wait for Redis to come back: 3 tries of 2 seconds each, with pauses between them.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub listen: ListenConfig,
    #[command(flatten)]
    pub database: DatabaseConfig,
    #[command(flatten)]
    pub stock: StockConfig,
    #[command(flatten)]
    pub auth: AuthConfig,
    #[command(flatten)]
    pub returns: ReturnsConfig,
    #[command(flatten)]
    pub limits: LimitArgs,
    #[command(flatten)]
    pub neighbours: NeighbourArgs,
    /// The token the operator shows at the internal API.
    #[arg(long, env = "OPERATOR_TOKEN", hide_env_values = true)]
    pub operator_token: internal::Token,
}

/// What handlers share. It is a single pointer, because axum clones it more than once for every request.
#[derive(Clone)]
pub(crate) struct App(Arc<Shared>);

pub(crate) struct Shared {
    pool: PgPool,
    stock: Stock,
    coalescer: Coalescer,
    sales: SaleList,
    /// For how long after delivery a buyer may return something.
    return_window: time::Duration,
    limits: PurchaseLimits,
    look_ups: LookUps,
    unpaid_limits: UnpaidLimits,
    trusted_proxies: TrustedProxies,
    neighbours: Neighbours,
    verifier: Verifier,
}

impl Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl FromRef<App> for Verifier {
    fn from_ref(app: &App) -> Self {
        app.verifier.clone()
    }
}

impl FromRef<App> for TrustedProxies {
    fn from_ref(app: &App) -> Self {
        app.trusted_proxies
    }
}

#[derive(OpenApi)]
#[openapi(info(title = "Rocket Mart order", description = "Flash sales, carts, purchases and orders."))]
struct Description;

fn router() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(sales::list))
        .routes(routes!(sales::one))
        .routes(routes!(purchases::purchase))
        .routes(routes!(cart::get))
        .routes(routes!(cart::put, cart::remove))
        .routes(routes!(cart::merge::take_over))
        .routes(routes!(cart::checkout::check_out))
        .routes(routes!(orders::list))
        .routes(routes!(orders::one))
        .routes(routes!(cancel::cancel))
        .routes(routes!(returns::create))
        .routes(routes!(payments::pay))
        .routes(routes!(payments::confirm))
}

/// The description of this API, as served at `/openapi.json`. It leaves out the internal API.
pub fn openapi() -> utoipa::openapi::OpenApi {
    router().into_openapi()
}

/// Runs until SIGTERM.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let listen = args.listen.clone();
    Service::start(&listen, service(args)).await
}

/// The assembled process, with its schema up to date.
pub async fn service(args: Args) -> anyhow::Result<Service> {
    let verifier = Verifier::from_jwks_url(&args.auth)?;
    service_with(args, verifier).await
}

/// The same, with a verifier of the caller's choice.
pub async fn service_with(args: Args, verifier: Verifier) -> anyhow::Result<Service> {
    let pool = args.database.connect().await?;
    config::migrate(&pool, &MIGRATOR).await?;
    let stock = args.stock.connect()?;
    let sales = SaleList::default();
    let app = App(Arc::new(Shared {
        pool: pool.clone(),
        stock: stock.clone(),
        coalescer: Coalescer::new(stock.clone(), CoalescerLimits::default()),
        sales: sales.clone(),
        return_window: args.returns.window(),
        limits: PurchaseLimits::new(&args.limits),
        look_ups: LookUps::new(&args.limits),
        unpaid_limits: args.limits.unpaid(),
        trusted_proxies: TrustedProxies(args.limits.trusted_proxies),
        neighbours: Neighbours::new(&args.neighbours)?,
        verifier: verifier.clone(),
    }));
    let internal_api = InternalApi::new(pool.clone(), stock.clone());
    let (trusting, standing) = ((pool.clone(), stock.clone()), internal_api.clone());
    let (keys, ready_list) = (verifier.clone(), sales.clone());
    let stores = (pool.clone(), stock.clone());
    let (either, database, redis, settings) = (stores.clone(), stores.0.clone(), stores.1.clone(), stores.1);
    Ok(Service::new(COMPONENT, &args.listen)
        .request_timeout(REQUEST_TIMEOUT)
        .api(
            router()
                .with_state(app)
                .merge(OpenApiRouter::from(internal_api::router(internal_api, args.operator_token))),
        )
        .ready("signing-keys", move || {
            let keys = keys.clone();
            async move { keys.ready().await }
        })
        .ready("stores", move || {
            let (pool, stock) = either.clone();
            async move { readiness::a_store(&pool, &stock).await }
        })
        .ready("redis-settings", move || {
            let redis = settings.clone();
            async move { readiness::redis_settings(&redis).await }
        })
        .degrades("redis", move || {
            let redis = redis.clone();
            async move { Ok(redis.ping().await?) }
        })
        .degrades("postgresql", move || {
            let pool = database.clone();
            async move { readiness::postgresql(&pool).await }
        })
        .ready("sales", move || std::future::ready(ready_list.ready()))
        .task("signing-keys", move |stop| verifier.refresh_loop(stop))
        .task("standing", move |stop| standing.keep_standing(stop))
        .task("vouch", move |stop| vouch::keep(trusting.0, trusting.1, stop))
        .task("sales", move |stop| sales.refresh_loop(pool, stock, stop)))
}
