//! `GET /api/v1/search`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use rocketmart_contracts::currency::Currency;
use rocketmart_kit::extract::{Json, Query};
use rocketmart_kit::page::{PageQuery, Place, encode_cursor};
use rocketmart_kit::problem::{Problem, Result};
use rocketmart_kit::validation::Violations;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::admission::{Admission, NotRun};
use crate::feed::Feed;
use crate::index::{self, Cursor, Filters, Found, ProductIndex, SearchError, Sort};

/// The longest search text, in characters.
const TEXT_CHARS: usize = 200;
/// The most words in one search.
const WORDS: usize = 24;
/// When a shopper who was turned away may try again.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// What the handler needs.
#[derive(Clone)]
pub(crate) struct Search {
    pub index: Arc<ProductIndex>,
    pub feed: Arc<Feed>,
    pub admission: Arc<Admission>,
}

pub(crate) fn routes() -> OpenApiRouter<Search> {
    OpenApiRouter::new().routes(routes!(search))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct SearchQuery {
    /// What is looked for; every word must match, the last one also as a beginning (of Hangul, also of its last
    /// syllable or by initial consonants), longer ones with one typo. At most 24 words. A SKU, or its beginning up to a
    /// `-`, finds its product. Left out or empty: every product.
    #[serde(default)]
    #[param(max_length = 200)]
    q: String,
    /// Only products of this category, however it is spelled: `Audio` is `audio` and `ＡＵＤＩＯ`.
    category: Option<String>,
    /// Only products priced in this currency (ISO 4217). Needed to sort or filter by price, unless all products found
    /// are priced in one.
    #[param(pattern = "^[A-Z]{3}$")]
    currency: Option<String>,
    /// Only products with a variant of at least this price, minor units of the currency.
    #[param(minimum = 0)]
    min_price: Option<i64>,
    /// Only products with a variant of at most this price, minor units of the currency.
    #[param(minimum = 0)]
    max_price: Option<i64>,
    /// `true`: only products with units to sell.
    #[serde(default)]
    in_stock: bool,
    #[serde(default)]
    #[param(inline)]
    sort: Sort,
    /// Where to go on, from `next_cursor` of the page before.
    cursor: Option<String>,
    /// Hits per page.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<u32>,
}

/// One page of hits.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SearchPage {
    data: Vec<Hit>,
    /// Pass as `cursor`, all else the same, for the next page; null on the last.
    next_cursor: Option<String>,
    has_more: bool,
    facets: Facets,
}

/// A product found.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Hit {
    product_id: Uuid,
    title: String,
    /// The title as HTML, what matched in `<em>`.
    title_highlighted: String,
    /// The part of the description around what matched, as HTML.
    snippet: String,
    /// The lowest price among the variants, minor units.
    price_from: i64,
    currency: String,
    in_stock: bool,
    categories: Vec<String>,
}

/// How the products found are spread, whatever the filter on the same field.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Facets {
    /// The categories with most products first, at most 50.
    categories: Vec<FacetValue>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FacetValue {
    value: String,
    count: u64,
}

/// Search the published products
#[utoipa::path(get, path = "/api/v1/search", tag = "search", params(SearchQuery),
    responses((status = 200, body = SearchPage), (status = 400, body = Problem), (status = 422, body = Problem),
        (status = 429, description = "`overloaded`: too many searches at once, try again", body = Problem),
        (status = 503, body = Problem)))]
async fn search(State(search): State<Search>, Query(query): Query<SearchQuery>) -> Result<Json<SearchPage>> {
    if !search.feed.is_caught_up() {
        return Err(Problem::unavailable(
            "index-rebuilding",
            "the index is being built from the product topic",
        ));
    }
    let request = query.into_request()?;
    let index = Arc::clone(&search.index);
    let found = search.admission.run(move || index.search(&request)).await.map_err(not_run)?;
    Ok(Json(found.map_err(refusal)?.into()))
}

fn not_run(error: NotRun) -> Problem {
    match error {
        NotRun::Overloaded => {
            Problem::new(StatusCode::TOO_MANY_REQUESTS, "overloaded", "Too many requests at once")
                .detail("more searches at once than can be answered soon")
                .retry_after(TRY_AGAIN)
        }
        NotRun::Panicked(_) => Problem::internal(error),
    }
}

fn refusal(error: SearchError) -> Problem {
    match error {
        SearchError::CurrencyNeeded(found) => Problem::validation(Vec::new()).field(
            "currency",
            "required",
            format!(
                "must be given to sort or filter by price: the products found are priced in {}",
                found.join(", ")
            ),
        ),
        SearchError::Index(error) => Problem::internal(error),
    }
}

impl SearchQuery {
    fn into_request(self) -> Result<index::Request> {
        let mut broken = Violations::default();
        if self.q.chars().count() > TEXT_CHARS {
            broken.rule("q", "max-length", format!("must have at most {TEXT_CHARS} characters"));
        } else if index::word_count(&self.q) > WORDS {
            broken.rule("q", "max-words", format!("must have at most {WORDS} words"));
        }
        if let Some(currency) = &self.currency
            && Currency::from_code(currency).is_none()
        {
            broken.rule("currency", "iso-4217", "must be an ISO 4217 code in use, such as KRW");
        }
        for (field, price) in [("min_price", self.min_price), ("max_price", self.max_price)] {
            if price.is_some_and(|price| price < 0) {
                broken.rule(field, "range", "must not be negative");
            }
        }
        if let (Some(min), Some(max)) = (self.min_price, self.max_price)
            && min > max
        {
            broken.rule("max_price", "range", "must not be below min_price");
        }
        let page = PageQuery { cursor: self.cursor, limit: self.limit };
        let after: Option<Cursor> = page.after()?;
        if let Some(after) = &after {
            if after.sort != self.sort {
                broken.rule("cursor", "sort", "belongs to a list with another sort");
            }
            if after.currency.is_some() && self.currency.is_some() && after.currency != self.currency {
                broken.rule("cursor", "currency", "belongs to a list in another currency");
            }
        }
        broken.finish()?;
        Ok(index::Request {
            text: self.q,
            filters: Filters {
                category: self.category,
                currency: self.currency,
                min_price: self.min_price,
                max_price: self.max_price,
                in_stock_only: self.in_stock,
            },
            sort: self.sort,
            after,
            limit: page.limit()? as usize,
        })
    }
}

/// An order, a currency and whole numbers. Any of them is a valid place, even if no hit is there.
impl Place for Cursor {
    type Written = Self;

    fn write(&self) -> Self {
        self.clone()
    }

    fn read(written: Self) -> Option<Self> {
        Some(written)
    }
}

impl From<Found> for SearchPage {
    fn from(found: Found) -> Self {
        Self {
            data: found.hits.into_iter().map(Hit::from).collect(),
            has_more: found.next.is_some(),
            next_cursor: found.next.as_ref().map(encode_cursor),
            facets: Facets {
                categories: found
                    .categories
                    .into_iter()
                    .map(|(value, count)| FacetValue { value, count })
                    .collect(),
            },
        }
    }
}

impl From<index::Hit> for Hit {
    fn from(hit: index::Hit) -> Self {
        Self {
            product_id: hit.product_id,
            title: hit.title,
            title_highlighted: hit.title_highlighted,
            snippet: hit.snippet,
            price_from: hit.price_from,
            currency: hit.currency,
            in_stock: hit.in_stock,
            categories: hit.categories,
        }
    }
}
