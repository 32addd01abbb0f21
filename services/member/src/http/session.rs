//! The caller as this service knows them: an access token whose session has not ended.
//!
//! Other services learn within seconds that a session has ended. Here, where passwords change and
//! accounts end, one look into the database makes a log-out count at once.

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use rocketmart_kit::auth::{self, Role, session_ended};
use rocketmart_kit::problem::Problem;
use uuid::Uuid;

use super::App;
use crate::domain::email::EmailAddress;
use crate::domain::limit::Guesser;
use crate::domain::password::Password;
use crate::store::members::{self, Member};

/// 401 `unauthenticated` without a token, 401 `session-ended` after a log-out.
pub(super) struct Caller {
    pub(super) member: Member,
    pub(super) session: Uuid,
}

/// A caller who is an administrator now, whatever the token says; 403 `forbidden` otherwise.
pub(super) struct Administrator;

impl Caller {
    /// 403 `password-wrong` unless `password` is the member's. A stolen access token must not become a
    /// way to guess it: wrong ones count against the session.
    pub(super) async fn confirm_password(
        &self,
        app: &App,
        email: &EmailAddress,
        password: Password,
    ) -> Result<(), Problem> {
        let stored = self.member.password_hash.clone();
        if app.try_password(email, Guesser::Known(self.session), password, stored).await? {
            Ok(())
        } else {
            Err(wrong_password())
        }
    }
}

pub(super) fn wrong_password() -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "password-wrong", "The current password is wrong")
}

impl FromRequestParts<App> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let auth::Member(claims) = auth::Member::from_request_parts(parts, app).await?;
        let member =
            members::in_session(&app.pool, claims.sub, claims.sid).await?.ok_or_else(session_ended)?;
        Ok(Self { member, session: claims.sid })
    }
}

impl FromRequestParts<App> for Administrator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, app).await?;
        if caller.member.roles.contains(&Role::Admin) {
            Ok(Self)
        } else {
            Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", "Only administrators may do this"))
        }
    }
}
