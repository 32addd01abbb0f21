//! The HTTP API, one file per resource. A handler reads *authorize, load, act*.

mod admin;
mod device;
mod form;
pub(crate) mod html;
mod jwks;
mod me;
mod members;
mod password_resets;
mod revocations;
mod session;
mod sessions;
mod validate;

use std::sync::Arc;

use axum::extract::FromRef;
use rocketmart_kit::auth::Verifier;
use rocketmart_kit::client_address::TrustedProxies;
use rocketmart_kit::problem::{Problem, Result};
use sqlx::PgPool;
use url::Url;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domain::email::EmailAddress;
use crate::domain::limit::{Guesser, Limit, Limits};
use crate::domain::password::Password;
use crate::mail::Doorbell;
use crate::passwords::Passwords;
use crate::store::attempts::{self, Admitted};
use crate::store::sessions::Lifetimes;
use crate::tokens::Issuer;

/// What handlers work with.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) pool: PgPool,
    pub(crate) passwords: Passwords,
    pub(crate) issuer: Arc<Issuer>,
    pub(crate) verifier: Verifier,
    pub(crate) lifetimes: Lifetimes,
    pub(crate) limits: Limits,
    pub(crate) trusted_proxies: TrustedProxies,
    pub(crate) doorbell: Doorbell,
    pub(crate) public_url: Url,
}

impl App {
    /// Counts one attempt; 429 `too-many-requests` if that would be one too many.
    async fn admit(&self, limits: &[Limit]) -> Result<Admitted> {
        attempts::admit(&self.pool, limits).await?.map_err(Problem::too_many_requests)
    }

    /// Whether `password` belongs to `stored`, the hash of the member with the address `email`, if there is
    /// one. A wrong password counts against whoever tries it.
    async fn try_password(
        &self,
        email: &EmailAddress,
        guesser: Guesser,
        password: Password,
        stored: Option<String>,
    ) -> Result<bool> {
        let attempt = self.admit(&self.limits.password(email, guesser)).await?;
        match self.passwords.verify(password, stored).await {
            Ok(false) => match attempt.failed(&self.pool, self.limits.per_address).await? {
                None => Ok(false),
                Some(wait) => Err(Problem::too_many_requests(wait)),
            },
            right_or_unknown => {
                attempt.take_back(&self.pool).await?;
                Ok(right_or_unknown?)
            }
        }
    }
}

impl FromRef<App> for TrustedProxies {
    fn from_ref(app: &App) -> Self {
        app.trusted_proxies
    }
}

impl FromRef<App> for Verifier {
    fn from_ref(app: &App) -> Self {
        app.verifier.clone()
    }
}

#[derive(OpenApi)]
#[openapi(
    info(title = "Rocket Mart: member", description = "Sign-up, sessions, tokens and profiles."),
    tags(
        (name = "members", description = "Becoming a member"),
        (name = "sessions", description = "Logging in and out; access and refresh tokens"),
        (name = "password-resets", description = "Setting a new password by a link in a mail"),
        (name = "me", description = "One's own account"),
        (name = "admin", description = "For administrators"),
        (name = "keys", description = "What access tokens are verified with"),
    )
)]
struct Description;

/// The described API, and beside it the paths for other services.
pub(crate) fn routes() -> OpenApiRouter<App> {
    router().merge(OpenApiRouter::from(revocations::router()))
}

pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(members::sign_up))
        .routes(routes!(members::verification_page, members::verify))
        .routes(routes!(sessions::log_in, sessions::log_out_everywhere))
        .routes(routes!(sessions::refresh))
        .routes(routes!(sessions::log_out))
        .routes(routes!(password_resets::request))
        .routes(routes!(password_resets::confirmation_page, password_resets::confirm))
        .routes(routes!(me::show, me::change, me::delete))
        .routes(routes!(me::change_password))
        .routes(routes!(admin::import))
        .routes(routes!(admin::issue_tokens))
        .routes(routes!(jwks::published))
}
