//! What to do next about a sale: a pure function of its spec, its current state, and the time.
//!
//! ```text
//! Scheduled ─(opensAt − preloadLeadSeconds)→ Preloading ─(verified)→ Ready ─(opensAt)→ Open ⇄ SoldOut
//!                                                                                  └──────┬──────┘
//!                    (closesAt, closeEarly, all sold) Draining ←──────────────────────────┘
//!                                                        └─(drained, books agree)→ Closed
//! ```
//!
//! When Redis loses a sale, the sale is `Paused` from any phase until it is rebuilt, and then resumes
//! there.
//!
//! The phase follows from what we observe, never from what this process remembers: restarted at any point,
//! the operator arrives at the same next step. Opening needs no step at all; Redis' clock decides.

use std::time::Duration;

use rocketmart_contracts::internal_api::{Command, DifferenceKind, SaleState, SaleStatus};
use rocketmart_crds::{FlashSaleSpec, Phase};

/// How often we look at a sale that is under way. Its counters are written at the same rate.
const POLL: Duration = Duration::from_secs(1);
/// How soon we retry a refused sale: its SKU may be published meanwhile.
const RETRY: Duration = Duration::from_secs(5);
/// How often we look at a sale that waits for its pre-load: the catalog may withdraw a SKU.
const RECHECK: Duration = Duration::from_mins(1);

/// The reason for a sale that waits for its rebuild.
pub(super) const REBUILDING: &str = "Rebuilding";
/// The reason for a sale whose terms break a rule.
pub(super) const REFUSED: &str = "Refused";

/// The sale as it is.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    pub spec: &'a FlashSaleSpec,
    /// The phase in the status.
    pub phase: Option<Phase>,
    /// The FlashSale is being deleted.
    pub deleting: bool,
    /// The status holds a close-out that says the books agree.
    pub signed_off: bool,
    /// How the order service says the sale stands; `None` when it was never loaded.
    pub observed: Option<&'a SaleStatus>,
    /// The status already says that its stock is being loaded.
    pub was_preloading: bool,
    /// Catalog rules that the sale breaks; known only before it is loaded.
    pub broken_rules: &'a [String],
    /// The operator's clock, in Unix milliseconds. It counts only until the sale is loaded; after that,
    /// Redis' clock does.
    pub now_ms: i64,
}

/// The next step.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The phase from now on; it is written before the command is sent.
    pub phase: Phase,
    pub command: Option<Command>,
    /// When to look again; `None` waits for a change.
    pub again: Option<Duration>,
    /// Why the sale is not on course as declared: reason and message.
    pub trouble: Option<(&'static str, String)>,
    /// Nothing needs to hold the FlashSale any more.
    pub let_go: bool,
}

impl Plan {
    fn phase(phase: Phase) -> Self {
        Self { phase, command: None, again: None, trouble: None, let_go: false }
    }

    fn doing(self, command: Command) -> Self {
        Self { command: Some(command), ..self }
    }

    fn after(self, pause: Duration) -> Self {
        Self { again: Some(pause), ..self }
    }

    fn because(self, reason: &'static str, message: impl Into<String>) -> Self {
        Self { trouble: Some((reason, message.into())), ..self }
    }

    fn letting_go(self) -> Self {
        Self { let_go: true, ..self }
    }
}

pub fn plan(facts: Facts<'_>) -> Plan {
    match facts.observed {
        None => before_loading(facts),
        Some(observed) => match observed.state {
            SaleState::Loading => loading(facts, observed),
            SaleState::Ready | SaleState::Suspended => loaded(facts, observed),
            SaleState::Closed | SaleState::Cancelled => draining(observed),
            SaleState::ClosedOut => closed_out(facts),
        },
    }
}

/// Nothing holds the FlashSale until the load command is sent: there is nothing to settle.
fn before_loading(facts: Facts<'_>) -> Plan {
    let waiting = |phase| Plan::phase(phase).letting_go();
    if facts.phase == Some(Phase::Cancelled) || facts.deleting || facts.spec.close_early {
        return waiting(Phase::Cancelled);
    }
    if facts.now_ms >= facts.spec.closes_at.0.as_millisecond() {
        return waiting(Phase::Failed).because(
            "WindowMissed",
            "spec.closesAt passed before the stock could be loaded; make another FlashSale",
        );
    }
    let load_at = preload_at_ms(facts.spec);
    let (is_due, left) = (facts.now_ms >= load_at, until(load_at, facts.now_ms));
    if !facts.broken_rules.is_empty() {
        // Loading would be refused in the same words.
        let phase = if is_due { Phase::Failed } else { Phase::Scheduled };
        let pause = if is_due { RETRY } else { left.min(RETRY) };
        return waiting(phase).because(REFUSED, facts.broken_rules.join("; ")).after(pause);
    }
    if is_due {
        return Plan::phase(loading_phase(facts)).doing(Command::Load);
    }
    waiting(Phase::Scheduled).after(left.min(RECHECK))
}

/// When to load the stock of a sale, in Unix milliseconds.
pub(super) fn preload_at_ms(spec: &FlashSaleSpec) -> i64 {
    spec.opens_at.0.as_millisecond() - spec.preload_lead_seconds * 1_000
}

/// A sale whose loading was refused stays failed until loading succeeds, instead of going back and forth. A
/// sale that never got that far enters the phase in which its terms are fixed.
fn loading_phase(facts: Facts<'_>) -> Phase {
    let was_refused = facts.phase == Some(Phase::Failed) && facts.was_preloading;
    if was_refused { Phase::Failed } else { Phase::Preloading }
}

fn loading(facts: Facts<'_>, observed: &SaleStatus) -> Plan {
    if facts.deleting || facts.spec.close_early {
        return Plan::phase(Phase::Draining).doing(Command::Cancel);
    }
    let plan = Plan::phase(loading_phase(facts)).doing(Command::Load).after(RETRY);
    match observed.differences.first() {
        Some(found) => {
            plan.because("PreloadNotVerified", format!("the pre-load does not read back: {}", found.detail))
        }
        None => plan,
    }
}

fn loaded(facts: Facts<'_>, observed: &SaleStatus) -> Plan {
    let has_opened = observed.now_ms >= observed.opens_at_ms;
    if facts.deleting || facts.spec.close_early {
        let end = if has_opened { Command::Close } else { Command::Cancel };
        return Plan::phase(Phase::Draining).doing(end);
    }
    if let Some(command) = cut_short(observed) {
        let paused = observed.state == SaleState::Suspended;
        let phase = if paused { Phase::Paused } else { selling_phase(observed) };
        return Plan::phase(phase).doing(command).after(POLL);
    }
    if has_lost(observed) {
        return Plan::phase(Phase::Paused)
            .doing(Command::Rebuild)
            .because(REBUILDING, lost(observed))
            .after(POLL);
    }
    if !observed.verified {
        return unverified(observed);
    }
    // Ending, pausing and resuming come before new terms. New terms may be refused, and a refusal must not
    // hold up the rest.
    let closes_at_ms = facts.spec.closes_at.0.as_millisecond().max(observed.closes_at_ms);
    if observed.now_ms >= closes_at_ms {
        return Plan::phase(Phase::Draining).doing(Command::Close);
    }
    if facts.spec.suspend && observed.state == SaleState::Ready {
        return Plan::phase(Phase::Paused).doing(Command::Suspend);
    }
    let paused = observed.state == SaleState::Suspended;
    if paused && !facts.spec.suspend {
        return Plan::phase(selling_phase(observed)).doing(Command::Resume);
    }
    if terms_changed(facts.spec, observed) {
        let phase = if paused { Phase::Paused } else { selling_phase(observed) };
        return Plan::phase(phase).doing(Command::Load).after(POLL);
    }
    if paused {
        return Plan::phase(Phase::Paused).after(POLL);
    }
    let phase = selling_phase(observed);
    match phase {
        Phase::Ready => Plan::phase(phase).after(until(observed.opens_at_ms, observed.now_ms)),
        // Sold units never return to a sale, so there is nothing left to wait for.
        Phase::SoldOut if observed.items.iter().all(|item| item.units.sold == item.units.preloaded) => {
            Plan::phase(phase).doing(Command::Close)
        }
        _ => Plan::phase(phase).after(POLL),
    }
}

/// The command that SQL has recorded and Redis has not, if nothing else is wrong. Its sender was cut off,
/// so it has to be sent again.
fn cut_short(observed: &SaleStatus) -> Option<Command> {
    let differences = &observed.differences;
    if differences.is_empty() || differences.iter().any(|found| found.kind != DifferenceKind::StateDiffers) {
        return None;
    }
    match observed.state {
        SaleState::Suspended => Some(Command::Suspend),
        SaleState::Ready => Some(Command::Resume),
        SaleState::Closed => Some(Command::Close),
        SaleState::Cancelled => Some(Command::Cancel),
        SaleState::Loading | SaleState::ClosedOut => None,
    }
}

/// Redis was emptied, or was restored from an earlier state and has lost what it sold since.
fn has_lost(observed: &SaleStatus) -> bool {
    observed
        .differences
        .iter()
        .any(|found| matches!(found.kind, DifferenceKind::RedisLost | DifferenceKind::RedisBehind))
}

fn lost(observed: &SaleStatus) -> String {
    let details: Vec<_> = observed.differences.iter().map(|found| found.detail.as_str()).collect();
    format!("selling is paused while the sale is rebuilt from PostgreSQL: {}", details.join("; "))
}

/// Redis does not hold what SQL promises: selling stops, and people are told.
fn unverified(observed: &SaleStatus) -> Plan {
    let found = observed.differences.first().map_or("no detail", |found| found.detail.as_str());
    let plan = Plan::phase(Phase::Paused)
        .because(
            "StockNotVerified",
            format!("selling is paused, Redis does not hold what was promised: {found}"),
        )
        .after(POLL);
    if observed.state == SaleState::Ready { plan.doing(Command::Suspend) } else { plan }
}

/// Ready, Open or `SoldOut`, by Redis' clock and counters.
fn selling_phase(observed: &SaleStatus) -> Phase {
    if observed.now_ms < observed.opens_at_ms {
        Phase::Ready
    } else if observed.items.iter().all(|item| item.units.remaining == 0) {
        Phase::SoldOut
    } else {
        Phase::Open
    }
}

fn terms_changed(spec: &FlashSaleSpec, observed: &SaleStatus) -> bool {
    let more_time = spec.closes_at.0.as_millisecond() != observed.closes_at_ms;
    let other_opening = spec.opens_at.0.as_millisecond() != observed.opens_at_ms;
    let more_units = spec.items.iter().any(|wanted| {
        observed
            .items
            .iter()
            .find(|item| item.sku == wanted.sku)
            .is_none_or(|item| item.units.preloaded != wanted.units)
    });
    more_time || other_opening || more_units
}

fn draining(observed: &SaleStatus) -> Plan {
    let plan = Plan::phase(Phase::Draining).after(POLL);
    if let Some(command) = cut_short(observed) {
        // Redis keeps selling.
        return plan.doing(command);
    }
    if has_lost(observed) {
        return plan.doing(Command::Rebuild).because(REBUILDING, lost(observed));
    }
    if observed.outstanding.is_nothing() { plan.doing(Command::CloseOut) } else { plan }
}

fn closed_out(facts: Facts<'_>) -> Plan {
    if facts.deleting || facts.signed_off {
        Plan::phase(Phase::Closed).letting_go()
    } else {
        // The status with the report was never written, so we ask for the report again. The sale is not
        // closed until it is there: nobody looks at a closed sale any more.
        Plan::phase(Phase::Draining).doing(Command::CloseOut)
    }
}

fn until(deadline_ms: i64, now_ms: i64) -> Duration {
    // A moment more, so that the next look comes after the deadline and not just before it.
    Duration::from_millis(u64::try_from(deadline_ms - now_ms).unwrap_or_default()) + Duration::from_millis(20)
}

#[cfg(test)]
mod tests;
