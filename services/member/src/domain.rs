//! The rules of membership: plain values in, plain values out.

pub(crate) mod email;
pub(crate) mod limit;
pub(crate) mod name;
pub(crate) mod password;
pub(crate) mod role;
pub(crate) mod rotation;
pub(crate) mod secret;

/// A rule that somebody's input broke.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub(crate) struct RuleBroken {
    /// A stable name for programs.
    pub(crate) rule: &'static str,
    /// The rule in words.
    pub(crate) detail: String,
}

impl RuleBroken {
    pub(crate) fn new(rule: &'static str, detail: impl Into<String>) -> Self {
        Self { rule, detail: detail.into() }
    }
}
