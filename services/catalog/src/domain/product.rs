//! The life of a product: it is created as a draft, edited, published, withdrawn, and published again.
//!
//! Each step takes the product as it is and returns it as it will be, one version later. A step that would
//! change nothing returns the same version. Whoever stores the result does so only if the version before is
//! still the stored one. There is no other locking.

use std::collections::{BTreeMap, HashMap};

pub use rocketmart_contracts::event::ProductState as State;
use rocketmart_kit::list;
use rocketmart_kit::validation::Violations;
use serde::{Deserialize, Deserializer, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

/// One thing to buy: a choice of options, with its own price and quantity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// On one published product of the whole shop: 1–64 letters, digits, `.`, `_`, `-`, starting with a letter or
    /// digit. A draft may name any.
    #[schema(
        example = "MUG-BLUE-300",
        min_length = 1,
        max_length = 64,
        pattern = "^[A-Za-z0-9][A-Za-z0-9._-]*$"
    )]
    pub sku: String,
    /// Minor units of the product's currency.
    #[schema(example = 12_900, minimum = 0, maximum = 1_000_000_000_000_i64)]
    pub price: i64,
    /// Units the seller has on hand: those that nobody has paid for.
    #[schema(example = 50, minimum = 0, maximum = 1_000_000_000)]
    pub quantity: i64,
    /// What distinguishes it from its siblings, such as `{"colour": "blue"}`.
    #[serde(default, deserialize_with = "list::entries_at_most::<10, _, _>")]
    pub options: BTreeMap<String, String>,
    /// Units that can be had now as ordinary stock, a few seconds old: neither held by a buyer nor promised to a
    /// flash sale. Missing while nobody has told.
    #[serde(default, deserialize_with = "only_told", skip_serializing_if = "Option::is_none")]
    #[schema(read_only, nullable = false, minimum = 0, maximum = 1_000_000_000)]
    pub available: Option<i64>,
    /// Which publication took the SKU for this product: of two products that had it, the later has the greater
    /// number. The store gives it; `None` while the SKU is not held.
    #[serde(skip)]
    pub claim: Option<i64>,
    /// The version in which `quantity` was counted last. `None`: by a version of the catalog that did not note it.
    #[serde(skip)]
    pub counted_in: Option<i64>,
}

/// What a seller says about a product.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Content {
    #[schema(example = "Blue mug", min_length = 1, max_length = 200)]
    pub title: String,
    #[schema(max_length = 10_000)]
    pub description: String,
    /// ISO 4217, of a currency in use.
    #[schema(example = "KRW", pattern = "^[A-Z]{3}$")]
    pub currency: String,
    #[serde(default, deserialize_with = "list::at_most::<8, _, _>")]
    #[schema(max_items = 8)]
    pub categories: Vec<String>,
    #[serde(default, deserialize_with = "list::at_most::<20, _, _>")]
    #[schema(max_items = 20)]
    pub tags: Vec<String>,
    /// Addresses of pictures (`http` or `https`); never fetched by the shop.
    #[serde(default, deserialize_with = "list::at_most::<12, _, _>")]
    #[schema(max_items = 12)]
    pub pictures: Vec<String>,
    #[serde(deserialize_with = "list::at_most::<100, _, _>")]
    #[schema(min_items = 1, max_items = 100)]
    pub variants: Vec<Variant>,
}

/// A change of content: what is left out stays, a list replaces the list before.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Edit {
    #[serde(default, deserialize_with = "present")]
    #[schema(nullable = false, min_length = 1, max_length = 200)]
    pub title: Option<String>,
    #[serde(default, deserialize_with = "present")]
    #[schema(nullable = false, max_length = 10_000)]
    pub description: Option<String>,
    /// Another currency needs `variants` in the same request: prices are amounts of it.
    #[serde(default, deserialize_with = "present")]
    #[schema(nullable = false, pattern = "^[A-Z]{3}$")]
    pub currency: Option<String>,
    #[serde(default, deserialize_with = "list::given_at_most::<8, _, _>")]
    #[schema(nullable = false, max_items = 8)]
    pub categories: Option<Vec<String>>,
    #[serde(default, deserialize_with = "list::given_at_most::<20, _, _>")]
    #[schema(nullable = false, max_items = 20)]
    pub tags: Option<Vec<String>>,
    #[serde(default, deserialize_with = "list::given_at_most::<12, _, _>")]
    #[schema(nullable = false, max_items = 12)]
    pub pictures: Option<Vec<String>>,
    #[serde(default, deserialize_with = "list::given_at_most::<100, _, _>")]
    #[schema(nullable = false, min_items = 1, max_items = 100)]
    pub variants: Option<Vec<VariantEdit>>,
}

/// A variant as it is to be. Whoever names a quantity has counted; without one the stock stays as it is.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VariantEdit {
    #[schema(
        example = "MUG-BLUE-300",
        min_length = 1,
        max_length = 64,
        pattern = "^[A-Za-z0-9][A-Za-z0-9._-]*$"
    )]
    pub sku: String,
    /// Minor units of the product's currency.
    #[schema(example = 12_900, minimum = 0, maximum = 1_000_000_000_000_i64)]
    pub price: i64,
    /// Units on hand as counted now: those that nobody has paid for. May be left out for a SKU that the product
    /// has already.
    #[serde(default, deserialize_with = "present")]
    #[schema(nullable = false, example = 50, minimum = 0, maximum = 1_000_000_000)]
    pub quantity: Option<i64>,
    #[serde(default, deserialize_with = "list::entries_at_most::<10, _, _>")]
    pub options: BTreeMap<String, String>,
}

/// A field of answers only.
fn only_told<'de, D: Deserializer<'de>>(_: D) -> Result<Option<i64>, D::Error> {
    Err(serde::de::Error::custom("is told by the shop and cannot be given"))
}

/// A field that you may leave out, but not set to `null`.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl Edit {
    /// The content as it will be at `version`, and the rules that only a change can break.
    fn onto(self, content: Content, version: i64) -> (Content, Violations) {
        let mut uncounted = Violations::default();
        let variants = match self.variants {
            None => content.variants,
            Some(edits) => {
                let known: HashMap<&str, &Variant> =
                    content.variants.iter().map(|variant| (variant.sku.as_str(), variant)).collect();
                let onto = |(i, edit): (usize, VariantEdit)| {
                    let before = known.get(edit.sku.as_str()).copied();
                    if edit.quantity.is_none() && before.is_none() {
                        uncounted.rule(
                            format!("variants[{i}].quantity"),
                            "required",
                            "must be given for a SKU that is new to the product",
                        );
                    }
                    edit.onto(before, version)
                };
                edits.into_iter().enumerate().map(onto).collect()
            }
        };
        let content = Content {
            title: self.title.unwrap_or(content.title),
            description: self.description.unwrap_or(content.description),
            currency: self.currency.unwrap_or(content.currency),
            categories: self.categories.unwrap_or(content.categories),
            tags: self.tags.unwrap_or(content.tags),
            pictures: self.pictures.unwrap_or(content.pictures),
            variants,
        };
        (content, uncounted)
    }
}

impl VariantEdit {
    fn onto(self, before: Option<&Variant>, version: i64) -> Variant {
        let (quantity, counted_in) = match self.quantity {
            Some(counted) => (counted, Some(version)),
            None => before.map_or((0, None), |before| (before.quantity, before.counted_in)),
        };
        Variant {
            sku: self.sku,
            price: self.price,
            quantity,
            options: self.options,
            available: None,
            claim: before.and_then(|before| before.claim),
            counted_in,
        }
    }
}

/// A product at one version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Product {
    pub id: Uuid,
    pub seller_id: Uuid,
    /// Counts the changes, from 1; also the `ETag`.
    pub version: i64,
    pub state: State,
    #[serde(flatten)]
    pub content: Content,
    /// Members who like it; not part of the version.
    pub likes: i64,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
}

/// You cannot withdraw a draft: nobody sees it yet.
#[derive(Debug, thiserror::Error)]
#[error("a draft cannot be withdrawn")]
pub struct NotPublished;

impl Product {
    /// A new draft. Its id is time-ordered, which lists rely on.
    pub fn draft(seller_id: Uuid, content: Content, now: OffsetDateTime) -> Result<Self, Violations> {
        Ok(Self::first(Uuid::now_v7(), seller_id, content.validated()?, now))
    }

    /// The first version. Everything that it names has been counted.
    pub(crate) fn first(id: Uuid, seller_id: Uuid, mut content: Content, now: OffsetDateTime) -> Self {
        for variant in &mut content.variants {
            variant.counted_in = Some(1);
        }
        Self {
            id,
            seller_id,
            version: 1,
            state: State::Draft,
            content,
            likes: 0,
            created_at: now,
            updated_at: now,
        }
    }

    /// A count is a change, even if it finds the same number as before.
    pub fn edit(self, edit: Edit, now: OffsetDateTime) -> Result<Self, Violations> {
        edit.check_prices(&self.content)?;
        let (content, uncounted) = edit.onto(self.content.clone(), self.version + 1);
        let content = content.validated()?;
        if !uncounted.is_empty() {
            return Err(uncounted);
        }
        Ok(if content == self.content { self } else { Self { content, ..self }.next_version(now) })
    }

    pub fn publish(self, now: OffsetDateTime) -> Self {
        match self.state {
            State::Published => self,
            State::Draft | State::Withdrawn => Self { state: State::Published, ..self }.next_version(now),
        }
    }

    pub fn withdraw(self, now: OffsetDateTime) -> Result<Self, NotPublished> {
        match self.state {
            State::Draft => Err(NotPublished),
            State::Withdrawn => Ok(self),
            State::Published => Ok(Self { state: State::Withdrawn, ..self }.next_version(now)),
        }
    }

    /// Its SKUs, in the order of its variants.
    pub fn skus(&self) -> impl Iterator<Item = &str> {
        self.content.variants.iter().map(|variant| variant.sku.as_str())
    }

    pub fn is_published(&self) -> bool {
        self.state == State::Published
    }

    pub(super) fn next_version(self, now: OffsetDateTime) -> Self {
        Self { version: self.version + 1, updated_at: now.max(self.updated_at), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::now;

    fn draft() -> Product {
        let content = Content {
            title: "Blue mug".into(),
            description: String::new(),
            currency: "KRW".into(),
            categories: Vec::new(),
            tags: Vec::new(),
            pictures: Vec::new(),
            variants: vec![Variant { sku: "MUG".into(), price: 1, ..Variant::default() }],
        };
        Product::draft(Uuid::nil(), content, now()).unwrap()
    }

    #[test]
    fn every_change_is_one_version_and_no_change_is_none() {
        let product = draft().publish(now());
        assert_eq!((product.version, product.state), (2, State::Published));
        assert_eq!(product.clone().publish(now()).version, 2);
        let edit = |title: &str| Edit { title: Some(title.into()), ..Edit::default() };
        assert_eq!(product.clone().edit(edit(" Blue mug "), now()).unwrap().version, 2);
        assert_eq!(product.clone().edit(edit("Red mug"), now()).unwrap().version, 3);
        let withdrawn = product.withdraw(now()).unwrap();
        assert_eq!((withdrawn.version, withdrawn.state), (3, State::Withdrawn));
        assert_eq!(withdrawn.clone().withdraw(now()).unwrap().version, 3);
        assert_eq!(withdrawn.publish(now()).state, State::Published);
    }

    #[test]
    fn another_currency_needs_other_prices_s9() {
        let product = draft().publish(now());
        let in_dollars = |variants: Option<serde_json::Value>| {
            let mut edit = serde_json::json!({ "currency": "USD" });
            if let Some(variants) = variants {
                edit["variants"] = variants;
            }
            product.clone().edit(serde_json::from_value(edit).unwrap(), now())
        };
        let refused = in_dollars(None).unwrap_err().finish().unwrap_err();
        assert_eq!(
            (refused.errors[0].field.as_str(), refused.errors[0].rule.as_str()),
            ("currency", "prices-anew")
        );
        let changed =
            in_dollars(Some(serde_json::json!([{ "sku": "MUG", "price": 2, "quantity": 0 }]))).unwrap();
        assert_eq!((changed.content.currency.as_str(), changed.content.variants[0].price), ("USD", 2));
        let same = Edit { currency: Some("KRW".into()), ..Edit::default() };
        assert_eq!(product.clone().edit(same, now()).unwrap().version, product.version);
    }

    #[test]
    fn a_draft_cannot_be_withdrawn() {
        assert!(draft().withdraw(now()).is_err());
    }

    fn edit(variants: &serde_json::Value) -> Edit {
        serde_json::from_value(serde_json::json!({ "variants": variants })).unwrap()
    }

    #[test]
    fn naming_a_quantity_is_a_count_even_of_the_same_number_s5() {
        let product = draft().publish(now());
        let counted =
            product.edit(edit(&serde_json::json!([{ "sku": "MUG", "price": 1, "quantity": 0 }])), now());
        let counted = counted.unwrap();
        assert_eq!((counted.version, counted.content.variants[0].counted_in), (3, Some(3)));
        let dearer = counted.edit(edit(&serde_json::json!([{ "sku": "MUG", "price": 2 }])), now()).unwrap();
        let mug = &dearer.content.variants[0];
        assert_eq!((dearer.version, mug.price, mug.quantity, mug.counted_in), (4, 2, 0, Some(3)));
    }

    #[test]
    fn a_sku_that_is_new_to_its_product_has_to_be_counted() {
        let broken =
            draft().edit(edit(&serde_json::json!([{ "sku": "CUP", "price": 1 }])), now()).unwrap_err();
        let broken = broken.finish().unwrap_err().errors;
        assert_eq!((broken[0].field.as_str(), broken[0].rule.as_str()), ("variants[0].quantity", "required"));
        assert!(
            serde_json::from_str::<Edit>(r#"{"variants": [{"sku": "A", "price": 1, "quantity": null}]}"#)
                .is_err()
        );
    }

    #[test]
    fn an_edit_refuses_null() {
        assert!(serde_json::from_str::<Edit>(r#"{"title": null}"#).is_err());
        assert!(serde_json::from_str::<Edit>(r#"{"titel": "x"}"#).is_err());
        assert!(serde_json::from_str::<Edit>("{}").unwrap().title.is_none());
    }
}
