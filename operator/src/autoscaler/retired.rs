//! Decisions in a Shop's status that outlive the autoscaler's memory, and those that outlive their reason.
//!
//! What was decided last stands in the status. A new process takes from there when a component was scaled last;
//! and a decision about a component that nobody asks to be scaled any more is taken out.

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

/// How often the statuses are looked through.
const PERIOD: Duration = Duration::from_secs(1);
/// How long it may take until a decision that was taken out is seen to be gone; then it is tried again.
const PATIENCE: Duration = Duration::from_secs(10);

/// When the component was scaled last, as an earlier process has left it.
pub(super) fn last_scale(watched: &Watched, target: &Target) -> Option<Time> {
    let reference = ObjectRef::<DeserializeGuard<Shop>>::new(&target.shop).within(&target.namespace);
    let shop = watched.shops.get(&reference)?;
    let mut decided = shop.0.as_ref().ok()?.status.iter().flat_map(|status| &status.components);
    let own = decided.find(|status| status.name == target.component.as_str())?;
    own.autoscaling.as_ref()?.last_scale_time.clone()
}

/// Goes on for ever.
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

/// Components of a shop with a decision that nobody asks for.
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

/// What its manager does not apply any more, and nobody else has, goes.
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
