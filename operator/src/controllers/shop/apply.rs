//! Step 5: make what is live match what was built.
//!
//! We write an object only when it differs ([`difference`](super::difference)), so a quiet shop costs no
//! writes. Fields that others added stay. We never take over an object that somebody else made
//! ([`stranger`](super::stranger)): it would be deleted with the shop. The status names every object that
//! the API server refuses; we write the others all the same.
//!
//! The order has a reason. What pods need at their start comes before the Deployments, topics included.
//! What leads traffic to the pods comes after. A shop that moves to a Gateway keeps its Ingress until the
//! Gateway leads buyers to it.

use std::{collections::BTreeSet, fmt::Debug};

use k8s_openapi::api::{apps::v1::Deployment, core::v1::ObjectReference, networking::v1::Ingress};
use kube::{
    Resource, ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
    core::NamespaceResourceScope,
};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    build::Children,
    difference::{Difference, difference, with_digest},
    facts::{Facts, kafka_access},
    problem::Problem,
    route::{self, Stand},
    stranger::{self, is_of, strangers},
    validated_shop::ValidatedShop,
};
use crate::{Context, OPERATOR, kafka, telemetry};

/// A write failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("applying {kind} {name}: {source}")]
    Apply { kind: String, name: String, source: kube::Error },
    #[error(transparent)]
    Look(#[from] stranger::Error),
    #[error("deleting {kind} {name}: {source}")]
    Delete { kind: String, name: String, source: kube::Error },
    #[error("{kind} {name} cannot be written as JSON: {source}")]
    Serialize { kind: String, name: String, source: serde_json::Error },
}

/// What apply did.
#[derive(Default)]
pub(super) struct Applied {
    /// The Deployments as they are now.
    pub(super) deployments: Vec<Deployment>,
    /// Objects that somebody had changed by hand and that were set back.
    pub(super) repaired: Vec<ObjectReference>,
    /// Why the topics are not as they should be.
    pub(super) kafka: Option<kafka::Error>,
    /// Where the route stands with its Gateways, in a shop that has one.
    pub(super) route: Option<Stand>,
    /// Objects that this cluster does not accept, or whose kind it does not know.
    pub(super) refused: Vec<Problem>,
    /// Other people's objects under the names of the shop's own. While there is one, we write nothing.
    pub(super) strangers: Vec<Problem>,
    /// Names of Services that this cluster does not accept.
    pub(super) unserved: BTreeSet<String>,
}

pub(super) async fn apply(
    shop: &ValidatedShop,
    children: Children,
    facts: &Facts,
    context: &Context,
) -> Result<Applied, Error> {
    let live = &facts.live;
    let strangers = strangers(shop, &children, live, context).await?;
    if !strangers.is_empty() {
        let ours = live.deployments.iter().filter(|deployment| is_of(shop, *deployment)).cloned().collect();
        // Pods that run with a stranger's account or configuration would be worse than none.
        return Ok(Applied { strangers, deployments: ours, ..Applied::default() });
    }
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
    let mut applied = Applied::default();
    let mut writer =
        Writer { shop, context, repaired: Vec::new(), refused: Vec::new(), unserved: BTreeSet::new() };

    writer.bring(vec![service_account], &live.service_accounts).await?;
    writer.bring(config_maps, &live.config_maps).await?;
    writer.bring(network_policies, &live.network_policies).await?;
    writer.bring(services, &live.services).await?;

    applied.kafka = ensure_topics(shop, &topics, facts, context).await;
    if applied.kafka.is_some() {
        // A component that starts without its topics might create them itself, with the broker's defaults.
        // Components that already run continue.
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
    applied.unserved = writer.unserved;
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
        // The first step already asked. If Kafka did not answer then, we ask once more, but not right away.
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
    repaired: Vec<ObjectReference>,
    refused: Vec<Problem>,
    unserved: BTreeSet<String>,
}

impl Writer<'_> {
    /// Writes the wanted objects of a kind that differ, and deletes those of ours that are not wanted.
    /// Returns the wanted objects as they are now; a refused one stays as it was.
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
                self.repaired.push(new.object_ref(&()));
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
                    if kind == "Service" {
                        self.unserved.insert(name);
                    }
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
        is_of(self.shop, object)
    }
}

/// Whether the same request would get the same answer until people change something: the Shop, a quota, a
/// cluster policy, or the operator's rights.
fn is_refusal(code: u16) -> bool {
    matches!(code, 400 | 403 | 422)
}
