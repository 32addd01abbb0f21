//! The rules for components in a manifest.

pub use rocketmart_contracts::component::{Component, UnknownComponent};

/// CEL: every key of this map is a component.
pub(crate) fn keys_are_components() -> String {
    format!("self.all(name, name in [{}])", listed(|_| true))
}

/// CEL: only components with a consumer group have `autoscaling`.
pub(crate) fn autoscaled_have_a_group() -> String {
    let groups = listed(Component::has_consumer_group);
    format!("self.all(name, !has(self[name].autoscaling) || name in [{groups}])")
}

pub(crate) fn listed(keep: impl Fn(Component) -> bool) -> String {
    let names: Vec<_> = Component::ALL.into_iter().filter(|c| keep(*c)).map(|c| format!("'{c}'")).collect();
    names.join(", ")
}
