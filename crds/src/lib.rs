//! The API of Rocket Mart: the kinds `Shop` and `FlashSale` in the group `rocketmart.dev`.
//!
//! A `Shop` is a running shop (services, workers, routes, topics); a `FlashSale` is a sale of a
//! fixed number of units in one shop, from pre-load to close-out. This crate holds their types,
//! and with the types the schema, the defaults and the rules (CEL) that the API server enforces
//! before anybody else sees an object. It does no I/O: the operator, the tests and tools share it.
//!
//! `crdgen` writes the manifests that the chart installs; a test keeps them in step with the types.

pub mod component;
pub mod flash_sale;
pub mod manifest;
pub mod shop;

pub use component::Component;
pub use flash_sale::{FlashSale, FlashSaleSpec, FlashSaleStatus, Phase, SaleItem};
pub use shop::{Shop, ShopSpec, ShopStatus};

/// The API group of all kinds.
pub const GROUP: &str = "rocketmart.dev";

/// The only version so far; it changes by addition only.
pub const VERSION: &str = "v1alpha1";
