//! What a product is and what may happen to it; no I/O.

mod adjustment;
mod picture;
mod product;
mod rules;

pub use adjustment::Adjustment;
pub use product::{Content, Edit, NotPublished, Product, State, Variant, VariantEdit};
pub use rules::{MAX_PRICE, MAX_QUANTITY};

/// The current time, in the precision that every store keeps (milliseconds).
pub fn now() -> time::OffsetDateTime {
    let now = time::OffsetDateTime::now_utc();
    now.replace_millisecond(now.millisecond()).unwrap_or(now)
}
