//! The status of a sale: phase, counters, conditions and the close-out, written when something changed.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::{
    Resource, ResourceExt,
    api::{Patch, PatchParams},
    runtime::events::EventType,
};
use rocketmart_crds::{
    FlashSale, FlashSaleStatus, Phase,
    flash_sale::{CloseOutReport, PhaseTime, Totals},
};
use serde_json::json;

use super::{
    State as Controller,
    side_door::{Item, Rebuilt, Standing, State},
};
use crate::{
    Context, OPERATOR,
    conditions::{self, AS_EXPECTED, Verdict},
    telemetry,
};

const READY: &str = "Ready";
const PRELOADED: &str = "Preloaded";
const RECONCILED: &str = "Reconciled";
const REBUILT: &str = "Rebuilt";
/// A sale can turn between `Open` and `SoldOut` many times.
const PHASES_LISTED: usize = 60;
/// Counters alone are written this often at the most, however fast they change.
const COUNTERS_EVERY: Duration = Duration::from_secs(1);

/// When the status of each sale was written last, by uid.
#[derive(Default)]
pub(super) struct Pace(Mutex<HashMap<String, Instant>>);

impl Pace {
    fn is_too_fast(&self, uid: &str) -> bool {
        let written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        written.get(uid).is_some_and(|at| at.elapsed() < COUNTERS_EVERY)
    }

    fn note(&self, uid: String) {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // What was written long ago holds nothing up.
        written.retain(|_, at| at.elapsed() < COUNTERS_EVERY);
        written.insert(uid, Instant::now());
    }
}

/// The status as it becomes in the course of one reconcile.
pub(super) struct Progress<'a> {
    sale: &'a FlashSale,
    written: FlashSaleStatus,
    pub(super) status: FlashSaleStatus,
    /// Of the sale as it was read, or as it was written last.
    resource_version: Option<String>,
}

impl<'a> Progress<'a> {
    pub(super) fn of(sale: &'a FlashSale) -> Self {
        let written = sale.status.clone().unwrap_or_default();
        let mut status = written.clone();
        status.observed_generation = sale.metadata.generation;
        status.totals.get_or_insert_default().units = sale.spec.items.iter().map(|item| item.units).sum();
        Self { sale, written, status, resource_version: sale.resource_version() }
    }

    pub(super) fn sale(&self) -> &'a FlashSale {
        self.sale
    }

    /// Enters a phase. A sale that opened or sold out between two looks did so all the same: both are
    /// facts of Redis' clock and counters.
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
            // How it began and how it stands are worth more than a turn in between.
            self.status.phase_times.remove(PHASES_LISTED / 2);
        }
    }

    /// The first opening is at the declared time, whenever it was noticed.
    fn opened_at(&self, now: Time) -> Time {
        let first = !self.status.phase_times.iter().any(|entered| entered.phase == Phase::Open);
        if first && self.status.phase == Some(Phase::Ready) { self.sale.spec.opens_at.clone() } else { now }
    }

    /// Takes over what the order service reports.
    pub(super) fn observe(&mut self, standing: &Standing, fence: i64) {
        // While Redis has nothing to say (lost, or purged after the end), the ledger does.
        let items = if standing.items.is_empty() { &standing.ledger } else { &standing.items };
        self.status.items = items.iter().map(Item::status).collect();
        let sum = |count: fn(&Item) -> i64| items.iter().map(count).sum();
        self.status.totals = Some(Totals {
            units: self.sale.spec.items.iter().map(|item| item.units).sum(),
            preloaded: sum(|item| item.preloaded),
            remaining: sum(|item| item.remaining),
            reserved: sum(|item| item.reserved),
            sold: sum(|item| item.sold),
        });
        self.measure(standing);
        self.status.fence = Some(self.status.fence.unwrap_or_default().max(fence));
        let verified = match standing.state {
            State::Loading => Verdict::new(PRELOADED, false, "NotVerified", "the stock is being loaded"),
            _ if standing.verified || standing.state == State::ClosedOut => {
                Verdict::new(PRELOADED, true, "Verified", "the stock was loaded, read back and matches")
            }
            _ => Verdict::new(PRELOADED, false, "NotVerified", differences(standing)),
        };
        self.judge(&verified);
        if let Some(found) = &standing.rebuilt {
            self.judge(&Verdict::new(REBUILT, true, "FromPostgreSQL", rebuilt(found)));
        }
    }

    /// Units that are nowhere, or twice (invariant I1), and differences told by the order service (I7).
    fn measure(&self, standing: &Standing) {
        let drift: i64 = standing
            .items
            .iter()
            .chain(&standing.ledger)
            .map(|item| (item.preloaded - item.remaining - item.reserved - item.sold).abs())
            .sum();
        let labels =
            [("namespace", self.sale.namespace().unwrap_or_default()), ("sale", self.sale.name_any())];
        #[expect(clippy::cast_precision_loss, reason = "units are far below 2^52")]
        metrics::gauge!(telemetry::DRIFT, &labels).set(drift as f64);
        #[expect(clippy::cast_precision_loss, reason = "differences are far below 2^52")]
        metrics::gauge!(telemetry::DIFFERENCES, &labels).set(standing.differences.len() as f64);
    }

    pub(super) fn sign_off(&mut self, report: CloseOutReport) {
        let verdict = if report.differences_total == 0 && report.closed_out_at.is_some() {
            let message = format!("Redis, PostgreSQL and payments agree on {} orders", report.matched);
            Verdict::new(RECONCILED, true, "BooksAgree", message)
        } else {
            let message = format!("{} differences; the first are in status.report", report.differences_total);
            Verdict::new(RECONCILED, false, "BooksDiffer", message)
        };
        self.judge(&verdict);
        self.status.report = Some(report);
    }

    /// `Ready`, with what stands in the way, or with what happens next.
    pub(super) fn ready(&mut self, trouble: Option<&(&'static str, String)>) {
        let verdict = match (trouble, self.status.phase) {
            (Some((reason, message)), _) => Verdict::new(READY, false, reason, message.as_str()),
            (None, phase) => Verdict::new(READY, true, AS_EXPECTED, next(phase, self.sale)),
        };
        self.judge(&verdict);
    }

    fn judge(&mut self, verdict: &Verdict) {
        self.status.conditions = conditions::merge(
            &self.status.conditions,
            std::slice::from_ref(verdict),
            self.sale.metadata.generation,
        );
    }

    /// Writes the status if it differs from what was written last, and says new phases and troubles in
    /// Events.
    ///
    /// From the pre-load on the API server holds the terms fixed. So that phase is entered only if the
    /// sale is still the one that was read: an edit in between is a conflict, and nothing is loaded.
    pub(super) async fn write(&mut self, state: &Controller) -> kube::Result<()> {
        if self.status == self.written {
            return Ok(());
        }
        let uid = self.sale.uid().unwrap_or_default();
        if self.only_counters_differ() && state.pace.is_too_fast(&uid) {
            return Ok(());
        }
        let mut metadata = json!({ "name": self.sale.name_any() });
        if self.status.phase == Some(Phase::Preloading) && self.written.phase != self.status.phase {
            metadata["resourceVersion"] = json!(self.resource_version);
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
        self.resource_version = written.resource_version();
        state.pace.note(uid);
        self.announce(context).await;
        self.written = self.status.clone();
        Ok(())
    }

    fn only_counters_differ(&self) -> bool {
        let mut before = self.written.clone();
        before.items.clone_from(&self.status.items);
        before.totals = self.status.totals;
        before == self.status
    }

    async fn announce(&self, context: &Context) {
        let about = self.sale.object_ref(&());
        for entered in self.status.phase_times.iter().skip(self.written.phase_times.len()) {
            tracing::info!(phase = %entered.phase, "phase");
            let note = next(Some(entered.phase), self.sale);
            context.tell(&about, EventType::Normal, &entered.phase.to_string(), note).await;
        }
        let rebuilt = |status: &FlashSaleStatus| {
            let condition = status.conditions.iter().find(|condition| condition.type_ == REBUILT);
            condition.map(|condition| condition.message.clone())
        };
        if let Some(message) =
            rebuilt(&self.status).filter(|_| rebuilt(&self.status) != rebuilt(&self.written))
        {
            context.tell(&about, EventType::Warning, REBUILT, message).await;
        }
        let reason = |status: &FlashSaleStatus| {
            status
                .conditions
                .iter()
                .find(|condition| condition.type_ == READY)
                .map(|condition| condition.reason.clone())
        };
        if reason(&self.status) == reason(&self.written) {
            return;
        }
        let condition = self.status.conditions.iter().find(|c| c.type_ == READY && c.status == "False");
        if let Some(condition) = condition {
            tracing::warn!(reason = condition.reason, because = condition.message, "not ready");
            context.tell(&about, EventType::Warning, &condition.reason, condition.message.clone()).await;
        }
    }
}

fn differences(standing: &Standing) -> String {
    let details: Vec<&str> = standing.differences.iter().map(|found| found.detail.as_str()).collect();
    details.join("; ")
}

/// What came of a rebuild, and what nobody can know any more.
fn rebuilt(found: &Rebuilt) -> String {
    let Rebuilt { reason, rebuilt_at, orders, parked, unknown_from, unknown_until, late_reservations } =
        found;
    format!(
        "rebuilt at {rebuilt_at} from {orders} orders in PostgreSQL, with {parked} payments that had waited: {reason}. \
         Purchases acknowledged between {unknown_from} and {unknown_until} that are not among them are unknown; \
         {late_reservations} of them arrived too late"
    )
}

/// What a phase means, and what comes next, in a sentence.
fn next(phase: Option<Phase>, sale: &FlashSale) -> String {
    let spec = &sale.spec;
    match phase {
        None | Some(Phase::Scheduled) => {
            format!(
                "stock is loaded {} s before the opening at {}",
                spec.preload_lead_seconds, spec.opens_at.0
            )
        }
        Some(Phase::Preloading) => "stock is being loaded and read back".to_owned(),
        Some(Phase::Ready) => format!("stock is loaded and verified; opens at {}", spec.opens_at.0),
        Some(Phase::Open) => format!("selling until {}", spec.closes_at.0),
        Some(Phase::SoldOut) => {
            "every unit is reserved or sold; unpaid units come back at their deadline".to_owned()
        }
        Some(Phase::Draining) => "no longer selling; reservations are paid or expire".to_owned(),
        Some(Phase::Closed) => "over; the close-out is in status.report".to_owned(),
        Some(Phase::Paused) => "selling is paused; orders already reserved can still be paid".to_owned(),
        Some(Phase::Cancelled) => "cancelled before it opened".to_owned(),
        Some(Phase::Failed) => "cannot go on without a change".to_owned(),
    }
}

/// Times in a status have whole seconds.
fn seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}
