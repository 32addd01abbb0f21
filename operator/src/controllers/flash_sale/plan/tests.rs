//! Each phase, with what leads out of it.

use rocketmart_contracts::internal_api::{Counters, Difference, ItemCount, Outstanding};
use serde_json::json;
use uuid::Uuid;

use super::*;

/// 10:00 to 11:00, loaded 60 s before.
const OPENS: i64 = 1_900_000_000_000;
const CLOSES: i64 = OPENS + 3_600_000;

fn spec(extra: serde_json::Value) -> FlashSaleSpec {
    let time = |ms: i64| k8s_openapi::jiff::Timestamp::from_millisecond(ms).unwrap().to_string();
    let mut spec = json!({
        "shop": "rocket", "currency": "KRW", "opensAt": time(OPENS), "closesAt": time(CLOSES),
        "items": [{"sku": "A", "units": 10, "price": 100}],
    });
    spec.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    serde_json::from_value(spec).unwrap()
}

fn observed(state: SaleState, now_ms: i64, remaining: i64, sold: i64) -> SaleStatus {
    let units = Counters { preloaded: 10, remaining, reserved: 10 - remaining - sold, sold };
    let item = ItemCount { sku: "A".into(), units };
    SaleStatus {
        id: Uuid::nil(),
        name: "launch".into(),
        fence: 1,
        state,
        verified: true,
        now_ms,
        opens_at_ms: OPENS,
        closes_at_ms: CLOSES,
        items: vec![item.clone()],
        ledger: vec![item],
        outstanding: Outstanding::default(),
        differences: vec![],
        rebuilt: None,
    }
}

fn facts<'a>(spec: &'a FlashSaleSpec, observed: Option<&'a SaleStatus>, now_ms: i64) -> Facts<'a> {
    Facts {
        spec,
        phase: None,
        deleting: false,
        signed_off: false,
        observed,
        was_preloading: false,
        broken_rules: &[],
        now_ms,
    }
}

#[test]
fn a_sale_far_off_waits_until_its_stock_is_to_be_loaded() {
    let spec = spec(json!({}));
    let plan = plan(facts(&spec, None, OPENS - 100_000));
    assert_eq!((plan.phase, plan.command), (Phase::Scheduled, None));
    assert!(plan.again.unwrap() >= Duration::from_secs(40) && plan.again.unwrap() < Duration::from_secs(41));
}

#[test]
fn a_sale_of_something_the_catalog_does_not_know_says_so_long_before_it_is_loaded() {
    let spec = spec(json!({}));
    let broken = ["spec.items[0].sku: unknown".to_owned()];
    let plan = plan(Facts { broken_rules: &broken, ..facts(&spec, None, OPENS - 1_000_000) });
    assert_eq!((plan.phase, plan.command), (Phase::Scheduled, None));
    assert_eq!(plan.trouble.unwrap().1, broken[0]);
    assert_eq!(plan.again, Some(RETRY), "it may be published meanwhile");
}

#[test]
fn terms_that_are_refused_hold_up_neither_the_end_nor_a_pause_nor_its_end() {
    let more = json!([{"sku": "A", "units": 1_000, "price": 100}]);
    let grown = spec(json!({ "items": more }));
    let late = observed(SaleState::Ready, CLOSES, 5, 5);
    assert_eq!(plan(facts(&grown, Some(&late), 0)).command, Some(Command::Close));
    let suspended = spec(json!({ "items": more, "suspend": true }));
    let open = observed(SaleState::Ready, OPENS + 1, 5, 0);
    assert_eq!(plan(facts(&suspended, Some(&open), 0)).command, Some(Command::Suspend));
    let paused = observed(SaleState::Suspended, OPENS + 1, 5, 0);
    assert_eq!(plan(facts(&grown, Some(&paused), 0)).command, Some(Command::Resume));
}

#[test]
fn a_window_that_was_lengthened_at_the_last_moment_is_loaded_before_anything_is_closed() {
    let time = k8s_openapi::jiff::Timestamp::from_millisecond(CLOSES + 60_000).unwrap().to_string();
    let longer = spec(json!({ "closesAt": time }));
    let late = observed(SaleState::Ready, CLOSES, 5, 5);
    assert_eq!(plan(facts(&longer, Some(&late), 0)).command, Some(Command::Load));
}

#[test]
fn stock_is_loaded_ahead_of_the_opening() {
    let spec = spec(json!({}));
    let plan = plan(facts(&spec, None, OPENS - 60_000));
    assert_eq!((plan.phase, plan.command), (Phase::Preloading, Some(Command::Load)));
}

#[test]
fn a_sale_whose_preload_does_not_read_back_never_becomes_ready() {
    let spec = spec(json!({}));
    let mut observed = observed(SaleState::Loading, OPENS + 1, 9, 0);
    observed.verified = false;
    observed.differences = vec![Difference {
        kind: DifferenceKind::TermsDiffer,
        order_id: None,
        sku: None,
        detail: "preloaded: Redis 9, SQL 10".into(),
    }];
    let plan = plan(facts(&spec, Some(&observed), OPENS + 1));
    assert_eq!((plan.phase, plan.command), (Phase::Preloading, Some(Command::Load)));
    assert_eq!(plan.trouble.unwrap().0, "PreloadNotVerified");
}

#[test]
fn a_loaded_sale_is_ready_until_redis_clock_says_that_it_is_open() {
    let spec = spec(json!({}));
    // The operator's own clock is an hour ahead and does not matter.
    let before = observed(SaleState::Ready, OPENS - 1, 10, 0);
    assert_eq!(plan(facts(&spec, Some(&before), OPENS + 3_600_000)).phase, Phase::Ready);
    let after = observed(SaleState::Ready, OPENS, 10, 0);
    assert_eq!(plan(facts(&spec, Some(&after), OPENS - 3_600_000)).phase, Phase::Open);
}

#[test]
fn sold_out_is_not_the_end_while_units_are_only_reserved() {
    let spec = spec(json!({}));
    let reserved = observed(SaleState::Ready, OPENS + 1, 0, 9);
    let plan_now = plan(facts(&spec, Some(&reserved), 0));
    assert_eq!((plan_now.phase, plan_now.command), (Phase::SoldOut, None));
    let returned = observed(SaleState::Ready, OPENS + 1, 1, 9);
    assert_eq!(plan(facts(&spec, Some(&returned), 0)).phase, Phase::Open);
}

#[test]
fn a_sale_ends_when_everything_is_sold() {
    let spec = spec(json!({}));
    let sold = observed(SaleState::Ready, OPENS + 1, 0, 10);
    let plan = plan(facts(&spec, Some(&sold), 0));
    assert_eq!((plan.phase, plan.command), (Phase::SoldOut, Some(Command::Close)));
}

#[test]
fn a_sale_ends_at_its_closing_time_by_redis_clock() {
    let spec = spec(json!({}));
    let late = observed(SaleState::Ready, CLOSES, 5, 5);
    let plan = plan(facts(&spec, Some(&late), 0));
    assert_eq!((plan.phase, plan.command), (Phase::Draining, Some(Command::Close)));
}

#[test]
fn the_books_are_closed_only_once_nothing_is_on_its_way() {
    let spec = spec(json!({}));
    let mut closed = observed(SaleState::Closed, CLOSES, 5, 4);
    closed.outstanding.reservations = 1;
    assert_eq!(plan(facts(&spec, Some(&closed), 0)).command, None);
    closed.outstanding = Outstanding::default();
    assert_eq!(plan(facts(&spec, Some(&closed), 0)).command, Some(Command::CloseOut));
}

#[test]
fn a_report_that_was_lost_is_asked_for_again() {
    let spec = spec(json!({}));
    let over = observed(SaleState::ClosedOut, CLOSES, 0, 10);
    let asking = plan(facts(&spec, Some(&over), 0));
    // We never look at a closed sale again, so it is not called closed until the report is there.
    assert_eq!((asking.phase, asking.command), (Phase::Draining, Some(Command::CloseOut)));
    let signed = Facts { signed_off: true, ..facts(&spec, Some(&over), 0) };
    assert_eq!(plan(signed), Plan::phase(Phase::Closed).letting_go());
}

#[test]
fn suspend_pauses_and_its_removal_resumes() {
    let suspended = spec(json!({"suspend": true}));
    let ready = observed(SaleState::Ready, OPENS + 1, 5, 0);
    assert_eq!(plan(facts(&suspended, Some(&ready), 0)).command, Some(Command::Suspend));
    let spec = spec(json!({}));
    let paused = observed(SaleState::Suspended, OPENS + 1, 5, 0);
    assert_eq!(plan(facts(&spec, Some(&paused), 0)).command, Some(Command::Resume));
}

#[test]
fn more_units_and_more_time_are_loaded_while_open() {
    let more = spec(json!({"items": [{"sku": "A", "units": 20, "price": 100}]}));
    let open = observed(SaleState::Ready, OPENS + 1, 5, 0);
    let plan = plan(facts(&more, Some(&open), 0));
    assert_eq!((plan.phase, plan.command), (Phase::Open, Some(Command::Load)));
}

#[test]
fn a_command_that_reached_sql_alone_is_given_again() {
    let suspended = spec(json!({ "suspend": true }));
    let ended = spec(json!({ "closeEarly": true }));
    let spec = spec(json!({}));
    for (spec, state, phase, command) in [
        (&suspended, SaleState::Suspended, Phase::Paused, Command::Suspend),
        (&spec, SaleState::Ready, Phase::Open, Command::Resume),
        (&ended, SaleState::Closed, Phase::Draining, Command::Close),
        (&ended, SaleState::Cancelled, Phase::Draining, Command::Cancel),
    ] {
        let mut half = observed(state, OPENS + 1, 5, 0);
        half.verified = false;
        half.differences = vec![Difference {
            kind: DifferenceKind::StateDiffers,
            order_id: None,
            sku: None,
            detail: "Redis has not heard of it".into(),
        }];
        let plan = plan(facts(spec, Some(&half), 0));
        assert_eq!((plan.phase, plan.command, plan.trouble), (phase, Some(command), None));
    }
}

fn differing(state: SaleState, kind: DifferenceKind) -> SaleStatus {
    let mut observed = observed(state, OPENS + 1, 0, 0);
    observed.verified = false;
    observed.differences = vec![Difference { kind, order_id: None, sku: None, detail: "gone".into() }];
    observed
}

#[test]
fn a_sale_that_redis_lost_is_paused_says_so_is_rebuilt_and_goes_on() {
    let spec = spec(json!({}));
    for kind in [DifferenceKind::RedisLost, DifferenceKind::RedisBehind] {
        for state in [SaleState::Ready, SaleState::Suspended] {
            let lost = differing(state, kind.clone());
            let plan = plan(facts(&spec, Some(&lost), 0));
            assert_eq!((plan.phase, plan.command), (Phase::Paused, Some(Command::Rebuild)));
            let (reason, message) = plan.trouble.unwrap();
            assert_eq!(reason, REBUILDING);
            assert!(message.contains("gone"), "{message}");
        }
    }
    let rebuilt = observed(SaleState::Suspended, OPENS + 1, 5, 0);
    assert_eq!(plan(facts(&spec, Some(&rebuilt), 0)).command, Some(Command::Resume));
}

#[test]
fn a_sale_that_is_over_is_rebuilt_too_or_its_books_could_not_be_closed() {
    let spec = spec(json!({}));
    let lost = differing(SaleState::Closed, DifferenceKind::RedisLost);
    let plan_now = plan(facts(&spec, Some(&lost), 0));
    assert_eq!((plan_now.phase, plan_now.command), (Phase::Draining, Some(Command::Rebuild)));
    // A sale that should end ends first.
    let ended = self::spec(json!({ "closeEarly": true }));
    let lost = differing(SaleState::Ready, DifferenceKind::RedisLost);
    assert_eq!(plan(facts(&ended, Some(&lost), 0)).command, Some(Command::Close));
}

#[test]
fn a_sale_of_other_terms_in_redis_is_paused_and_says_so() {
    let spec = spec(json!({}));
    let plan = plan(facts(&spec, Some(&differing(SaleState::Ready, DifferenceKind::TermsDiffer)), 0));
    assert_eq!((plan.phase, plan.command), (Phase::Paused, Some(Command::Suspend)));
    assert_eq!(plan.trouble.unwrap().0, "StockNotVerified");
}

#[test]
fn a_deleted_sale_stops_selling_settles_and_only_then_lets_go() {
    let spec = spec(json!({}));
    let deleted = |observed| Facts { deleting: true, ..facts(&spec, observed, OPENS + 1) };
    let open = observed(SaleState::Ready, OPENS + 1, 5, 0);
    assert_eq!(plan(deleted(Some(&open))).command, Some(Command::Close));
    let early = observed(SaleState::Ready, OPENS - 1, 10, 0);
    assert_eq!(plan(deleted(Some(&early))).command, Some(Command::Cancel));
    let closed = observed(SaleState::Closed, OPENS + 1, 5, 0);
    assert!(!plan(deleted(Some(&closed))).let_go);
    let over = observed(SaleState::ClosedOut, OPENS + 1, 5, 0);
    assert!(plan(deleted(Some(&over))).let_go);
    assert!(plan(deleted(None)).let_go);
}

#[test]
fn a_sale_whose_window_passed_unloaded_fails() {
    let spec = spec(json!({}));
    let plan = plan(facts(&spec, None, CLOSES));
    assert_eq!((plan.phase, plan.command), (Phase::Failed, None));
    assert_eq!(plan.trouble.unwrap().0, "WindowMissed");
}

#[test]
fn a_refused_sale_stays_failed_while_it_is_tried_again() {
    let spec = spec(json!({}));
    let failed =
        Facts { phase: Some(Phase::Failed), was_preloading: true, ..facts(&spec, None, OPENS - 1_000) };
    assert_eq!((plan(failed).phase, plan(failed).command), (Phase::Failed, Some(Command::Load)));
}

/// K1
#[test]
fn what_the_catalog_would_refuse_is_not_loaded_and_fails_when_its_time_has_come() {
    let spec = spec(json!({}));
    let broken = ["spec.items[0].sku: unknown".to_owned()];
    let due = Facts { broken_rules: &broken, ..facts(&spec, None, OPENS - 1_000) };
    let plan_now = plan(due);
    assert_eq!((plan_now.phase, plan_now.command), (Phase::Failed, None));
    assert_eq!((plan_now.trouble.unwrap().0, plan_now.again), (REFUSED, Some(RETRY)));
    // It was never loaded, so its terms have to be fixed first.
    let mended = plan(Facts { phase: Some(Phase::Failed), ..facts(&spec, None, OPENS - 1_000) });
    assert_eq!((mended.phase, mended.command), (Phase::Preloading, Some(Command::Load)));
}

/// K12
#[test]
fn nothing_holds_a_sale_that_was_not_loaded_or_is_settled() {
    let spec = spec(json!({}));
    let broken = ["spec.items[0].sku: unknown".to_owned()];
    let far_off = facts(&spec, None, OPENS - 1_000_000);
    for unloaded in [far_off, Facts { broken_rules: &broken, ..far_off }, facts(&spec, None, CLOSES)] {
        assert!(plan(unloaded).let_go);
    }
    assert!(!plan(facts(&spec, None, OPENS - 1_000)).let_go, "it is about to be loaded");
    let open = observed(SaleState::Ready, OPENS + 1, 5, 0);
    assert!(!plan(facts(&spec, Some(&open), 0)).let_go);
    let over = observed(SaleState::ClosedOut, CLOSES, 0, 10);
    assert!(!plan(facts(&spec, Some(&over), 0)).let_go, "its report is not written");
    assert!(plan(Facts { signed_off: true, ..facts(&spec, Some(&over), 0) }).let_go);
}
