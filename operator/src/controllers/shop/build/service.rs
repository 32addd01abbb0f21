//! The address of a component that serves HTTP: `http://<shop>-<component>`.

use k8s_openapi::{
    api::core::v1::{Service, ServicePort, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};
use rocketmart_crds::Component;

use super::component_child;
use crate::controllers::shop::{names, ports::SERVICE_PORT, validated_shop::ValidatedShop};

pub(super) fn build(shop: &ValidatedShop, component: Component) -> Service {
    Service {
        metadata: component_child(shop, component),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".to_owned()),
            selector: Some(names::selector(&shop.name, component)),
            ports: Some(vec![ServicePort {
                name: Some("http".to_owned()),
                port: SERVICE_PORT,
                protocol: Some("TCP".to_owned()),
                target_port: Some(IntOrString::String("http".to_owned())),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}
