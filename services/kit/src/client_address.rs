//! Where a request came from, as far as our own proxies vouch for it.
//!
//! Use it for limits and nothing else: an address does not prove who somebody is.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::extract::{FromRef, FromRequestParts};
use http::HeaderMap;
use http::request::Parts;

/// How many of our own proxies stand between a client and a service. Each adds one address to
/// `X-Forwarded-For`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrustedProxies(pub usize);

/// The client's address. `None` means unknown; then only the limits that do not need an address apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress(pub Option<IpAddr>);

impl<S> FromRequestParts<S> for ClientAddress
where
    S: Send + Sync,
    TrustedProxies: FromRef<S>,
{
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let TrustedProxies(proxies) = TrustedProxies::from_ref(state);
        Ok(Self(vouched_for(&parts.headers, proxies)))
    }
}

/// Whom an address stands for. A household gets a whole IPv6 /64 and can use any address in it.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// Each proxy appends the address it was called from, so we count from the right to find the one our
/// outermost proxy saw. The client itself wrote whatever stands further left.
pub(crate) fn vouched_for(headers: &HeaderMap, trusted_proxies: usize) -> Option<IpAddr> {
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
    fn neighbours_in_an_ipv6_network_are_one() {
        let of = |address: &str| network(address.parse().unwrap()).to_string();
        assert_eq!(of("2001:db8::1"), of("2001:db8::2"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:10.0.0.1"), "10.0.0.1");
    }

    #[test]
    fn without_a_proxy_in_front_the_header_means_nothing() {
        assert_eq!(seen(&["1.1.1.1"], 0), None);
        assert_eq!(seen(&[], 1), None);
        assert_eq!(seen(&["unknown"], 1), None);
    }
}
