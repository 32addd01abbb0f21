//! Each rule of the schema, accepting and refusing.

use kube::core::cel::validate_cel_schema;
use serde_json::{Value, json};

use super::*;

fn sale() -> Value {
    json!({
        "apiVersion": "rocketmart.dev/v1alpha1",
        "kind": "FlashSale",
        "metadata": { "name": "launch" },
        "spec": {
            "shop": "rocket",
            "items": [{ "sku": "RM-1", "units": 100, "price": 19900, "perBuyerLimit": 2 }],
            "currency": "KRW",
            "opensAt": "2030-01-01T10:00:00Z",
            "closesAt": "2030-01-01T11:00:00Z",
        },
    })
}

/// The sale with the values at JSON pointers replaced.
fn sale_with(changes: &[(&str, Value)]) -> FlashSale {
    let mut sale = sale();
    for (pointer, value) in changes {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        match sale.pointer_mut(parent).unwrap() {
            Value::Object(object) => _ = object.insert(key.to_owned(), value.clone()),
            Value::Array(array) if key == "-" => array.push(value.clone()),
            Value::Array(array) => array[key.parse::<usize>().unwrap()] = value.clone(),
            other => panic!("{pointer} is inside {other}"),
        }
    }
    serde_json::from_value(sale).unwrap()
}

fn in_phase(phase: &str, changes: &[(&str, Value)]) -> FlashSale {
    let mut all = vec![("/status", json!({ "phase": phase }))];
    all.extend_from_slice(changes);
    sale_with(&all)
}

#[track_caller]
fn accepts(sale: &FlashSale) {
    sale.validate_cel().unwrap();
}

#[track_caller]
fn refuses(sale: &FlashSale, message: &str) {
    let errors = sale.validate_cel().unwrap_err().to_string();
    assert!(errors.contains(message), "{errors}");
}

/// A change of a sale in this phase.
#[track_caller]
fn accepts_change(phase: &str, changes: &[(&str, Value)]) {
    in_phase(phase, changes).validate_cel_update(&in_phase(phase, &[])).unwrap();
}

#[track_caller]
fn refuses_change(phase: &str, changes: &[(&str, Value)], message: &str) {
    let errors = in_phase(phase, changes).validate_cel_update(&in_phase(phase, &[])).unwrap_err().to_string();
    assert!(errors.contains(message), "{errors}");
}

const LOADED: [&str; 6] = ["Preloading", "Ready", "Open", "SoldOut", "Draining", "Paused"];
/// Loaded, and buyers can still buy or will be able to.
const SELLING: [&str; 5] = ["Preloading", "Ready", "Open", "SoldOut", "Paused"];

#[test]
fn a_plain_sale_is_accepted_with_defaults_filled_in() {
    let sale = sale_with(&[]);
    accepts(&sale);
    assert_eq!(sale.spec.payment_deadline_seconds, 300);
    assert_eq!(sale.spec.preload_lead_seconds, 60);
    assert!(!sale.spec.suspend);
}

#[test]
fn a_sale_has_to_close_after_it_opens() {
    refuses(
        &sale_with(&[("/spec/closesAt", json!("2030-01-01T10:00:00Z"))]),
        "closesAt has to be after opensAt",
    );
    refuses(
        &sale_with(&[("/spec/closesAt", json!("2029-12-31T10:00:00Z"))]),
        "closesAt has to be after opensAt",
    );
    accepts(&sale_with(&[("/spec/closesAt", json!("2030-01-01T10:00:01Z"))]));
}

#[test]
fn times_are_compared_as_times_and_not_as_text() {
    accepts(&sale_with(&[
        ("/spec/opensAt", json!("2030-01-01T10:00:00+09:00")),
        ("/spec/closesAt", json!("2030-01-01T02:00:00Z")),
    ]));
}

/// The rules' verdict on a sale that opens then, whether or not it can be read (K9, K19).
fn verdict_on_opening_at(time: &str) -> Result<(), String> {
    let mut spec = sale()["spec"].take();
    spec["opensAt"] = json!(time);
    spec["closesAt"] = json!("2099-12-31T23:59:59Z");
    validate_cel_schema::<FlashSaleSpec>(&spec, None).map_err(|errors| errors.to_string())
}

#[test]
fn a_time_that_is_accepted_is_one_that_everybody_can_read() {
    for time in [
        "2000-01-01T00:00:00Z",
        "2030-01-01T10:00:00.123456789Z",
        "2030-01-01T10:00:00.5+09:00",
        "2030-06-30T23:59:59-14:59",
        "2032-02-29T00:00:00Z",
        "2000-02-29T00:00:00Z",
        "2030-12-31T00:00:00-00:00",
    ] {
        verdict_on_opening_at(time).unwrap();
        assert!(serde_json::from_value::<Time>(json!(time)).is_ok(), "{time}");
    }
}

#[test]
fn any_other_time_is_refused_with_a_sentence_that_says_what_a_time_is() {
    for time in [
        "",
        "tomorrow",
        "9999-12-31T23:59:59Z",
        "0000-01-01T00:00:00Z",
        "1999-12-31T23:59:59Z",
        "2100-01-01T00:00:00Z",
        "12030-01-01T10:00:00Z",
        "2030-01-01T10:00:00.1234567890123Z",
        "2030-01-01T10:00:00.Z",
        "2030-01-01t10:00:00z",
        "2030-01-01T10:00:00z",
        "2030-01-01t10:00:00Z",
        "2030-01-01 10:00:00Z",
        "2030-01-01T10:00:00",
        "2030-01-01T10:00Z",
        "2030-01-01",
        "2030-02-29T10:00:00Z",
        "2030-02-30T10:00:00Z",
        "2030-04-31T10:00:00Z",
        "2030-13-01T10:00:00Z",
        "2030-00-01T10:00:00Z",
        "2030-01-00T10:00:00Z",
        "2030-01-01T24:00:00Z",
        "2030-01-01T23:59:60Z",
        "2030-01-01T10:00:00+25:00",
        "2030-01-01T10:00:00+09",
        "2030-01-01T10:00:00Z\n",
        " 2030-01-01T10:00:00Z",
        "２０３０-01-01T10:00:00Z",
    ] {
        let said = verdict_on_opening_at(time).expect_err(time);
        assert!(said.contains("opensAt has to be a time between 2000 and 2099"), "{time}: {said}");
        assert!(!said.contains("closesAt"), "{time}: {said}");
    }
}

#[test]
fn a_sale_lasts_a_second_at_least() {
    for (closes_at, lasts) in [("2030-01-01T10:00:00.999Z", false), ("2030-01-01T10:00:01Z", true)] {
        // Not as the type, which is written without its fraction of a second.
        let mut spec = sale()["spec"].take();
        spec["closesAt"] = json!(closes_at);
        assert_eq!(validate_cel_schema::<FlashSaleSpec>(&spec, None).is_ok(), lasts, "{closes_at}");
    }
}

#[test]
fn the_shop_of_a_sale_is_named_as_a_shop_can_be() {
    for name in [
        "a/b",
        "..",
        "rocket-mart/status",
        "rocket-mart?x=1",
        "my.shop",
        "2026-shop",
        "Rocket",
        "shop-",
        "-",
        "로켓",
    ] {
        refuses(&sale_with(&[("/spec/shop", json!(name))]), "shop is the name of a Shop");
    }
    for name in ["a", "rocket-mart", "shop-2026"] {
        accepts(&sale_with(&[("/spec/shop", json!(name))]));
    }
}

#[test]
fn the_limit_of_a_buyer_is_at_most_the_units() {
    refuses(
        &sale_with(&[("/spec/items/0/perBuyerLimit", json!(101))]),
        "perBuyerLimit has to be at most units",
    );
    accepts(&sale_with(&[("/spec/items/0/perBuyerLimit", json!(100))]));
}

#[test]
fn a_sale_is_in_a_currency_that_people_pay_with_s10() {
    for code in ["KRW", "USD", "KWD"] {
        accepts(&sale_with(&[("/spec/currency", json!(code))]));
    }
    for code in ["KWR", "ABC", "XXX", "XTS", "XAU"] {
        refuses(&sale_with(&[("/spec/currency", json!(code))]), "currency has to be the ISO 4217 code");
    }
}

#[test]
fn pre_scale_names_components() {
    accepts(&sale_with(&[("/spec/preScale", json!({ "order-worker": 3 }))]));
    let unknown = serde_json::from_value::<FlashSale>({
        let mut sale = sale();
        sale["spec"]["preScale"] = json!({ "orders": 3 });
        sale
    });
    assert!(unknown.unwrap_err().to_string().contains("orders"));
}

#[test]
fn a_sale_stays_with_its_shop() {
    for phase in ["Scheduled", "Open"] {
        refuses_change(phase, &[("/spec/shop", json!("other"))], "a sale stays with its shop");
    }
}

#[test]
fn until_its_stock_is_loaded_everything_else_may_change() {
    for phase in ["Scheduled", "Failed"] {
        accepts_change(
            phase,
            &[
                ("/spec/items", json!([{ "sku": "RM-2", "units": 1, "price": 1, "perBuyerLimit": 1 }])),
                ("/spec/currency", json!("EUR")),
                ("/spec/opensAt", json!("2029-01-01T10:00:00Z")),
                ("/spec/closesAt", json!("2029-01-01T11:00:00Z")),
                ("/spec/paymentDeadlineSeconds", json!(10)),
            ],
        );
    }
}

#[test]
fn a_loaded_sale_may_gain_units_and_time_and_be_paused() {
    for phase in SELLING {
        accepts_change(phase, &[("/spec/items/0/units", json!(101))]);
        accepts_change(phase, &[("/spec/closesAt", json!("2030-01-01T12:00:00Z"))]);
        accepts_change(phase, &[("/spec/suspend", json!(true))]);
        accepts_change(phase, &[("/spec/closeEarly", json!(true))]);
        accepts_change(phase, &[("/spec/preScale", json!({ "order": 2 }))]);
    }
}

#[test]
fn a_loaded_sale_cannot_lose_units() {
    for phase in LOADED {
        refuses_change(phase, &[("/spec/items/0/units", json!(99))], "units can grow but not shrink");
    }
}

#[test]
fn units_that_were_never_loaded_can_be_taken_back() {
    let loaded = json!({ "sku": "RM-1", "preloaded": 100, "remaining": 7, "reserved": 3, "sold": 90 });
    for phase in SELLING {
        let status = json!({ "phase": phase, "items": [loaded] });
        let greedy = sale_with(&[("/status", status.clone()), ("/spec/items/0/units", json!(1_000))]);
        let set_to =
            |units: i64| sale_with(&[("/status", status.clone()), ("/spec/items/0/units", json!(units))]);
        for units in [100, 101] {
            set_to(units).validate_cel_update(&greedy).unwrap();
        }
        let errors = set_to(99).validate_cel_update(&greedy).unwrap_err().to_string();
        assert!(errors.contains("not shrink below what is loaded"), "{errors}");
    }
}

#[test]
fn a_loaded_sale_keeps_its_items() {
    for phase in LOADED {
        let other = json!({ "sku": "RM-2", "units": 1, "price": 1, "perBuyerLimit": 1 });
        refuses_change(
            phase,
            &[("/spec/items/0", other.clone())],
            "can no longer be taken out of spec.items",
        );
        refuses_change(phase, &[("/spec/items/-", other)], "can no longer be added to spec.items");
    }
}

#[test]
fn a_loaded_sale_keeps_its_terms() {
    for phase in LOADED {
        for (field, value) in [
            ("items[].price", ("/spec/items/0/price", json!(1))),
            ("items[].perBuyerLimit", ("/spec/items/0/perBuyerLimit", json!(1))),
            ("currency", ("/spec/currency", json!("EUR"))),
            ("opensAt", ("/spec/opensAt", json!("2030-01-01T09:59:00Z"))),
            ("paymentDeadlineSeconds", ("/spec/paymentDeadlineSeconds", json!(10))),
            ("preloadLeadSeconds", ("/spec/preloadLeadSeconds", json!(10))),
        ] {
            refuses_change(phase, &[value], &format!("spec.{field} can no longer change"));
        }
    }
}

#[test]
fn a_loaded_sale_cannot_lose_time() {
    for phase in LOADED {
        refuses_change(
            phase,
            &[("/spec/closesAt", json!("2030-01-01T10:30:00Z"))],
            "spec.closesAt can move later but not earlier",
        );
    }
}

#[test]
fn closing_early_cannot_be_taken_back() {
    let early = in_phase("Draining", &[("/spec/closeEarly", json!(true))]);
    let errors = in_phase("Draining", &[]).validate_cel_update(&early).unwrap_err().to_string();
    assert!(errors.contains("closeEarly cannot be taken back"), "{errors}");
}

/// K17: such a change would be taken and ignored.
#[test]
fn a_sale_that_drains_gains_nothing_any_more() {
    for change in [
        ("/spec/items/0/units", json!(101)),
        ("/spec/closesAt", json!("2030-01-01T12:00:00Z")),
        ("/spec/suspend", json!(true)),
    ] {
        refuses_change("Draining", &[change], "this sale sells no more");
    }
    for change in [("/spec/closeEarly", json!(true)), ("/spec/preScale", json!({ "order": 2 }))] {
        accepts_change("Draining", &[change]);
    }
}

#[test]
fn a_sale_that_is_ended_by_hand_gains_nothing_in_the_same_change_or_before_it_drains() {
    for change in [
        ("/spec/items/0/units", json!(101)),
        ("/spec/closesAt", json!("2030-01-01T12:00:00Z")),
        ("/spec/suspend", json!(true)),
    ] {
        let ended = ("/spec/closeEarly", json!(true));
        refuses_change("Open", &[ended.clone(), change.clone()], "this sale sells no more");
        let before = in_phase("Open", std::slice::from_ref(&ended));
        let errors = in_phase("Open", &[ended, change]).validate_cel_update(&before).unwrap_err().to_string();
        assert!(errors.contains("this sale sells no more"), "{errors}");
    }
}

#[test]
fn a_sale_that_is_over_does_not_change() {
    for phase in ["Closed", "Cancelled"] {
        refuses_change(phase, &[("/spec/items/0/units", json!(101))], "this sale has ended");
        accepts_change(phase, &[]);
    }
}

#[test]
fn the_words_of_the_phases_are_those_of_the_schema() {
    assert_eq!(serde_json::to_value(Phase::SoldOut).unwrap(), "SoldOut");
    assert_eq!(Phase::SoldOut.to_string(), "SoldOut");
}
