//! Optimistic concurrency: a product's version is its `ETag`, and a change names the version it was
//! made for in `If-Match`.

use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{HeaderValue, StatusCode, header};
use rocketmart_kit::problem::Problem;

use crate::domain::Product;

/// `If-Match` with exactly one version: 428 without, 400 when it is not one of ours.
#[derive(Clone, Copy, Debug)]
pub(super) struct IfMatch(i64);

impl IfMatch {
    /// The product, if it still has the version the caller saw.
    pub(super) fn check(self, product: Product) -> Result<Product, Problem> {
        if product.version == self.0 { Ok(product) } else { Err(version_conflict()) }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let value = parts.headers.get(header::IF_MATCH).ok_or_else(|| {
            Problem::new(StatusCode::PRECONDITION_REQUIRED, "if-match-missing", "If-Match is required")
                .detail("send the ETag of the product as you last saw it")
        })?;
        version_in(value).map(Self).ok_or_else(|| {
            Problem::new(StatusCode::BAD_REQUEST, "if-match-invalid", "If-Match is not the ETag of a product")
                .detail("send one ETag as it was received, such as \"3\" with its quotes")
        })
    }
}

/// The `ETag` of a version.
pub(super) fn etag(product: &Product) -> (header::HeaderName, String) {
    (header::ETAG, format!("\"{}\"", product.version))
}

/// 412: the change was made for a version that is no longer there.
pub(super) fn version_conflict() -> Problem {
    Problem::new(StatusCode::PRECONDITION_FAILED, "version-conflict", "The product was changed meanwhile")
        .detail("read it again and repeat the change with its new ETag")
}

fn version_in(value: &HeaderValue) -> Option<i64> {
    value
        .to_str()
        .ok()?
        .trim()
        .strip_prefix('"')?
        .strip_suffix('"')?
        .parse()
        .ok()
        .filter(|version| *version > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_quoted_version_is_an_etag_of_ours() {
        let version = |text: &'static str| version_in(&HeaderValue::from_static(text));
        assert_eq!(version("\"12\""), Some(12));
        for wrong in ["12", "*", "W/\"12\"", "\"0\"", "\"-1\"", "\"1\", \"2\"", "\"x\"", ""] {
            assert_eq!(version(wrong), None, "{wrong}");
        }
    }
}
