//! A shopper's request as an index query: some text field must contain every needle, and every filter must
//! hold. A shopper who knows a product's SKU finds it, whatever its words are.
//!
//! Where a word is found counts more than how: a title that begins with it beats a description that contains
//! it exactly. Within a field, each stricter match adds to the looser ones: a typo, a beginning, and for the
//! exact word its BM25 score (up to about 10). Filters never change the score.

use std::ops::{Bound, RangeInclusive};

use rocketmart_kit::label;
use tantivy::Term;
use tantivy::query::{
    AllQuery, BooleanQuery, BoostQuery, ConstScoreQuery, EmptyQuery, Occur, PhraseQuery, Query, RangeQuery,
    TermQuery,
};
use tantivy::schema::{Field, IndexRecordOption};

use super::fields::Fields;
use super::needle::{Needle, carried_over};
use super::tokenizer::{pair, unfinished_pair};
use super::typo::TypoQuery;
use super::{hangul, sku};

const IN_TITLE: f32 = 10.0;
const IN_KEYWORDS: f32 = 5.0;
const IN_DESCRIPTION: f32 = 1.0;
const EXACT: f32 = 1.0;
const BEGINNING: f32 = 2.0;
const TYPO: f32 = 1.0;
/// Worth more than any number of words.
const BY_SKU: f32 = 10_000.0;

/// Filters on the hits besides the words. Prices are minor units; bounds are included.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filters {
    pub category: Option<String>,
    pub currency: Option<String>,
    pub min_price: Option<i64>,
    pub max_price: Option<i64>,
    pub in_stock_only: bool,
}

/// The text part. It matches everything if the shopper typed nothing.
pub(super) fn text_query(
    fields: &Fields,
    folded: &str,
    needles: &[Needle],
) -> tantivy::Result<Box<dyn Query>> {
    if folded.is_empty() {
        return Ok(Box::new(AllQuery));
    }
    let by_words: Box<dyn Query> = if needles.is_empty() {
        Box::new(EmptyQuery)
    } else {
        let needles = needles.iter().map(|needle| needle_query(fields, needle));
        Box::new(BooleanQuery::intersection(needles.collect::<tantivy::Result<_>>()?))
    };
    Ok(match sku::typed(folded) {
        Some(sku) => {
            let by_sku = ConstScoreQuery::new(is(Term::from_field_text(fields.sku, &sku)), BY_SKU);
            Box::new(BooleanQuery::union(vec![by_words, Box::new(by_sku)]))
        }
        None => by_words,
    })
}

/// `text` narrowed by `filters`.
pub(super) fn filtered(fields: &Fields, text: Box<dyn Query>, filters: &Filters) -> Box<dyn Query> {
    let mut clauses = vec![(Occur::Must, text)];
    let mut filter = |query: Box<dyn Query>| {
        clauses.push((Occur::Must, Box::new(ConstScoreQuery::new(query, 0.0)) as Box<dyn Query>));
    };
    if let Some(category) = &filters.category {
        filter(is(Term::from_field_text(fields.category, &label::key(category))));
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

fn needle_query(fields: &Fields, needle: &Needle) -> tantivy::Result<Box<dyn Query>> {
    let weighted =
        [(fields.title, IN_TITLE), (fields.keywords, IN_KEYWORDS), (fields.description, IN_DESCRIPTION)];
    let typo = match needle {
        Needle::Word { term, is_last } if Needle::forgives_typo(term) => {
            Some(TypoQuery::new(fields.title, term, *is_last)?)
        }
        _ => None,
    };
    let clauses = weighted.into_iter().flat_map(|(field, weight)| {
        let mut ways = in_field(field, needle);
        if let Some(typo) = &typo {
            ways.push((Box::new(typo.in_field(field)), TYPO));
        }
        ways.into_iter().map(move |(query, worth)| boosted(query, worth * weight))
    });
    Ok(Box::new(BooleanQuery::union(clauses.collect())))
}

/// The ways that `needle` may match in one field without a typo, each with its worth.
fn in_field(field: Field, needle: &Needle) -> Vec<(Box<dyn Query>, f32)> {
    match needle {
        Needle::Word { term, is_last } => {
            let exact = scored(Term::from_field_text(field, term));
            let mut ways = vec![(exact, EXACT)];
            if *is_last {
                ways.push((beginning(field, term), BEGINNING));
            }
            ways
        }
        Needle::Run { characters, is_last } => match characters.as_slice() {
            [c] => character(field, *c, *is_last),
            _ => run(field, characters, *is_last),
        },
    }
}

/// Terms that begin with a character, or with one that it stands for.
fn character(field: Field, c: char, is_last: bool) -> Vec<(Box<dyn Query>, f32)> {
    let mut ways = vec![(beginning(field, c.encode_utf8(&mut [0; 4])), BEGINNING)];
    if is_last || hangul::is_initial(c) {
        ways.push((beginning_between(field, hangul::may_become(c)), TYPO));
    }
    if is_last && let Some(carried) = carried_over(&[c]) {
        ways.push((constant(phrase(field, &pairs(&carried))), TYPO));
    }
    ways
}

fn run(field: Field, characters: &[char], is_last: bool) -> Vec<(Box<dyn Query>, f32)> {
    let whole = pairs(characters);
    let mut ways = vec![(phrase(field, &whole), EXACT)];
    if is_last && let [.., next_to_last, last] = characters {
        let mut unfinished = whole.clone();
        unfinished.pop();
        unfinished.push(unfinished_pair(*next_to_last, *last));
        let mut begins = vec![phrase(field, &whole), phrase(field, &unfinished)];
        begins.extend(carried_over(characters).map(|carried| phrase(field, &pairs(&carried))));
        ways.push((constant(Box::new(BooleanQuery::union(begins))), BEGINNING));
    }
    let required = Needle::required_pairs(characters);
    if required < whole.len() {
        let some = BooleanQuery::union_with_minimum_required_clauses(
            whole.iter().map(|pair| is(Term::from_field_text(field, pair))).collect(),
            required,
        );
        ways.push((constant(Box::new(some)), TYPO));
    }
    ways
}

fn pairs(characters: &[char]) -> Vec<String> {
    characters.windows(2).map(|two| pair(two[0], two[1])).collect()
}

/// Pairs that follow each other.
fn phrase(field: Field, pairs: &[String]) -> Box<dyn Query> {
    let mut terms: Vec<Term> = pairs.iter().map(|pair| Term::from_field_text(field, pair)).collect();
    match terms.len() {
        0 => Box::new(EmptyQuery),
        1 => scored(terms.remove(0)),
        _ => Box::new(PhraseQuery::new(terms)),
    }
}

/// Terms that begin with `text`.
fn beginning(field: Field, text: &str) -> Box<dyn Query> {
    // No character of a text is greater than this one.
    let end = format!("{text}{}", char::MAX);
    between(field, text, &end)
}

/// Terms whose first character is one of these.
fn beginning_between(field: Field, first: RangeInclusive<char>) -> Box<dyn Query> {
    let end = String::from_iter([*first.end(), char::MAX]);
    between(field, first.start().encode_utf8(&mut [0; 4]), &end)
}

fn between(field: Field, from: &str, to: &str) -> Box<dyn Query> {
    let bound = |text| Bound::Included(Term::from_field_text(field, text));
    Box::new(RangeQuery::new(bound(from), bound(to)))
}

fn is(term: Term) -> Box<dyn Query> {
    Box::new(TermQuery::new(term, IndexRecordOption::Basic))
}

fn scored(term: Term) -> Box<dyn Query> {
    Box::new(TermQuery::new(term, IndexRecordOption::WithFreqs))
}

fn constant(query: Box<dyn Query>) -> Box<dyn Query> {
    Box::new(ConstScoreQuery::new(query, 1.0))
}

fn boosted(query: Box<dyn Query>, boost: f32) -> Box<dyn Query> {
    Box::new(BoostQuery::new(query, boost))
}
