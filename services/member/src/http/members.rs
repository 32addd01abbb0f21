//! `/api/v1/members`: signing up, and confirming the address with the mailed link.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use rocketmart_kit::client_address::ClientAddress;
use rocketmart_kit::extract::{Json, Query};
use rocketmart_kit::list;
use rocketmart_kit::problem::{Problem, Result};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::form::FormOrJson;
use super::validate::Fields;
use super::{App, html};
use crate::domain::email::EmailAddress;
use crate::domain::name::Name;
use crate::domain::password::Password;
use crate::domain::role::{self, ChosenRole};
use crate::domain::{RuleBroken, secret};
use crate::store::sign_ups::{self, Followed, SignUp};

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewMember {
    #[schema(format = "email", max_length = 254)]
    email: String,
    /// Not among the passwords that are guessed first.
    #[schema(min_length = 10, max_length = 128)]
    password: String,
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    /// `["buyer"]` when left out.
    #[serde(default, deserialize_with = "list::at_most::<2, _, _>")]
    #[schema(max_items = 2)]
    roles: Vec<ChosenRole>,
}

struct Parsed {
    email: EmailAddress,
    password: Password,
    name: Name,
}

impl NewMember {
    fn parse(self) -> Result<(Parsed, Vec<ChosenRole>)> {
        let mut fields = Fields::default();
        let email = fields.check("email", EmailAddress::parse(&self.email));
        let password = fields.check("password", Password::chosen(self.password, email.as_ref()));
        let name = fields.check("name", Name::parse(&self.name));
        let few = self.roles.len() <= 2;
        fields.check(
            "roles",
            few.then_some(()).ok_or_else(|| RuleBroken::new("max-items", "must be at most 2")),
        );
        match (email, password, name) {
            (Some(email), Some(password), Some(name)) if few => {
                Ok((Parsed { email, password, name }, self.roles))
            }
            _ => Err(fields.into_problem()),
        }
    }
}

/// Sign up: the answer is the same whether or not the address has an account; the mail differs.
#[utoipa::path(
    post, path = "/api/v1/members", tag = "members", request_body = NewMember,
    responses(
        (status = 202, description = "A mail is on its way"),
        (status = "default", description = "Refused", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn sign_up(
    State(app): State<App>,
    ClientAddress(address): ClientAddress,
    Json(body): Json<NewMember>,
) -> Result<StatusCode> {
    let (Parsed { email, password, name }, chosen) = body.parse()?;
    app.admit(&app.limits.sign_up(&email, address)).await?;
    // Hashed before anything is looked up, so that known addresses take just as long.
    let password_hash = app.passwords.hash(password).await?;
    let roles = role::of_choice(&chosen);
    let sign_up = SignUp { email: &email, name: &name, roles: &roles, password_hash: &password_hash };
    sign_ups::begin(&app.pool, &sign_up).await?;
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
pub(super) struct Verification {
    /// From the mail.
    token: String,
}

/// Where the mailed link leads: a page with a button, since scanners of mail follow links too.
#[utoipa::path(
    get, path = "/api/v1/members/verify", tag = "members", params(Link),
    responses(
        (status = 200, description = "A page that confirms on the press of a button", body = String, content_type = "text/html"),
        (status = "default", description = "Refused", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn verification_page(State(app): State<App>, Query(link): Query<Link>) -> Result<Response> {
    if sign_ups::was_followed(&app.pool, secret::hash(&link.token)).await? {
        return Ok(html::done(CONFIRMED_BEFORE));
    }
    let form = format!(
        "<form action=\"verify\" method=\"post\"><input type=\"hidden\" name=\"token\" value=\"{}\">\
         <button>Confirm my address</button></form>",
        html::escape(&link.token)
    );
    Ok(html::response(StatusCode::OK, "Confirm your e-mail address", &form))
}

const CONFIRMED: &str = "Your address is confirmed";
const CONFIRMED_BEFORE: &str = "Your address is confirmed already";

/// Confirm the address: the sign-up becomes an account. Browsers get a page instead of 204. Pressed
/// again within a day, the answer is the same.
#[utoipa::path(
    post, path = "/api/v1/members/verify", tag = "members",
    request_body(content((Verification = "application/json"), (Verification = "application/x-www-form-urlencoded"))),
    responses(
        (status = 204, description = "The account is ready to log in"),
        (status = 200, description = "The same, as a page for browsers", body = String, content_type = "text/html"),
        (status = "default", description = "Refused", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn verify(
    State(app): State<App>,
    headers: HeaderMap,
    FormOrJson(body): FormOrJson<Verification>,
) -> Response {
    match confirm(&app, &body.token).await {
        Ok(done) => html::outcome(&headers, Ok(()), done),
        Err(problem) => html::outcome(&headers, Err(problem), CONFIRMED),
    }
}

/// What the page tells the person.
async fn confirm(app: &App, token: &str) -> Result<&'static str> {
    match sign_ups::confirm(&app.pool, secret::hash(token)).await? {
        Followed::Joined(member) => {
            tracing::info!(%member, "a member joined");
            metrics::counter!("member_joined_total").increment(1);
            Ok(CONFIRMED)
        }
        Followed::Again => Ok(CONFIRMED_BEFORE),
        Followed::Invalid => Err(link_invalid()),
    }
}

/// The same answer for every way a mailed link can fail: nobody needs to know which one it was.
pub(super) fn link_invalid() -> Problem {
    Problem::new(StatusCode::GONE, "link-invalid", "The link is unknown, used or expired")
}
