//! `/api/v1/password-resets`: replaces a forgotten password with the help of a mailed link.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use rocketmart_kit::client_address::ClientAddress;
use rocketmart_kit::extract::{Json, Query};
use rocketmart_kit::problem::{Problem, Result};
use rocketmart_kit::security_log::{self, Entry, Outcome};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::form::FormOrJson;
use super::members::link_invalid;
use super::validate::Fields;
use super::{App, device, html};
use crate::domain::email::EmailAddress;
use crate::domain::password::Password;
use crate::domain::secret;
use crate::store::password_resets;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Forgotten {
    #[schema(format = "email", max_length = 254)]
    email: String,
}

/// Ask for a link. The answer is the same whether or not the address has an account.
#[utoipa::path(
    post, path = "/api/v1/password-resets", tag = "password-resets", request_body = Forgotten,
    responses(
        (status = 202, description = "If the address has an account, a mail is on its way"),
        (status = "default", description = "Refused", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn request(
    State(app): State<App>,
    ClientAddress(address): ClientAddress,
    Json(body): Json<Forgotten>,
) -> Result<StatusCode> {
    let mut fields = Fields::default();
    let Some(email) = fields.check("email", EmailAddress::parse(&body.email)) else {
        return Err(fields.into_problem());
    };
    app.admit(&app.limits.password_reset(&email, address)).await?;
    password_resets::request(&app.pool, &email).await?;
    app.doorbell.ring();
    Ok(StatusCode::ACCEPTED)
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Link {
    /// From the mail.
    token: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewPassword {
    /// From the mail.
    token: String,
    /// Not among the passwords that are guessed first.
    #[schema(min_length = 10, max_length = 128)]
    password: String,
}

/// Where the mailed link leads: a form for the new password.
#[utoipa::path(
    get, path = "/api/v1/password-resets/confirm", tag = "password-resets", params(Link),
    responses(
        (status = 200, description = "A form for the new password", body = String, content_type = "text/html"),
        (status = "default", description = "Refused", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn confirmation_page(Query(link): Query<Link>) -> Response {
    let form = format!(
        "<form action=\"confirm\" method=\"post\"><input type=\"hidden\" name=\"token\" value=\"{}\">\
         <p><label>New password <input type=\"password\" name=\"password\" minlength=\"10\" maxlength=\"128\" \
         autocomplete=\"new-password\" required></label></p><button>Set the password</button></form>",
        html::escape(&link.token)
    );
    html::response(StatusCode::OK, "Set a new password", &form)
}

/// Set the new password: the link is used up and every session ends. Browsers get a page.
#[utoipa::path(
    post, path = "/api/v1/password-resets/confirm", tag = "password-resets",
    request_body(content((NewPassword = "application/json"), (NewPassword = "application/x-www-form-urlencoded"))),
    responses(
        (status = 204, description = "The new password is set"),
        (status = 200, description = "The same, as a page for browsers", body = String, content_type = "text/html"),
        (status = "default", description = "Refused", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn confirm(
    State(app): State<App>,
    ClientAddress(address): ClientAddress,
    headers: HeaderMap,
    FormOrJson(body): FormOrJson<NewPassword>,
) -> Response {
    let set = set_password(&app, body).await;
    let outcome = if set.is_ok() { Outcome::Allowed } else { Outcome::Refused };
    let (member, reason) = (set.as_ref().ok().copied(), set.as_ref().err().map(|problem| problem.code));
    security_log::record(Entry {
        event: "password-reset",
        outcome,
        member,
        reason,
        address,
        ..Entry::default()
    });
    // Whoever reads the member's mails may log in from here, whatever strangers are doing.
    let cookie = set.as_ref().ok().and_then(|member| device::remember(&app, *member, None).ok());
    let mut response = html::outcome(&headers, set.map(drop), "Your new password is set");
    response.headers_mut().extend(cookie);
    response
}

/// Sets the password; returns the member it belongs to.
async fn set_password(app: &App, body: NewPassword) -> Result<Uuid> {
    let link = secret::hash(&body.token);
    // Looked up first: a made-up link must not cost a hash, and a weak password must not cost the link.
    let owner = password_resets::owner(&app.pool, link).await?.ok_or_else(link_invalid)?;
    let mut fields = Fields::default();
    let chosen = Password::chosen(body.password, Some(&EmailAddress::stored(owner)));
    let Some(password) = fields.check("password", chosen) else {
        return Err(fields.into_problem());
    };
    let hash = app.passwords.hash(password).await?;
    let member = password_resets::confirm(&app.pool, link, &hash).await?.ok_or_else(link_invalid)?;
    app.doorbell.ring();
    Ok(member)
}
