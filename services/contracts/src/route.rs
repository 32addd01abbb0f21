//! Which path leads to which component: the one table behind the Ingress or `HTTPRoute` that the operator
//! makes, the entrance that stands in for it on loopback, and the tests that look at both.
//!
//! `/internal` and the services' own `/docs` are in no row, so they lead nowhere from outside; `/openapi`
//! is the description of the whole shop.

use crate::component::Component;

pub const CATALOG: &[&str] = &["/api/v1/likes", "/api/v1/products", "/api/v1/wishlist"];
pub const DELIVERY: &[&str] = &["/api/v1/addresses", "/api/v1/shipments"];
pub const MEMBER: &[&str] = &[
    "/.well-known",
    "/api/v1/admin",
    "/api/v1/me",
    "/api/v1/members",
    "/api/v1/password-resets",
    "/api/v1/sessions",
    "/openapi",
];
pub const ORDER: &[&str] = &["/api/v1/cart", "/api/v1/orders", "/api/v1/sales"];
pub const PAYMENT: &[&str] = &["/api/v1/payment-methods", "/api/v1/payments"];
pub const SEARCH: &[&str] = &["/api/v1/search"];

/// The component a path leads to, as an Ingress rule of type `Prefix` decides it: by whole path
/// elements, so that `/api/v1/members` is not under `/api/v1/me`.
pub fn component_of(path: &str) -> Option<Component> {
    let under = |prefix: &&str| {
        path.strip_prefix(*prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    Component::ALL.into_iter().find(|component| component.routes().iter().any(under))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_by_its_whole_elements() {
        assert_eq!(component_of("/api/v1/me"), Some(Component::Member));
        assert_eq!(component_of("/api/v1/payments/callbacks"), Some(Component::Payment));
        assert_eq!(component_of("/api/v1/payment-methods"), Some(Component::Payment));
        assert_eq!(component_of("/api/v1/mendacity"), None);
    }

    #[test]
    fn the_internal_api_and_the_probes_lead_nowhere() {
        for path in ["/internal/v1/sales/x", "/livez", "/readyz", "/metrics", "/docs", "/"] {
            assert_eq!(component_of(path), None, "{path}");
        }
    }

    #[test]
    fn no_prefix_is_in_two_rows_or_under_another() {
        let all: Vec<&str> =
            Component::ALL.iter().flat_map(|component| component.routes()).copied().collect();
        for (at, prefix) in all.iter().enumerate() {
            for other in all.iter().skip(at + 1) {
                let under = |a: &str, b: &str| a == b || a.starts_with(&format!("{b}/"));
                assert!(!under(prefix, other) && !under(other, prefix), "{prefix} and {other}");
            }
        }
    }
}
