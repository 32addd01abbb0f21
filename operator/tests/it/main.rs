//! The operator against a real API server with etcd, a real Kafka, and a real order service.
//!
//! There is no kubelet and no Deployment controller: a test that needs a ready Deployment writes its
//! status. Everything else (admission by CEL, defaults, server-side apply, the chart's RBAC) is genuine.
//! The operator runs with the rights of the chart's `ServiceAccount`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its fixtures too")]
#![allow(unreachable_pub, reason = "nothing outside sees a test; `pub` says which module serves the others")]

mod autoscaled;
mod chart;
mod children;
mod cluster;
mod crashes;
mod crd_sweep;
mod dice;
mod documents;
mod drift;
mod election;
mod garbage;
mod gateway;
mod in_flight;
mod lag;
mod log;
mod market;
mod odd;
mod operators;
/// The order service as its own tests run it: API, relay and worker on real Redis, PostgreSQL and Kafka.
#[path = "../../../services/order/tests/it/shop/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the order service's tests use more of it")]
mod order_service;
mod process;
mod proxy;
mod quiet;
mod quoted;
mod random;
mod random_sales;
mod removal;
mod rules;
mod sale;
mod sale_deleted;
mod sale_end;
mod sale_lost;
mod scissors;
mod secured_kafka;
mod shop;
mod shop_sweep;
mod slow_shop;
mod strangers;
mod sweep;
mod sweep_end;
mod trouble;
mod two_operators;
mod unreadable;
mod upgrade;
mod waiting;
mod watch;
