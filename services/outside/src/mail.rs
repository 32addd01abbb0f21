//! A mail server for development and tests: it accepts every mail over SMTP, delivers none, and
//! shows what it kept over HTTP.
//!
//! ```text
//! lettre ──SMTP──▶ smtp (sessions) ──▶ mailbox (bounded, newest first) ◀── http ◀── tests, people
//! ```
//!
//! It speaks enough of RFC 5321 for a real client (pooled connections, pipelined dot-stuffed data, size
//! limit). It does not relay, so it is useless to a spammer.

mod http;
mod mailbox;
mod smtp;

use std::net::SocketAddr;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use mailbox::Mail;
use mailbox::Mailbox;

#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Where SMTP clients connect.
    #[arg(long, env = "SMTP_LISTEN", default_value = "0.0.0.0:1025")]
    pub smtp_listen: SocketAddr,

    /// Where the kept mails are read over HTTP.
    #[arg(long, env = "MAIL_HTTP_LISTEN", default_value = "0.0.0.0:8025")]
    pub mail_http_listen: SocketAddr,
}

/// The addresses that are really bound. They differ from [`Args`] if a port there is 0.
#[derive(Debug, Clone, Copy)]
pub struct Bound {
    pub smtp: SocketAddr,
    pub http: SocketAddr,
}

/// Serves until SIGTERM or SIGINT.
pub async fn run(args: Args) -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let stop = CancellationToken::new();
    let stopper = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        stopper.cancel();
    });
    run_until(args, stop, |bound| {
        tracing::info!(smtp = %bound.smtp, http = %bound.http, "mail sink listening");
    })
    .await
}

/// Serves until `stop` is cancelled. `on_bound` gets the addresses once both ports accept connections.
pub async fn run_until(
    args: Args,
    stop: CancellationToken,
    on_bound: impl FnOnce(Bound),
) -> anyhow::Result<()> {
    let smtp = listen(args.smtp_listen, "SMTP").await?;
    let http = listen(args.mail_http_listen, "HTTP").await?;
    on_bound(Bound { smtp: smtp.local_addr()?, http: http.local_addr()? });

    let mailbox = Mailbox::default();
    tokio::try_join!(smtp::serve(smtp, mailbox.clone(), stop.clone()), http::serve(http, mailbox, stop),)?;
    Ok(())
}

async fn listen(address: SocketAddr, protocol: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("listening for {protocol} on {address}"))
}
