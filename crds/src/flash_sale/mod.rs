//! `FlashSale`: a sale of a fixed number of units, from pre-load to close-out.
//!
//! What a seller may change depends on how far the sale has come. Until its stock is loaded
//! everything but the shop is open; from then on units and time can only be added, because buyers
//! have been promised the rest; when it has ended nothing changes any more. The rules that need the
//! phase stand at the root, where CEL sees the status beside the spec.

mod rules;
mod status;

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

pub use self::status::{
    CloseOutReport, Difference, FlashSaleStatus, ItemStatus, OrderCounts, Phase, PhaseTime, Totals,
};
use crate::{
    component::{self, Component},
    name,
};

/// A sale of a fixed number of units in one shop.
#[derive(CustomResource, KubeSchema, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[kube(
    group = "rocketmart.dev",
    version = "v1alpha1",
    kind = "FlashSale",
    namespaced,
    doc = "A sale of a fixed number of units in one shop, from pre-load to close-out.",
    status = "FlashSaleStatus",
    shortname = "fs",
    shortname = "sale",
    category = "rocketmart",
    derive = "PartialEq",
    cel,
    validation = Rule::new(rules::once_loaded(rules::NO_ITEM_LEAVES))
        .message("the stock of this sale is loaded: a SKU can no longer be taken out of spec.items"),
    validation = Rule::new(rules::once_loaded(rules::NO_ITEM_JOINS))
        .message("the stock of this sale is loaded: a SKU can no longer be added to spec.items; \
                  make another FlashSale for it"),
    validation = Rule::new(rules::once_loaded(rules::UNITS_GROW))
        .message("the stock of this sale is loaded: spec.items[].units can grow but not shrink \
                  below what is loaded"),
    validation = Rule::new(rules::once_loaded(rules::PRICE_STAYS))
        .message("the stock of this sale is loaded: spec.items[].price can no longer change"),
    validation = Rule::new(rules::once_loaded(rules::LIMIT_STAYS))
        .message("the stock of this sale is loaded: spec.items[].perBuyerLimit can no longer change"),
    validation = Rule::new(rules::once_loaded(rules::CURRENCY_STAYS))
        .message("the stock of this sale is loaded: spec.currency can no longer change"),
    validation = Rule::new(rules::once_loaded(&rules::opening_stays()))
        .message("the stock of this sale is loaded: spec.opensAt can no longer change"),
    validation = Rule::new(rules::once_loaded(&rules::closing_moves_later()))
        .message("the stock of this sale is loaded: spec.closesAt can move later but not earlier; \
                  to end the sale now set spec.closeEarly"),
    validation = Rule::new(rules::once_loaded(rules::DEADLINE_STAYS))
        .message("the stock of this sale is loaded: spec.paymentDeadlineSeconds can no longer change"),
    validation = Rule::new(rules::once_loaded(rules::LEAD_STAYS))
        .message("the stock of this sale is loaded: spec.preloadLeadSeconds can no longer change"),
    validation = Rule::new(rules::once_selling_has_ended())
        .message("this sale sells no more (it drains, or spec.closeEarly ends it): spec.items, spec.closesAt and \
                  spec.suspend can no longer change"),
    validation = Rule::new(rules::once_ended("self.spec == oldSelf.spec"))
        .message("this sale has ended and can no longer change; make another FlashSale"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(
        name = "Ready", type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    // The phase again, or what is wrong.
    printcolumn(
        name = "Reason", type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#
    ),
    printcolumn(name = "Opens", type_ = "string", json_path = ".spec.opensAt"),
    printcolumn(name = "Closes", type_ = "string", json_path = ".spec.closesAt"),
    printcolumn(name = "Units", type_ = "integer", json_path = ".status.totals.units"),
    printcolumn(name = "Sold", type_ = "integer", json_path = ".status.totals.sold"),
    printcolumn(name = "Remaining", type_ = "integer", json_path = ".status.totals.remaining"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Shop", type_ = "string", priority = 1, json_path = ".spec.shop"),
    printcolumn(
        name = "Message", type_ = "string", priority = 1,
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(rules::closes_after_it_opens())
        .message("closesAt has to be after opensAt, by a second at least").field_path(".closesAt"),
    validation = Rule::new("!oldSelf.closeEarly || self.closeEarly")
        .message("closeEarly cannot be taken back").field_path(".closeEarly")
)]
pub struct FlashSaleSpec {
    /// The shop that sells, by name, in the same namespace.
    #[schemars(length(min = 1, max = 40))]
    #[x_kube(
        validation = Rule::new(name::is_a_label("self"))
            .message("shop is the name of a Shop: small letters, digits and hyphens, a letter first and no hyphen last"),
        validation = Rule::new("self == oldSelf")
            .message("a sale stays with its shop; make another FlashSale for the other shop")
    )]
    pub shop: String,

    /// What is sold; each SKU once.
    #[schemars(length(min = 1, max = 100))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["sku".into()]))]
    pub items: Vec<SaleItem>,

    /// Currency of all prices, ISO 4217.
    #[schemars(length(min = 3, max = 3), regex(pattern = "^[A-Z]{3}$"))]
    #[x_kube(
        validation = Rule::new(rules::currency_in_use())
            .message("currency has to be the ISO 4217 code of a currency in use, such as KRW")
    )]
    pub currency: String,

    /// When selling starts, by the clock of the shop's Redis: a time of RFC 3339, such as
    /// `2030-01-01T10:00:00Z`.
    #[schemars(with = "String", length(max = 64))]
    #[x_kube(
        validation = Rule::new(rules::is_a_time())
            .message("opensAt has to be a time between 2000 and 2099 as RFC 3339 writes it, with capital T and Z and \
                      at most nine digits of a second: 2030-01-01T10:00:00Z or 2030-01-01T10:00:00.5+09:00")
    )]
    pub opens_at: Time,

    /// When selling ends, by the same clock; at least a second later.
    #[schemars(with = "String", length(max = 64))]
    #[x_kube(
        validation = Rule::new(rules::is_a_time())
            .message("closesAt has to be a time between 2000 and 2099 as RFC 3339 writes it, with capital T and Z and \
                      at most nine digits of a second: 2030-01-01T10:00:00Z or 2030-01-01T10:00:00.5+09:00")
    )]
    pub closes_at: Time,

    /// Seconds a buyer has to pay; after that the units go back on sale.
    #[serde(default = "payment_deadline_seconds")]
    #[schemars(range(min = 5, max = 86_400))]
    pub payment_deadline_seconds: i64,

    /// Seconds before `opensAt` at which stock is loaded and the shop is scaled up.
    #[serde(default = "preload_lead_seconds")]
    #[schemars(range(min = 1, max = 86_400))]
    pub preload_lead_seconds: i64,

    /// Replicas per component below which the shop does not go from the pre-load until the sale has
    /// drained, by component name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "BTreeMap<String, ReplicaFloor>", extend("maxProperties" = 10))]
    #[x_kube(
        validation = Rule::new(component::keys_are_components())
            .message(format!("a key of spec.preScale is one of {}", component::listed(|_| true)).as_str())
    )]
    pub pre_scale: BTreeMap<Component, i32>,

    /// Pauses selling; orders already reserved can still be paid. Setting it back resumes.
    #[serde(default)]
    pub suspend: bool,

    /// Ends selling now instead of at `closesAt`. It cannot be taken back.
    #[serde(default)]
    pub close_early: bool,
}

const fn payment_deadline_seconds() -> i64 {
    300
}

const fn preload_lead_seconds() -> i64 {
    60
}

/// Replicas below which the component does not go.
#[derive(schemars::JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
struct ReplicaFloor(#[schemars(range(min = 1, max = 1000))] i32);

/// A SKU with its units and terms.
#[derive(KubeSchema, Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.perBuyerLimit <= self.units")
        .message("perBuyerLimit has to be at most units").field_path(".perBuyerLimit")
)]
pub struct SaleItem {
    /// SKU of a published product of the catalog.
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"))]
    pub sku: String,

    /// Units on sale; taken from the standing stock, and what is not sold goes back there.
    #[schemars(range(min = 1, max = 100_000_000))]
    pub units: i64,

    /// Price of one unit in the currency's minor units (cents; whole won).
    #[schemars(range(min = 0, max = 1_000_000_000_000_i64))]
    pub price: i64,

    /// Units one buyer can hold or have bought in this sale, over all orders.
    #[serde(default = "per_buyer_limit")]
    #[schemars(range(min = 1, max = 100_000_000))]
    pub per_buyer_limit: i64,
}

const fn per_buyer_limit() -> i64 {
    1
}

#[cfg(test)]
mod tests;
