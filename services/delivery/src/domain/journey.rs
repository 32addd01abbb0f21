//! What a carrier moves: a parcel on its way to the buyer or back.

/// The places of one kind of journey; each but the last has a next one.
pub trait Journey: Copy + PartialEq + Send + Sync + 'static {
    fn as_str(self) -> &'static str;

    /// The next place.
    fn next(self) -> Option<Self>;
}
