//! The autoscaler sets the replicas of workers by the lag of their consumer groups and by the sale's clock.
//!
//! It looks at every autoscaled component once per polling interval. Each look runs by itself, so a broker
//! that does not answer holds up only its own components. [`lag`] asks Kafka, and [`decide`] decides,
//! purely. The result is applied to the Deployment under its own field manager, so that the Shop controller
//! leaves it alone. The Shop's status shows the last decision and its reason. Shops, sales and Deployments
//! come from watches: a quiet minute costs the API server nothing.

pub mod decide;
pub mod lag;
mod markers;
mod retired;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream::FuturesUnordered};
use k8s_openapi::{
    api::{apps::v1::Deployment, autoscaling::v2::HorizontalPodAutoscaler},
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::Timestamp,
};
use kube::{
    Resource, ResourceExt,
    api::{Patch, PatchParams},
    core::DeserializeGuard,
    runtime::{
        WatchStreamExt,
        reflector::{self, ObjectRef, Store},
        watcher,
    },
};
use rocketmart_crds::{Component, FlashSale, Shop, shop::Autoscaling};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

use self::{
    decide::{Decision, Look, Memory, Pause, Situation, decide},
    lag::Observer,
};
use crate::{
    Context,
    controllers::shop::{names, sale_floor, scales},
    kafka::Access,
    telemetry,
};

/// Owner of the field `spec.replicas` of autoscaled Deployments.
pub const FIELD_MANAGER: &str = "rocketmart-autoscaler";
const TICK: Duration = Duration::from_millis(500);
/// A decision that leaves the replicas as they are is written to the status at most this often.
const STATUS_INTERVAL: Duration = Duration::from_secs(10);

/// The topics that a component's consumer group reads; docs/contracts.md, "Events".
const fn topics(component: Component) -> &'static [&'static str] {
    match component {
        Component::OrderWorker => &["reservations", "payments", "deliveries", "products"],
        Component::PaymentWorker | Component::DeliveryWorker => &["orders"],
        _ => &[],
    }
}

/// A component of a shop that scales by lag.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Target {
    namespace: String,
    shop: String,
    component: Component,
}

impl Target {
    /// Names the Shop in every log line, in the same words as the controllers.
    fn span(&self) -> Span {
        let shop = ObjectRef::<Shop>::new(&self.shop).within(&self.namespace);
        tracing::info_span!("scaling", "object.ref" = %shop, component = %self.component)
    }
}

/// What we keep about a target between looks.
struct Scaled {
    access: Access,
    observer: Observer,
    memory: Memory,
    looked: Option<Instant>,
    written: Option<(Instant, Decision)>,
    last_scale: Option<Time>,
}

/// Leaves out a Shop or FlashSale that cannot be read; its controller reports it.
struct Watched {
    shops: Store<DeserializeGuard<Shop>>,
    sales: Store<DeserializeGuard<FlashSale>>,
    deployments: Store<Deployment>,
    /// The user's own autoscalers.
    autoscalers: Store<HorizontalPodAutoscaler>,
}

/// Runs until `stop`.
pub async fn run(context: Arc<Context>, stop: CancellationToken) {
    let (shops, shop_writer) = reflector::store();
    let (sales, sale_writer) = reflector::store();
    let (deployments, deployment_writer) = reflector::store();
    let (autoscalers, autoscaler_writer) = reflector::store();
    let ours = watcher::Config::default().labels(names::MANAGED);
    let watched = Watched { shops, sales, deployments, autoscalers };
    let everything = watcher::Config::default();
    let theirs = watcher(context.watched(), everything.clone());
    tokio::select! {
        () = stop.cancelled() => {}
        () = keep(watcher(context.watched(), everything.clone()).default_backoff().reflect(shop_writer)) => {}
        () = keep(watcher(context.watched(), everything).default_backoff().reflect(sale_writer)) => {}
        () = keep(watcher(context.watched(), ours).default_backoff().reflect(deployment_writer)) => {}
        () = keep(theirs.default_backoff().reflect(autoscaler_writer)) => {}
        () = retired::take_out(&context, &watched) => {}
        () = scale(&context, &watched) => {}
    }
}

/// Drives a watch. It logs the watch's errors; the watch retries by itself.
async fn keep<T>(watch: impl futures::Stream<Item = Result<T, watcher::Error>>) {
    let mut watch = std::pin::pin!(watch);
    while let Some(event) = watch.next().await {
        if let Err(error) = event {
            tracing::warn!(%error, "a watch of the autoscaler was interrupted");
        }
    }
}

async fn scale(context: &Context, watched: &Watched) {
    let mut scaled: HashMap<Target, Scaled> = HashMap::new();
    // Targets that are being looked at are not in `scaled` meanwhile.
    let mut looks = FuturesUnordered::new();
    let mut looked_at: HashSet<Target> = HashSet::new();
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            Some((target, state)) = looks.next() => {
                looked_at.remove(&target);
                scaled.insert(target, state);
                continue;
            }
        }
        let wanted = wanted(watched);
        scaled.retain(|target, _| wanted.contains_key(target));
        for (target, config) in wanted {
            let interval = Duration::from_secs(config.polling_interval_seconds.unsigned_abs());
            let rests = |state: &Scaled| state.looked.is_some_and(|at| at.elapsed() + TICK / 2 < interval);
            if looked_at.contains(&target) || scaled.get(&target).is_some_and(rests) {
                continue;
            }
            let span = target.span();
            let group = || span.in_scope(|| watch_group(context, watched, &target));
            let Some(mut state) = scaled.remove(&target).or_else(group) else {
                continue;
            };
            looked_at.insert(target.clone());
            let look = async move {
                state.looked = Some(Instant::now());
                one(context, watched, &target, &config, &mut state).await;
                (target, state)
            };
            looks.push(look.instrument(span));
        }
    }
}

/// Autoscaled components with their configuration.
type Targets = HashMap<Target, Autoscaling>;

/// All autoscaled components of running shops, except those that the user scales by other means.
fn wanted(watched: &Watched) -> Targets {
    let mut wanted = HashMap::new();
    for shop in watched.shops.state() {
        let Ok(shop) = &shop.0 else { continue };
        if shop.spec.suspend || shop.meta().deletion_timestamp.is_some() {
            continue;
        }
        for (component, own) in &shop.spec.components {
            let Some(config) = own.autoscaling.clone() else { continue };
            let namespace = shop.namespace().unwrap_or_default();
            let target = Target { namespace, shop: shop.name_any(), component: *component };
            if !is_scaled_by_user(watched, &target) {
                wanted.insert(target, config);
            }
        }
    }
    wanted
}

/// Whether a `HorizontalPodAutoscaler` controls the component. Two owners of one number would fight.
fn is_scaled_by_user(watched: &Watched, target: &Target) -> bool {
    let deployment = names::of_component(&target.shop, target.component);
    watched.autoscalers.state().iter().any(|autoscaler| {
        autoscaler.namespace().as_deref() == Some(&target.namespace) && scales(autoscaler, &deployment)
    })
}

/// Answers `None` until the Shop controller has found out how to reach the shop's Kafka.
fn watch_group(context: &Context, watched: &Watched, target: &Target) -> Option<Scaled> {
    let access = context.kafka.access_of(&target.namespace, &target.shop)?;
    let prefix = names::topic_prefix(&target.namespace, &target.shop);
    let topics = topics(target.component).iter().map(|topic| format!("{prefix}{topic}")).collect();
    match Observer::new(&access, &format!("{prefix}{}", target.component), topics) {
        Ok(observer) => Some(Scaled {
            access,
            observer,
            memory: Memory::default(),
            looked: None,
            written: None,
            last_scale: retired::last_scale(watched, target),
        }),
        Err(error) => {
            tracing::warn!(%error, "cannot look at a group");
            None
        }
    }
}

/// Makes one look and one decision, and acts on it.
async fn one(
    context: &Context,
    watched: &Watched,
    target: &Target,
    config: &Autoscaling,
    state: &mut Scaled,
) {
    if context.kafka.access_of(&target.namespace, &target.shop).is_some_and(|it| it != state.access) {
        match watch_group(context, watched, target) {
            Some(other) => *state = other,
            None => return,
        }
    }
    let name = names::of_component(&target.shop, target.component);
    let reference = ObjectRef::<Deployment>::new(&name).within(&target.namespace);
    let Some(deployment) = watched.deployments.get(&reference) else { return };
    let current = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let ready = deployment.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0);

    let observer = state.observer.clone();
    let look = tokio::task::spawn_blocking(move || observer.look()).await;
    let now_ms = Timestamp::now().as_millisecond();
    let partitions = match look {
        Ok(Ok(mut partitions)) => {
            partitions.retain(|it| lag::is_counted(&config.partition_limitation, it.number));
            Some(partitions)
        }
        Ok(Err(error)) => {
            tracing::warn!(%error, "lag is unknown");
            None
        }
        Err(_) => None,
    };
    state.memory.remember(now_ms, partitions.map(|partitions| Look { at_ms: now_ms, partitions, ready }));

    let (floor, sale_under_way) = {
        let all = watched.sales.state();
        let is_of_the_shop = |sale: &&FlashSale| {
            sale.namespace().as_deref() == Some(&target.namespace) && sale.spec.shop == target.shop
        };
        let sales: Vec<&FlashSale> =
            all.iter().filter_map(|sale| sale.0.as_ref().ok()).filter(is_of_the_shop).collect();
        let floors = sale_floor::of(sales.iter().copied(), &target.shop);
        let floor = floors.get(&target.component).copied().unwrap_or_default();
        (floor, sales.into_iter().any(sale_floor::holds_replicas))
    };
    let situation =
        Situation { now_ms, current, floor, sale_under_way, pause: Pause::of(deployment.annotations()) };
    let decision = decide(&mut state.memory, config, situation);
    record(target, &decision, ready);
    if decision.replicas != current {
        match apply(context, target, &name, decision.replicas).await {
            Ok(()) => {
                state.last_scale = Some(Time(Timestamp::from_second(now_ms / 1_000).unwrap_or_default()));
                tracing::info!(
                    from = current,
                    to = decision.replicas,
                    reason = decision.reason,
                    limited_by = decision.limited_by,
                    "scaled"
                );
            }
            Err(error) => tracing::warn!(%error, deployment = name, "cannot scale"),
        }
    }
    report(context, target, state, decision).await;
}

async fn apply(context: &Context, target: &Target, name: &str, replicas: i32) -> kube::Result<()> {
    let patch = json!({
        "apiVersion": Deployment::api_version(&()),
        "kind": Deployment::kind(&()),
        "metadata": { "name": name },
        "spec": { "replicas": replicas },
    });
    metrics::counter!(telemetry::WRITES, "kind" => "Deployment", "verb" => "scale").increment(1);
    let api = context.namespaced::<Deployment>(&target.namespace);
    api.patch(name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&patch)).await.map(drop)
}

fn record(target: &Target, decision: &Decision, ready: i32) {
    let labels = [
        ("namespace", target.namespace.clone()),
        ("shop", target.shop.clone()),
        ("component", target.component.to_string()),
    ];
    metrics::gauge!(telemetry::DESIRED_REPLICAS, &labels).set(decision.replicas);
    metrics::gauge!(telemetry::READY_REPLICAS, &labels).set(ready);
    if let Some(lag) = decision.lag {
        #[expect(clippy::cast_precision_loss, reason = "a lag is far below 2^52")]
        metrics::gauge!(telemetry::LAG, &labels).set(lag as f64);
    }
}

/// Each component has its own manager in the status, because an apply takes back what its manager had set
/// elsewhere.
fn status_manager(component: Component) -> String {
    format!("{FIELD_MANAGER}-{component}")
}

/// Writes the decision to the Shop's status: at once when the replicas change, otherwise at a bounded rate.
async fn report(context: &Context, target: &Target, state: &mut Scaled, decision: Decision) {
    let fresh = state.written.as_ref().is_some_and(|(at, last)| {
        *last == decision || (last.replicas == decision.replicas && at.elapsed() < STATUS_INTERVAL)
    });
    if fresh {
        return;
    }
    let patch = json!({
        "apiVersion": Shop::api_version(&()),
        "kind": Shop::kind(&()),
        "metadata": { "name": target.shop },
        "status": { "components": [{
            "name": target.component,
            "autoscaling": {
                "replicas": decision.replicas,
                "reason": decision.reason,
                "limitedBy": decision.limited_by,
                "lag": decision.lag,
                "partitions": decision.partitions,
                "arrivalsPerSecond": decision.arrivals_per_second,
                "ratePerReplica": decision.rate_per_replica,
                "lastScaleTime": state.last_scale,
            },
        }] },
    });
    let params = PatchParams::apply(&status_manager(target.component)).force();
    metrics::counter!(telemetry::WRITES, "kind" => "Shop", "verb" => "status").increment(1);
    let api = context.namespaced::<Shop>(&target.namespace);
    match api.patch_status(&target.shop, &params, &Patch::Apply(&patch)).await {
        Ok(_) => state.written = Some((Instant::now(), decision)),
        Err(error) => tracing::warn!(%error, "cannot report a decision"),
    }
}
