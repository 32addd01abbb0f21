//! What a shop consists of, as snapshots, and what a change of the spec changes.

use super::*;
use crate::controllers::shop::{ports::SERVICE_PORT, validated_shop::Replicas};

fn children(change: impl FnOnce(&mut rocketmart_crds::Shop)) -> Children {
    let mut shop = fixture::shop();
    change(&mut shop);
    build(&fixture::valid(&shop), &fixture::keys(), &Live::default())
}

fn deployment(children: &Children, component: Component) -> &Deployment {
    let name = names::of_component("rocket", component);
    children.deployments.iter().find(|deployment| deployment.name_any() == name).unwrap()
}

/// The components whose pods differ and so would be rolled.
fn rolled(before: &Children, after: &Children) -> Vec<&'static str> {
    let template = |children: &Children, component| {
        deployment(children, component).spec.as_ref().unwrap().template.clone()
    };
    Component::ALL
        .into_iter()
        .filter(|component| template(before, *component) != template(after, *component))
        .map(Component::as_str)
        .collect()
}

#[test]
fn the_children_of_a_shop() {
    let children = children(|_| {});
    insta::assert_yaml_snapshot!("member-deployment", deployment(&children, Component::Member));
    insta::assert_yaml_snapshot!("order-deployment", deployment(&children, Component::Order));
    insta::assert_yaml_snapshot!("order-worker-deployment", deployment(&children, Component::OrderWorker));
    insta::assert_yaml_snapshot!("config-maps", children.config_maps);
    insta::assert_yaml_snapshot!("services", children.services);
    insta::assert_yaml_snapshot!("ingress", children.ingresses[0]);
    assert!(children.http_routes.is_empty());
    insta::assert_yaml_snapshot!("network-policies", children.network_policies);
    insta::assert_yaml_snapshot!("pod-disruption-budgets", children.pod_disruption_budgets[0]);
    insta::assert_yaml_snapshot!("service-account", children.service_account);
    insta::assert_yaml_snapshot!("topics", children.topics);
}

fn behind_a_gateway(shop: &mut rocketmart_crds::Shop) {
    let gateway = serde_json::json!({ "parentRefs": [{ "name": "public", "namespace": "edge" }] });
    shop.spec.gateway = Some(serde_json::from_value(gateway).unwrap());
    shop.spec.ingress_class_name = None;
}

#[test]
fn every_child_belongs_to_the_shop() {
    for entrance in [|_: &mut _| {}, behind_a_gateway] {
        let children = serde_json::to_value(children(entrance)).unwrap();
        let objects = children.as_object().unwrap().iter().filter(|(kind, _)| *kind != "topics");
        for child in objects.flat_map(|(_, v)| v.as_array().cloned().unwrap_or_else(|| vec![v.clone()])) {
            let metadata = &child["metadata"];
            assert_eq!(metadata["ownerReferences"][0]["name"], "rocket", "{metadata}");
            assert_eq!(metadata["labels"][names::MANAGED_BY], "rocketmart-operator", "{metadata}");
        }
    }
}

#[test]
fn gateways_lead_the_same_paths_to_the_same_services_as_an_ingress() {
    let behind = children(behind_a_gateway);
    assert!(behind.ingresses.is_empty());
    let [route] = &*behind.http_routes else { panic!("{:?}", behind.http_routes) };
    assert_eq!(route.spec.hostnames, ["shop.example"]);
    assert_eq!(route.spec.parent_refs[0].name, "public");
    let mut by_gateway = Vec::new();
    for rule in &route.spec.rules {
        let [backend] = &*rule.backend_refs else { panic!("{rule:?}") };
        assert_eq!(backend.port, Some(SERVICE_PORT));
        for path in rule.matches.iter().filter_map(|one| one.path.as_ref()) {
            assert_eq!(path.kind, "PathPrefix");
            by_gateway.push((path.value.clone(), backend.name.clone()));
        }
    }
    by_gateway.sort();

    let behind = children(|_| {});
    let http = behind.ingresses[0].spec.clone().unwrap().rules.unwrap().remove(0).http.unwrap();
    let by_ingress: Vec<_> =
        http.paths.into_iter().map(|path| (path.path.unwrap(), path.backend.service.unwrap().name)).collect();
    assert!(by_ingress.len() > 10);
    assert_eq!(by_gateway, by_ingress);
}

#[test]
fn another_entrance_rolls_no_pod() {
    assert!(rolled(&children(|_| {}), &children(behind_a_gateway)).is_empty());
}

#[test]
fn a_change_of_configuration_rolls_the_pods_that_read_it_and_no_others() {
    let before = children(|_| {});
    let mail = children(|shop| shop.spec.smtp.from = "Other <other@shop.example>".into());
    assert_eq!(rolled(&before, &mail), ["member"]);
    let redis = children(|shop| shop.spec.redis.url = Some("redis://other:6379".into()));
    assert_eq!(rolled(&before, &redis), ["order", "order-relay", "order-worker"]);
    let scaled = children(|shop| shop.spec.components.get_mut(&Component::Order).unwrap().replicas = Some(5));
    assert!(rolled(&before, &scaled).is_empty());
}

#[test]
fn a_changed_secret_rolls_the_pods_that_read_it_and_no_others() {
    let shop = fixture::shop();
    let mut valid = fixture::valid(&shop);
    let before = build(&valid, &fixture::keys(), &Live::default());
    valid.secret_digests.insert(("databases".into(), "payment".into()), "other".into());
    let after = build(&valid, &fixture::keys(), &Live::default());
    assert_eq!(rolled(&before, &after), ["payment", "payment-worker"]);

    let mut keys = fixture::keys();
    keys.insert(names::operator_token("rocket"), fixture::secret(&[]));
    let before = build(&valid, &keys, &Live::default());
    assert_eq!(rolled(&after, &before), ["order"]);

    keys.insert(names::internal_token("rocket"), fixture::secret(&[]));
    let after = build(&valid, &keys, &Live::default());
    assert_eq!(rolled(&before, &after), ["order", "payment", "delivery"]);
}

/// The components that talk to Kafka.
const CLIENTS: [&str; 6] =
    ["catalog", "search", "order-relay", "order-worker", "payment-worker", "delivery-worker"];

#[test]
fn a_secured_kafka_concerns_those_that_speak_to_it_and_no_others() {
    let secured = children(|shop| shop.spec.kafka = fixture::secured_kafka());
    assert_eq!(rolled(&children(|_| {}), &secured), CLIENTS);
    let name = names::of_component("rocket", Component::Search);
    let config = secured.config_maps.iter().find(|config| config.name_any() == name).unwrap();
    insta::assert_yaml_snapshot!(
        "search-with-a-secured-kafka",
        serde_json::json!({
            "config": config.data,
            "env": container(&secured, Component::Search).env,
        })
    );
}

#[test]
fn a_new_password_of_kafka_rolls_those_that_speak_to_it_and_no_others() {
    let mut shop = fixture::shop();
    shop.spec.kafka = fixture::secured_kafka();
    let mut valid = fixture::valid(&shop);
    let before = build(&valid, &fixture::keys(), &Live::default());
    for (secret, key) in [("kafka", "password"), ("kafka-ca", "ca.crt")] {
        valid.secret_digests.insert((secret.into(), key.into()), "other".into());
        let after = build(&valid, &fixture::keys(), &Live::default());
        assert_eq!(rolled(&before, &after), CLIENTS, "{key}");
    }
}

fn container(children: &Children, component: Component) -> k8s_openapi::api::core::v1::Container {
    let pod = deployment(children, component).spec.clone().unwrap().template.spec.unwrap();
    pod.containers[0].clone()
}

#[test]
fn a_variable_of_the_users_wins_over_the_operators() {
    let children = children(|shop| {
        let own = shop.spec.components.entry(Component::Payment).or_default();
        own.env = vec![k8s_openapi::api::core::v1::EnvVar {
            name: "DATABASE_URL".into(),
            value: Some("postgres://elsewhere".into()),
            value_from: None,
        }];
    });
    let pod = deployment(&children, Component::Payment).spec.clone().unwrap().template.spec.unwrap();
    let env = pod.containers[0].env.clone().unwrap();
    let urls: Vec<_> = env.iter().filter(|variable| variable.name == "DATABASE_URL").collect();
    assert_eq!(urls.len(), 1);
    assert_eq!(urls[0].value.as_deref(), Some("postgres://elsewhere"));
}

#[test]
fn no_secret_value_stands_in_a_child() {
    let children = serde_json::to_string(&children(|_| {})).unwrap();
    assert!(!children.contains("value of"), "a Secret's value leaked");
}

#[test]
fn a_catalog_in_cassandra_is_told_where_that_is_and_needs_no_sql() {
    let children = children(|shop| *shop = fixture::shop_on_cassandra());
    let catalog = deployment(&children, Component::Catalog);
    let environment = environment(&children, Component::Catalog);
    insta::assert_yaml_snapshot!("catalog-on-cassandra-environment", environment);
    assert!(!serde_json::to_string(catalog).unwrap().contains("DATABASE_URL"));
    let before = self::children(|_| {});
    assert_eq!(rolled(&before, &children), ["catalog"]);
}

#[test]
fn a_group_of_redis_is_told_to_those_that_use_it() {
    let children = children(|shop| *shop = fixture::shop_on_sentinel());
    insta::assert_yaml_snapshot!("order-on-sentinel-environment", environment(&children, Component::Order));
    let before = self::children(|_| {});
    let those = ["order", "order-relay", "order-worker"];
    assert_eq!(rolled(&before, &children), those);
    // The pods read the CA at their start too, although no variable carries its value.
    let mut valid = fixture::valid(&fixture::shop_on_sentinel());
    valid.secret_digests.insert(("redis".into(), "ca.crt".into()), "other".into());
    assert_eq!(rolled(&children, &build(&valid, &fixture::keys(), &Live::default())), those);
    let pod =
        deployment(&children, Component::OrderRelay).spec.as_ref().unwrap().template.spec.clone().unwrap();
    let file =
        pod.volumes.unwrap().into_iter().find(|volume| volume.name == "redis-ca").unwrap().secret.unwrap();
    assert_eq!((file.secret_name.as_deref(), file.items.unwrap()[0].key.as_str()), (Some("redis"), "ca.crt"));
    let mounts = pod.containers[0].volume_mounts.clone().unwrap();
    assert!(mounts.iter().any(|mount| mount.mount_path == "/etc/rocketmart/redis-ca"));
}

#[test]
fn a_cluster_of_redis_is_told_to_those_that_use_it() {
    let children = children(|shop| *shop = fixture::shop_on_redis_cluster());
    let environment = environment(&children, Component::OrderWorker);
    insta::assert_yaml_snapshot!("order-worker-on-redis-cluster-environment", environment);
    assert_eq!(rolled(&self::children(|_| {}), &children), ["order", "order-relay", "order-worker"]);
}

/// All variables of a component, from its `ConfigMap` and from its Deployment.
fn environment(children: &Children, component: Component) -> serde_json::Value {
    let name = names::of_component("rocket", component);
    let config = children.config_maps.iter().find(|config| config.name_any() == name).unwrap();
    let pod = deployment(children, component).spec.as_ref().unwrap().template.spec.as_ref().unwrap();
    serde_json::json!({ "config": config.data, "env": pod.containers[0].env })
}

#[test]
fn a_sale_under_way_raises_the_floor() {
    let mut facts = fixture::facts();
    facts.sales = vec![
        serde_json::from_value(serde_json::json!({
            "apiVersion": "rocketmart.dev/v1alpha1",
            "kind": "FlashSale",
            "metadata": { "name": "sale" },
            "spec": {
                "shop": "rocket",
                "items": [{ "sku": "A", "units": 1, "price": 1 }],
                "currency": "KRW",
                "opensAt": "2030-01-01T10:00:00Z",
                "closesAt": "2030-01-01T11:00:00Z",
                "preScale": { "order": 4, "order-worker": 3 },
            },
            "status": { "phase": "Preloading" },
        }))
        .unwrap(),
    ];
    let valid = crate::controllers::shop::validate::validate(&fixture::shop(), &facts, "i").ok().unwrap();
    assert_eq!(valid.replicas[&Component::Order], Replicas::Fixed(4));
    assert_eq!(valid.replicas[&Component::OrderWorker], Replicas::Autoscaled { from: 3 });
}
