//! Where components listen, as their pods, Services and policies say and as the operator asks them.

/// Port of the API of components that serve HTTP.
pub(super) const HTTP_PORT: i32 = 8080;
/// Port of their Services.
pub(super) const SERVICE_PORT: i32 = 80;
/// Port of probes and metrics of every component.
pub(super) const ADMIN_PORT: i32 = 9090;
