//! Autoscaling that a person has paused.

use std::collections::BTreeMap;

/// What a person asked for, in KEDA's terms: annotations of the Deployment.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Pause {
    /// Exactly this many, whatever the lag.
    pub replicas: Option<i32>,
    /// No fewer than there are.
    pub scale_in: bool,
    /// No more than there are.
    pub scale_out: bool,
}

/// Prefix of the annotations.
pub(super) const ANNOTATION: &str = "autoscaling.rocketmart.dev/";

impl Pause {
    /// Reads `paused`, `paused-replicas`, `paused-scale-in` and `paused-scale-out`, each behind the prefix
    /// `autoscaling.rocketmart.dev/`. A value that cannot be read pauses nothing.
    pub fn of(annotations: &BTreeMap<String, String>) -> Self {
        let value = |name: &str| annotations.get(&format!("{ANNOTATION}{name}")).map(String::as_str);
        let is_set = |name: &str| value(name) == Some("true");
        let replicas = value("paused-replicas").and_then(|number| number.parse().ok());
        Self {
            replicas: replicas.filter(|number| *number >= 0),
            scale_in: is_set("paused") || is_set("paused-scale-in"),
            scale_out: is_set("paused") || is_set("paused-scale-out"),
        }
    }
}
