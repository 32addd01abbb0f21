//! Optimistic concurrency: a product's version is its `ETag`, and a change names the version it was made for in
//! `If-Match`. How many like it and how many are left is not part of a version.

use rocketmart_kit::precondition::{EntityTag, IfMatch};
use rocketmart_kit::problem::Result;

use crate::domain::Product;
use crate::store::version_conflict;

/// The `ETag` of the product as it is.
pub(super) fn etag(product: &Product) -> EntityTag {
    EntityTag::of_version(product.version)
}

/// The product, if it still has a version that the change is meant for.
pub(super) fn still(product: Product, if_match: &IfMatch) -> Result<Product> {
    if if_match.admits(&etag(&product)) { Ok(product) } else { Err(version_conflict()) }
}
