//! `payment`: what members see and keep, and the provider's call-backs.

mod callbacks;
mod internal;
mod methods;
mod payments;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRef;
use rocketmart_contracts::component::Component;
use rocketmart_kit::auth::Verifier;
use rocketmart_kit::config::{self, AuthConfig, DatabaseConfig, ListenConfig};
use rocketmart_kit::internal::Token;
use rocketmart_kit::request_limits::RequestLimitArgs;
use rocketmart_kit::service::Service;
use sqlx::PgPool;
use url::Url;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::MIGRATIONS;
use crate::provider::HttpProvider;
use crate::provider::signature::Secrets;

const COMPONENT: &str = Component::Payment.as_str();
const LONGEST_LOOK_UP: Duration = Duration::from_secs(5);

#[derive(Clone, clap::Args)]
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
    /// The secret call-backs of the provider are signed with.
    #[arg(long, env = "PAYMENT_PROVIDER_SECRET", hide_env_values = true)]
    pub payment_provider_secret: String,
    /// The secret before, as long as the provider may still sign with it: while it is being changed.
    #[arg(long, env = "PAYMENT_PROVIDER_PREVIOUS_SECRET", hide_env_values = true)]
    pub payment_provider_previous_secret: Option<String>,
    /// The provider's address, without `/v1`: what a call-back tells is looked up there.
    #[arg(long, env = "PAYMENT_PROVIDER_URL")]
    pub payment_provider_url: Url,
    /// How long one call may take, in milliseconds.
    #[arg(long, env = "PAYMENT_PROVIDER_TIMEOUT_MS", default_value_t = 5_000,
          value_parser = clap::value_parser!(u64).range(1..=60_000))]
    pub payment_provider_timeout_ms: u64,
}

/// What handlers share.
#[derive(Clone)]
struct App {
    pool: PgPool,
    verifier: Verifier,
    provider_secrets: Arc<Secrets>,
    provider: Arc<HttpProvider>,
}

impl FromRef<App> for Verifier {
    fn from_ref(app: &App) -> Self {
        app.verifier.clone()
    }
}

#[derive(OpenApi)]
#[openapi(info(title = "Rocket Mart payment", description = "Payment methods, payments and refunds."))]
struct Description;

fn router() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(methods::list, methods::add))
        .routes(routes!(methods::remove))
        .routes(routes!(methods::make_default))
        .routes(routes!(payments::list))
        .routes(routes!(payments::one))
        .routes(routes!(callbacks::take))
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
    let secrets = Secrets::new(args.payment_provider_secret, args.payment_provider_previous_secret);
    // An answer that comes later than a request may take is useless.
    let timeout = Duration::from_millis(args.payment_provider_timeout_ms).min(LONGEST_LOOK_UP);
    let app = App {
        pool: pool.clone(),
        verifier: verifier.clone(),
        provider_secrets: Arc::new(secrets),
        provider: Arc::new(HttpProvider::new(&args.payment_provider_url, timeout)?),
    };
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
