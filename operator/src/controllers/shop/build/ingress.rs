//! The entrance behind an ingress controller: which path goes to which component. No route leads to
//! `/internal`.

use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, HTTPIngressRuleValue, Ingress, IngressBackend, IngressRule, IngressServiceBackend,
    IngressSpec, IngressTLS, ServiceBackendPort,
};
use rocketmart_crds::Component;

use super::shop_child;
use crate::controllers::shop::{names, validated_shop::ValidatedShop};

pub(super) fn build(shop: &ValidatedShop) -> Ingress {
    let spec = &shop.spec;
    let mut paths: Vec<_> = Component::ALL
        .into_iter()
        .flat_map(|component| component.routes().iter().map(move |route| (*route, component)))
        .collect();
    paths.sort_unstable();
    Ingress {
        metadata: shop_child(shop, shop.name.clone()),
        spec: Some(IngressSpec {
            ingress_class_name: spec.ingress_class_name.clone(),
            tls: spec.tls.as_ref().map(|tls| {
                vec![IngressTLS { hosts: Some(vec![spec.host.clone()]), secret_name: Some(tls.name.clone()) }]
            }),
            rules: Some(vec![IngressRule {
                host: Some(spec.host.clone()),
                http: Some(HTTPIngressRuleValue {
                    paths: paths.into_iter().map(|(route, component)| path(shop, route, component)).collect(),
                }),
            }]),
            default_backend: None,
        }),
        ..Ingress::default()
    }
}

fn path(shop: &ValidatedShop, route: &str, component: Component) -> HTTPIngressPath {
    HTTPIngressPath {
        path: Some(route.to_owned()),
        path_type: "Prefix".to_owned(),
        backend: IngressBackend {
            service: Some(IngressServiceBackend {
                name: names::of_component(&shop.name, component),
                port: Some(ServiceBackendPort { name: Some("http".to_owned()), number: None }),
            }),
            resource: None,
        },
    }
}
