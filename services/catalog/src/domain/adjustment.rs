//! Corrects the stock by a difference: what broke, was found, or came in, without counting everything.

use rocketmart_kit::problem::FieldError;
use rocketmart_kit::text::Text;
use rocketmart_kit::validation::Violations;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::product::Product;
use super::rules::MAX_QUANTITY;

const REASON: Text = Text::line(200);

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Adjustment {
    #[schema(
        example = "MUG-BLUE-300",
        min_length = 1,
        max_length = 64,
        pattern = "^[A-Za-z0-9][A-Za-z0-9._-]*$"
    )]
    pub sku: String,
    /// Units that have come in (positive) or gone (negative).
    #[schema(example = -3, minimum = -1_000_000_000, maximum = 1_000_000_000)]
    pub difference: i64,
    /// For the log alone.
    #[serde(default)]
    #[schema(max_length = 200)]
    pub reason: Option<String>,
}

impl Product {
    /// Corrects a quantity by the difference. This is not a count, so `counted_in` stays.
    pub fn adjust(self, adjustment: &Adjustment, now: OffsetDateTime) -> Result<Self, Violations> {
        let mut broken = Violations::default();
        broken.optional_text("reason", REASON, adjustment.reason.as_deref());
        if adjustment.difference == 0 {
            broken.rule("difference", "not-zero", "must not be 0");
        }
        let mut content = self.content.clone();
        match content.variants.iter_mut().find(|variant| variant.sku == adjustment.sku) {
            None => broken.rule("sku", "in-product", "must be a SKU of this product"),
            Some(variant) => {
                let quantity = variant.quantity.saturating_add(adjustment.difference);
                if (0..=MAX_QUANTITY).contains(&quantity) {
                    variant.quantity = quantity;
                } else {
                    broken.add(out_of_range(variant.quantity));
                }
            }
        }
        if broken.is_empty() { Ok(Self { content, ..self }.next_version(now)) } else { Err(broken) }
    }
}

fn out_of_range(quantity: i64) -> FieldError {
    let detail = format!("{quantity} were said last: with the difference it must be 0 to {MAX_QUANTITY}");
    FieldError::new("difference", "range", detail)
}
