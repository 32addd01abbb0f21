//! What content must look like. We report every broken rule with its field and its name. Texts come out as we
//! keep them: trimmed and composed.

use std::collections::{BTreeMap, HashSet};

use rocketmart_contracts::currency::Currency;
use rocketmart_kit::label;
use rocketmart_kit::text::Text;
use rocketmart_kit::validation::Violations;

use super::picture;
use super::product::{Content, Edit, Variant};

const TITLE: Text = Text::line(200);
const DESCRIPTION: Text = Text::lines(10_000).or_empty();
const LABEL: Text = Text::line(64);
const CATEGORIES: usize = 8;
const TAGS: usize = 20;
const PICTURES: usize = 12;
const VARIANTS: usize = 100;
const OPTIONS: usize = 10;
const SKU_BYTES: usize = 64;
/// Minor units. Multiplied by the largest quantity of an order it stays far below 2^53, where JSON readers
/// that count in floating point begin to lose units.
pub const MAX_PRICE: i64 = 1_000_000_000_000;
pub const MAX_QUANTITY: i64 = 1_000_000_000;

impl Content {
    /// The content as we keep it, or every rule that it breaks.
    pub fn validated(self) -> Result<Self, Violations> {
        let mut broken = Violations::default();
        let content = Self {
            title: broken.text("title", TITLE, &self.title),
            description: broken.text("description", DESCRIPTION, &self.description),
            categories: labels(&mut broken, "categories", &self.categories, CATEGORIES),
            tags: labels(&mut broken, "tags", &self.tags, TAGS),
            pictures: pictures(&mut broken, self.pictures),
            currency: self.currency,
            variants: self.variants,
        };
        if Currency::from_code(&content.currency).is_none() {
            broken.rule(
                "currency",
                "iso-4217",
                "must be the ISO 4217 code of a currency in use, such as KRW",
            );
        }
        let variants = variants(&mut broken, content.variants);
        if broken.is_empty() { Ok(Self { variants, ..content }) } else { Err(broken) }
    }
}

impl Edit {
    /// Prices are amounts of a currency. If the currency changes, all of them have to be given again.
    pub(super) fn check_prices(&self, before: &Content) -> Result<(), Violations> {
        let mut broken = Violations::default();
        if let Some(currency) = self.currency.as_ref().filter(|currency| **currency != before.currency)
            && self.variants.is_none()
        {
            let detail = format!(
                "the prices are amounts in {}: give `variants` with their prices in {currency} in the same request",
                before.currency
            );
            broken.rule("currency", "prices-anew", detail);
        }
        if broken.is_empty() { Ok(()) } else { Err(broken) }
    }
}

/// Categories or tags, each only once: two that read alike are the same ([`label::key`]).
fn labels(broken: &mut Violations, field: &str, written: &[String], most: usize) -> Vec<String> {
    if !broken.count(field, written.len(), 0..=most) {
        return Vec::new();
    }
    let mut seen = HashSet::new();
    let mut kept = Vec::with_capacity(written.len());
    for (i, label) in written.iter().enumerate() {
        let field = format!("{field}[{i}]");
        let label = broken.text(&field, LABEL, label);
        if !label.is_empty() && !seen.insert(label::key(&label)) {
            broken.rule(field, "unique", format!("{label:?} is listed twice"));
        }
        kept.push(label);
    }
    kept
}

fn pictures(broken: &mut Violations, written: Vec<String>) -> Vec<String> {
    if !broken.count("pictures", written.len(), 0..=PICTURES) {
        return Vec::new();
    }
    let mut kept = Vec::with_capacity(written.len());
    for (i, address) in written.into_iter().enumerate() {
        let address = address.trim().to_owned();
        if let Err(error) = picture::check(&format!("pictures[{i}]"), &address) {
            broken.add(error);
        }
        kept.push(address);
    }
    kept
}

fn variants(broken: &mut Violations, written: Vec<Variant>) -> Vec<Variant> {
    if !broken.count("variants", written.len(), 1..=VARIANTS) {
        return Vec::new();
    }
    let mut seen = HashSet::new();
    let mut kept = Vec::with_capacity(written.len());
    for (i, variant) in written.into_iter().enumerate() {
        let at = |field: &str| format!("variants[{i}].{field}");
        if !is_sku(&variant.sku) {
            broken.rule(
                at("sku"),
                "pattern",
                "must be 1 to 64 letters, digits, '.', '_' or '-', starting with a letter or digit",
            );
        } else if !seen.insert(variant.sku.clone()) {
            broken.rule(
                at("sku"),
                "unique",
                format!("{} is used by another variant of this product", variant.sku),
            );
        }
        if !(0..=MAX_PRICE).contains(&variant.price) {
            broken.rule(at("price"), "range", format!("must be between 0 and {MAX_PRICE} minor units"));
        }
        if !(0..=MAX_QUANTITY).contains(&variant.quantity) {
            broken.rule(at("quantity"), "range", format!("must be between 0 and {MAX_QUANTITY}"));
        }
        let options = options(broken, &at("options"), &variant.options);
        kept.push(Variant { options, ..variant });
    }
    kept
}

fn options(
    broken: &mut Violations,
    field: &str,
    written: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    if !broken.count(field, written.len(), 0..=OPTIONS) {
        return BTreeMap::new();
    }
    let mut kept = BTreeMap::new();
    for (name, value) in written {
        let field = format!("{field}.{name}");
        let name = broken.text(&field, LABEL, name);
        let value = broken.text(&field, LABEL, value);
        if !name.is_empty() && kept.insert(name, value).is_some() {
            broken.rule(field, "unique", "is named twice");
        }
    }
    kept
}

/// A SKU travels in Redis keys and query strings, hence the narrow alphabet.
fn is_sku(sku: &str) -> bool {
    sku.len() <= SKU_BYTES
        && sku.starts_with(|c: char| c.is_ascii_alphanumeric())
        && sku.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content() -> Content {
        Content {
            title: " Mug ".into(),
            description: "Two\nlines".into(),
            currency: "KRW".into(),
            categories: vec!["주방".into()],
            tags: vec!["blue".into()],
            pictures: vec!["https://img.example/mug.png".into()],
            variants: vec![variant("MUG-1")],
        }
    }

    fn variant(sku: &str) -> Variant {
        Variant { sku: sku.into(), price: 100, quantity: 1, ..Variant::default() }
    }

    fn broken(change: impl FnOnce(&mut Content)) -> Vec<(String, String)> {
        let mut content = content();
        change(&mut content);
        let problem = content.validated().unwrap_err().finish().unwrap_err();
        problem.errors.into_iter().map(|error| (error.field, error.rule)).collect()
    }

    #[test]
    fn good_content_comes_out_trimmed() {
        assert_eq!(content().validated().unwrap().title, "Mug");
    }

    #[test]
    fn each_rule_names_its_field() {
        type Change = fn(&mut Content);
        let table: [(Change, &str, &str); 27] = [
            (|c| c.title = "  ".into(), "title", "min-length"),
            (|c| c.title = "x".repeat(201), "title", "max-length"),
            (|c| c.title = "a\0b".into(), "title", "no-control-characters"),
            (|c| c.description = "x".repeat(10_001), "description", "max-length"),
            (|c| c.title = "\u{3164}".into(), "title", "visible"),
            (|c| c.title = "a\u{202e}b".into(), "title", "no-bidi-controls"),
            (|c| c.currency = "krw".into(), "currency", "iso-4217"),
            (|c| c.currency = "KWR".into(), "currency", "iso-4217"),
            (|c| c.currency = "XXX".into(), "currency", "iso-4217"),
            (|c| c.currency = "XTS".into(), "currency", "iso-4217"),
            (|c| c.categories = vec!["a".into(); 2], "categories[1]", "unique"),
            (
                |c| c.categories = vec!["카페".into(), "\u{110f}\u{1161}\u{1111}\u{1166}".into()],
                "categories[1]",
                "unique",
            ),
            (|c| c.tags = vec!["Blue".into(), "ＢＬＵＥ".into()], "tags[1]", "unique"),
            (|c| c.tags = (0..21).map(|n| n.to_string()).collect(), "tags", "max-items"),
            (|c| c.tags = vec![String::new()], "tags[0]", "min-length"),
            (|c| c.pictures = vec!["mug.png".into()], "pictures[0]", "url"),
            (|c| c.pictures = vec!["file:///etc/passwd".into()], "pictures[0]", "url"),
            (|c| c.pictures = vec!["https://a/%00".into()], "pictures[0]", "no-control-characters"),
            (|c| c.pictures = vec!["https://me:secret@img.example/".into()], "pictures[0]", "url"),
            (|c| c.variants.clear(), "variants", "min-items"),
            (|c| c.variants = vec![variant("A"), variant("A")], "variants[1].sku", "unique"),
            (|c| c.variants[0].sku = "a|b".into(), "variants[0].sku", "pattern"),
            (|c| c.variants[0].price = -1, "variants[0].price", "range"),
            (|c| c.variants[0].price = i64::MAX, "variants[0].price", "range"),
            (|c| c.variants[0].quantity = -1, "variants[0].quantity", "range"),
            (
                |c| drop(c.variants[0].options.insert("size".into(), String::new())),
                "variants[0].options.size",
                "min-length",
            ),
            (
                |c| {
                    c.variants[0].options =
                        [("size".into(), "1".into()), ("size ".into(), "2".into())].into();
                },
                "variants[0].options.size ",
                "unique",
            ),
        ];
        for (change, field, rule) in table {
            assert_eq!(broken(change), [(field.to_owned(), rule.to_owned())]);
        }
    }

    #[test]
    fn labels_are_kept_composed_f2() {
        let mut content = content();
        content.categories = vec![" \u{110f}\u{1161}\u{1111}\u{1166} ".into()];
        assert_eq!(content.validated().unwrap().categories, ["카페"]);
    }

    #[test]
    fn a_list_that_is_too_long_breaks_one_rule_whatever_is_in_it_h1() {
        let broken = broken(|content| {
            content.tags = vec![String::new(); 10_000];
            content.variants = vec![Variant { sku: String::new(), ..variant("MUG-1") }; 10_000];
        });
        assert_eq!(broken.len(), 2, "{broken:?}");
    }

    #[test]
    fn all_broken_rules_are_reported_together() {
        let broken = broken(|content| {
            content.title = String::new();
            content.variants[0].price = -1;
        });
        assert_eq!(broken.len(), 2);
    }
}
