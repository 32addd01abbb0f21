//! The first administrator, made at start from the configuration: somebody must be there to import
//! members and issue tokens.

use anyhow::Context;
use sqlx::PgPool;

use crate::domain::email::EmailAddress;
use crate::domain::password::Password;
use crate::passwords::Passwords;
use crate::store::members;

use rocketmart_kit::auth::Role;

/// Any number of replicas and restarts end with the one member; a password changed since is kept.
pub(crate) async fn ensure(
    pool: &PgPool,
    passwords: &Passwords,
    email: &str,
    password: &str,
) -> anyhow::Result<()> {
    let email = EmailAddress::parse(email).context("ADMIN_EMAIL")?;
    let password = Password::chosen(password.to_owned(), Some(&email)).context("ADMIN_PASSWORD")?;
    let present = members::by_email(pool, &email).await.context("looking for the administrator")?;
    if present.is_some_and(|member| member.roles.contains(&Role::Admin) && member.password_hash.is_some()) {
        return Ok(());
    }
    let hash = passwords.hash(password).await?;
    members::ensure_administrator(pool, &email, &hash).await.context("adding the administrator")?;
    tracing::info!(%email, "the administrator is there");
    Ok(())
}
