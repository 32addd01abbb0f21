//! The FlashSale controller: from a declared sale to closed books.
//!
//! In one reconcile, [`dereference`] asks the API server and the shop's order service how things stand.
//! [`plan`] says, purely, which phase that is and which command comes next. The [`internal_api`] carries
//! the command out, and its answer is the next observation. [`status`] is written before each command and
//! after the last, so that people see a phase while it lasts. A sale wakes itself at its next deadline.
//!
//! The controller remembers nothing between reconciles except pauses. Cut it off anywhere, and the next
//! reconcile finds the same next step. Repeating a step that was already carried out changes nothing. The
//! controller's own writes do not wake it.

mod catalog;
mod dereference;
mod differences;
mod doors;
mod hold;
pub mod internal_api;
mod patience;
pub mod plan;
mod status;
mod verdicts;

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use k8s_openapi::jiff::Timestamp;
use kube::{
    ResourceExt,
    runtime::{Controller, controller, controller::Action, reflector::ObjectRef},
};
use rocketmart_contracts::internal_api::{Command, SaleState, SaleStatus};
use rocketmart_crds::{FlashSale, Phase};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

pub use self::hold::{ABANDON, FINALIZER};
use self::{
    doors::Doors,
    internal_api::Answer,
    patience::Patience,
    plan::{Plan, plan},
    status::{Pace, Progress},
    verdicts::Trouble,
};
use super::frame::{self, Frame, Kind};
use crate::{Context, telemetry::of_objects};

/// The most commands that one reconcile gives; each leads to another state.
const STEPS: usize = 6;
/// The first pause before we look again at an obstructed sale. Until a sale is loaded the pauses grow
/// longer, but we look again soon enough once its time has come.
const OBSTRUCTED: Duration = Duration::from_secs(2);
const OBSTRUCTED_DUE: Duration = Duration::from_secs(10);
const OBSTRUCTED_FAR_OFF: Duration = Duration::from_secs(30);
/// The longest pause before books that differ are compared again: somebody has to fix them first.
const BOOKS_DIFFER: Duration = Duration::from_mins(1);
const DEBOUNCE: Duration = Duration::from_millis(50);
/// There is no common limit: sales take turns by shop, see [`doors`].
const UNLIMITED: u16 = 0;

/// Why a reconcile could not finish; it is retried.
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
    patience: Patience,
}

/// Runs until `stop`, then until the running reconciles have finished.
pub async fn run(context: Arc<Context>, stop: CancellationToken) {
    let http = match internal_api::client() {
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
        patience: Patience::default(),
    });
    let (sales, touched) = frame::watch(context.watched::<Guarded>(), forgetting(state.clone()));
    let too_early = frame::stopped_too_early(sales.clone(), stop.clone());
    let work = Controller::for_stream(touched, sales)
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

/// Forgets everything we know and measure about a sale that is gone.
fn forgetting(state: Arc<State>) -> impl Fn(&ObjectRef<Guarded>) + Send + 'static {
    move |gone| {
        of_objects::forget(gone.namespace.as_deref().unwrap_or_default(), &gone.name);
        state.patience.forget(gone.extra.uid.as_deref().unwrap_or_default());
    }
}

async fn reconcile(sale: Arc<Guarded>, state: Arc<State>) -> Result<Action, Error> {
    // The measured time does not include this wait, and a waiting sale keeps nothing large in memory.
    let _turn = match &sale.0 {
        Ok(sale) => {
            let namespace = sale.namespace().unwrap_or_default();
            tokio::select! {
                biased;
                () = state.stop.cancelled() => return Ok(Action::await_change()),
                turn = state.doors.turn(&namespace, &sale.spec.shop) => turn,
            }
        }
        Err(invalid) => {
            if let Some(action) = hold::let_unreadable_go(&sale, invalid, &state.context).await? {
                return Ok(action);
            }
            None
        }
    };
    state.frame.run(&sale, &state.context, async |sale| reconcile_sale(sale, &state).await).await
}

async fn reconcile_sale(sale: &FlashSale, state: &State) -> Result<Action, Error> {
    let deleting = sale.metadata.deletion_timestamp.is_some();
    let is_over = sale.status.as_ref().and_then(|status| status.phase).is_some_and(Phase::is_over);
    let mut progress = Progress::of(sale);
    if is_over || (deleting && (!hold::is_held(&sale.metadata) || hold::is_abandoned(sale))) {
        hold::release(&mut progress, &state.context).await?;
        return Ok(Action::await_change());
    }
    match pursue(&mut progress, state).await {
        // Whatever it is that fails, it must not hold a deleted sale for ever.
        Err(error) if deleting && hold::has_waited_long(sale, &state.context) => {
            give_up(&mut progress, &error.to_string(), state).await
        }
        outcome => outcome,
    }
}

/// Takes every step that can be taken now.
async fn pursue(progress: &mut Progress<'_>, state: &State) -> Result<Action, Error> {
    let (sale, context) = (progress.sale(), &state.context);
    let deleting = sale.metadata.deletion_timestamp.is_some();
    let uid = sale.uid().ok_or(Error::Anonymous)?;
    let facts = match dereference::dereference(sale, &uid, context, &state.http, &state.doors).await? {
        Ok(facts) => facts,
        Err(obstacle) => return obstructed(progress, &obstacle, state).await,
    };

    let broken_rules = facts.catalogue.map(|found| catalog::broken_rules(&sale.spec, &found));
    let broken_rules = broken_rules.unwrap_or_default();
    let mut observed = facts.observed;
    let fence = context.fence.token(sale.metadata.generation.unwrap_or_default());
    let mut next = look(progress, observed.as_ref(), &broken_rules);
    let mut given = None;
    for _ in 0..STEPS {
        if let Some(observed) = &observed {
            progress.observe(observed, fence);
        }
        progress.enter(next.phase);
        // A command that changed nothing is repeated only after a pause.
        let Some(command) = next.command.filter(|command| given != Some((*command, next.phase))) else {
            progress.conclude(next.trouble.as_ref());
            break;
        };
        given = Some((command, next.phase));
        progress.set_out(next.trouble.as_ref());
        match prepare(progress, command, observed.as_ref(), state).await {
            Ok(()) => {}
            // The spec changed just before stock would have been loaded from it: look again.
            Err(error) if is_conflict(&error) => return Ok(Action::requeue(DEBOUNCE)),
            Err(error) => return Err(Error::Status(error)),
        }
        tracing::info!(?command, fence, "command");
        match facts.api.command(&uid, command, sale, fence).await {
            Ok(Answer::Status(answer)) => {
                observed = Some(answer);
            }
            Ok(Answer::Report(mut report, differences)) => {
                if differences.len() > internal_api::LISTED {
                    let name = differences::publish(sale, &differences, context).await;
                    report.differences_config_map = Some(name.map_err(Error::Differences)?);
                }
                let agreed = report.closed_out_at.is_some();
                progress.sign_off(report);
                if !agreed {
                    let trouble =
                        ("BooksDiffer", "the close-out found differences; see status.report".to_owned());
                    progress.conclude(Some(&trouble));
                    next.again = Some(state.patience.pause(sale, OBSTRUCTED, BOOKS_DIFFER));
                    break;
                }
                observed = facts.api.look(&uid).await.ok().flatten().or(observed);
            }
            Err(internal_api::Error::NotDrained) => {
                progress.conclude(next.trouble.as_ref());
                break;
            }
            Err(internal_api::Error::InFlight(detail)) => {
                progress.conclude(Some(&(plan::REBUILDING, detail)));
                break;
            }
            Err(internal_api::Error::Refused(rules)) => {
                if observed.is_none() {
                    progress.enter(Phase::Failed);
                }
                progress.conclude(Some(&(plan::REFUSED, rules)));
                progress.write(state).await.map_err(Error::Status)?;
                return Ok(Action::requeue(pause(sale, observed.is_some(), OBSTRUCTED * 2, state)));
            }
            Err(error) => return obstructed(progress, &dereference::obstacle(&error), state).await,
        }
        next = look(progress, observed.as_ref(), &broken_rules);
    }
    progress.write(state).await.map_err(Error::Status)?;
    let waits = next.let_go && hold::may_be_on_its_way(progress, observed.as_ref());
    if next.let_go && !waits {
        hold::release(progress, context).await?;
    } else if deleting && hold::has_waited_long(sale, context) {
        let left = observed.as_ref().map_or_else(String::new, hold::unsettled);
        return give_up(progress, &left, state).await;
    }
    let again = if waits { next.again.or(Some(hold::ON_ITS_WAY)) } else { next.again };
    let again = match (again, &next.trouble) {
        (Some(again), Some(_)) if observed.is_none() => Some(pause(sale, false, again, state)),
        (again, None) if next.phase != Phase::Draining => {
            state.patience.forget(&uid);
            again
        }
        (again, _) => again,
    };
    Ok(again.map_or_else(Action::await_change, Action::requeue))
}

/// What comes before a command: we hold the sale while its shop may hold units for it, and people see the
/// phase while it lasts. If the phase did not change we write nothing; the outcome will be written anyway.
async fn prepare(
    progress: &mut Progress<'_>,
    command: Command,
    observed: Option<&SaleStatus>,
    state: &State,
) -> kube::Result<()> {
    let deleting = progress.sale().metadata.deletion_timestamp.is_some();
    let holds_units = observed.is_some_and(|observed| observed.state != SaleState::ClosedOut);
    if !deleting && !hold::is_held(&progress.metadata) && (holds_units || command == Command::Load) {
        hold::take(progress, &state.context).await?;
    }
    if progress.has_entered_a_phase() {
        progress.write(state).await?;
    }
    Ok(())
}

fn look(progress: &Progress<'_>, observed: Option<&SaleStatus>, broken_rules: &[String]) -> Plan {
    let sale = progress.sale();
    plan(plan::Facts {
        spec: &sale.spec,
        phase: progress.status.phase,
        deleting: sale.metadata.deletion_timestamp.is_some(),
        signed_off: progress.status.report.as_ref().is_some_and(|report| report.closed_out_at.is_some()),
        observed,
        was_preloading: progress.last_preload().is_some(),
        broken_rules,
        now_ms: Timestamp::now().as_millisecond(),
    })
}

fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(response) if response.code == 409)
}

/// The pause before we look at an obstacle again.
fn pause(sale: &FlashSale, is_loaded: bool, least: Duration, state: &State) -> Duration {
    if is_loaded {
        return least;
    }
    let is_due = Timestamp::now().as_millisecond() >= plan::preload_at_ms(&sale.spec);
    let most = if is_due { OBSTRUCTED_DUE } else { OBSTRUCTED_FAR_OFF };
    state.patience.pause(sale, least, most)
}

/// Reports the obstacle and comes back later. We let a deleted sale go when its shop is gone or when it
/// does not settle in time: there is nowhere to return anything to.
async fn obstructed(progress: &mut Progress<'_>, obstacle: &Trouble, state: &State) -> Result<Action, Error> {
    let sale = progress.sale();
    let deleting = sale.metadata.deletion_timestamp.is_some();
    let is_loaded = progress.last_preload().is_some();
    if deleting && !is_loaded {
        // An earlier operator set the finalizer; nothing was ever loaded.
        hold::release(progress, &state.context).await?;
        return Ok(Action::await_change());
    }
    if deleting && (obstacle.0 == dereference::SHOP_NOT_FOUND || hold::has_waited_long(sale, &state.context))
    {
        return give_up(progress, &obstacle.1, state).await;
    }
    if progress.status.phase.is_none() {
        progress.enter(Phase::Scheduled);
    }
    progress.lose_sight(obstacle);
    progress.write(state).await.map_err(Error::Status)?;
    Ok(Action::requeue(pause(sale, is_loaded, OBSTRUCTED, state)))
}

async fn give_up(progress: &mut Progress<'_>, left: &str, state: &State) -> Result<Action, Error> {
    hold::give_up(progress, left, &state.context).await?;
    Ok(Action::await_change())
}

fn on_error(sale: Arc<Guarded>, error: &Error, state: Arc<State>) -> Action {
    state.frame.failed(&sale, error)
}
