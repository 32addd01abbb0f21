//! The status of a sale: phase, counters, conditions and the close-out. It is written when something has
//! changed.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::{
    Resource, ResourceExt,
    api::{ObjectMeta, Patch, PatchParams},
    runtime::events::EventType,
};
use rocketmart_contracts::internal_api::{ItemCount, SaleStatus};
use rocketmart_crds::{
    FlashSale, FlashSaleStatus, Phase,
    flash_sale::{CloseOutReport, PhaseTime, Totals},
};
use serde_json::json;

use super::{
    State as Controller, internal_api,
    verdicts::{self, REBUILT, Trouble},
};
use crate::{
    Context, OPERATOR,
    conditions::{self, Verdict},
    telemetry::{self, of_objects},
};

/// A sale can turn between `Open` and `SoldOut` many times.
const PHASES_LISTED: usize = 60;
/// When only counters changed, the status is written at most this often, however fast they change.
const COUNTERS_EVERY: Duration = Duration::from_secs(1);
/// The same for a new wording of something already reported.
const WORDS_EVERY: Duration = Duration::from_secs(10);

/// When the status of each sale was last written, by uid.
#[derive(Default)]
pub(super) struct Pace(Mutex<HashMap<String, Instant>>);

impl Pace {
    fn is_within(&self, uid: &str, pause: Duration) -> bool {
        let written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        written.get(uid).is_some_and(|at| at.elapsed() < pause)
    }

    fn note(&self, uid: String) {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // An old write no longer delays anything.
        written.retain(|_, at| at.elapsed() < WORDS_EVERY);
        written.insert(uid, Instant::now());
    }
}

/// The status as it develops in the course of one reconcile.
pub(super) struct Progress<'a> {
    sale: &'a FlashSale,
    written: FlashSaleStatus,
    pub(super) status: FlashSaleStatus,
    /// The sale's metadata, as last read or written.
    pub(super) metadata: ObjectMeta,
}

impl<'a> Progress<'a> {
    pub(super) fn of(sale: &'a FlashSale) -> Self {
        let written = sale.status.clone().unwrap_or_default();
        let mut status = written.clone();
        status.observed_generation = sale.metadata.generation;
        status.totals.get_or_insert_default().units = sale.spec.items.iter().map(|item| item.units).sum();
        Self { sale, written, status, metadata: sale.metadata.clone() }
    }

    pub(super) fn sale(&self) -> &'a FlashSale {
        self.sale
    }

    /// Enters a phase. A sale may have opened or sold out between two looks; it still did so, and Redis'
    /// clock and counters prove both.
    pub(super) fn enter(&mut self, phase: Phase) {
        let now = Time(seconds(Timestamp::now()));
        let selling = matches!(phase, Phase::SoldOut | Phase::Draining);
        if self.status.phase == Some(Phase::Ready) && selling && self.sale.spec.opens_at.0 <= now.0 {
            self.push(Phase::Open, self.sale.spec.opens_at.clone());
        }
        if self.status.phase != Some(phase) {
            let at = if phase == Phase::Open { self.opened_at(now) } else { now };
            self.push(phase, at);
        }
    }

    fn push(&mut self, phase: Phase, at: Time) {
        self.status.phase = Some(phase);
        self.status.phase_times.push(PhaseTime { phase, at });
        if self.status.phase_times.len() > PHASES_LISTED {
            // How the sale began and how it stands now are worth more than a turn in between.
            self.status.phase_times.remove(PHASES_LISTED / 2);
        }
    }

    /// The first opening is at the declared time, no matter when we noticed it.
    fn opened_at(&self, now: Time) -> Time {
        let first = !self.status.phase_times.iter().any(|entered| entered.phase == Phase::Open);
        if first && self.status.phase == Some(Phase::Ready) { self.sale.spec.opens_at.clone() } else { now }
    }

    /// Takes over what the order service reports.
    pub(super) fn observe(&mut self, observed: &SaleStatus, fence: i64) {
        // When Redis has nothing to say (it lost the sale, or purged it after the end), the ledger does.
        let items = if observed.items.is_empty() { &observed.ledger } else { &observed.items };
        self.status.items = items.iter().map(internal_api::item).collect();
        let sum = |count: fn(&ItemCount) -> i64| items.iter().map(count).sum();
        self.status.totals = Some(Totals {
            units: self.sale.spec.items.iter().map(|item| item.units).sum(),
            preloaded: sum(|item| item.units.preloaded),
            remaining: sum(|item| item.units.remaining),
            reserved: sum(|item| item.units.reserved),
            sold: sum(|item| item.units.sold),
        });
        self.measure(observed);
        self.status.fence = Some(self.status.fence.unwrap_or_default().max(fence));
        self.judge(&verdicts::preloaded(observed));
        if let Some(found) = &observed.rebuilt {
            self.judge(&verdicts::rebuilt(found));
        }
    }

    /// Measures units that are nowhere or counted twice (invariant I1), and the differences that the order
    /// service reports (I7).
    fn measure(&self, observed: &SaleStatus) {
        let drift = observed.items.iter().chain(&observed.ledger).map(|item| item.units.drift().abs()).sum();
        let books = of_objects::Books { drift, differences: observed.differences.len() };
        of_objects::set(&self.sale.namespace().unwrap_or_default(), &self.sale.name_any(), books);
    }

    pub(super) fn sign_off(&mut self, report: CloseOutReport) {
        self.judge(&verdicts::reconciled(&report));
        self.status.report = Some(report);
    }

    /// Records the obstacle, or that there is none.
    pub(super) fn conclude(&mut self, trouble: Option<&Trouble>) {
        self.tell(trouble, None);
        if self.status.phase == Some(Phase::Cancelled) {
            self.judge(&verdicts::nothing_to_reconcile());
        }
    }

    /// Nobody can tell how the sale stands.
    pub(super) fn lose_sight(&mut self, obstacle: &Trouble) {
        self.tell(Some(obstacle), Some(obstacle));
    }

    /// Before a command, trouble stays reported until the outcome is known. If each try took it back,
    /// people would hear again and again that all is well, and then that it is not.
    pub(super) fn set_out(&mut self, trouble: Option<&Trouble>) {
        if trouble.is_some() || verdicts::trouble(&self.status.conditions).is_none() {
            self.tell(trouble, None);
        }
    }

    fn tell(&mut self, trouble: Option<&Trouble>, unseen: Option<&Trouble>) {
        let phase = self.status.phase.unwrap_or(Phase::Scheduled);
        self.judge(&verdicts::ready(phase, trouble, self.sale));
        self.judge(&verdicts::open(phase, unseen, self.sale));
    }

    fn judge(&mut self, verdict: &Verdict) {
        self.status.conditions = conditions::merge(
            &self.status.conditions,
            std::slice::from_ref(verdict),
            self.sale.metadata.generation,
        );
    }

    /// Whether the sale has entered a phase that nobody has been told about yet.
    pub(super) fn has_entered_a_phase(&self) -> bool {
        self.status.phase != self.written.phase
    }

    /// When stock was last about to be loaded; `None` means never, so nothing can be allotted.
    pub(super) fn last_preload(&self) -> Option<Timestamp> {
        let entered = self.status.phase_times.iter().rfind(|entered| entered.phase == Phase::Preloading);
        entered.map(|entered| entered.at.0)
    }

    /// Writes the status if it differs from the last write, and announces new phases and troubles in
    /// Events.
    ///
    /// From the pre-load on, the API server holds the terms fixed. So the sale enters that phase only if it
    /// is still the one we read. An edit in between is a conflict, and nothing is loaded.
    pub(super) async fn write(&mut self, state: &Controller) -> kube::Result<()> {
        if self.status == self.written {
            return Ok(());
        }
        let uid = self.sale.uid().unwrap_or_default();
        if state.pace.is_within(&uid, self.can_wait()) {
            return Ok(());
        }
        let mut metadata = json!({ "name": self.sale.name_any() });
        if self.status.phase == Some(Phase::Preloading) && self.written.phase != self.status.phase {
            metadata["resourceVersion"] = json!(self.metadata.resource_version);
        }
        let patch = json!({
            "apiVersion": FlashSale::api_version(&()),
            "kind": FlashSale::kind(&()),
            "metadata": metadata,
            "status": self.status,
        });
        let context = &state.context;
        let api = context.namespaced::<FlashSale>(&self.sale.namespace().unwrap_or_default());
        metrics::counter!(telemetry::WRITES, "kind" => "FlashSale", "verb" => "status").increment(1);
        let params = PatchParams::apply(OPERATOR).force();
        let written = api.patch_status(&self.sale.name_any(), &params, &Patch::Apply(&patch)).await?;
        self.metadata = written.metadata;
        state.pace.note(uid);
        self.announce(context).await;
        self.written = self.status.clone();
        Ok(())
    }

    /// How long the change can wait.
    fn can_wait(&self) -> Duration {
        let mut before = self.written.clone();
        before.items.clone_from(&self.status.items);
        before.totals = self.status.totals;
        if before == self.status {
            return COUNTERS_EVERY;
        }
        let said = before.conditions.iter_mut().zip(&self.status.conditions);
        said.for_each(|(before, now)| before.message.clone_from(&now.message));
        if before == self.status { WORDS_EVERY } else { Duration::ZERO }
    }

    async fn announce(&self, context: &Context) {
        let about = self.sale.object_ref(&());
        let [now, before] = [&self.status, &self.written].map(|status| verdicts::trouble(&status.conditions));
        let trouble = now.filter(|now| before.is_none_or(|before| before.reason != now.reason));
        for entered in self.status.phase_times.iter().skip(self.written.phase_times.len()) {
            tracing::info!(phase = %entered.phase, "phase");
            if entered.phase == Phase::Failed && trouble.is_some() {
                continue; // what is wrong says it, once
            }
            let note = verdicts::next(entered.phase, self.sale);
            context.tell(&about, EventType::Normal, &entered.phase.to_string(), note).await;
        }
        let rebuilt = |status: &FlashSaleStatus| {
            conditions::find(&status.conditions, REBUILT).map(|condition| condition.message.clone())
        };
        if let Some(message) =
            rebuilt(&self.status).filter(|_| rebuilt(&self.status) != rebuilt(&self.written))
        {
            context.tell(&about, EventType::Warning, REBUILT, message).await;
        }
        if let Some(trouble) = trouble {
            tracing::warn!(reason = trouble.reason, because = trouble.message, "not ready");
            context.tell(&about, EventType::Warning, &trouble.reason, trouble.message.clone()).await;
        }
    }
}

/// Times in a status have whole seconds.
fn seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}
