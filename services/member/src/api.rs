//! The `member` component: its configuration, its start, and what it runs.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use lettre::message::Mailbox;
use rocketmart_contracts::component::Component;
use rocketmart_kit::auth::Verifier;
use rocketmart_kit::client_address::TrustedProxies;
use rocketmart_kit::config::{self, AuthConfig, DatabaseConfig, ListenConfig};
use rocketmart_kit::service::Service;
use url::Url;

use crate::domain::limit::Limits;
use crate::http::{self, App};
use crate::mail::{Doorbell, Links, Sender};
use crate::passwords::Passwords;
use crate::store::sessions::Lifetimes;
use crate::tokens::Issuer;
use crate::{first_admin, store};

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

#[derive(clap::Args, Clone)]
pub struct Args {
    #[command(flatten)]
    pub listen: ListenConfig,
    #[command(flatten)]
    pub database: DatabaseConfig,
    #[command(flatten)]
    pub auth: AuthConfig,
    #[command(flatten)]
    pub tokens: TokenArgs,
    #[command(flatten)]
    pub mail: MailArgs,
    #[command(flatten)]
    pub limits: LimitArgs,
    #[command(flatten)]
    pub admin: AdminArgs,
    /// The OpenAPI document of the whole shop, which this component serves for all.
    #[arg(skip)]
    pub shop_description: Option<serde_json::Value>,
}

/// How tokens are signed and how long they live.
#[derive(clap::Args, Clone, Debug)]
pub struct TokenArgs {
    /// Ed25519 keys in PKCS#8 PEM; the first signs, all are published.
    #[arg(long, env = "SIGNING_KEY_FILE")]
    pub signing_key_file: PathBuf,
    /// Lifetime of an access token.
    #[arg(long, env = "ACCESS_TOKEN_SECONDS", default_value_t = 900, value_parser = clap::value_parser!(u32).range(1..))]
    pub access_token_seconds: u32,
    /// Lifetime of a refresh token; using it starts the next one's.
    #[arg(long, env = "REFRESH_TOKEN_SECONDS", default_value_t = 1_209_600, value_parser = clap::value_parser!(u32).range(1..))]
    pub refresh_token_seconds: u32,
    /// A session ends so long after its log-in, however often it is refreshed.
    #[arg(long, env = "SESSION_SECONDS", default_value_t = 7_776_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub session_seconds: u32,
}

/// How mails get out and what their links look like.
#[derive(clap::Args, Clone)]
pub struct MailArgs {
    /// The shop as its users reach it; links in mails begin with it.
    #[arg(long, env = "PUBLIC_URL")]
    pub public_url: Url,
    /// `smtp://host:port`, `smtps://user:password@host`, `smtp://host?tls=required`.
    #[arg(long, env = "SMTP_URL", hide_env_values = true)]
    pub smtp_url: String,
    /// Sender of every mail.
    #[arg(long, env = "MAIL_FROM", default_value = "Rocket Mart <no-reply@rocketmart.example>")]
    pub mail_from: Mailbox,
}

/// Against guessing and flooding.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct LimitArgs {
    /// Sign-ups, password resets and failed log-ins, each per hour and client address; 0: unlimited.
    #[arg(long, env = "ATTEMPTS_PER_ADDRESS", default_value_t = 300)]
    pub attempts_per_address: u32,
    /// How many proxies of ours append to `X-Forwarded-For` before a request gets here; 0: clients
    /// come directly and their addresses are not looked at.
    #[arg(long, env = "TRUSTED_PROXIES", default_value_t = 1)]
    pub trusted_proxies: usize,
}

/// The first administrator; both or none.
#[derive(clap::Args, Clone, Default)]
pub struct AdminArgs {
    #[arg(long, env = "ADMIN_EMAIL", requires = "admin_password")]
    pub admin_email: Option<String>,
    #[arg(long, env = "ADMIN_PASSWORD", requires = "admin_email", hide_env_values = true)]
    pub admin_password: Option<String>,
}

/// Runs until SIGTERM or SIGINT.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let listen = args.listen.clone();
    Service::start(&listen, service(args)).await
}

/// The description of the HTTP API (OpenAPI 3.1).
pub fn openapi() -> utoipa::openapi::OpenApi {
    http::router().into_openapi()
}

/// Brings the database and the first administrator into place and puts the process together.
pub async fn service(args: Args) -> anyhow::Result<Service> {
    let pem = std::fs::read_to_string(&args.tokens.signing_key_file)
        .with_context(|| format!("reading SIGNING_KEY_FILE={}", args.tokens.signing_key_file.display()))?;
    let access_lifetime = time::Duration::seconds(args.tokens.access_token_seconds.into());
    let issuer = Issuer::new(&pem, &args.auth, access_lifetime).context("SIGNING_KEY_FILE")?;
    let verifier = Verifier::from_jwks(&args.auth, issuer.published());
    let passwords = Passwords::new()?;

    let pool = args.database.connect().await?;
    config::migrate(&pool, &MIGRATIONS).await?;
    if let AdminArgs { admin_email: Some(email), admin_password: Some(password) } = &args.admin {
        first_admin::ensure(&pool, &passwords, email, password).await?;
    }

    let doorbell = Doorbell::default();
    let MailArgs { public_url, smtp_url, mail_from } = args.mail;
    let sender = Sender::new(pool.clone(), &smtp_url, mail_from, Links::new(&public_url), doorbell.clone())?;
    let app = App {
        pool: pool.clone(),
        passwords,
        issuer: Arc::new(issuer),
        verifier,
        lifetimes: Lifetimes {
            access: access_lifetime,
            refresh: time::Duration::seconds(args.tokens.refresh_token_seconds.into()),
            session: time::Duration::seconds(args.tokens.session_seconds.into()),
        },
        limits: Limits { per_address: args.limits.attempts_per_address },
        trusted_proxies: TrustedProxies(args.limits.trusted_proxies),
        doorbell,
        public_url,
    };
    let (gate, server) = (pool.clone(), sender.clone());
    Ok(Service::new(Component::Member.as_str(), &args.listen)
        .shop_description(args.shop_description)
        .api(http::routes().with_state(app))
        .ready("postgres", move || {
            let pool = gate.clone();
            async move { sqlx::query("SELECT 1").execute(&pool).await.map(drop).map_err(Into::into) }
        })
        // Members who have already signed up can go on without mails.
        .degrades("smtp", move || {
            let server = server.clone();
            async move { server.ready().await }
        })
        .task("mail", |stop| sender.run(stop))
        .task("sweep", |stop| store::sweep_loop(pool, stop)))
}
