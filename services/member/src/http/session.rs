//! The caller as this service knows them: an access token whose session has not ended.
//!
//! Other services learn within seconds that a session has ended. Here, where passwords change and accounts
//! end, one look into the database makes a log-out count at once.

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use rocketmart_kit::auth::{self, Role, session_ended};
use rocketmart_kit::problem::Problem;
use rocketmart_kit::security_log::{self, Entry, Outcome};
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
pub(super) struct Administrator(Caller);

impl Caller {
    /// Starts an entry of the security log about what the caller did.
    pub(super) fn entry(&self, event: &'static str) -> Entry<'_> {
        let email = Some(self.member.email.as_str());
        Entry { event, member: Some(self.member.id), session: Some(self.session), email, ..Entry::default() }
    }

    /// 403 `password-wrong` unless `password` is the member's. A stolen access token must not become a way to
    /// guess it, so wrong ones count against the session.
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
            let reason = Some("password-wrong");
            security_log::record(Entry { outcome: Outcome::Refused, reason, ..self.entry("password-check") });
            Err(wrong_password())
        }
    }
}

impl Administrator {
    /// Logs what was done, and to how many members.
    pub(super) fn did(&self, what: &'static str, members: usize) {
        let (reason, members) = (Some(what), Some(members));
        security_log::record(Entry { reason, members, ..self.0.entry("administration") });
    }
}

pub(super) fn wrong_password() -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "password-wrong", "The current password is wrong")
}

impl FromRequestParts<App> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let auth::Member(claims) = auth::Member::from_request_parts(parts, app).await?;
        let Some(member) = members::in_session(&app.pool, claims.sub, claims.sid).await? else {
            security_log::record(Entry {
                event: "access",
                outcome: Outcome::Refused,
                reason: Some("session-ended"),
                member: Some(claims.sub),
                session: Some(claims.sid),
                ..Entry::default()
            });
            return Err(session_ended());
        };
        Ok(Self { member, session: claims.sid })
    }
}

impl FromRequestParts<App> for Administrator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, app).await?;
        if caller.member.roles.contains(&Role::Admin) {
            Ok(Self(caller))
        } else {
            let reason = Some("forbidden");
            security_log::record(Entry { outcome: Outcome::Refused, reason, ..caller.entry("access") });
            Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", "Only administrators may do this"))
        }
    }
}
