//! Makes the first administrator at start, from the configuration: somebody must be there to import members
//! and issue tokens.

use anyhow::Context;
use sqlx::PgPool;

use crate::domain::email::EmailAddress;
use crate::domain::password::Password;
use crate::passwords::Passwords;
use crate::store::members::{self, Member};

use rocketmart_kit::auth::Role;
use rocketmart_kit::security_log::{self, Entry};
use rocketmart_kit::startup::wait_for;

/// Any number of replicas and restarts end with a single member. A password that was changed since is kept.
pub(crate) async fn ensure(
    pool: &PgPool,
    passwords: &Passwords,
    email: &str,
    password: &str,
) -> anyhow::Result<()> {
    let email = EmailAddress::parse(email).context("ADMIN_EMAIL")?;
    let is_there = |member: Member| member.roles.contains(&Role::Admin) && member.password_hash.is_some();
    let present = wait_for("postgresql", |_| true, || members::by_email(pool, &email)).await;
    if present.context("looking for the administrator")?.is_some_and(is_there) {
        return Ok(());
    }
    // Only a new administrator's password is checked; an existing one obeyed the rules of its day.
    let password = Password::chosen(password.to_owned(), Some(&email)).context("ADMIN_PASSWORD")?;
    let hash = passwords.hash(password).await?;
    let added = wait_for("postgresql", |_| true, || members::ensure_administrator(pool, &email, &hash)).await;
    added.context("adding the administrator")?;
    let (reason, email) = (Some("first-administrator"), Some(email.as_str()));
    security_log::record(Entry { event: "administration", reason, email, ..Entry::default() });
    Ok(())
}
