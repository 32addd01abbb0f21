//! Step 5: bring what is live to what was built.
//!
//! An object is written only when it differs, so a quiet shop costs no writes: either the built value
//! is another one than was last applied (its digest stands in an annotation), or somebody changed one
//! of our fields by hand. Fields that others added stay. One that the API server refuses is named in the
//! status, and those beside it are written all the same.
//!
//! The order has a reason: what pods need at their start comes before the Deployments, the topics
//! included; what leads traffic to them comes after. A shop that is moved to a Gateway keeps its Ingress
//! until the Gateway leads buyers to it.

use std::fmt::Debug;

use k8s_openapi::api::{apps::v1::Deployment, networking::v1::Ingress};
use kube::{
    Resource, ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
    core::NamespaceResourceScope,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{
    build::Children,
    dereference::{Facts, kafka_access},
    route::{self, Stand},
    validate::{Problem, ValidatedShop},
};
use crate::{Context, OPERATOR, kafka, telemetry};

const DIGEST: &str = "rocketmart.dev/applied-digest";

/// A write failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("applying {kind} {name}: {source}")]
    Apply { kind: String, name: String, source: kube::Error },
    #[error("deleting {kind} {name}: {source}")]
    Delete { kind: String, name: String, source: kube::Error },
    #[error("{kind} {name} cannot be written as JSON: {source}")]
    Serialize { kind: String, name: String, source: serde_json::Error },
}

/// What was done.
#[derive(Default)]
pub(super) struct Applied {
    /// The Deployments as they are now.
    pub(super) deployments: Vec<Deployment>,
    /// Objects that had been changed by hand.
    pub(super) repaired: Vec<String>,
    /// Why the topics are not as they should be.
    pub(super) kafka: Option<kafka::Error>,
    /// Where the route stands with its Gateways, in a shop that has one.
    pub(super) route: Option<Stand>,
    /// Objects that this cluster does not accept, or whose kind it does not know.
    pub(super) refused: Vec<Problem>,
}

pub(super) async fn apply(
    shop: &ValidatedShop,
    children: Children,
    facts: &Facts,
    context: &Context,
) -> Result<Applied, Error> {
    let Children {
        service_account,
        config_maps,
        network_policies,
        services,
        topics,
        mut deployments,
        pod_disruption_budgets,
        http_routes,
        ingresses,
    } = children;
    let live = &facts.live;
    let mut applied = Applied::default();
    let mut writer = Writer { shop, context, repaired: Vec::new(), refused: Vec::new() };

    writer.bring(vec![service_account], &live.service_accounts).await?;
    writer.bring(config_maps, &live.config_maps).await?;
    writer.bring(network_policies, &live.network_policies).await?;
    writer.bring(services, &live.services).await?;

    applied.kafka = ensure_topics(shop, &topics, facts, context).await;
    if applied.kafka.is_some() {
        // A component that starts without its topics might make them by itself, with the broker's
        // defaults. Those that run already go on.
        deployments.retain(|new| live.deployments.iter().any(|old| old.name_any() == new.name_any()));
    }
    applied.deployments = writer.bring(deployments, &live.deployments).await?;

    writer.bring(pod_disruption_budgets, &live.pod_disruption_budgets).await?;
    let wants_gateway = !http_routes.is_empty();
    if !wants_gateway {
        writer.bring(ingresses, &live.ingresses).await?;
    }
    if wants_gateway && live.http_routes.is_none() {
        let message = "spec.gateway: this cluster has no HTTPRoute (gateway.networking.k8s.io/v1); install the \
                       Gateway API's CRDs";
        writer.refused.push(Problem { reason: "GatewayApiMissing", message: message.to_owned() });
    } else if let Some(live) = &live.http_routes {
        applied.route = writer.bring(http_routes, live).await?.first().map(route::stand);
    }
    if wants_gateway && applied.route.as_ref().is_some_and(Stand::leads) {
        writer.bring(Vec::<Ingress>::new(), &live.ingresses).await?;
    }
    applied.repaired = writer.repaired;
    applied.refused = writer.refused;
    Ok(applied)
}

/// Why the topics could not be ensured, if they could not.
async fn ensure_topics(
    shop: &ValidatedShop,
    topics: &[kafka::Topic],
    facts: &Facts,
    context: &Context,
) -> Option<kafka::Error> {
    let ensure = async {
        // Already asked in the first step; if Kafka did not answer then, it is asked once more, but not
        // right away.
        let access = kafka_access(&shop.spec, &facts.secrets).ok_or(kafka::Error::NoAccess)?;
        let cluster = context.kafka.of_shop(&shop.namespace, &shop.name, &access)?;
        let existing = match &facts.topics {
            Ok(existing) => existing.clone(),
            Err(_) => cluster.topics(&shop.topic_prefix()).await?,
        };
        let made = cluster.ensure(topics, &existing).await?;
        if !made.is_empty() {
            tracing::info!(topics = ?made, "topics made");
        }
        Ok(())
    };
    ensure.await.err()
}

struct Writer<'a> {
    shop: &'a ValidatedShop,
    context: &'a Context,
    repaired: Vec<String>,
    refused: Vec<Problem>,
}

impl Writer<'_> {
    /// Writes the wanted objects of a kind that differ and deletes those of ours that are not wanted.
    /// Answers the wanted objects as they are now; one that was refused stays as it was.
    async fn bring<K>(&mut self, wanted: Vec<K>, live: &[K]) -> Result<Vec<K>, Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + Serialize,
    {
        let api = self.context.namespaced::<K>(&self.shop.namespace);
        let kind = K::kind(&());
        let kind = kind.as_ref();
        let orphans = live.iter().filter(|old| wanted.iter().all(|new| new.name_any() != old.name_any()));
        let orphans: Vec<_> = orphans.filter(|old| self.is_ours(*old)).map(ResourceExt::name_any).collect();
        let mut current = Vec::with_capacity(wanted.len());
        for new in wanted {
            let name = new.name_any();
            let value = with_digest(&new).map_err(|source| Error::Serialize {
                kind: kind.to_owned(),
                name: name.clone(),
                source,
            })?;
            let old = live.iter().find(|old| old.name_any() == name);
            let difference = old.map_or(Difference::Absent, |old| difference(&value, old));
            if let (Difference::None, Some(old)) = (difference, old) {
                current.push(old.clone());
                continue;
            }
            if difference == Difference::Drift {
                self.repaired.push(format!("{kind} {name}"));
            }
            tracing::info!(kind, name, why = ?difference, "applying");
            metrics::counter!(telemetry::WRITES, "kind" => kind.to_owned(), "verb" => "apply").increment(1);
            let parameters = PatchParams::apply(OPERATOR).force();
            match api.patch(&name, &parameters, &Patch::Apply(&value)).await {
                Ok(written) => current.push(written),
                Err(kube::Error::Api(status)) if is_refusal(status.code) => {
                    tracing::warn!(kind, name, code = status.code, because = status.message, "refused");
                    let message =
                        format!("{kind} {name}: the API server does not accept it: {}", status.message);
                    self.refused.push(Problem { reason: "ObjectRefused", message });
                    current.extend(old.cloned());
                }
                Err(source) => return Err(Error::Apply { kind: kind.to_owned(), name, source }),
            }
        }
        for name in orphans {
            tracing::info!(kind, name, "deleting an orphan");
            metrics::counter!(telemetry::WRITES, "kind" => kind.to_owned(), "verb" => "delete").increment(1);
            match api.delete(&name, &DeleteParams::background()).await {
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(source) => return Err(Error::Delete { kind: kind.to_owned(), name, source }),
                Ok(_) => {}
            }
        }
        Ok(current)
    }

    fn is_ours(&self, object: &impl ResourceExt) -> bool {
        object.owner_references().iter().any(|owner| owner.uid == self.shop.owner.uid)
    }
}

/// Whether the same request would be answered the same way until people change something: the Shop, a quota,
/// a policy of the cluster, or what the operator may do.
fn is_refusal(code: u16) -> bool {
    matches!(code, 400 | 403 | 422)
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Difference {
    None,
    /// It does not exist.
    Absent,
    /// Another value is wanted than was last applied.
    Changed,
    /// What was last applied is wanted still, but was changed by somebody else.
    Drift,
}

/// The object with the digest of itself in an annotation.
fn with_digest<K: Serialize>(object: &K) -> serde_json::Result<Value> {
    let mut value = serde_json::to_value(object)?;
    let digest = hex::encode(&Sha256::digest(value.to_string())[..16]);
    value["metadata"]["annotations"][DIGEST] = digest.into();
    Ok(value)
}

fn difference<K: Resource + Serialize>(wanted: &Value, live: &K) -> Difference {
    let digest = &wanted["metadata"]["annotations"][DIGEST];
    if live.annotations().get(DIGEST).map(String::as_str) != digest.as_str() {
        return Difference::Changed;
    }
    match serde_json::to_value(live) {
        Ok(live) if contains(&live, wanted) => Difference::None,
        _ => Difference::Drift,
    }
}

/// Whether `live` has everything in `wanted`. Objects may have more fields (defaults, other owners);
/// lists may not have more items.
fn contains(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => {
            wanted.iter().all(|(name, wanted)| match live.get(name) {
                Some(live) => contains(live, wanted),
                // An empty value is as good as none.
                None => wanted.is_null() || wanted.as_object().is_some_and(serde_json::Map::is_empty),
            })
        }
        (Value::Array(live), Value::Array(wanted)) => {
            live.len() == wanted.len() && live.iter().zip(wanted).all(|(live, wanted)| contains(live, wanted))
        }
        _ => live == wanted,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use serde_json::json;

    use super::*;

    fn config(data: &Value) -> ConfigMap {
        serde_json::from_value(json!({ "metadata": { "name": "config" }, "data": data })).unwrap()
    }

    #[test]
    fn an_object_as_it_was_applied_is_not_written_again() {
        let wanted = with_digest(&config(&json!({ "a": "1" }))).unwrap();
        let mut live = wanted.clone();
        live["metadata"]["resourceVersion"] = "7".into();
        live["metadata"]["labels"] = json!({ "somebody": "else" });
        let live: ConfigMap = serde_json::from_value(live).unwrap();
        assert_eq!(difference(&wanted, &live), Difference::None);
    }

    #[test]
    fn a_new_value_is_a_change_and_a_foreign_hand_is_drift() {
        let wanted = with_digest(&config(&json!({ "a": "1" }))).unwrap();
        let other: ConfigMap =
            serde_json::from_value(with_digest(&config(&json!({ "a": "2" }))).unwrap()).unwrap();
        assert_eq!(difference(&wanted, &other), Difference::Changed);
        let mut tampered = wanted.clone();
        tampered["data"]["a"] = "2".into();
        let tampered: ConfigMap = serde_json::from_value(tampered).unwrap();
        assert_eq!(difference(&wanted, &tampered), Difference::Drift);
    }

    #[test]
    fn an_item_added_to_a_list_by_hand_is_drift() {
        assert!(contains(&json!({ "a": [{ "b": 1, "defaulted": 2 }] }), &json!({ "a": [{ "b": 1 }] })));
        assert!(!contains(&json!({ "a": [{ "b": 1 }, { "b": 2 }] }), &json!({ "a": [{ "b": 1 }] })));
        assert!(!contains(&json!({ "a": 2 }), &json!({ "a": 1 })));
    }
}
