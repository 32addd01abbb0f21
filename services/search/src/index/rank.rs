//! The order of hits, and where a page ended.
//!
//! Every sort order maps a hit to a [`Rank`], and higher is better. No two products share one (up to a
//! collision of 62 random bits). A page is "the best hits ranked below the cursor", so products that appear
//! or vanish between two pages neither repeat nor hide others.

use serde::{Deserialize, Serialize};
use tantivy::columnar::ColumnValues;
use tantivy::{DocId, Score, SegmentReader};

use super::fields::{CREATED_MS, PRICE_FROM, TIE_BREAK};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Sort {
    /// Best match first.
    #[default]
    Relevance,
    /// Lowest price first.
    Price,
    /// Highest price first.
    PriceDesc,
    /// Newest product first.
    Newest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Rank(u64, u64);

/// The place after the last hit of a page, in the sort order it was listed in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cursor {
    pub sort: Sort,
    /// The currency of the list, if it has one: products in another currency that came meanwhile do not
    /// belong to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    pub after: Rank,
}

/// Ranks the documents of one segment.
pub(super) struct Ranker {
    sort: Sort,
    price_from: std::sync::Arc<dyn ColumnValues<i64>>,
    created_ms: std::sync::Arc<dyn ColumnValues<u64>>,
    tie_break: std::sync::Arc<dyn ColumnValues<u64>>,
}

impl Ranker {
    pub(super) fn new(sort: Sort, segment: &SegmentReader) -> tantivy::Result<Self> {
        let columns = segment.fast_fields();
        Ok(Self {
            sort,
            price_from: columns.column_first_or_default(PRICE_FROM)?,
            created_ms: columns.column_first_or_default(CREATED_MS)?,
            tie_break: columns.column_first_or_default(TIE_BREAK)?,
        })
    }

    pub(super) fn rank(&self, doc: DocId, score: Score) -> Rank {
        let price = || u64::try_from(self.price_from.get_val(doc)).unwrap_or_default();
        let first = match self.sort {
            // The bits of non-negative floats sort as the floats do.
            Sort::Relevance => u64::from(score.max(0.0).to_bits()),
            Sort::Price => u64::MAX - price(),
            Sort::PriceDesc => price(),
            Sort::Newest => self.created_ms.get_val(doc),
        };
        Rank(first, self.tie_break.get_val(doc))
    }
}
