//! What is sold to whom, and at what price.

/// What shoppers compete for.
pub const ROCKET: &str = "ROCKET";
/// What probe buyers buy; it never sells out.
pub const PROBE: &str = "PROBE";
pub const PRICE: i64 = 19_900;
pub const CURRENCY: &str = "KRW";
