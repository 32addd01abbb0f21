//! The FlashSale controller: from a declared sale to closed books.
//!
//! One reconcile: [`dereference`] asks the API server and the shop's order service how things stand;
//! [`plan`] says, purely, which phase that is and which command comes next; the [`side_door`] carries the
//! command out; its answer is the next observation. [`status`] is written before each command and after
//! the last, so that people see a phase while it lasts. A sale wakes itself at its next deadline.
//!
//! Nothing is remembered between reconciles: cut off anywhere, the next one finds the same next step,
//! and a step that was carried out already changes nothing.

mod catalog;
mod dereference;
mod differences;
mod doors;
pub mod plan;
pub mod side_door;
mod status;

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use k8s_openapi::jiff::Timestamp;
use kube::{
    Api, Resource, ResourceExt,
    api::{Patch, PatchParams},
    runtime::{Controller, controller, controller::Action, events::EventType, watcher},
};
use rocketmart_crds::{FlashSale, Phase};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use self::{
    doors::Doors,
    plan::{Plan, plan},
    side_door::{Answer, Outstanding, Standing},
    status::{Pace, Progress},
};
use super::frame::{self, Frame, Kind};
use crate::{Context, telemetry};

/// Keeps a FlashSale until its sale is settled.
pub const FINALIZER: &str = "rocketmart.dev/settle";
/// Set to `true` on a FlashSale that is being deleted, it lets go at once, settled or not.
pub const ABANDON: &str = "rocketmart.dev/abandon";
/// Commands of one reconcile at the most; each leads to another state.
const STEPS: usize = 6;
/// A sale that stands in front of an obstacle is looked at again after this time.
const OBSTRUCTED: Duration = Duration::from_secs(2);
const DEBOUNCE: Duration = Duration::from_millis(50);
/// No common limit: sales take turns by shop, see [`doors`].
const UNLIMITED: u16 = 0;

/// A reconcile could not be completed; it is tried again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("dereferencing: {0}")]
    Dereference(#[from] dereference::Error),
    #[error("writing the status: {0}")]
    Status(#[source] kube::Error),
    #[error("writing the finalizers: {0}")]
    Finalizer(#[source] kube::Error),
    #[error("writing the list of differences: {0}")]
    Differences(#[source] kube::Error),
    #[error("the FlashSale has no uid")]
    Anonymous,
}

impl Kind for Error {
    fn kind(&self) -> &'static str {
        match self {
            Self::Dereference(_) => "dereference",
            Self::Status(_) => "status",
            Self::Finalizer(_) => "finalizer",
            Self::Differences(_) => "differences",
            Self::Anonymous => "anonymous",
        }
    }
}

type Guarded = frame::Guarded<FlashSale>;

struct State {
    context: Arc<Context>,
    http: reqwest::Client,
    doors: Doors,
    stop: CancellationToken,
    frame: Frame<FlashSale>,
    pace: Pace,
}

/// Runs until `stop`, then until the reconciles under way are through.
pub async fn run(context: Arc<Context>, stop: CancellationToken) {
    let http = match side_door::client() {
        Ok(http) => http,
        Err(error) => {
            tracing::error!(%error, "cannot make an HTTP client");
            return;
        }
    };
    let state = Arc::new(State {
        context: context.clone(),
        http,
        doors: Doors::default(),
        stop: stop.clone(),
        frame: Frame::new("flash-sale"),
        pace: Pace::default(),
    });
    let controller = Controller::new(context.watched::<Guarded>(), watcher::Config::default());
    let too_early = frame::stopped_too_early(controller.store(), stop.clone());
    let work = controller
        .with_config(controller::Config::default().debounce(DEBOUNCE).concurrency(UNLIMITED))
        .trigger_backoff(frame::WatchBackoff)
        .graceful_shutdown_on(async move { stop.cancelled().await })
        .run(reconcile, on_error, state)
        .for_each(async |result| {
            if let Err(controller::Error::QueueError(error)) = result {
                tracing::warn!(%error, "a watch was interrupted");
            }
        })
        .instrument(tracing::info_span!("sales"));
    tokio::select! {
        () = work => {}
        () = too_early => {}
    }
}

async fn reconcile(sale: Arc<Guarded>, state: Arc<State>) -> Result<Action, Error> {
    // Not among the time it takes; and nothing large is kept for those that wait.
    let _turn = match &sale.0 {
        Ok(sale) => {
            let namespace = sale.namespace().unwrap_or_default();
            tokio::select! {
                biased;
                () = state.stop.cancelled() => return Ok(Action::await_change()),
                turn = state.doors.turn(&namespace, &sale.spec.shop) => turn,
            }
        }
        Err(_) => None,
    };
    state.frame.run(&sale, &state.context, async |sale| reconcile_sale(sale, &state).await).await
}

async fn reconcile_sale(sale: &FlashSale, state: &State) -> Result<Action, Error> {
    let deleting = sale.metadata.deletion_timestamp.is_some();
    let held = sale.finalizers().iter().any(|finalizer| finalizer == FINALIZER);
    if deleting && (!held || is_abandoned(sale)) {
        return release(sale, &state.context, held).await;
    }
    if !held {
        // Before anything is loaded: what holds stock must not vanish without settling it.
        return hold(sale, &state.context).await;
    }
    match sale.status.as_ref().and_then(|status| status.phase) {
        Some(Phase::Closed) if deleting => return release(sale, &state.context, true).await,
        Some(phase) if phase.is_over() && !deleting => return Ok(Action::await_change()),
        _ => {}
    }
    let uid = sale.uid().ok_or(Error::Anonymous)?;
    let mut progress = Progress::of(sale);
    let facts = match dereference::dereference(sale, &uid, &state.context, &state.http, &state.doors).await? {
        Ok(facts) => facts,
        Err(obstacle) => return obstructed(progress, &obstacle, deleting, state).await,
    };

    let broken_rules = facts.catalogue.map(|found| catalog::broken_rules(&sale.spec, &found));
    let broken_rules = broken_rules.unwrap_or_default();
    let mut standing = facts.standing;
    let fence = state.context.fence.token(sale.metadata.generation.unwrap_or_default());
    let mut next = look(sale, &progress, standing.as_ref(), &broken_rules);
    for _ in 0..STEPS {
        if let Some(standing) = &standing {
            progress.observe(standing, fence);
        }
        progress.enter(next.phase);
        progress.ready(next.trouble.as_ref());
        let Some(command) = next.command else { break };
        if let Err(error) = progress.write(state).await {
            // The spec changed while stock was about to be loaded from it: look at it again.
            return if is_conflict(&error) {
                Ok(Action::requeue(DEBOUNCE))
            } else {
                Err(Error::Status(error))
            };
        }
        tracing::info!(?command, fence, "command");
        match facts.door.command(&uid, command, sale, fence).await {
            Ok(Answer::Standing(answer)) => {
                standing = Some(answer);
            }
            Ok(Answer::Report(mut report, differences)) => {
                if differences.len() > side_door::LISTED {
                    let name = differences::publish(sale, &differences, &state.context).await;
                    report.differences_config_map = Some(name.map_err(Error::Differences)?);
                }
                let agreed = report.closed_out_at.is_some();
                progress.sign_off(report);
                if !agreed {
                    let trouble =
                        ("BooksDiffer", "the close-out found differences; see status.report".to_owned());
                    progress.ready(Some(&trouble));
                    next.again = Some(OBSTRUCTED);
                    break;
                }
                standing = facts.door.look(&uid).await.ok().flatten().or(standing);
            }
            Err(side_door::Error::NotDrained) => break,
            Err(side_door::Error::InFlight(detail)) => {
                progress.ready(Some(&(plan::REBUILDING, detail)));
                break;
            }
            Err(side_door::Error::Refused(rules)) => {
                if standing.is_none() {
                    progress.enter(Phase::Failed);
                }
                progress.ready(Some(&("Refused", rules)));
                progress.write(state).await.map_err(Error::Status)?;
                return Ok(Action::requeue(OBSTRUCTED * 2));
            }
            Err(error) => return obstructed(progress, &dereference::obstacle(&error), deleting, state).await,
        }
        next = look(sale, &progress, standing.as_ref(), &broken_rules);
    }
    progress.write(state).await.map_err(Error::Status)?;
    if next.let_go && deleting {
        return release(sale, &state.context, true).await;
    }
    if deleting && has_waited_long(sale, &state.context) {
        let left = standing.as_ref().map_or_else(String::new, unsettled);
        return give_up(sale, &left, &state.context).await;
    }
    Ok(next.again.map_or_else(Action::await_change, Action::requeue))
}

fn look(
    sale: &FlashSale,
    progress: &Progress<'_>,
    standing: Option<&Standing>,
    broken_rules: &[String],
) -> Plan {
    plan(plan::Facts {
        spec: &sale.spec,
        phase: progress.status.phase,
        deleting: sale.metadata.deletion_timestamp.is_some(),
        signed_off: progress.status.report.as_ref().is_some_and(|report| report.closed_out_at.is_some()),
        standing,
        broken_rules,
        now_ms: Timestamp::now().as_millisecond(),
    })
}

fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(response) if response.code == 409)
}

/// Says what stands in the way and comes back. A deleted sale whose shop is gone, or that does not
/// settle within its time, is let go: nothing could be returned anywhere.
async fn obstructed(
    mut progress: Progress<'_>,
    obstacle: &dereference::Obstacle,
    deleting: bool,
    state: &State,
) -> Result<Action, Error> {
    let sale = progress.sale();
    if deleting && (obstacle.0 == "ShopNotFound" || has_waited_long(sale, &state.context)) {
        return give_up(sale, &obstacle.1, &state.context).await;
    }
    if progress.status.phase.is_none() {
        progress.enter(Phase::Scheduled);
    }
    progress.ready(Some(obstacle));
    progress.write(state).await.map_err(Error::Status)?;
    Ok(Action::requeue(OBSTRUCTED))
}

/// What is left of a sale that does not settle, in words.
fn unsettled(standing: &Standing) -> String {
    let Outstanding { reservations, stream_entries, outbox, payments_pending } = standing.outstanding;
    if standing.outstanding == Outstanding::default() {
        return "its books are not signed off".to_owned();
    }
    format!(
        "outstanding are reservations ({reservations}), payments ({payments_pending}), entries of the stream \
         ({stream_entries}), messages ({outbox})"
    )
}

/// Lets a deleted sale go with something left of it.
async fn give_up(sale: &FlashSale, left: &str, context: &Context) -> Result<Action, Error> {
    let note = format!("deleted without settling: {left}");
    context.tell(&sale.object_ref(&()), EventType::Warning, "NotSettled", note).await;
    release(sale, context, true).await
}

/// Whether a deleted sale has had the time to settle: that to pay, and then some.
fn has_waited_long(sale: &FlashSale, context: &Context) -> bool {
    let limit = sale.spec.payment_deadline_seconds + i64::from(context.config.settle_seconds);
    sale.metadata
        .deletion_timestamp
        .as_ref()
        .is_some_and(|since| Timestamp::now().as_second() - since.0.as_second() > limit)
}

fn is_abandoned(sale: &FlashSale) -> bool {
    sale.annotations().get(ABANDON).is_some_and(|value| value == "true")
}

async fn hold(sale: &FlashSale, context: &Context) -> Result<Action, Error> {
    let finalizers: Vec<&str> = sale.finalizers().iter().map(String::as_str).chain([FINALIZER]).collect();
    write_finalizers(sale, context, &finalizers).await?;
    // The write is a change, and a change brings the sale back here.
    Ok(Action::await_change())
}

async fn release(sale: &FlashSale, context: &Context, held: bool) -> Result<Action, Error> {
    if held {
        let finalizers: Vec<&str> = sale
            .finalizers()
            .iter()
            .map(String::as_str)
            .filter(|finalizer| *finalizer != FINALIZER)
            .collect();
        write_finalizers(sale, context, &finalizers).await?;
    }
    Ok(Action::await_change())
}

/// Carries the resource version, so that a finalizer somebody else adds meanwhile is not lost.
async fn write_finalizers(sale: &FlashSale, context: &Context, finalizers: &[&str]) -> Result<(), Error> {
    let api: Api<FlashSale> = context.namespaced(&sale.namespace().unwrap_or_default());
    let patch = json!({
        "metadata": { "finalizers": finalizers, "resourceVersion": sale.resource_version() },
    });
    metrics::counter!(telemetry::WRITES, "kind" => "FlashSale", "verb" => "finalizers").increment(1);
    match api.patch(&sale.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await {
        Ok(_) => Ok(()),
        // Gone already.
        Err(kube::Error::Api(response)) if response.code == 404 => Ok(()),
        Err(error) => Err(Error::Finalizer(error)),
    }
}

fn on_error(sale: Arc<Guarded>, error: &Error, state: Arc<State>) -> Action {
    state.frame.failed(&sale, error)
}
