//! The schema of the index, and the document that a product becomes.

use tantivy::TantivyDocument;
use tantivy::schema::{
    FAST, Field, INDEXED, IndexRecordOption, STORED, STRING, Schema, TextFieldIndexing, TextOptions,
};
use uuid::Uuid;

use super::{category, sku};
use crate::product::ProductSnapshot;

/// The name under which the index knows [`super::tokenizer::SegmentTokenizer`].
pub(super) const TOKENIZER: &str = "segments";
/// The same for text that can also be found by its initial consonants.
pub(super) const TOKENIZER_OF_NAMES: &str = "segments-and-initials";
pub(super) const CATEGORY_AS_WRITTEN: &str = "category_as_written";
pub(super) const CURRENCY: &str = "currency";
pub(super) const PRICE_FROM: &str = "price_from";
pub(super) const CREATED_MS: &str = "created_ms";
pub(super) const TIE_BREAK: &str = "tie_break";

#[derive(Clone)]
pub(super) struct Fields {
    pub schema: Schema,
    pub product_id: Field,
    pub title: Field,
    pub description: Field,
    /// Tags and categories, searched as text.
    pub keywords: Field,
    pub sku: Field,
    /// Keys of categories, for the filter.
    pub category: Field,
    /// Categories as written, for the facet and for people ([`category`]).
    pub category_as_written: Field,
    pub currency: Field,
    /// The price of every variant, for the range filter.
    pub price: Field,
    pub price_from: Field,
    pub in_stock: Field,
    pub created_ms: Field,
    /// Makes every sort order total: the random half of the product id.
    pub tie_break: Field,
}

impl Fields {
    pub(super) fn new() -> Self {
        let text = |tokenizer| {
            TextOptions::default().set_indexing_options(
                TextFieldIndexing::default()
                    .set_tokenizer(tokenizer)
                    .set_index_option(IndexRecordOption::WithFreqsAndPositions),
            )
        };
        let mut schema = Schema::builder();
        Self {
            product_id: schema.add_text_field("product_id", STRING | STORED),
            title: schema.add_text_field("title", text(TOKENIZER_OF_NAMES) | STORED),
            description: schema.add_text_field("description", text(TOKENIZER) | STORED),
            keywords: schema.add_text_field("keywords", text(TOKENIZER_OF_NAMES)),
            sku: schema.add_text_field("sku", STRING),
            category: schema.add_text_field("category", STRING),
            category_as_written: schema.add_text_field(CATEGORY_AS_WRITTEN, FAST | STORED),
            currency: schema.add_text_field(CURRENCY, STRING | STORED | FAST),
            price: schema.add_i64_field("price", FAST),
            price_from: schema.add_i64_field(PRICE_FROM, FAST | STORED),
            in_stock: schema.add_bool_field("in_stock", INDEXED | STORED),
            created_ms: schema.add_u64_field(CREATED_MS, FAST),
            tie_break: schema.add_u64_field(TIE_BREAK, FAST),
            schema: schema.build(),
        }
    }

    pub(super) fn document(&self, product: &ProductSnapshot) -> TantivyDocument {
        let mut document = TantivyDocument::new();
        document.add_text(self.product_id, product.product_id.to_string());
        document.add_text(self.title, &product.title);
        document.add_text(self.description, &product.description);
        for keyword in product.tags.iter().chain(&product.categories) {
            document.add_text(self.keywords, keyword);
        }
        for (key, as_written) in category::distinct(&product.categories) {
            document.add_text(self.category, key);
            document.add_text(self.category_as_written, as_written);
        }
        document.add_text(self.currency, &product.currency);
        for variant in &product.variants {
            document.add_i64(self.price, variant.price);
            for term in sku::terms(&variant.sku) {
                document.add_text(self.sku, term);
            }
        }
        document.add_i64(self.price_from, product.price_from());
        document.add_bool(self.in_stock, product.in_stock());
        document.add_u64(self.created_ms, product.created_ms());
        document.add_u64(self.tie_break, tie_break(product.product_id));
        document
    }
}

fn tie_break(product_id: Uuid) -> u64 {
    product_id.as_u64_pair().1
}
