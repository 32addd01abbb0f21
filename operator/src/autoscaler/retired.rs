//! Decisions in a Shop's status that outlive the autoscaler's memory, and decisions that outlive their
//! reason.
//!
//! The status holds the last decision. A new process reads there when a component last scaled. It also
//! removes decisions about components that nobody wants to autoscale any more.

use std::{
    collections::{HashMap, hash_map::Entry},
    time::{Duration, Instant},
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{
    Resource, ResourceExt,
    api::{Patch, PatchParams},
    core::DeserializeGuard,
    runtime::reflector::ObjectRef,
};
use rocketmart_crds::{Component, Shop, shop::ComponentStatus};
use serde_json::json;
use tracing::Instrument;

use super::{Target, Watched, is_scaled_by_user, status_manager};
use crate::{Context, telemetry};

/// How often to look through the statuses.
const PERIOD: Duration = Duration::from_secs(1);
/// How long a removed decision may take to disappear from view; then we try again.
const PATIENCE: Duration = Duration::from_secs(10);

/// When the component last scaled, according to what an earlier process wrote.
pub(super) fn last_scale(watched: &Watched, target: &Target) -> Option<Time> {
    let reference = ObjectRef::<DeserializeGuard<Shop>>::new(&target.shop).within(&target.namespace);
    let shop = watched.shops.get(&reference)?;
    let mut decided = shop.0.as_ref().ok()?.status.iter().flat_map(|status| &status.components);
    let own = decided.find(|status| status.name == target.component.as_str())?;
    own.autoscaling.as_ref()?.last_scale_time.clone()
}

/// Never ends.
pub(super) async fn take_out(context: &Context, watched: &Watched) {
    let mut taken_out: HashMap<Target, Instant> = HashMap::new();
    loop {
        tokio::time::sleep(PERIOD).await;
        taken_out.retain(|_, at| at.elapsed() < PATIENCE);
        let shops = watched.shops.state();
        let readable = shops.iter().filter_map(|shop| shop.0.as_ref().ok());
        for target in readable.flat_map(|shop| retired(watched, shop)) {
            if let Entry::Vacant(first) = taken_out.entry(target) {
                forget(context, first.key()).instrument(first.key().span()).await;
                first.insert(Instant::now());
            }
        }
    }
}

/// Components of a shop that still have a decision although nobody asks for one.
fn retired(watched: &Watched, shop: &Shop) -> Vec<Target> {
    let with_decision = |status: &ComponentStatus| {
        status.autoscaling.as_ref()?;
        Component::ALL.into_iter().find(|component| component.as_str() == status.name)
    };
    let statuses = shop.status.iter().flat_map(|status| &status.components);
    let targets = statuses.filter_map(with_decision).map(|component| Target {
        namespace: shop.namespace().unwrap_or_default(),
        shop: shop.name_any(),
        component,
    });
    let is_asked_for = |target: &Target| {
        let own = shop.spec.components.get(&target.component);
        own.is_some_and(|own| own.autoscaling.is_some()) && !is_scaled_by_user(watched, target)
    };
    targets.filter(|target| !is_asked_for(target)).collect()
}

/// An empty apply removes what this manager no longer sets and nobody else owns.
async fn forget(context: &Context, target: &Target) {
    let patch = json!({
        "apiVersion": Shop::api_version(&()),
        "kind": Shop::kind(&()),
        "metadata": { "name": target.shop },
        "status": {},
    });
    let params = PatchParams::apply(&status_manager(target.component)).force();
    metrics::counter!(telemetry::WRITES, "kind" => "Shop", "verb" => "status").increment(1);
    let api = context.namespaced::<Shop>(&target.namespace);
    if let Err(error) = api.patch_status(&target.shop, &params, &Patch::Apply(&patch)).await {
        tracing::warn!(%error, "cannot take a decision out of the status");
    }
}
