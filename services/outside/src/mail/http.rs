//! The reader's side: `GET /mails?to=`, `DELETE /mails`, `GET /livez`.

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use rocketmart_server::ConnectionLimits;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::mailbox::{Mail, Mailbox};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Filter {
    to: Option<String>,
}

pub(super) async fn serve(
    listener: TcpListener,
    mailbox: Mailbox,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let router = Router::new()
        .route("/livez", get(|| async { "ok" }))
        .route("/mails", get(list).delete(clear))
        .with_state(mailbox);
    rocketmart_server::serve(listener, router, ConnectionLimits::API, stop).await;
    Ok(())
}

async fn list(State(mailbox): State<Mailbox>, Query(filter): Query<Filter>) -> Json<Vec<Mail>> {
    Json(mailbox.list(filter.to.as_deref()))
}

async fn clear(State(mailbox): State<Mailbox>) -> StatusCode {
    mailbox.clear();
    StatusCode::NO_CONTENT
}
