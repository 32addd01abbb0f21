//! A shopper's request as an index query: every needle must be found in some text field, every
//! filter must hold.
//!
//! Where a word is found counts more than how: a title that begins with it beats a description that
//! holds it exactly. Within a field each way of matching adds to the looser ones: a typo, a
//! beginning, and for the exact word its BM25 score (up to about 10). Filters never change the score.

use std::ops::Bound;

use tantivy::Term;
use tantivy::query::{
    AllQuery, BooleanQuery, BoostQuery, ConstScoreQuery, EmptyQuery, FuzzyTermQuery, Occur, PhraseQuery,
    Query, RangeQuery, TermQuery,
};
use tantivy::schema::{Field, IndexRecordOption};

use super::fields::Fields;
use super::needle::Needle;

const IN_TITLE: f32 = 10.0;
const IN_KEYWORDS: f32 = 5.0;
const IN_DESCRIPTION: f32 = 1.0;
const EXACT: f32 = 1.0;
const BEGINNING: f32 = 2.0;
const TYPO: f32 = 1.0;

/// What narrows the hits besides the words. Prices are minor units, bounds included.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filters {
    pub category: Option<String>,
    pub currency: Option<String>,
    pub min_price: Option<i64>,
    pub max_price: Option<i64>,
    pub in_stock_only: bool,
}

/// The text part: `None` when the shopper typed nothing, some needles (perhaps none that can match)
/// otherwise.
pub(super) fn text_query(fields: &Fields, needles: Option<&[Needle]>) -> Box<dyn Query> {
    match needles {
        None => Box::new(AllQuery),
        Some([]) => Box::new(EmptyQuery),
        Some(needles) => Box::new(BooleanQuery::intersection(
            needles.iter().map(|needle| needle_query(fields, needle)).collect(),
        )),
    }
}

/// `text` narrowed by `filters`.
pub(super) fn filtered(fields: &Fields, text: Box<dyn Query>, filters: &Filters) -> Box<dyn Query> {
    let mut clauses = vec![(Occur::Must, text)];
    let mut filter = |query: Box<dyn Query>| {
        clauses.push((Occur::Must, Box::new(ConstScoreQuery::new(query, 0.0)) as Box<dyn Query>));
    };
    if let Some(category) = &filters.category {
        filter(is(Term::from_field_text(fields.category, category)));
    }
    if let Some(currency) = &filters.currency {
        filter(is(Term::from_field_text(fields.currency, currency)));
    }
    if filters.in_stock_only {
        filter(is(Term::from_field_bool(fields.in_stock, true)));
    }
    if filters.min_price.is_some() || filters.max_price.is_some() {
        let bound = |price: Option<i64>| match price {
            Some(price) => Bound::Included(Term::from_field_i64(fields.price, price)),
            None => Bound::Unbounded,
        };
        filter(Box::new(RangeQuery::new(bound(filters.min_price), bound(filters.max_price))));
    }
    Box::new(BooleanQuery::new(clauses))
}

fn needle_query(fields: &Fields, needle: &Needle) -> Box<dyn Query> {
    let weighted =
        [(fields.title, IN_TITLE), (fields.keywords, IN_KEYWORDS), (fields.description, IN_DESCRIPTION)];
    let clauses = weighted.into_iter().flat_map(|(field, weight)| {
        in_field(field, needle).into_iter().map(move |(query, boost)| boosted(query, boost * weight))
    });
    Box::new(BooleanQuery::union(clauses.collect()))
}

/// The ways `needle` may match in one field, each with what it is worth.
fn in_field(field: Field, needle: &Needle) -> Vec<(Box<dyn Query>, f32)> {
    let term = |text: &str| Term::from_field_text(field, text);
    match needle {
        Needle::Word { term: word, is_last } => {
            let mut ways: Vec<(Box<dyn Query>, f32)> = vec![(scored(term(word)), EXACT)];
            if *is_last {
                ways.push((Box::new(FuzzyTermQuery::new_prefix(term(word), 0, true)), BEGINNING));
            }
            if Needle::forgives_typo(word) {
                let typo = if *is_last { FuzzyTermQuery::new_prefix } else { FuzzyTermQuery::new };
                ways.push((Box::new(typo(term(word), 1, true)), TYPO));
            }
            ways
        }
        Needle::Character(c) => vec![(Box::new(FuzzyTermQuery::new_prefix(term(c), 0, true)), BEGINNING)],
        Needle::Run { pairs, .. } => match pairs.as_slice() {
            [pair] => vec![(scored(term(pair)), EXACT)],
            pairs => {
                let phrase = PhraseQuery::new(pairs.iter().map(|pair| term(pair)).collect());
                let some = BooleanQuery::union_with_minimum_required_clauses(
                    pairs.iter().map(|pair| is(term(pair))).collect(),
                    Needle::required_pairs(pairs.len()),
                );
                vec![(Box::new(phrase), EXACT), (Box::new(ConstScoreQuery::new(Box::new(some), 1.0)), TYPO)]
            }
        },
    }
}

fn is(term: Term) -> Box<dyn Query> {
    Box::new(TermQuery::new(term, IndexRecordOption::Basic))
}

fn scored(term: Term) -> Box<dyn Query> {
    Box::new(TermQuery::new(term, IndexRecordOption::WithFreqs))
}

fn boosted(query: Box<dyn Query>, boost: f32) -> Box<dyn Query> {
    Box::new(BoostQuery::new(query, boost))
}
