//! The operator against a real API server with etcd, and a real Kafka.
//!
//! There is no kubelet and no Deployment controller: a test that needs a Deployment to be ready writes
//! its status. Everything else (admission by CEL, defaults, server-side apply, RBAC of the chart) is
//! genuine; the operator runs under the rights of the chart's `ServiceAccount`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its fixtures too")]
#![allow(unreachable_pub, reason = "nothing outside sees a test; `pub` says which module serves the others")]

mod cluster;
mod election;
mod rules;
mod shop;
