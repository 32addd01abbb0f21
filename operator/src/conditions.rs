//! Conditions in a status. A verdict sets the value; the time of the last change is kept.

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};

/// The reason of a condition that is as it should be, when there is nothing more to say.
pub const AS_EXPECTED: &str = "AsExpected";

/// A condition as it should read from now on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Verdict {
    pub kind: &'static str,
    pub status: bool,
    /// Whoever could tell does not answer; `status` then means nothing.
    pub unknown: bool,
    pub reason: String,
    pub message: String,
}

impl Verdict {
    pub fn new(kind: &'static str, status: bool, reason: &str, message: impl Into<String>) -> Self {
        // Messages quote other systems, and the status has to stay small.
        let message = message.into().chars().take(2_000).collect();
        Self { kind, status, unknown: false, reason: reason.to_owned(), message }
    }

    pub fn unknown(kind: &'static str, reason: &str, message: impl Into<String>) -> Self {
        Self { unknown: true, ..Self::new(kind, false, reason, message) }
    }

    /// The status as Kubernetes spells it in a condition.
    pub fn word(&self) -> &'static str {
        match (self.unknown, self.status) {
            (true, _) => "Unknown",
            (false, true) => "True",
            (false, false) => "False",
        }
    }
}

/// Applies these verdicts to the conditions. A condition whose status stays the same keeps its transition
/// time, so nothing is written while nothing changes.
pub fn merge(old: &[Condition], verdicts: &[Verdict], generation: Option<i64>) -> Vec<Condition> {
    let mut conditions = old.to_vec();
    for verdict in verdicts {
        let status = verdict.word();
        let position = conditions.iter().position(|condition| condition.type_ == verdict.kind);
        let since = position.map(|at| &conditions[at]).filter(|condition| condition.status == status);
        let condition = Condition {
            type_: verdict.kind.to_owned(),
            status: status.to_owned(),
            reason: verdict.reason.clone(),
            message: verdict.message.clone(),
            observed_generation: generation,
            last_transition_time: since.map_or_else(
                || Time(to_seconds(Timestamp::now())),
                |condition| condition.last_transition_time.clone(),
            ),
        };
        match position {
            Some(at) => conditions[at] = condition,
            None => conditions.push(condition),
        }
    }
    conditions
}

/// The condition of this type.
pub fn find<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == kind)
}

/// Whether the condition of this type is true.
pub fn is_true(conditions: &[Condition], kind: &str) -> bool {
    find(conditions, kind).is_some_and(|condition| condition.status == "True")
}

/// Times in a status have whole seconds.
fn to_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_that_stays_keeps_its_time_and_one_that_changes_gets_a_new_one() {
        let long_ago = Time(Timestamp::from_second(1_000).unwrap());
        let verdict = |status| [Verdict::new("Ready", status, AS_EXPECTED, "")];
        let mut old = merge(&[], &verdict(true), Some(1));
        old[0].last_transition_time = long_ago.clone();

        let same = merge(&old, &verdict(true), Some(1));
        assert_eq!(same, old);
        let changed = merge(&old, &verdict(false), Some(2));
        assert_ne!(changed[0].last_transition_time, long_ago);
        assert_eq!(changed[0].observed_generation, Some(2));
        assert!(is_true(&same, "Ready") && !is_true(&changed, "Ready"));
    }

    #[test]
    fn conditions_of_others_are_left_alone() {
        let others = merge(&[], &[Verdict::new("Elsewhere", true, AS_EXPECTED, "")], None);
        assert_eq!(merge(&others, &[Verdict::new("Ready", true, AS_EXPECTED, "")], None).len(), 2);
    }
}
