//! `/api/v1/sessions`: logging in and out, and exchanging a refresh token for new tokens.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use rocketmart_kit::auth::Member;
use rocketmart_kit::client_address::ClientAddress;
use rocketmart_kit::extract::Json;
use rocketmart_kit::problem::{Problem, Result};
use rocketmart_kit::security_log::{self, Entry, Outcome};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::session::Caller;
use super::validate::Fields;
use super::{App, device};
use crate::domain::email::EmailAddress;
use crate::domain::limit::Guesser;
use crate::domain::password::Password;
use crate::domain::secret::Secret;
use crate::store::members;
use crate::store::sessions::{self, Issued, Refreshed};
use crate::tokens::Bearer;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Credentials {
    #[schema(max_length = 254)]
    email: String,
    #[schema(max_length = 128)]
    password: String,
}

impl Credentials {
    fn parse(self) -> Result<(EmailAddress, Password)> {
        let mut fields = Fields::default();
        let email = fields.check("email", EmailAddress::parse(&self.email));
        let password = fields.check("password", Password::given(self.password));
        email.zip(password).ok_or_else(|| fields.into_problem())
    }
}

#[derive(Serialize, ToSchema)]
pub(super) struct Tokens {
    /// A JWT for `Authorization: Bearer`.
    access_token: String,
    /// Always `Bearer`.
    token_type: &'static str,
    /// Of the access token, in seconds.
    expires_in: i64,
    /// Works once; the answer to using it holds the next one.
    refresh_token: String,
}

impl Tokens {
    fn new(app: &App, bearer: &Bearer<'_>, refresh: &Secret) -> Result<Self> {
        let access = app.issuer.issue(bearer)?;
        Ok(Self {
            access_token: access.token,
            token_type: "Bearer",
            expires_in: access.lifetime.whole_seconds(),
            refresh_token: refresh.reveal().to_owned(),
        })
    }
}

/// Log in. A wrong password, an unknown address and one that is not yet confirmed are answered
/// alike: any difference would tell strangers who has an account. The answer sets a cookie by which
/// this device is known: while strangers who guess are locked out, it gets in.
#[utoipa::path(
    post, path = "/api/v1/sessions", tag = "sessions", request_body = Credentials,
    responses(
        (status = 201, description = "Logged in", body = Tokens),
        (status = "default", description = "Refused", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn log_in(
    State(app): State<App>,
    ClientAddress(address): ClientAddress,
    headers: HeaderMap,
    Json(body): Json<Credentials>,
) -> Result<(StatusCode, [(HeaderName, HeaderValue); 1], Json<Tokens>)> {
    let (email, password) = body.parse()?;
    let member = members::by_email(&app.pool, &email).await?;
    let device = member.as_ref().and_then(|member| device::presented(&app, &headers, member.id));
    let guesser = device.map_or(Guesser::Stranger(address), Guesser::Known);
    let stored = member.as_ref().and_then(|member| member.password_hash.clone());
    let matches = app.try_password(&email, guesser, password, stored).await;
    let entry = Entry {
        event: "log-in",
        member: member.as_ref().map(|member| member.id),
        email: Some(email.as_str()),
        address,
        ..Entry::default()
    };
    let Some(member) = member.filter(|_| matches!(matches, Ok(true))) else {
        metrics::counter!("member_log_ins_total", "outcome" => "refused").increment(1);
        let problem = matches.err().unwrap_or_else(wrong_credentials);
        security_log::record(Entry { outcome: Outcome::Refused, reason: Some(problem.code), ..entry });
        return Err(problem);
    };

    let refresh = Secret::random();
    let opened =
        sessions::open(&app.pool, member.id, member.password_hash.as_deref(), refresh.hash(), app.lifetimes);
    let opened = opened.await?.ok_or_else(wrong_credentials)?;
    metrics::counter!("member_log_ins_total", "outcome" => "opened").increment(1);
    let reason = device.map(|_| "known-device");
    security_log::record(Entry { session: Some(opened.session), reason, ..entry });
    let bearer =
        Bearer { member: member.id, session: opened.session, roles: &member.roles, ends_at: opened.ends_at };
    let cookie = device::remember(&app, member.id, device)?;
    Ok((StatusCode::CREATED, [cookie], Json(Tokens::new(&app, &bearer, &refresh)?)))
}

fn wrong_credentials() -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "invalid-credentials", "E-mail address or password is wrong")
        .detail("or the address has not been confirmed yet: follow the link in the mail")
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Refresh {
    refresh_token: String,
}

/// Trade a refresh token for new tokens. For ten seconds the old one gets the same successor again,
/// since answers get lost; used later, or once the successor was used, it ends the session, since
/// somebody else must have a copy. A session ends at the latest 90 days after its log-in, or what the
/// shop sets.
#[utoipa::path(
    post, path = "/api/v1/sessions/refresh", tag = "sessions", request_body = Refresh,
    responses(
        (status = 200, description = "New tokens", body = Tokens),
        (status = "default", description = "Refused", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn refresh(
    State(app): State<App>,
    ClientAddress(address): ClientAddress,
    Json(body): Json<Refresh>,
) -> Result<Json<Tokens>> {
    match sessions::refresh(&app.pool, &body.refresh_token, app.lifetimes).await? {
        Refreshed::Renewed { issued: Issued { member, session, roles, ends_at }, refresh } => {
            Ok(Json(Tokens::new(&app, &Bearer { member, session, roles: &roles, ends_at }, &refresh)?))
        }
        Refreshed::Revoked { session } => {
            security_log::record(Entry {
                event: "refresh",
                outcome: Outcome::Refused,
                reason: Some("old-token-came-back"),
                session: Some(session),
                address,
                ..Entry::default()
            });
            metrics::counter!("member_refresh_tokens_reused_total").increment(1);
            Err(refresh_token_invalid())
        }
        Refreshed::Refused => Err(refresh_token_invalid()),
    }
}

fn refresh_token_invalid() -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "refresh-token-invalid",
        "The refresh token is unknown, used or expired; log in again",
    )
}

/// Log out here. The session's access tokens are refused at once, within seconds by every service.
#[utoipa::path(
    delete, path = "/api/v1/sessions/current", tag = "sessions", security(("bearer" = [])),
    responses(
        (status = 204, description = "Logged out, also when it was already"),
        (status = "default", description = "Refused", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn log_out(State(app): State<App>, Member(claims): Member) -> Result<StatusCode> {
    sessions::end(&app.pool, claims.sid).await?;
    let (member, session) = (Some(claims.sub), Some(claims.sid));
    security_log::record(Entry { event: "log-out", member, session, ..Entry::default() });
    Ok(StatusCode::NO_CONTENT)
}

/// Log out everywhere. Access tokens are refused at once, within seconds by every service.
#[utoipa::path(
    delete, path = "/api/v1/sessions", tag = "sessions", security(("bearer" = [])),
    responses(
        (status = 204, description = "Every session of the member has ended"),
        (status = "default", description = "Refused", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn log_out_everywhere(State(app): State<App>, caller: Caller) -> Result<StatusCode> {
    sessions::end_all(&app.pool, caller.member.id).await?;
    security_log::record(caller.entry("log-out-everywhere"));
    Ok(StatusCode::NO_CONTENT)
}
