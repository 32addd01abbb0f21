//! Where components listen. Their pods, Services and policies use these ports, and so does the operator.

/// Port of the API of components that serve HTTP.
pub(super) const HTTP_PORT: i32 = 8080;
/// Port of the Services of those components.
pub(super) const SERVICE_PORT: i32 = 80;
/// Port of probes and metrics of every component.
pub(super) const ADMIN_PORT: i32 = 9090;
