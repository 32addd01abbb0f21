//! The cookie of a device that a member has logged in from. It proves nothing. Whoever presents it may try
//! passwords of that one member even when strangers may not (docs/adr/0029).

use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use rocketmart_kit::problem::{Problem, Result};
use uuid::Uuid;

use super::App;
use crate::tokens::DEVICE_LIFETIME;

const NAME: &str = "rocketmart-device";

/// The device that a request comes from, if it is known as one of `member`'s.
pub(super) fn presented(app: &App, headers: &HeaderMap, member: Uuid) -> Option<Uuid> {
    let cookies = headers.get_all(COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    cookies
        .flat_map(|value| value.split(';'))
        .filter_map(|cookie| cookie.trim().split_once('='))
        .filter(|(name, _)| *name == NAME)
        .find_map(|(_, token)| app.issuer.device(token, member))
}

/// Remembers the device: the known one, or a new one.
pub(super) fn remember(app: &App, member: Uuid, device: Option<Uuid>) -> Result<(HeaderName, HeaderValue)> {
    let token = app.issuer.issue_device(member, device.unwrap_or_else(Uuid::new_v4))?;
    let cookie = format!(
        "{NAME}={token}; Path={}/api/v1/sessions; Max-Age={}; HttpOnly; SameSite=Lax{}",
        app.public_url.path().trim_end_matches('/'),
        DEVICE_LIFETIME.whole_seconds(),
        if app.public_url.scheme() == "https" { "; Secure" } else { "" }
    );
    Ok((SET_COOKIE, HeaderValue::try_from(cookie).map_err(Problem::internal)?))
}
