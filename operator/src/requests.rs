//! The operator's requests to the API server: counted, and only so many at a time.
//!
//! ```text
//!   controllers, autoscaler ──► at most IN_FLIGHT at a time ──► counted ──► API server
//!   election ───────────────────────────────────────────────► counted ──┘
//! ```
//! Reconciles run side by side without a common limit, so that one that waits for a slow shop holds up no
//! other. Their requests to the API server share this limit. A renewal of the Lease waits for nobody.

use axum::http::{Method, Request, Uri};
use kube::{
    Client, Config,
    client::{Body, ClientBuilder},
};
use tower::{limit::ConcurrencyLimitLayer, util::MapRequestLayer};

use crate::telemetry::API_REQUESTS;

/// A watch counts until its answer begins.
const IN_FLIGHT: usize = 32;

/// For the controllers.
pub(crate) fn limited(config: Config) -> kube::Result<Client> {
    let builder = ClientBuilder::try_from(config)?;
    Ok(builder
        .with_layer(&MapRequestLayer::new(counted))
        .with_layer(&ConcurrencyLimitLayer::new(IN_FLIGHT))
        .build())
}

/// For the election.
pub(crate) fn unlimited(config: Config) -> kube::Result<Client> {
    Ok(ClientBuilder::try_from(config)?.with_layer(&MapRequestLayer::new(counted)).build())
}

fn counted(request: Request<Body>) -> Request<Body> {
    let (verb, resource) = described(request.method(), request.uri());
    metrics::counter!(API_REQUESTS, "verb" => verb, "resource" => resource).increment(1);
    request
}

/// A request in the API server's own words, as RBAC would name it: `("patch", "flashsales/status")`.
fn described(method: &Method, uri: &Uri) -> (&'static str, String) {
    let parts: Vec<&str> = uri.path().split('/').filter(|part| !part.is_empty()).collect();
    let within_group = match parts.as_slice() {
        ["api", _, rest @ ..] | ["apis", _, _, rest @ ..] => rest,
        other => other,
    };
    let object = match within_group {
        ["namespaces", _, rest @ ..] if !rest.is_empty() => rest,
        other => other,
    };
    let (resource, named) = match object {
        [resource, _, subresource] => (format!("{resource}/{subresource}"), true),
        [resource, _] => ((*resource).to_owned(), true),
        [resource] => ((*resource).to_owned(), false),
        _ => (String::new(), false),
    };
    let watches = uri.query().is_some_and(|query| query.split('&').any(|pair| pair == "watch=true"));
    let verb = match *method {
        Method::GET if watches => "watch",
        Method::GET if named || parts.len() == 1 => "get",
        Method::GET => "list",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "other",
    };
    (verb, resource)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_told_as_rbac_would_name_it() {
        for (method, uri, verb, resource) in [
            (Method::GET, "/version", "get", "version"),
            (Method::GET, "/api/v1/namespaces/mart/secrets/token?", "get", "secrets"),
            (
                Method::GET,
                "/apis/apps/v1/namespaces/mart/deployments?labelSelector=a%3Db",
                "list",
                "deployments",
            ),
            (Method::GET, "/apis/rocketmart.dev/v1alpha1/shops?&limit=500", "list", "shops"),
            (
                Method::GET,
                "/apis/rocketmart.dev/v1alpha1/shops?&watch=true&timeoutSeconds=290",
                "watch",
                "shops",
            ),
            (
                Method::PATCH,
                "/apis/rocketmart.dev/v1alpha1/namespaces/mart/flashsales/launch/status?force=true",
                "patch",
                "flashsales/status",
            ),
            (Method::POST, "/apis/events.k8s.io/v1/namespaces/mart/events?", "create", "events"),
            (
                Method::PUT,
                "/apis/coordination.k8s.io/v1/namespaces/system/leases/rocketmart-operator?",
                "update",
                "leases",
            ),
            (Method::DELETE, "/api/v1/namespaces/mart/configmaps/orphan?", "delete", "configmaps"),
        ] {
            let told = described(&method, &uri.parse().unwrap());
            assert_eq!(told, (verb, resource.to_owned()), "{method} {uri}");
        }
    }
}
