//! The index of products, in memory.
//!
//! ```text
//!  Change ──apply──▶ tantivy writer ──commit, reload──▶ searcher ──search──▶ Found
//! ```
//!
//! [`ProductIndex::apply`] makes a batch of changes searchable before it returns; a product is
//! replaced by its id, so applying a batch again changes nothing. [`ProductIndex::search`] sees one
//! consistent state and blocks for the time the search takes (milliseconds of CPU): call it off the
//! async threads.

mod fields;
mod highlight;
mod needle;
mod query;
mod rank;
mod tokenizer;

use std::sync::{Mutex, PoisonError};

use tantivy::aggregation::agg_result::{AggregationResult, AggregationResults, BucketResult};
use tantivy::aggregation::{AggContextParams, AggregationCollector};
use tantivy::collector::TopDocs;
use tantivy::query::Query;
use tantivy::schema::Value as _;
use tantivy::tokenizer::TextAnalyzer;
use tantivy::{
    Index, IndexReader, IndexWriter, ReloadPolicy, Searcher, SegmentReader, TantivyDocument, Term,
};
use uuid::Uuid;

use self::fields::{CATEGORY, Fields, TOKENIZER};
use self::needle::Needle;
pub(crate) use self::query::Filters;
pub(crate) use self::rank::{Cursor, Sort};
use self::rank::{Rank, Ranker};
use crate::product::ProductSnapshot;

/// Memory the writer may fill before it writes a segment, bytes.
const WRITER_BUDGET: usize = 30_000_000;
/// Most values a facet lists.
const FACET_VALUES: u32 = 50;

/// What happened to a product.
pub(crate) enum Change {
    Put(Box<ProductSnapshot>),
    Remove(Uuid),
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    /// What the shopper typed; empty lists every product that passes the filters.
    pub text: String,
    pub filters: Filters,
    pub sort: Sort,
    pub after: Option<Cursor>,
    pub limit: usize,
}

#[derive(Debug)]
pub(crate) struct Found {
    pub hits: Vec<Hit>,
    /// Where the next page starts, when there is one.
    pub next: Option<Cursor>,
    /// How many products each category holds, most first; the request's own category filter is left
    /// out of the count, so that a shopper sees where else to look.
    pub categories: Vec<(String, u64)>,
}

#[derive(Debug)]
pub(crate) struct Hit {
    pub product_id: Uuid,
    pub title: String,
    /// The title and a part of the description as HTML, matches in `<em>`.
    pub title_highlighted: String,
    pub snippet: String,
    pub price_from: i64,
    pub currency: String,
    pub in_stock: bool,
    pub categories: Vec<String>,
}

pub(crate) struct ProductIndex {
    fields: Fields,
    writer: Mutex<IndexWriter>,
    reader: IndexReader,
}

impl ProductIndex {
    pub(crate) fn in_memory() -> tantivy::Result<Self> {
        let fields = Fields::new();
        let index = Index::create_in_ram(fields.schema.clone());
        index.tokenizers().register(TOKENIZER, TextAnalyzer::from(tokenizer::SegmentTokenizer));
        let writer = Mutex::new(index.writer_with_num_threads(1, WRITER_BUDGET)?);
        let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
        Ok(Self { fields, writer, reader })
    }

    /// Applies the changes in order; when it returns they are searchable.
    pub(crate) fn apply(&self, changes: &[Change]) -> tantivy::Result<()> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        for change in changes {
            let product_id = match change {
                Change::Put(product) => product.product_id,
                Change::Remove(product_id) => *product_id,
            };
            writer.delete_term(Term::from_field_text(self.fields.product_id, &product_id.to_string()));
            if let Change::Put(product) = change
                && product.is_searchable()
            {
                writer.add_document(self.fields.document(product))?;
            }
        }
        writer.commit()?;
        self.reader.reload()
    }

    /// How many products can be found.
    pub(crate) fn product_count(&self) -> u64 {
        self.reader.searcher().num_docs()
    }

    pub(crate) fn search(&self, request: &Request) -> tantivy::Result<Found> {
        let searcher = self.reader.searcher();
        let text = tokenizer::normalize(request.text.trim());
        let needles = needle::needles(&text);
        let text_query = query::text_query(&self.fields, (!text.is_empty()).then_some(&needles));
        let everywhere = Filters { category: None, ..request.filters.clone() };
        let categories =
            category_counts(&searcher, &*query::filtered(&self.fields, text_query.box_clone(), &everywhere))?;

        let query = query::filtered(&self.fields, text_query, &request.filters);
        let mut ranked = best(&searcher, &*query, request)?;
        let has_more = ranked.len() > request.limit;
        ranked.truncate(request.limit);
        let next = match ranked.last() {
            Some((rank, _)) if has_more => Some(Cursor { sort: request.sort, after: *rank }),
            _ => None,
        };
        let hits = ranked
            .into_iter()
            .map(|(_, address)| Ok(self.hit(&searcher.doc(address)?, &needles)))
            .collect::<tantivy::Result<_>>()?;
        Ok(Found { hits, next, categories })
    }

    fn hit(&self, document: &TantivyDocument, needles: &[Needle]) -> Hit {
        let text = |field| document.get_first(field).and_then(|value| value.as_str()).unwrap_or_default();
        let title = text(self.fields.title);
        Hit {
            product_id: text(self.fields.product_id).parse().unwrap_or_default(),
            title: title.to_owned(),
            title_highlighted: highlight::highlight(title, needles),
            snippet: highlight::snippet(text(self.fields.description), needles),
            price_from: document
                .get_first(self.fields.price_from)
                .and_then(|value| value.as_i64())
                .unwrap_or_default(),
            currency: text(self.fields.currency).to_owned(),
            in_stock: document.get_first(self.fields.in_stock).and_then(|value| value.as_bool())
                == Some(true),
            categories: document
                .get_all(self.fields.category)
                .filter_map(|value| value.as_str().map(str::to_owned))
                .collect(),
        }
    }
}

/// The hits after the cursor, best first: one more than asked for, when there are that many.
fn best(
    searcher: &Searcher,
    query: &dyn Query,
    request: &Request,
) -> tantivy::Result<Vec<(Rank, tantivy::DocAddress)>> {
    // The closure below cannot fail, so a missing column is found here.
    for segment in searcher.segment_readers() {
        Ranker::new(request.sort, segment)?;
    }
    let (sort, after) = (request.sort, request.after.map(|cursor| cursor.after));
    let collector = TopDocs::with_limit(request.limit + 1).tweak_score(move |segment: &SegmentReader| {
        let ranker = Ranker::new(sort, segment).ok();
        move |doc, score| {
            let rank = ranker.as_ref()?.rank(doc, score);
            (after.is_none_or(|after| rank < after)).then_some(rank)
        }
    });
    let ranked = searcher.search(query, &collector)?;
    Ok(ranked.into_iter().filter_map(|(rank, address)| rank.map(|rank| (rank, address))).collect())
}

fn category_counts(searcher: &Searcher, query: &dyn Query) -> tantivy::Result<Vec<(String, u64)>> {
    const FACET: &str = "categories";
    let request = serde_json::from_value(serde_json::json!({
        FACET: { "terms": { "field": CATEGORY, "size": FACET_VALUES } }
    }))
    .map_err(|error| tantivy::TantivyError::InvalidArgument(error.to_string()))?;
    let collector = AggregationCollector::from_aggs(request, AggContextParams::default());
    let AggregationResults(mut results) = searcher.search(query, &collector)?;
    let Some(AggregationResult::BucketResult(BucketResult::Terms { buckets, .. })) = results.remove(FACET)
    else {
        return Ok(Vec::new());
    };
    Ok(buckets.into_iter().map(|bucket| (bucket.key.to_string(), bucket.doc_count)).collect())
}

#[cfg(test)]
mod tests;
