//! The conditions of a sale, and the sentences that say how it stands.
//!
//! | condition | true | false | unknown |
//! |---|---|---|---|
//! | `Ready` | loaded, verified, sells in its window by itself | not yet, not now, no more, or something is wrong | |
//! | `Open` | buyers can buy now | they cannot | whoever could tell does not answer |
//! | `Preloaded` | what was loaded read back equal | it did not, or not yet | |
//! | `Reconciled` | the books were compared and agree | they differ | |
//! | `Rebuilt` | Redis had lost the sale | | |
//!
//! As long as nothing is wrong, the reason of `Ready` and `Open` is the phase; any other reason means
//! trouble (docs/adr/0030).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use rocketmart_contracts::internal_api::{Rebuilt, SaleState, SaleStatus};
use rocketmart_crds::{FlashSale, Phase, flash_sale::CloseOutReport};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::conditions::{self, AS_EXPECTED, Verdict};

pub(super) const READY: &str = "Ready";
pub(super) const REBUILT: &str = "Rebuilt";
const OPEN: &str = "Open";
const PRELOADED: &str = "Preloaded";
const RECONCILED: &str = "Reconciled";

/// What is wrong: reason and message.
pub(super) type Trouble = (&'static str, String);

pub(super) fn ready(phase: Phase, trouble: Option<&Trouble>, sale: &FlashSale) -> Verdict {
    if let Some((reason, message)) = trouble {
        return Verdict::new(READY, false, reason, message.as_str());
    }
    let stands = matches!(phase, Phase::Ready | Phase::Open | Phase::SoldOut);
    Verdict::new(READY, stands, &phase.to_string(), next(phase, sale))
}

/// The trouble that `Ready` reports, if any.
pub(super) fn trouble(told: &[Condition]) -> Option<&Condition> {
    let ready = conditions::find(told, READY)?;
    let is_well = Phase::named(&ready.reason).is_some() || ready.reason == AS_EXPECTED;
    (!is_well).then_some(ready)
}

/// `unseen` is why nobody can tell how the sale stands.
pub(super) fn open(phase: Phase, unseen: Option<&Trouble>, sale: &FlashSale) -> Verdict {
    let may_sell = matches!(phase, Phase::Ready | Phase::Open | Phase::SoldOut | Phase::Paused);
    match unseen {
        Some((reason, message)) if may_sell => Verdict::unknown(OPEN, reason, message.as_str()),
        _ => Verdict::new(OPEN, phase == Phase::Open, &phase.to_string(), next(phase, sale)),
    }
}

pub(super) fn preloaded(observed: &SaleStatus) -> Verdict {
    match observed.state {
        SaleState::Loading => Verdict::new(PRELOADED, false, "NotVerified", "the stock is being loaded"),
        _ if observed.verified || observed.state == SaleState::ClosedOut => {
            Verdict::new(PRELOADED, true, "Verified", "the stock was loaded, read back and matches")
        }
        _ => Verdict::new(PRELOADED, false, "NotVerified", differences(observed)),
    }
}

fn differences(observed: &SaleStatus) -> String {
    let details: Vec<&str> = observed.differences.iter().map(|found| found.detail.as_str()).collect();
    details.join("; ")
}

pub(super) fn reconciled(report: &CloseOutReport) -> Verdict {
    if report.differences_total == 0 && report.closed_out_at.is_some() {
        let message = format!("Redis, PostgreSQL and payments agree on {} orders", report.matched);
        Verdict::new(RECONCILED, true, "BooksAgree", message)
    } else {
        let message = format!("{} differences; the first are in status.report", report.differences_total);
        Verdict::new(RECONCILED, false, "BooksDiffer", message)
    }
}

/// A sale that was never loaded has no books.
pub(super) fn nothing_to_reconcile() -> Verdict {
    Verdict::new(RECONCILED, true, "NothingLoaded", "no unit was ever loaded")
}

/// What a rebuild has done, and what nobody can know any more.
pub(super) fn rebuilt(found: &Rebuilt) -> Verdict {
    let Rebuilt { reason, orders, parked, late_reservations, .. } = found;
    let [rebuilt_at, unknown_from, unknown_until] =
        [found.rebuilt_at, found.unknown_from, found.unknown_until].map(rfc3339);
    let message = format!(
        "rebuilt at {rebuilt_at} from {orders} orders in PostgreSQL, with {parked} payments that had waited: {reason}. \
         Purchases acknowledged between {unknown_from} and {unknown_until} that are not among them are unknown; \
         {late_reservations} of them arrived too late"
    );
    Verdict::new(REBUILT, true, "FromPostgreSQL", message)
}

/// A time in the order service's format.
fn rfc3339(at: OffsetDateTime) -> String {
    // Years beyond 9999 do not fit this format.
    at.format(&Rfc3339).unwrap_or_else(|_| at.to_string())
}

/// Says in a sentence what a phase means and what comes next.
pub(super) fn next(phase: Phase, sale: &FlashSale) -> String {
    let spec = &sale.spec;
    match phase {
        Phase::Scheduled => format!(
            "stock is loaded {} s before the opening at {}",
            spec.preload_lead_seconds, spec.opens_at.0
        ),
        Phase::Preloading => "stock is being loaded and read back".to_owned(),
        Phase::Ready => format!("stock is loaded and verified; opens at {}", spec.opens_at.0),
        Phase::Open => format!("selling until {}", spec.closes_at.0),
        Phase::SoldOut => {
            "every unit is reserved or sold; unpaid units come back at their deadline".to_owned()
        }
        Phase::Draining => "no longer selling; reservations are paid or expire".to_owned(),
        Phase::Closed => "over; the close-out is in status.report".to_owned(),
        Phase::Paused => "selling is paused; orders already reserved can still be paid".to_owned(),
        Phase::Cancelled => "cancelled before its stock was loaded".to_owned(),
        Phase::Failed => "cannot go on without a change".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sale() -> FlashSale {
        serde_json::from_value(json!({
            "apiVersion": "rocketmart.dev/v1alpha1", "kind": "FlashSale", "metadata": { "name": "launch" },
            "spec": {
                "shop": "rocket", "currency": "KRW", "items": [{"sku": "A", "units": 1, "price": 1}],
                "opensAt": "2030-01-01T10:00:00Z", "closesAt": "2030-01-01T11:00:00Z",
            },
        }))
        .unwrap()
    }

    /// K2: nobody who waits for a condition is told that a sale sells, or will sell, when it does not.
    #[test]
    fn each_phase_says_whether_it_sells_and_whether_it_is_ready_to() {
        for (phase, is_ready, is_open) in [
            (Phase::Scheduled, "False", "False"),
            (Phase::Preloading, "False", "False"),
            (Phase::Ready, "True", "False"),
            (Phase::Open, "True", "True"),
            (Phase::SoldOut, "True", "False"),
            (Phase::Draining, "False", "False"),
            (Phase::Closed, "False", "False"),
            (Phase::Paused, "False", "False"),
            (Phase::Cancelled, "False", "False"),
            (Phase::Failed, "False", "False"),
        ] {
            let verdicts = [ready(phase, None, &sale()), open(phase, None, &sale())];
            assert_eq!(verdicts.each_ref().map(Verdict::word), [is_ready, is_open], "{phase}");
            assert!(verdicts.iter().all(|it| it.reason == phase.to_string()), "{phase}");
            let told = conditions::merge(&[], &verdicts, None);
            assert!(trouble(&told).is_none(), "{phase}");
        }
    }

    #[test]
    fn trouble_is_told_apart_from_every_phase_and_an_order_service_that_is_away_leaves_open_unknown() {
        let away: Trouble = ("OrderServiceUnavailable", "it does not answer".to_owned());
        for phase in [Phase::Scheduled, Phase::Open, Phase::Draining] {
            let told = conditions::merge(&[], &[ready(phase, Some(&away), &sale())], None);
            assert_eq!(trouble(&told).unwrap().reason, "OrderServiceUnavailable");
            assert!(!conditions::is_true(&told, READY));
        }
        assert_eq!(open(Phase::Open, Some(&away), &sale()).word(), "Unknown");
        assert_eq!(open(Phase::Scheduled, Some(&away), &sale()).word(), "False");
        assert_eq!(open(Phase::Draining, Some(&away), &sale()).word(), "False");
    }
}
