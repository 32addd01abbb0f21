//! What is sold to whom, and at which price.

/// What shoppers compete for.
pub const ROCKET: &str = "ROCKET";
/// What probe buyers buy: never sold out.
pub const PROBE: &str = "PROBE";
pub const PRICE: i64 = 19_900;
pub const CURRENCY: &str = "KRW";
