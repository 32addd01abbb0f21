//! The entrance behind Gateways: it leads the same paths to the same components as the Ingress does.

use rocketmart_crds::{Component, shop::Gateway};

use super::shop_child;
use crate::{
    controllers::shop::{names, ports::SERVICE_PORT, validated_shop::ValidatedShop},
    gateway_api::{BackendReference, HttpRoute, HttpRouteSpec, Match, PathMatch, Rule},
};

pub(super) fn build(shop: &ValidatedShop, gateway: &Gateway) -> HttpRoute {
    let serving = Component::ALL.into_iter().filter(|component| component.serves_http());
    HttpRoute {
        metadata: shop_child(shop, shop.name.clone()),
        spec: HttpRouteSpec {
            parent_refs: gateway.parent_refs.clone(),
            hostnames: vec![shop.spec.host.clone()],
            rules: serving.map(|component| rule(shop, component)).collect(),
        },
        status: None,
    }
}

fn rule(shop: &ValidatedShop, component: Component) -> Rule {
    let path = |prefix: &&str| PathMatch { kind: "PathPrefix".to_owned(), value: (*prefix).to_owned() };
    Rule {
        matches: component.routes().iter().map(|prefix| Match { path: Some(path(prefix)) }).collect(),
        backend_refs: vec![BackendReference {
            name: names::of_component(&shop.name, component),
            port: Some(SERVICE_PORT),
        }],
    }
}
