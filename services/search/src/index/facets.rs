//! What found products are counted by: their categories, for shoppers, and their currencies, to compare
//! prices.

use serde_json::json;
use tantivy::aggregation::agg_result::{AggregationResult, AggregationResults, BucketResult};
use tantivy::aggregation::{AggContextParams, AggregationCollector};
use tantivy::{Result, TantivyError};

use super::category;
use super::fields::{CATEGORY_AS_WRITTEN, CURRENCY};

/// The most categories in the facet.
const CATEGORIES: usize = 50;
/// How many spellings are counted for them.
const SPELLINGS: usize = 200;
/// More currencies than there are.
const CURRENCIES: usize = 300;
const COUNTS: &str = "counts";

/// Counts categories by their spellings.
pub(super) fn categories() -> Result<AggregationCollector> {
    counts_of(CATEGORY_AS_WRITTEN, SPELLINGS)
}

/// The categories with most products first.
pub(super) fn category_counts(counted: AggregationResults) -> Vec<(String, u64)> {
    category::merged(values(counted).into_iter(), CATEGORIES)
}

/// Counts currencies.
pub(super) fn currencies() -> Result<AggregationCollector> {
    counts_of(CURRENCY, CURRENCIES)
}

/// The currencies that products are priced in.
pub(super) fn currency_counts(counted: AggregationResults) -> Vec<String> {
    values(counted).into_iter().map(|(currency, _)| currency).collect()
}

fn counts_of(field: &str, size: usize) -> Result<AggregationCollector> {
    let request = serde_json::from_value(json!({ COUNTS: { "terms": { "field": field, "size": size } } }))
        .map_err(|error| TantivyError::InvalidArgument(error.to_string()))?;
    Ok(AggregationCollector::from_aggs(request, AggContextParams::default()))
}

fn values(AggregationResults(mut results): AggregationResults) -> Vec<(String, u64)> {
    match results.remove(COUNTS) {
        Some(AggregationResult::BucketResult(BucketResult::Terms { buckets, .. })) => {
            buckets.into_iter().map(|bucket| (bucket.key.to_string(), bucket.doc_count)).collect()
        }
        _ => Vec::new(),
    }
}
