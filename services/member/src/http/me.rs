//! `/api/v1/me`: the caller's own account.

use axum::extract::State;
use axum::http::StatusCode;
use rocketmart_kit::auth::{Role, session_ended};
use rocketmart_kit::extract::Json;
use rocketmart_kit::list;
use rocketmart_kit::problem::{Problem, Result};
use rocketmart_kit::security_log;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use super::App;
use super::session::{Caller, wrong_password};
use super::validate::Fields;
use crate::domain::RuleBroken;
use crate::domain::email::EmailAddress;
use crate::domain::name::Name;
use crate::domain::password::Password;
use crate::domain::role::{self, ChosenRole};
use crate::store::members::{self, Change, Member};

#[derive(Serialize, ToSchema)]
pub(super) struct Profile {
    id: Uuid,
    email: String,
    name: String,
    roles: Vec<Role>,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
}

impl From<Member> for Profile {
    fn from(member: Member) -> Self {
        let Member { id, email, name, roles, password_hash: _, created_at } = member;
        Self { id, email, name, roles, created_at }
    }
}

/// Show the account.
#[utoipa::path(
    get, path = "/api/v1/me", tag = "me", security(("bearer" = [])),
    responses(
        (status = 200, description = "The account", body = Profile),
        (status = "default", description = "Refused", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn show(caller: Caller) -> Json<Profile> {
    Json(caller.member.into())
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ProfileChange {
    #[schema(min_length = 1, max_length = 100)]
    name: Option<String>,
    /// Takes effect in the next access token. An administrator stays one.
    #[serde(default, deserialize_with = "list::optional_at_most::<2, _, _>")]
    #[schema(min_items = 1, max_items = 2)]
    roles: Option<Vec<ChosenRole>>,
}

impl ProfileChange {
    fn parse(self, member: &Member) -> Result<Change> {
        let mut fields = Fields::default();
        let name = self.name.and_then(|name| fields.check("name", Name::parse(&name)));
        let roles = self.roles.and_then(|chosen| fields.check("roles", chosen_roles(&chosen, member)));
        fields.finish()?;
        Ok(Change { name, roles })
    }
}

fn chosen_roles(chosen: &[ChosenRole], member: &Member) -> Result<Vec<Role>, RuleBroken> {
    if !(1..=2).contains(&chosen.len()) {
        return Err(RuleBroken::new("items", "must be one or two roles"));
    }
    let mut roles = role::of_choice(chosen);
    roles.extend(member.roles.iter().filter(|role| **role == Role::Admin));
    Ok(roles)
}

/// Change name or roles.
#[utoipa::path(
    patch, path = "/api/v1/me", tag = "me", security(("bearer" = [])), request_body = ProfileChange,
    responses(
        (status = 200, description = "The account as it is now", body = Profile),
        (status = "default", description = "Refused", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn change(
    State(app): State<App>,
    caller: Caller,
    Json(body): Json<ProfileChange>,
) -> Result<Json<Profile>> {
    let change = body.parse(&caller.member)?;
    let member = members::update(&app.pool, caller.member.id, &change).await?.ok_or_else(session_ended)?;
    Ok(Json(member.into()))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Deletion {
    #[schema(max_length = 128)]
    password: String,
}

/// Delete the account: the password is asked for. Orders keep the id they were made under and nothing
/// else.
#[utoipa::path(
    delete, path = "/api/v1/me", tag = "me", security(("bearer" = [])), request_body = Deletion,
    responses(
        (status = 204, description = "Deleted; a last mail says so"),
        (status = "default", description = "Refused", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn delete(
    State(app): State<App>,
    caller: Caller,
    Json(body): Json<Deletion>,
) -> Result<StatusCode> {
    let mut fields = Fields::default();
    let Some(password) = fields.check("password", Password::given(body.password)) else {
        return Err(fields.into_problem());
    };
    let email = EmailAddress::stored(caller.member.email.clone());
    caller.confirm_password(&app, &email, password).await?;
    members::delete(&app.pool, &caller.member).await?;
    security_log::record(caller.entry("account-deletion"));
    app.doorbell.ring();
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PasswordChange {
    #[schema(max_length = 128)]
    current_password: String,
    /// Not among the passwords that are guessed first.
    #[schema(min_length = 10, max_length = 128)]
    new_password: String,
}

/// Change the password: the old one is asked for, other sessions end.
#[utoipa::path(
    put, path = "/api/v1/me/password", tag = "me", security(("bearer" = [])), request_body = PasswordChange,
    responses(
        (status = 204, description = "Changed; this session goes on, all others have ended"),
        (status = "default", description = "Refused", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn change_password(
    State(app): State<App>,
    caller: Caller,
    Json(body): Json<PasswordChange>,
) -> Result<StatusCode> {
    let email = EmailAddress::stored(caller.member.email.clone());
    let mut fields = Fields::default();
    let current = fields.check("current_password", Password::given(body.current_password));
    let new = fields.check("new_password", Password::chosen(body.new_password, Some(&email)));
    let Some((current, new)) = current.zip(new) else {
        return Err(fields.into_problem());
    };

    caller.confirm_password(&app, &email, current).await?;
    let hash = app.passwords.hash(new).await?;
    if !members::change_password(&app.pool, &caller.member, &hash, caller.session).await? {
        return Err(wrong_password());
    }
    security_log::record(caller.entry("password-change"));
    app.doorbell.ring();
    Ok(StatusCode::NO_CONTENT)
}
