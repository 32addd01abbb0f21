//! Step 2: turn a spec and the facts around it into a shop that the later steps can trust.
//!
//! The API server has already refused what the schema can refuse. These checks need to look further. They
//! find all problems, not only the first.

use std::collections::BTreeMap;

use k8s_openapi::api::{autoscaling::v2::HorizontalPodAutoscaler, core::v1::Secret};
use kube::{Resource, ResourceExt};
use rocketmart_crds::{Component, Shop, ShopSpec, shop::SecretKeyReference};
use sha2::{Digest, Sha256};

use super::{
    facts::Facts,
    keys, names,
    problem::Problem,
    profile, sale_floor,
    validated_shop::{Replicas, ValidatedShop},
};
use crate::kafka;

pub(super) fn validate(
    shop: &Shop,
    facts: &Facts,
    default_image: &str,
) -> Result<ValidatedShop, Vec<Problem>> {
    let mut wanted = Wanted { secrets: &facts.secrets, digests: BTreeMap::new(), problems: Vec::new() };
    let spec = &shop.spec;
    for component in Component::ALL {
        if let Some(key) = profile::database(component, spec) {
            wanted.key(&spec.postgresql.secret_ref.name, key, "spec.postgresql.secretRef");
        }
        let cassandra = profile::cassandra(component, spec).and_then(|it| it.secret_ref.as_ref());
        for (secret, key) in cassandra.into_iter().flat_map(|secret| [(secret, "user"), (secret, "password")])
        {
            wanted.key(&secret.name, key, "spec.catalog.cassandra.secretRef");
        }
    }
    wanted.reference(spec.redis.url_secret_ref.as_ref(), "spec.redis.urlSecretRef");
    wanted.reference(spec.redis.ca_secret_ref.as_ref(), "spec.redis.caSecretRef");
    if let Some(cluster) = &spec.redis.cluster {
        wanted.reference(cluster.password_secret_ref.as_ref(), "spec.redis.cluster.passwordSecretRef");
    }
    if let Some(sentinel) = &spec.redis.sentinel {
        let field = "spec.redis.sentinel.passwordSecretRef";
        wanted.reference(sentinel.password_secret_ref.as_ref(), field);
        let field = "spec.redis.sentinel.sentinelPasswordSecretRef";
        wanted.reference(sentinel.sentinel_password_secret_ref.as_ref(), field);
    }
    wanted.reference(spec.smtp.url_secret_ref.as_ref(), "spec.smtp.urlSecretRef");
    wanted.reference(Some(&spec.payment_provider.secret_ref), "spec.paymentProvider.secretRef");
    let ca = spec.kafka.tls.as_ref().and_then(|tls| tls.ca_secret_ref.as_ref());
    wanted.reference(ca, "spec.kafka.tls.caSecretRef");
    for key in [kafka::USER, kafka::PASSWORD] {
        if let Some(sasl) = &spec.kafka.sasl {
            wanted.key(&sasl.secret_ref.name, key, "spec.kafka.sasl.secretRef");
        }
    }
    for (secret, key) in keys::of(&shop.name_any()) {
        if let Some(existing) = facts.keys.get(&secret) {
            wanted.own(&secret, existing, key);
        }
    }
    let Wanted { digests, problems, .. } = wanted;
    if !problems.is_empty() {
        return Err(problems);
    }

    let name = shop.name_any();
    let floors = sale_floor::of(&facts.sales, &name);
    let Some(owner) = shop.controller_owner_ref(&()) else {
        return Err(vec![Problem { reason: "Invalid", message: "the Shop has no uid".to_owned() }]);
    };
    let scheme = if spec.tls.is_some() { "https" } else { "http" };
    Ok(ValidatedShop {
        namespace: shop.namespace().unwrap_or_default(),
        owner,
        image: spec.image.clone().unwrap_or_else(|| default_image.to_owned()),
        public_url: spec.public_url.clone().unwrap_or_else(|| format!("{scheme}://{}", spec.host)),
        replicas: Component::ALL
            .map(|component| {
                let deployment = names::of_component(&name, component);
                let by = facts.autoscalers.iter().find(|autoscaler| scales(autoscaler, &deployment));
                (component, replicas(spec, component, &floors, by.map(ResourceExt::name_any)))
            })
            .into(),
        secret_digests: digests,
        spec: spec.clone(),
        name,
    })
}

/// Whether one of the user's autoscalers sets the replicas of this Deployment in its own namespace.
pub(crate) fn scales(autoscaler: &HorizontalPodAutoscaler, deployment: &str) -> bool {
    autoscaler.spec.as_ref().is_some_and(|spec| {
        spec.scale_target_ref.kind == "Deployment" && spec.scale_target_ref.name == deployment
    })
}

fn replicas(
    spec: &ShopSpec,
    component: Component,
    floors: &BTreeMap<Component, i32>,
    user: Option<String>,
) -> Replicas {
    if spec.suspend {
        return Replicas::Fixed(0);
    }
    let floor = floors.get(&component).copied().unwrap_or_default();
    let own = spec.components.get(&component);
    if let Some(by) = user {
        return Replicas::OfUser { by, from: own.and_then(|own| own.replicas).unwrap_or(1).max(1) };
    }
    match own.and_then(|own| own.autoscaling.as_ref()) {
        Some(autoscaling) => Replicas::Autoscaled { from: autoscaling.min_replica_count.max(floor) },
        None => Replicas::Fixed(own.and_then(|own| own.replicas).unwrap_or(1).max(floor)),
    }
}

/// Checks that the values the spec names exist.
struct Wanted<'a> {
    secrets: &'a BTreeMap<String, Option<Secret>>,
    digests: BTreeMap<(String, String), String>,
    problems: Vec<Problem>,
}

impl Wanted<'_> {
    fn reference(&mut self, reference: Option<&SecretKeyReference>, field: &str) {
        if let Some(reference) = reference {
            self.key(&reference.name, &reference.key, field);
        }
    }

    fn key(&mut self, secret: &str, key: &str, field: &str) {
        let Some(Some(found)) = self.secrets.get(secret) else {
            return self.problem("SecretMissing", format!("{field}: Secret `{secret}` does not exist"));
        };
        match found.data.as_ref().and_then(|data| data.get(key)) {
            Some(value) if !value.0.is_empty() => {
                let digest = hex::encode(Sha256::digest(&value.0));
                self.digests.insert((secret.to_owned(), key.to_owned()), digest);
            }
            _ => self.problem("SecretKeyMissing", format!("{field}: Secret `{secret}` has no key `{key}`")),
        }
    }

    /// Checks a Secret that the operator creates when it is missing, and that somebody else has created.
    fn own(&mut self, name: &str, secret: &Secret, key: &str) {
        if secret.data.as_ref().is_none_or(|data| !data.contains_key(key)) {
            self.problem(
                "NameTaken",
                format!(
                    "Secret {name} has no key `{key}`: it is not of this shop and is left alone; the shop needs the \
                     name: delete or rename what has it, or give the Shop another name"
                ),
            );
        }
    }

    /// Several components may want the same value, but we report it missing once.
    fn problem(&mut self, reason: &'static str, message: String) {
        let problem = Problem { reason, message };
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controllers::shop::build::fixture;

    #[test]
    fn a_missing_secret_is_named_once_with_the_field_that_asks_for_it() {
        let shop = fixture::shop();
        let mut facts = fixture::facts();
        facts.secrets.insert("databases".into(), None);
        let problems = validate(&shop, &facts, "rocketmart:1").err().unwrap();
        assert_eq!(
            problems,
            [Problem {
                reason: "SecretMissing",
                message: "spec.postgresql.secretRef: Secret `databases` does not exist".into()
            }]
        );
    }

    #[test]
    fn every_missing_key_is_named() {
        let shop = fixture::shop();
        let mut facts = fixture::facts();
        facts.secrets.insert("databases".into(), Some(fixture::secret(&["member", "order"])));
        let problems = validate(&shop, &facts, "rocketmart:1").err().unwrap();
        let messages: Vec<_> = problems.iter().map(|problem| problem.message.as_str()).collect();
        assert_eq!(
            messages,
            [
                "spec.postgresql.secretRef: Secret `databases` has no key `catalog`",
                "spec.postgresql.secretRef: Secret `databases` has no key `payment`",
                "spec.postgresql.secretRef: Secret `databases` has no key `delivery`",
            ]
        );
    }

    #[test]
    fn a_missing_password_of_cassandra_is_named() {
        let mut facts = fixture::facts();
        facts.secrets.insert("cassandra".into(), Some(fixture::secret(&["user"])));
        let problems = validate(&fixture::shop_on_cassandra(), &facts, "rocketmart:1").err().unwrap();
        assert_eq!(
            problems,
            [Problem {
                reason: "SecretKeyMissing",
                message: "spec.catalog.cassandra.secretRef: Secret `cassandra` has no key `password`".into()
            }]
        );
    }

    #[test]
    fn whatever_is_missing_to_reach_redis_is_named() {
        let mut facts = fixture::facts();
        facts.secrets.insert("redis".into(), None);
        let problems = validate(&fixture::shop_on_sentinel(), &facts, "rocketmart:1").err().unwrap();
        let messages: Vec<_> = problems.iter().map(|problem| problem.message.as_str()).collect();
        assert_eq!(
            messages,
            [
                "spec.redis.caSecretRef: Secret `redis` does not exist",
                "spec.redis.sentinel.passwordSecretRef: Secret `redis` does not exist",
                "spec.redis.sentinel.sentinelPasswordSecretRef: Secret `redis` does not exist",
            ]
        );
    }

    #[test]
    fn a_missing_password_of_kafka_is_named() {
        let mut shop = fixture::shop();
        shop.spec.kafka = fixture::secured_kafka();
        let mut facts = fixture::facts();
        facts.secrets.insert("kafka-ca".into(), None);
        facts.secrets.insert("kafka".into(), Some(fixture::secret(&["user"])));
        let problems = validate(&shop, &facts, "rocketmart:1").err().unwrap();
        let messages: Vec<_> = problems.iter().map(|problem| problem.message.as_str()).collect();
        assert_eq!(
            messages,
            [
                "spec.kafka.tls.caSecretRef: Secret `kafka-ca` does not exist",
                "spec.kafka.sasl.secretRef: Secret `kafka` has no key `password`",
            ]
        );
    }

    #[test]
    fn k8_a_secret_that_somebody_else_made_is_named() {
        let mut facts = fixture::facts();
        facts.keys.insert(names::admin("rocket"), fixture::secret(&["tls.crt"]));
        let problems = validate(&fixture::shop(), &facts, "rocketmart:1").err().unwrap();
        assert!(problems.iter().all(|problem| problem.reason == "NameTaken"), "{problems:?}");
        assert!(problems[0].message.contains("has no key `email`: it is not of this shop"), "{problems:?}");
    }

    #[test]
    fn k6_a_component_with_an_autoscaler_of_the_users_is_left_to_it() {
        let autoscaler = |kind: &str, name: &str| -> HorizontalPodAutoscaler {
            serde_json::from_value(serde_json::json!({
                "metadata": { "name": "mine" },
                "spec": { "maxReplicas": 5, "scaleTargetRef": { "kind": kind, "name": name } },
            }))
            .unwrap()
        };
        let mut facts = fixture::facts();
        facts.autoscalers =
            vec![autoscaler("Deployment", "rocket-order"), autoscaler("StatefulSet", "rocket-search")];
        let mut shop = fixture::shop();
        let valid = validate(&shop, &facts, "rocketmart:1").ok().unwrap();
        assert_eq!(valid.replicas[&Component::Order], Replicas::OfUser { by: "mine".into(), from: 2 });
        assert_eq!(valid.replicas[&Component::Search], Replicas::Fixed(1));
        shop.spec.suspend = true;
        let valid = validate(&shop, &facts, "rocketmart:1").ok().unwrap();
        assert_eq!(valid.replicas[&Component::Order], Replicas::Fixed(0));
    }

    #[test]
    fn a_suspended_shop_runs_nothing() {
        let mut shop = fixture::shop();
        shop.spec.suspend = true;
        let valid = validate(&shop, &fixture::facts(), "rocketmart:1").ok().unwrap();
        assert!(valid.replicas.values().all(|replicas| *replicas == Replicas::Fixed(0)));
    }
}
