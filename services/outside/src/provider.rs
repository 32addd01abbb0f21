//! A simulated payment provider: the outside company that moves the money.
//!
//! A card number comes in once, at `POST /v1/tokens`, and only a token derived from it goes out; the number
//! is neither stored nor logged. A token and an `Idempotency-Key` make a charge, or set money aside that is
//! captured or voided later. [`ledger`] has the rules: one key, one charge. Signed call-backs ([`callbacks`])
//! also announce what happened, and `GET /v1/charges` lists everything for reconciliation. `/control`
//! ([`settings`]) sets the misbehaviour of real providers: slow answers, declines, an answer that never comes
//! although the charge was made, an outage, call-backs twice, late or out of order. State is in memory; with
//! a state file ([`journal`]) it survives a restart.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use anyhow::Context;
use rocketmart_server::ConnectionLimits;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

mod authorizations;
mod callbacks;
mod cards;
mod exchange;
mod http;
mod journal;
mod ledger;
mod lists;
mod records;
mod refused;
mod settings;

pub use callbacks::signature;
pub use records::{Authorization, AuthorizationStatus, Charge, ChargeStatus, Refund};
pub use settings::Settings;

use callbacks::CallbackSender;
use ledger::Ledger;

/// How the simulator is started.
#[derive(Clone, clap::Args)]
pub struct Args {
    /// Where it serves HTTP.
    #[arg(long, env = "PROVIDER_LISTEN", default_value = "0.0.0.0:8090")]
    pub provider_listen: SocketAddr,
    /// Signs call-backs and keys the derivation of tokens; the shop holds the same secret.
    #[arg(long, env = "PAYMENT_PROVIDER_SECRET", hide_env_values = true)]
    pub payment_provider_secret: String,
    /// Where call-backs go at first; `PUT /control` changes it.
    #[arg(long, env = "PROVIDER_CALLBACK_URL")]
    pub provider_callback_url: Option<String>,
    /// A file that keeps charges and refunds over restarts; without it they live in memory.
    #[arg(long, env = "PROVIDER_STATE_FILE")]
    pub provider_state_file: Option<PathBuf>,
}

/// What every request handler shares.
struct Provider {
    secret: String,
    settings: Mutex<Settings>,
    ledger: Mutex<Ledger>,
    callbacks: CallbackSender,
    stop: CancellationToken,
}

/// Serves until SIGTERM or SIGINT.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    let asked_to_stop = stop.clone();
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .context("listening for SIGTERM")?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        asked_to_stop.cancel();
    });
    let (listener, provider) = bind(args, stop).await?;
    serve(listener, provider).await
}

/// A simulator that runs inside this process, for tests and development. Dropping it stops it.
pub struct Running {
    address: SocketAddr,
    stop: CancellationToken,
}

impl Running {
    /// The base URL of its HTTP interface.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Starts a simulator in the background; port 0 picks any free port.
pub async fn start(args: Args) -> anyhow::Result<Running> {
    let stop = CancellationToken::new();
    let (listener, provider) = bind(args, stop.clone()).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        if let Err(error) = serve(listener, provider).await {
            tracing::error!(error = format!("{error:#}"), "the provider simulator ended");
        }
    });
    Ok(Running { address, stop })
}

async fn bind(args: Args, stop: CancellationToken) -> anyhow::Result<(TcpListener, Arc<Provider>)> {
    let ledger = match &args.provider_state_file {
        None => Ledger::default(),
        Some(path) => {
            Ledger::open(path).with_context(|| format!("opening the state file {}", path.display()))?
        }
    };
    let listener = TcpListener::bind(args.provider_listen)
        .await
        .with_context(|| format!("listening on {}", args.provider_listen))?;
    let settings = Settings { callback_url: args.provider_callback_url, ..Settings::default() };
    let callbacks = callbacks::start(args.payment_provider_secret.clone(), stop.clone());
    let provider = Provider {
        secret: args.payment_provider_secret,
        settings: Mutex::new(settings),
        ledger: Mutex::new(ledger),
        callbacks,
        stop,
    };
    Ok((listener, Arc::new(provider)))
}

async fn serve(listener: TcpListener, provider: Arc<Provider>) -> anyhow::Result<()> {
    tracing::info!(address = %listener.local_addr()?, "payment provider simulator listens");
    let stop = provider.stop.clone();
    rocketmart_server::serve(listener, http::router(provider), ConnectionLimits::API, stop).await;
    Ok(())
}
