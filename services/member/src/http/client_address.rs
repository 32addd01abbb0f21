//! Where a request came from, as far as our own proxies vouch for it.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;

use super::App;

/// The client's address, used for limits and for nothing else. `None`: unknown, then only the
/// limits of the e-mail address hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ClientAddress(pub(super) Option<IpAddr>);

impl FromRequestParts<App> for ClientAddress {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Infallible> {
        Ok(Self(vouched_for(&parts.headers, app.trusted_proxies)))
    }
}

/// Each proxy appends the address it was called from, so the one our outermost proxy saw is counted
/// from the right; whatever stands further left the client wrote itself.
fn vouched_for(headers: &HeaderMap, trusted_proxies: usize) -> Option<IpAddr> {
    let from_the_right = trusted_proxies.checked_sub(1)?;
    let values = headers.get_all("x-forwarded-for");
    let addresses: Vec<&str> = values
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .collect();
    let address = addresses.into_iter().rev().nth(from_the_right)?;
    address.parse().ok().or_else(|| address.parse::<SocketAddr>().ok().map(|with_port| with_port.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(values: &[&str], trusted_proxies: usize) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("x-forwarded-for", value.parse().unwrap());
        }
        vouched_for(&headers, trusted_proxies).map(|address| address.to_string())
    }

    #[test]
    fn what_the_client_claims_to_the_left_is_not_believed() {
        assert_eq!(seen(&["1.1.1.1, 10.0.0.7"], 1).as_deref(), Some("10.0.0.7"));
        assert_eq!(seen(&["1.1.1.1", "10.0.0.7, 172.16.0.1"], 2).as_deref(), Some("10.0.0.7"));
    }

    #[test]
    fn without_a_proxy_in_front_the_header_means_nothing() {
        assert_eq!(seen(&["1.1.1.1"], 0), None);
        assert_eq!(seen(&[], 1), None);
        assert_eq!(seen(&["unknown"], 1), None);
    }
}
