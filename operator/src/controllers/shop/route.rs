//! What the Gateways say about a shop's `HTTPRoute`.

use kube::ResourceExt;
use rocketmart_crds::shop::ParentReference;

use crate::gateway_api::HttpRoute;

/// Without both of these a Gateway leads nobody to the shop.
const NEEDED: [&str; 2] = ["Accepted", "ResolvedRefs"];

/// Where a route stands with its Gateways.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Stand {
    /// Every Gateway has accepted the route as it is now.
    Accepted,
    /// A Gateway has not answered yet. With `before`, every Gateway had accepted an earlier form of the
    /// route, and leads buyers by that.
    Waiting { for_: String, before: bool },
    /// A Gateway rejects the route.
    Refused(String),
}

impl Stand {
    /// Whether the Gateways lead buyers to the shop.
    pub(super) fn leads(&self) -> bool {
        matches!(self, Self::Accepted | Self::Waiting { before: true, .. })
    }
}

pub(super) fn stand(route: &HttpRoute) -> Stand {
    let words: Vec<_> = route.spec.parent_refs.iter().map(|parent| (parent, word(route, parent))).collect();
    if let Some((parent, Word::No(why))) = words.iter().find(|(_, word)| matches!(word, Word::No(_))) {
        return Stand::Refused(format!("{} does not take the route: {why}", name(parent)));
    }
    let unheard: Vec<_> =
        words.iter().filter(|(_, word)| *word != Word::Yes).map(|(parent, _)| name(parent)).collect();
    if unheard.is_empty() {
        return Stand::Accepted;
    }
    let before = words.iter().all(|(_, word)| matches!(word, Word::Yes | Word::YesBefore));
    Stand::Waiting { for_: unheard.join(", "), before }
}

/// What one Gateway says.
#[derive(Debug, Eq, PartialEq)]
enum Word {
    Yes,
    /// It accepted the route in an earlier form.
    YesBefore,
    No(String),
    None,
}

fn word(route: &HttpRoute, parent: &ParentReference) -> Word {
    let namespace = route.namespace().unwrap_or_default();
    let place = |it: &ParentReference| {
        (it.name.clone(), it.namespace.clone().unwrap_or_else(|| namespace.clone()), it.section_name.clone())
    };
    let parents = route.status.iter().flat_map(|status| &status.parents);
    let Some(said) = parents.into_iter().find(|said| place(&said.parent_ref) == place(parent)) else {
        return Word::None;
    };
    let mut before = false;
    for needed in NEEDED {
        let Some(condition) = said.conditions.iter().find(|condition| condition.type_ == needed) else {
            return Word::None;
        };
        let current =
            condition.observed_generation.is_none_or(|seen| Some(seen) >= route.metadata.generation);
        match (condition.status.as_str(), current) {
            ("True", _) => before |= !current,
            ("False", true) => return Word::No(format!("{}: {}", condition.reason, condition.message)),
            _ => return Word::None,
        }
    }
    if before { Word::YesBefore } else { Word::Yes }
}

/// The name that people know it by.
fn name(parent: &ParentReference) -> String {
    let namespace = parent.namespace.iter().map(|namespace| format!("{namespace}/"));
    let listener = parent.section_name.iter().map(|listener| format!(" (listener {listener})"));
    format!("Gateway {}{}{}", namespace.collect::<String>(), parent.name, listener.collect::<String>())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A route with two Gateways, each with its conditions as type, status and observed generation.
    fn route(public: &[(&str, &str, i64)], inner: &[(&str, &str, i64)]) -> HttpRoute {
        let conditions = |conditions: &[(&str, &str, i64)]| -> Vec<Value> {
            let condition = |(kind, status, generation): &(&str, &str, i64)| {
                json!({
                    "type": kind, "status": status, "observedGeneration": generation,
                    "reason": "NotAllowed", "message": "no", "lastTransitionTime": "2030-01-01T00:00:00Z",
                })
            };
            conditions.iter().map(condition).collect()
        };
        serde_json::from_value(json!({
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "HTTPRoute",
            "metadata": { "name": "rocket", "namespace": "mart", "generation": 2 },
            "spec": { "parentRefs": [{ "name": "public", "namespace": "edge" }, { "name": "inner" }] },
            "status": { "parents": [
                { "parentRef": { "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "public",
                  "namespace": "edge" }, "controllerName": "c", "conditions": conditions(public) },
                { "parentRef": { "name": "inner", "namespace": "mart" }, "controllerName": "c",
                  "conditions": conditions(inner) },
            ] },
        }))
        .unwrap()
    }

    const YES: [(&str, &str, i64); 2] = [("Accepted", "True", 2), ("ResolvedRefs", "True", 2)];

    #[test]
    fn a_route_is_accepted_once_every_gateway_has_taken_it_as_it_is() {
        assert_eq!(stand(&route(&YES, &YES)), Stand::Accepted);
        let earlier = [("Accepted", "True", 1), ("ResolvedRefs", "True", 2)];
        let waiting = Stand::Waiting { for_: "Gateway inner".into(), before: true };
        assert_eq!(stand(&route(&YES, &earlier)), waiting);
        assert!(waiting.leads());
    }

    #[test]
    fn a_gateway_that_has_not_spoken_is_named() {
        let waiting = stand(&route(&[], &YES[..1]));
        assert_eq!(
            waiting,
            Stand::Waiting { for_: "Gateway edge/public, Gateway inner".into(), before: false }
        );
        assert!(!waiting.leads());
    }

    #[test]
    fn a_refusal_counts_once_it_is_of_the_route_as_it_is() {
        let refused = [("Accepted", "True", 2), ("ResolvedRefs", "False", 2)];
        let why = "Gateway edge/public does not take the route: NotAllowed: no";
        assert_eq!(stand(&route(&refused, &YES)), Stand::Refused(why.into()));
        let earlier = [("Accepted", "False", 1), ("ResolvedRefs", "True", 1)];
        assert!(matches!(stand(&route(&earlier, &YES)), Stand::Waiting { before: false, .. }));
    }
}
