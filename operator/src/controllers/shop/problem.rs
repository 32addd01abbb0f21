//! What keeps a shop from being as declared: found while it is validated, applied and looked at, told in its status.

/// Something that keeps the shop from being as declared, in a platform team's words.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Problem {
    /// Stable, for conditions.
    pub(super) reason: &'static str,
    pub(super) message: String,
}
