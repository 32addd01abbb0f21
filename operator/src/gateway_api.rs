//! The Gateway API's `HTTPRoute`, as far as a shop needs it.
//!
//! The kind is not part of Kubernetes itself. A cluster may lack it, and may get it while the operator
//! runs. So a watch of it waits until the kind is there, instead of failing again and again and dragging
//! the watches beside it along.

use std::time::Duration;

use http::{Request, Response, StatusCode};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{Client, CustomResource, client::Body};
use rocketmart_crds::shop::ParentReference;
use serde::{Deserialize, Serialize};

/// Which requests lead where.
#[derive(CustomResource, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[kube(
    group = "gateway.networking.k8s.io",
    version = "v1",
    kind = "HTTPRoute",
    root = "HttpRoute",
    plural = "httproutes",
    namespaced,
    schema = "disabled",
    status = "HttpRouteStatus",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase")]
pub struct HttpRouteSpec {
    #[serde(default)]
    pub parent_refs: Vec<ParentReference>,
    #[serde(default)]
    pub hostnames: Vec<String>,
    #[serde(default)]
    pub rules: Vec<Rule>,
}

/// Requests that match one of `matches` go to `backend_refs`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    #[serde(default)]
    pub matches: Vec<Match>,
    #[serde(default)]
    pub backend_refs: Vec<BackendReference>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Match {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathMatch>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PathMatch {
    #[serde(rename = "type", default)]
    pub kind: String,
    #[serde(default)]
    pub value: String,
}

/// A port of a Service.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendReference {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<i32>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpRouteStatus {
    #[serde(default)]
    pub parents: Vec<ParentStatus>,
}

/// What one Gateway says of the route.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ParentStatus {
    pub parent_ref: ParentReference,
    #[serde(default)]
    pub conditions: Vec<Condition>,
}

/// How often to ask a cluster whether it has the kind by now.
const PATIENCE: Duration = Duration::from_secs(15);

/// A client for watching a kind that the cluster may not have: it waits until the answer is something other
/// than 404. It is for reads alone, which carry no body.
pub(crate) fn patient(client: &Client) -> Client {
    let namespace = client.default_namespace().to_owned();
    let client = client.clone();
    Client::new(tower::service_fn(move |request| ask(client.clone(), request)), namespace)
}

async fn ask(client: Client, request: Request<Body>) -> kube::Result<Response<Body>> {
    let (parts, _no_body) = request.into_parts();
    loop {
        let answer = client.send(Request::from_parts(parts.clone(), Body::empty())).await?;
        if answer.status() != StatusCode::NOT_FOUND {
            return Ok(answer);
        }
        tokio::time::sleep(PATIENCE).await;
    }
}
