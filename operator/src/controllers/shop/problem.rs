//! What keeps a shop from being as declared. Validating, applying and looking find problems; the status
//! reports them.

/// Something that keeps the shop from being as declared, in a platform team's words.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Problem {
    /// A stable name for conditions.
    pub(super) reason: &'static str,
    pub(super) message: String,
}
