//! `delivery`: members' addresses, and where their parcels are.

mod addresses;
mod internal;
mod shipments;

use axum::extract::FromRef;
use rocketmart_contracts::component::Component;
use rocketmart_kit::auth::Verifier;
use rocketmart_kit::config::{self, AuthConfig, DatabaseConfig, ListenConfig};
use rocketmart_kit::internal::Token;
use rocketmart_kit::request_limits::RequestLimitArgs;
use rocketmart_kit::service::Service;
use sqlx::PgPool;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::MIGRATIONS;

const COMPONENT: &str = Component::Delivery.as_str();

#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub listen: ListenConfig,
    #[command(flatten)]
    pub database: DatabaseConfig,
    #[command(flatten)]
    pub auth: AuthConfig,
    #[command(flatten)]
    pub limits: RequestLimitArgs,
    /// The token that the order service shows at the internal door; without one there is no such door.
    #[arg(long, env = "INTERNAL_TOKEN", hide_env_values = true)]
    pub internal_token: Option<Token>,
}

/// What handlers share.
#[derive(Clone)]
struct App {
    pool: PgPool,
    verifier: Verifier,
}

impl FromRef<App> for Verifier {
    fn from_ref(app: &App) -> Self {
        app.verifier.clone()
    }
}

#[derive(OpenApi)]
#[openapi(info(title = "Rocket Mart delivery", description = "Delivery addresses and shipments."))]
struct Description;

fn router() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(addresses::list, addresses::add))
        .routes(routes!(addresses::one, addresses::change, addresses::remove))
        .routes(routes!(addresses::make_default))
        .routes(routes!(shipments::list))
        .routes(routes!(shipments::one))
}

/// The description of this API, as served at `/openapi.json`.
pub fn openapi() -> utoipa::openapi::OpenApi {
    router().into_openapi()
}

/// Runs until SIGTERM.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let listen = args.listen.clone();
    Service::start(&listen, service(args)).await
}

/// Puts the process together and brings its schema up to date.
pub async fn service(args: Args) -> anyhow::Result<Service> {
    let pool = args.database.connect().await?;
    config::migrate(&pool, &MIGRATIONS).await?;
    let verifier = Verifier::from_jwks_url(&args.auth)?;
    let app = App { pool: pool.clone(), verifier: verifier.clone() };
    let keys = verifier.clone();
    Ok(Service::new(COMPONENT, &args.listen)
        .request_limits(&args.limits)
        .api(
            router()
                .with_state(app.clone())
                .merge(OpenApiRouter::from(internal::router(app, args.internal_token))),
        )
        .ready("postgresql", move || {
            let pool = pool.clone();
            async move { Ok(sqlx::query("SELECT 1").execute(&pool).await.map(drop)?) }
        })
        .ready("signing-keys", move || {
            let keys = keys.clone();
            async move { keys.ready().await }
        })
        .task("signing-keys", move |stop| verifier.refresh_loop(stop)))
}
