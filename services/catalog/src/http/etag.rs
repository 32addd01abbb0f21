//! Optimistic concurrency: a product's version is its `ETag`, and a change names in `If-Match` the version
//! that it was made for. How many people like it, and how many are left, is not part of a version.

use rocketmart_kit::precondition::{EntityTag, IfMatch};
use rocketmart_kit::problem::Result;

use crate::domain::Product;
use crate::store::version_conflict;

pub(super) fn etag(product: &Product) -> EntityTag {
    EntityTag::of_version(product.version)
}

/// The product, if its version is still one that the change is meant for.
pub(super) fn still(product: Product, if_match: &IfMatch) -> Result<Product> {
    if if_match.admits(&etag(&product)) { Ok(product) } else { Err(version_conflict()) }
}
