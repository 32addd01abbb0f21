//! What an operator created for a shop, in a form in which two shops can be compared.

use std::collections::BTreeMap;

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Service, ServiceAccount},
    networking::v1::{Ingress, NetworkPolicy},
    policy::v1::PodDisruptionBudget,
};
use kube::{Resource, ResourceExt, api::ListParams};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::cluster::Cluster;

/// Everything that an operator created for the shop, without what differs from one shop to another.
pub async fn children(cluster: &Cluster) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    collect::<ConfigMap>(cluster, &mut found).await;
    collect::<Deployment>(cluster, &mut found).await;
    collect::<Ingress>(cluster, &mut found).await;
    collect::<NetworkPolicy>(cluster, &mut found).await;
    collect::<PodDisruptionBudget>(cluster, &mut found).await;
    collect::<Service>(cluster, &mut found).await;
    collect::<ServiceAccount>(cluster, &mut found).await;
    found
}

async fn collect<K>(cluster: &Cluster, found: &mut BTreeMap<String, Value>)
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned
        + Serialize,
{
    for object in cluster.api::<K>().list(&ListParams::default()).await.unwrap() {
        let name = format!("{}/{}", K::kind(&()), object.name_any());
        let text = serde_json::to_string(&object).unwrap().replace(&cluster.namespace, "its-namespace");
        let mut value: Value = serde_json::from_str(&text).unwrap();
        value["metadata"] = json!({ "labels": value["metadata"]["labels"] });
        value.as_object_mut().unwrap().remove("status");
        // These are digests of random keys.
        if let Some(pod) = value.pointer_mut("/spec/template/metadata") {
            pod["annotations"].take();
        }
        for address in ["clusterIP", "clusterIPs"] {
            if value["spec"][address].is_string() || value["spec"][address].is_array() {
                value["spec"][address].take();
            }
        }
        found.insert(name, value);
    }
}
