//! Who may connect to the shop's pods. Everybody may reach the probes and metrics, and the HTTP port of
//! components that serve HTTP, because we do not know the ingress controller's namespace. Nobody may reach
//! anything else. Outgoing connections are not limited: the outside world of a shop can be anywhere.

use k8s_openapi::{
    api::networking::v1::{NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPort, NetworkPolicySpec},
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, LabelSelectorRequirement},
        util::intstr::IntOrString,
    },
};
use rocketmart_crds::Component;

use super::shop_child;
use crate::controllers::shop::{
    names,
    ports::{ADMIN_PORT, HTTP_PORT},
    validated_shop::ValidatedShop,
};

pub(super) fn build(shop: &ValidatedShop) -> [NetworkPolicy; 2] {
    let pods = [(names::NAME, "rocketmart"), (names::INSTANCE, shop.name.as_str())]
        .map(|(key, value)| (key.to_owned(), value.to_owned()));
    let all = LabelSelector { match_labels: Some(pods.clone().into()), ..LabelSelector::default() };
    let serving = Component::ALL.into_iter().filter(|component| component.serves_http());
    let http = LabelSelector {
        match_labels: Some(pods.into()),
        match_expressions: Some(vec![LabelSelectorRequirement {
            key: names::COMPONENT.to_owned(),
            operator: "In".to_owned(),
            values: Some(serving.map(|component| component.to_string()).collect()),
        }]),
    };
    [
        policy(shop, shop.name.clone(), all, ADMIN_PORT),
        policy(shop, format!("{}-http", shop.name), http, HTTP_PORT),
    ]
}

fn policy(shop: &ValidatedShop, name: String, pods: LabelSelector, port: i32) -> NetworkPolicy {
    NetworkPolicy {
        metadata: shop_child(shop, name),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(pods),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(vec![NetworkPolicyIngressRule {
                ports: Some(vec![NetworkPolicyPort {
                    port: Some(IntOrString::Int(port)),
                    protocol: Some("TCP".to_owned()),
                    end_port: None,
                }]),
                from: None,
            }]),
            egress: None,
        }),
    }
}
