//! The Shop controller: from a declared shop to running services.
//!
//! A reconcile goes through six steps, each in its own file, and nothing flows back. The steps pass on the
//! [`facts`], the [`ValidatedShop`], and each [`problem`] found on the way.
//!
//! 1. [`dereference`] gathers what the API server and Kafka know: the Secrets that the spec names, the
//!    live children, the sales under way, the topics;
//! 2. [`validate`] turns the spec and those facts into a [`ValidatedShop`] that the rest can trust, or
//!    into a list of problems in a platform team's words;
//! 3. [`keys`] makes the Secrets that exist once per shop;
//! 4. [`build`] computes all children as values, without a client;
//! 5. [`apply`] writes those that differ from what is live, in an order with a reason, and deletes
//!    orphans;
//! 6. [`status`] reports.
//!
//! A shop with problems keeps running as it was: we apply nothing from an invalid spec.

mod apply;
pub mod build;
mod dereference;
mod difference;
mod facts;
pub mod keys;
pub mod names;
mod ports;
mod problem;
mod profile;
mod quantity;
mod readiness;
mod rollout;
mod route;
pub mod sale_floor;
mod status;
mod stranger;
mod validate;
mod validated_shop;

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Service, ServiceAccount},
    networking::v1::{Ingress, NetworkPolicy},
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Resource, ResourceExt,
    core::DeserializeGuard,
    runtime::{Controller, controller, controller::Action, events::EventType, reflector::ObjectRef, watcher},
};
use rocketmart_crds::{FlashSale, Shop};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

pub(crate) use self::validate::scales;
pub use self::validated_shop::ValidatedShop;
use super::frame::{self, Frame, Kind};
use crate::{Context, gateway_api::HttpRoute};

/// One reconcile handles a burst of changes (ten Deployments becoming ready).
const DEBOUNCE: Duration = Duration::from_millis(300);
/// Nobody watches the Secrets and Kafka; we look at them this often.
const RESYNC: Duration = Duration::from_mins(1);
/// The same while something is missing, so that a shop recovers soon after it appears.
const RESYNC_DEGRADED: Duration = Duration::from_secs(5);
/// A shop that waits for its Kafka should not hold up the others. The number is limited because each
/// reconcile holds what it has read of its children.
const CONCURRENCY: u16 = 8;

/// Why a reconcile could not finish; it is retried.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("dereferencing: {0}")]
    Dereference(#[from] dereference::Error),
    #[error("making keys: {0}")]
    Keys(#[from] keys::Error),
    #[error("applying: {0}")]
    Apply(#[from] apply::Error),
    #[error("writing the status: {0}")]
    Status(#[source] kube::Error),
    #[error("the Shop has no {0}")]
    Anonymous(&'static str),
}

impl Kind for Error {
    fn kind(&self) -> &'static str {
        match self {
            Self::Dereference(_) => "dereference",
            Self::Keys(_) => "keys",
            Self::Apply(_) => "apply",
            Self::Status(_) => "status",
            Self::Anonymous(_) => "anonymous",
        }
    }
}

type Guarded = frame::Guarded<Shop>;

struct State {
    context: Arc<Context>,
    frame: Frame<Shop>,
    asker: readiness::Asker,
}

/// Runs until `stop`, then until the running reconciles have finished.
pub async fn run(context: Arc<Context>, stop: CancellationToken) {
    let asker = match readiness::Asker::new() {
        Ok(asker) => asker,
        Err(error) => return tracing::error!(%error, "cannot make a client for the pods of shops"),
    };
    let state = Arc::new(State { context: context.clone(), frame: Frame::new("shop"), asker });
    let ours = watcher::Config::default().labels(names::MANAGED);
    let (shops, touched) = frame::watch(context.watched::<Guarded>(), |_| {});
    let changes = sale_floor::Changes::default();
    let too_early = frame::stopped_too_early(shops.clone(), stop.clone());
    let work = Controller::for_stream(touched, shops)
        .with_config(controller::Config::default().debounce(DEBOUNCE).concurrency(CONCURRENCY))
        .owns(context.watched::<Deployment>(), ours.clone())
        .owns(context.watched::<Service>(), ours.clone())
        .owns(context.watched::<ConfigMap>(), ours.clone())
        .owns(context.watched::<ServiceAccount>(), ours.clone())
        .owns(context.watched::<Ingress>(), ours.clone())
        .owns(context.watched::<NetworkPolicy>(), ours.clone())
        .owns(context.watched::<PodDisruptionBudget>(), ours.clone())
        // Another program writes its status.
        .owns(context.watched_once_installed::<DeserializeGuard<HttpRoute>>(), ours)
        // A sale that is about to open raises the floor of replicas.
        .watches(context.watched::<DeserializeGuard<FlashSale>>(), watcher::Config::default(), move |sale| {
            shop_of(sale, &changes)
        })
        .trigger_backoff(frame::WatchBackoff)
        .graceful_shutdown_on(async move { stop.cancelled().await })
        .run(reconcile, on_error, state)
        .for_each(async |result| {
            if let Err(controller::Error::QueueError(error)) = result {
                tracing::warn!(%error, "a watch was interrupted");
            }
        })
        .instrument(tracing::info_span!("shops"));
    tokio::select! {
        () = work => {}
        () = too_early => {}
    }
}

/// The shop of a sale that raises another floor than before. The next resync notices the floor of a sale
/// that was abandoned.
fn shop_of(sale: DeserializeGuard<FlashSale>, changes: &sale_floor::Changes) -> Option<ObjectRef<Guarded>> {
    let sale = sale.0.ok().filter(|sale| changes.concern(sale))?;
    Some(ObjectRef::new(&sale.spec.shop).within(&sale.namespace()?))
}

async fn reconcile(shop: Arc<Guarded>, state: Arc<State>) -> Result<Action, Error> {
    let context = &state.context;
    state.frame.run(&shop, context, async |shop| reconcile_shop(shop, &state).await).await
}

async fn reconcile_shop(shop: &Shop, state: &State) -> Result<Action, Error> {
    let context = &*state.context;
    if shop.meta().deletion_timestamp.is_some() {
        // The owner references delete the children too.
        return Ok(Action::await_change());
    }
    let facts = Box::pin(dereference::dereference(shop, context, &state.asker)).await?;
    let report = match validate::validate(shop, &facts, &context.config.shop_image) {
        Err(problems) => status::Report::refused(problems, &facts.live),
        Ok(valid) => {
            let keys = keys::ensure(&valid, &facts.keys, context).await?;
            let children = build::build(&valid, &keys, &facts.live);
            let applied = apply::apply(&valid, children, &facts, context).await?;
            for part in &applied.repaired {
                let kind = part.kind.as_deref().unwrap_or_default();
                let called = part.name.as_deref().unwrap_or_default();
                let note = format!("{kind} {called} was changed by hand and has been set back");
                let (shop, part) = (shop.object_ref(&()), Some(part.clone()));
                context.tell_of(&shop, part, EventType::Normal, "DriftRepaired", note).await;
            }
            status::Report::of(&valid, &applied, &facts)
        }
    };
    let healthy = report.is_healthy();
    status::write(shop, report, context).await.map_err(Error::Status)?;
    Ok(Action::requeue(if healthy { RESYNC } else { RESYNC_DEGRADED }))
}

fn on_error(shop: Arc<Guarded>, error: &Error, state: Arc<State>) -> Action {
    state.frame.failed(&shop, error)
}
