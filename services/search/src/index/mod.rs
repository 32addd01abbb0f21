//! The index of products, in memory.
//!
//! ```text
//!  Change ──apply──▶ tantivy writer ──commit, reload──▶ searcher ──search──▶ Found
//! ```
//!
//! [`ProductIndex::apply`] makes a batch of changes searchable before it returns. It replaces a product by
//! its id, so applying a batch again changes nothing. [`ProductIndex::search`] sees one consistent state and
//! blocks while the search runs (milliseconds of CPU), so call it off the async threads.

mod category;
mod facets;
mod fields;
mod folding;
mod hangul;
mod highlight;
mod needle;
mod query;
mod rank;
mod sku;
mod tokenizer;
mod typo;

use std::sync::{Mutex, PoisonError};

use tantivy::collector::{Collector, TopDocs};
use tantivy::query::Query;
use tantivy::schema::Value as _;
use tantivy::tokenizer::TextAnalyzer;
use tantivy::{
    DocAddress, Index, IndexReader, IndexWriter, ReloadPolicy, Searcher, SegmentReader, TantivyDocument,
    TantivyError, Term,
};
use uuid::Uuid;

use self::fields::{Fields, TOKENIZER, TOKENIZER_OF_NAMES};
use self::folding::fold;
use self::needle::{Needle, needles};
pub(crate) use self::query::Filters;
pub(crate) use self::rank::{Cursor, Sort};
use self::rank::{Rank, Ranker};
use self::tokenizer::SegmentTokenizer;
use crate::product::ProductSnapshot;

/// Memory that the writer may fill before it writes a segment, in bytes.
const WRITER_BUDGET: usize = 30_000_000;

/// What happened to a product.
pub(crate) enum Change {
    Put(Box<ProductSnapshot>),
    Remove(Uuid),
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    /// What the shopper typed. Empty text lists every product that passes the filters.
    pub text: String,
    pub filters: Filters,
    pub sort: Sort,
    pub after: Option<Cursor>,
    pub limit: usize,
}

impl Request {
    fn compares_prices(&self) -> bool {
        matches!(self.sort, Sort::Price | Sort::PriceDesc)
            || self.filters.min_price.is_some()
            || self.filters.max_price.is_some()
    }
}

/// How many things a text asks for: words, and runs of scripts without spaces.
pub(crate) fn word_count(text: &str) -> usize {
    needles(&fold(text)).len()
}

#[derive(Debug)]
pub(crate) struct Found {
    pub hits: Vec<Hit>,
    /// Where the next page starts, if there is one.
    pub next: Option<Cursor>,
    /// How many products each category has, largest first. The count ignores the request's own category
    /// filter, so that a shopper sees where else to look.
    pub categories: Vec<(String, u64)>,
}

#[derive(Debug)]
pub(crate) struct Hit {
    pub product_id: Uuid,
    pub title: String,
    /// The title and a part of the description as HTML, with matches in `<em>`.
    pub title_highlighted: String,
    pub snippet: String,
    pub price_from: i64,
    pub currency: String,
    pub in_stock: bool,
    pub categories: Vec<String>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SearchError {
    /// Prices are to be compared, but the products found have prices in these currencies.
    #[error("prices in {} cannot be compared", .0.join(", "))]
    CurrencyNeeded(Vec<String>),
    #[error(transparent)]
    Index(#[from] TantivyError),
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
        for (name, by_initials) in [(TOKENIZER, false), (TOKENIZER_OF_NAMES, true)] {
            index.tokenizers().register(name, TextAnalyzer::from(SegmentTokenizer { by_initials }));
        }
        let writer = Mutex::new(index.writer_with_num_threads(1, WRITER_BUDGET)?);
        let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
        Ok(Self { fields, writer, reader })
    }

    /// Applies the changes in order; when it returns they can be found.
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

    pub(crate) fn search(&self, request: &Request) -> Result<Found, SearchError> {
        let searcher = self.reader.searcher();
        let text = fold(&request.text);
        let needles = needles(&text);
        let words = query::text_query(&self.fields, text.trim(), &needles)?;
        let filters = self.priced_in_one_currency(&searcher, &*words, request)?;

        let query = query::filtered(&self.fields, words.box_clone(), &filters);
        let (ranked, categories) = if filters.category.is_none() {
            searcher.search(&*query, &(best(&searcher, request)?, facets::categories()?))?
        } else {
            let everywhere = Filters { category: None, ..filters.clone() };
            let counted = query::filtered(&self.fields, words, &everywhere);
            let ranked = searcher.search(&*query, &best(&searcher, request)?)?;
            (ranked, searcher.search(&*counted, &facets::categories()?)?)
        };
        let mut ranked: Vec<_> =
            ranked.into_iter().filter_map(|(rank, address)| rank.map(|rank| (rank, address))).collect();

        let has_more = ranked.len() > request.limit;
        ranked.truncate(request.limit);
        let next = match ranked.last() {
            Some((rank, _)) if has_more => {
                Some(Cursor { sort: request.sort, currency: filters.currency, after: *rank })
            }
            _ => None,
        };
        let hits = ranked
            .into_iter()
            .map(|(_, address)| Ok(self.hit(&searcher.doc(address)?, &needles)))
            .collect::<tantivy::Result<_>>()?;
        Ok(Found { hits, next, categories: facets::category_counts(categories) })
    }

    /// Adds to the filters the one currency in which prices are compared, if they are: minor units of two
    /// currencies cannot be compared. It is the requested currency, that of the previous page, or the only
    /// one there is.
    fn priced_in_one_currency(
        &self,
        searcher: &Searcher,
        words: &dyn Query,
        request: &Request,
    ) -> Result<Filters, SearchError> {
        let mut filters = request.filters.clone();
        if !request.compares_prices() || filters.currency.is_some() {
            return Ok(filters);
        }
        let of_page_before = request.after.as_ref().and_then(|cursor| cursor.currency.clone());
        if of_page_before.is_some() {
            filters.currency = of_page_before;
            return Ok(filters);
        }
        let at_any_price = Filters { min_price: None, max_price: None, ..filters.clone() };
        let query = query::filtered(&self.fields, words.box_clone(), &at_any_price);
        let mut currencies = facets::currency_counts(searcher.search(&*query, &facets::currencies()?)?);
        if currencies.len() > 1 {
            currencies.sort();
            return Err(SearchError::CurrencyNeeded(currencies));
        }
        filters.currency = currencies.pop();
        Ok(filters)
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
                .get_all(self.fields.category_as_written)
                .filter_map(|value| value.as_str().map(|counted| category::name(counted).to_owned()))
                .collect(),
        }
    }
}

/// Collects the hits after the cursor, best first: one more than requested, if there are that many.
fn best(
    searcher: &Searcher,
    request: &Request,
) -> tantivy::Result<impl Collector<Fruit = Vec<(Option<Rank>, DocAddress)>> + use<>> {
    // The closure below cannot fail, so look for a missing column here.
    for segment in searcher.segment_readers() {
        Ranker::new(request.sort, segment)?;
    }
    let (sort, after) = (request.sort, request.after.as_ref().map(|cursor| cursor.after));
    Ok(TopDocs::with_limit(request.limit + 1).tweak_score(move |segment: &SegmentReader| {
        let ranker = Ranker::new(sort, segment).ok();
        move |doc, score| {
            let rank = ranker.as_ref()?.rank(doc, score);
            (after.is_none_or(|after| rank < after)).then_some(rank)
        }
    }))
}

#[cfg(test)]
mod tests;
