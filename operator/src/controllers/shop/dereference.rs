//! Step 1: ask the API server and Kafka everything that the later steps need.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::{autoscaling::v2::HorizontalPodAutoscaler, core::v1::Secret};
use kube::{
    Api, Resource, ResourceExt,
    api::ListParams,
    core::{DeserializeGuard, NamespaceResourceScope},
};
use rocketmart_crds::{FlashSale, Shop, name::can_be_a_name};
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;

use super::{
    facts::{Facts, Live, kafka_access},
    names,
    readiness::Asker,
    rollout, sale_floor,
};
use crate::{Context, kafka};

/// The API server did not answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("listing {kind}: {source}")]
    List { kind: String, source: kube::Error },
    #[error("reading Secret {name}: {source}")]
    Secret { name: String, source: kube::Error },
}

pub(super) async fn dereference(shop: &Shop, context: &Context, asker: &Asker) -> Result<Facts, Error> {
    let namespace = shop.namespace().unwrap_or_default();
    let name = shop.name_any();
    let secrets: Api<Secret> = context.namespaced(&namespace);
    let prefix = names::topic_prefix(&namespace, &name);

    // The connection to Kafka needs values from the Secrets.
    let secrets_then_topics = async {
        let named = read(&secrets, named_secrets(shop)).await?;
        let topics = topics(shop, &named, &prefix, context).await;
        Ok((named, topics))
    };
    let everything = ListParams::default();
    let (live, named, keys, sales, autoscalers) = tokio::join!(
        live(&name, &namespace, context),
        secrets_then_topics,
        read(&secrets, generated(&name)),
        raising_a_floor(&name, &namespace, context),
        list::<HorizontalPodAutoscaler>(context.namespaced(&namespace), &everything),
    );
    let (live, autoscalers) = (live?, autoscalers?);
    let (secrets, topics) = named?;
    let pods = if live.deployments.iter().all(rollout::is_rolled_out) {
        Vec::new()
    } else {
        list(context.namespaced(&namespace), &ListParams::default().labels(&names::children(&name))).await?
    };
    let keys = keys?.into_iter().filter_map(|(name, secret)| Some((name, secret?))).collect();
    let unready = asker.ask(&pods).await;
    Ok(Facts { secrets, keys, live, autoscalers, sales: sales?, topics, pods, unready })
}

/// Picks the sales that matter to this shop out of all sales in a namespace, which may be many and large.
/// The rest is dropped at once, and only a few such lists are in memory at a time.
async fn raising_a_floor(shop: &str, namespace: &str, context: &Context) -> Result<Vec<FlashSale>, Error> {
    static LISTS: Semaphore = Semaphore::const_new(2);
    let _turn = LISTS.acquire().await;
    let all =
        list::<DeserializeGuard<FlashSale>>(context.namespaced(namespace), &ListParams::default()).await?;
    let raises = |sale: &FlashSale| {
        sale.spec.shop == shop && !sale.spec.pre_scale.is_empty() && sale_floor::holds_replicas(sale)
    };
    Ok(all.into_iter().filter_map(|sale| sale.0.ok()).filter(raises).collect())
}

/// The names of the Secrets that the spec refers to.
fn named_secrets(shop: &Shop) -> BTreeSet<String> {
    let spec = &shop.spec;
    let sentinel = spec.redis.sentinel.as_ref();
    [
        Some(&spec.postgresql.secret_ref.name),
        spec.redis.url_secret_ref.as_ref().map(|r| &r.name),
        spec.redis.ca_secret_ref.as_ref().map(|r| &r.name),
        spec.redis.cluster.as_ref().and_then(|it| it.password_secret_ref.as_ref()).map(|r| &r.name),
        sentinel.and_then(|it| it.password_secret_ref.as_ref()).map(|r| &r.name),
        sentinel.and_then(|it| it.sentinel_password_secret_ref.as_ref()).map(|r| &r.name),
        spec.smtp.url_secret_ref.as_ref().map(|r| &r.name),
        Some(&spec.payment_provider.secret_ref.name),
        spec.kafka.tls.as_ref().and_then(|tls| tls.ca_secret_ref.as_ref()).map(|r| &r.name),
        spec.kafka.sasl.as_ref().map(|sasl| &sasl.secret_ref.name),
        spec.catalog.cassandra.as_ref().and_then(|it| it.secret_ref.as_ref()).map(|r| &r.name),
    ]
    .into_iter()
    .flatten()
    .cloned()
    .collect()
}

fn generated(shop: &str) -> BTreeSet<String> {
    names::generated(shop).into()
}

async fn read(api: &Api<Secret>, names: BTreeSet<String>) -> Result<BTreeMap<String, Option<Secret>>, Error> {
    let mut secrets = BTreeMap::new();
    for name in names {
        if !can_be_a_name(&name) {
            secrets.insert(name, None);
            continue;
        }
        let secret =
            api.get_opt(&name).await.map_err(|source| Error::Secret { name: name.clone(), source })?;
        secrets.insert(name, secret);
    }
    Ok(secrets)
}

async fn topics(
    shop: &Shop,
    secrets: &BTreeMap<String, Option<Secret>>,
    prefix: &str,
    context: &Context,
) -> Result<BTreeMap<String, i32>, kafka::Error> {
    let access = kafka_access(&shop.spec, secrets).ok_or(kafka::Error::NoAccess)?;
    let namespace = shop.namespace().unwrap_or_default();
    context.kafka.of_shop(&namespace, &shop.name_any(), &access)?.topics(prefix).await
}

async fn live(shop: &str, namespace: &str, context: &Context) -> Result<Live, Error> {
    let ours = ListParams::default().labels(&names::children(shop));
    let (
        config_maps,
        deployments,
        http_routes,
        ingresses,
        network_policies,
        pod_disruption_budgets,
        service_accounts,
        services,
    ) = tokio::try_join!(
        list(context.namespaced(namespace), &ours),
        list(context.namespaced(namespace), &ours),
        list_if_installed(context.namespaced(namespace), &ours),
        list(context.namespaced(namespace), &ours),
        list(context.namespaced(namespace), &ours),
        list(context.namespaced(namespace), &ours),
        list(context.namespaced(namespace), &ours),
        list(context.namespaced(namespace), &ours),
    )?;
    Ok(Live {
        config_maps,
        deployments,
        http_routes,
        ingresses,
        network_policies,
        pod_disruption_budgets,
        service_accounts,
        services,
    })
}

/// `None` where the cluster lacks the kind. Another program writes the status of a route. A route that
/// cannot be read because of it counts as absent.
async fn list_if_installed<K>(
    api: Api<DeserializeGuard<K>>,
    parameters: &ListParams,
) -> Result<Option<Vec<K>>, Error>
where
    K: Resource<Scope = NamespaceResourceScope> + Clone + std::fmt::Debug + DeserializeOwned,
    K::DynamicType: Default,
{
    match list(api, parameters).await {
        Err(Error::List { source: kube::Error::Api(status), .. }) if status.code == 404 => Ok(None),
        listed => listed.map(|all| Some(all.into_iter().filter_map(|it| it.0.ok()).collect())),
    }
}

async fn list<K>(api: Api<K>, parameters: &ListParams) -> Result<Vec<K>, Error>
where
    K: Resource<Scope = NamespaceResourceScope> + Clone + std::fmt::Debug + DeserializeOwned,
    K::DynamicType: Default,
{
    let list = api.list(parameters).await;
    list.map(|list| list.items)
        .map_err(|source| Error::List { kind: K::plural(&K::DynamicType::default()).into_owned(), source })
}
