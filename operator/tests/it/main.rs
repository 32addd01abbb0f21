//! The operator against a real API server with etcd, and a real Kafka.
//!
//! There is no kubelet and no Deployment controller: a test that needs a Deployment to be ready writes
//! its status. Everything else (admission by CEL, defaults, server-side apply, RBAC of the chart) is
//! genuine; the operator runs under the rights of the chart's ServiceAccount.

mod cluster;
mod election;
mod rules;
mod shop;
