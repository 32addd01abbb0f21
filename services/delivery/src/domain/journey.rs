//! What a carrier moves: a parcel somewhere on its way, to the buyer or back.

/// The places of one kind of journey, each but the last followed by another.
pub trait Journey: Copy + PartialEq + Send + Sync + 'static {
    fn as_str(self) -> &'static str;

    /// The step that follows.
    fn next(self) -> Option<Self>;
}
