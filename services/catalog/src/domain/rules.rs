//! What content must look like. Every broken rule is reported, each with its field and its name;
//! texts come out trimmed.

use std::collections::HashSet;

use rocketmart_kit::problem::FieldError;
use url::Url;

use super::product::{Content, Variant};

const TITLE_CHARS: usize = 200;
const DESCRIPTION_CHARS: usize = 10_000;
const CATEGORIES: usize = 8;
const TAGS: usize = 20;
const LABEL_CHARS: usize = 64;
const PICTURES: usize = 12;
const PICTURE_BYTES: usize = 2_048;
const VARIANTS: usize = 100;
const OPTIONS: usize = 10;
const SKU_BYTES: usize = 64;
/// Minor units. Times the largest quantity of an order it stays far below 2^53, where JSON readers
/// that count in floating point begin to lose units.
pub const MAX_PRICE: i64 = 1_000_000_000_000;
pub const MAX_QUANTITY: i64 = 1_000_000_000;

impl Content {
    /// The content with its texts trimmed, or every rule it breaks.
    pub fn validated(mut self) -> Result<Self, Vec<FieldError>> {
        self.trim();
        let mut broken = Broken::default();
        broken.text("title", &self.title, 1, TITLE_CHARS, Lines::One);
        broken.text("description", &self.description, 0, DESCRIPTION_CHARS, Lines::Many);
        if self.currency.len() != 3 || !self.currency.bytes().all(|b| b.is_ascii_uppercase()) {
            broken.rule(
                "currency",
                "iso4217",
                "must be an ISO 4217 code of three capital letters, such as KRW",
            );
        }
        broken.labels("categories", &self.categories, CATEGORIES);
        broken.labels("tags", &self.tags, TAGS);
        broken.pictures(&self.pictures);
        broken.variants(&self.variants);
        if broken.0.is_empty() { Ok(self) } else { Err(broken.0) }
    }

    fn trim(&mut self) {
        let texts = [&mut self.title, &mut self.description]
            .into_iter()
            .chain(&mut self.categories)
            .chain(&mut self.tags)
            .chain(&mut self.pictures);
        for text in texts {
            let trimmed = text.trim();
            if trimmed.len() != text.len() {
                *text = trimmed.to_owned();
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Lines {
    One,
    Many,
}

#[derive(Default)]
struct Broken(Vec<FieldError>);

impl Broken {
    fn rule(&mut self, field: impl Into<String>, rule: &str, detail: impl Into<String>) {
        self.0.push(FieldError::new(field, rule, detail));
    }

    fn text(&mut self, field: &str, text: &str, min: usize, max: usize, lines: Lines) {
        let chars = text.chars().count();
        if chars < min {
            self.rule(field, "min_length", format!("must have at least {min} character"));
        }
        if chars > max {
            self.rule(field, "max_length", format!("must have at most {max} characters, has {chars}"));
        }
        let is_allowed =
            |c: char| !c.is_control() || (lines == Lines::Many && matches!(c, '\n' | '\r' | '\t'));
        if !text.chars().all(is_allowed) {
            self.rule(field, "no_control_characters", "must not contain control characters");
        }
    }

    fn count(&mut self, field: &str, count: usize, min: usize, max: usize) {
        if count < min {
            self.rule(field, "min_items", format!("must have at least {min}"));
        }
        if count > max {
            self.rule(field, "max_items", format!("must have at most {max}, has {count}"));
        }
    }

    fn labels(&mut self, field: &str, labels: &[String], max: usize) {
        self.count(field, labels.len(), 0, max);
        let mut seen = HashSet::new();
        for (i, label) in labels.iter().enumerate() {
            let field = format!("{field}[{i}]");
            self.text(&field, label, 1, LABEL_CHARS, Lines::One);
            if !seen.insert(label) {
                self.rule(field, "unique", format!("{label:?} is listed twice"));
            }
        }
    }

    fn pictures(&mut self, pictures: &[String]) {
        self.count("pictures", pictures.len(), 0, PICTURES);
        for (i, picture) in pictures.iter().enumerate() {
            let field = format!("pictures[{i}]");
            if picture.len() > PICTURE_BYTES {
                self.rule(field, "max_length", format!("must have at most {PICTURE_BYTES} bytes"));
            } else if let Err(detail) = check_picture(picture) {
                self.rule(field, "url", detail);
            }
        }
    }

    fn variants(&mut self, variants: &[Variant]) {
        self.count("variants", variants.len(), 1, VARIANTS);
        let mut seen = HashSet::new();
        for (i, variant) in variants.iter().enumerate() {
            let at = |field: &str| format!("variants[{i}].{field}");
            if !is_sku(&variant.sku) {
                self.rule(
                    at("sku"),
                    "pattern",
                    "must be 1 to 64 letters, digits, '.', '_' or '-', starting with a letter or digit",
                );
            } else if !seen.insert(&variant.sku) {
                self.rule(
                    at("sku"),
                    "unique",
                    format!("{} is used by another variant of this product", variant.sku),
                );
            }
            if !(0..=MAX_PRICE).contains(&variant.price) {
                self.rule(at("price"), "range", format!("must be between 0 and {MAX_PRICE} minor units"));
            }
            if !(0..=MAX_QUANTITY).contains(&variant.quantity) {
                self.rule(at("quantity"), "range", format!("must be between 0 and {MAX_QUANTITY}"));
            }
            self.count(&at("options"), variant.options.len(), 0, OPTIONS);
            for (name, value) in &variant.options {
                let field = at(&format!("options.{name}"));
                self.text(&field, name, 1, LABEL_CHARS, Lines::One);
                self.text(&field, value, 1, LABEL_CHARS, Lines::One);
            }
        }
    }
}

/// A SKU travels in Redis keys and query strings, hence the narrow alphabet.
fn is_sku(sku: &str) -> bool {
    sku.len() <= SKU_BYTES
        && sku.starts_with(|c: char| c.is_ascii_alphanumeric())
        && sku.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

fn check_picture(picture: &str) -> Result<(), &'static str> {
    let url = Url::parse(picture).map_err(|_| "must be an absolute http or https address")?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("must be an http or https address");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not contain a user name or password");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

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
        Variant { sku: sku.into(), price: 100, quantity: 1, options: BTreeMap::new() }
    }

    fn broken(change: impl FnOnce(&mut Content)) -> Vec<(String, String)> {
        let mut content = content();
        change(&mut content);
        content.validated().unwrap_err().into_iter().map(|error| (error.field, error.rule)).collect()
    }

    #[test]
    fn good_content_comes_out_trimmed() {
        assert_eq!(content().validated().unwrap().title, "Mug");
    }

    #[test]
    fn each_rule_names_its_field() {
        type Change = fn(&mut Content);
        let table: [(Change, &str, &str); 18] = [
            (|c| c.title = "  ".into(), "title", "min_length"),
            (|c| c.title = "x".repeat(201), "title", "max_length"),
            (|c| c.title = "a\0b".into(), "title", "no_control_characters"),
            (|c| c.description = "x".repeat(10_001), "description", "max_length"),
            (|c| c.currency = "krw".into(), "currency", "iso4217"),
            (|c| c.categories = vec!["a".into(); 2], "categories[1]", "unique"),
            (|c| c.tags = (0..21).map(|n| n.to_string()).collect(), "tags", "max_items"),
            (|c| c.tags = vec![String::new()], "tags[0]", "min_length"),
            (|c| c.pictures = vec!["mug.png".into()], "pictures[0]", "url"),
            (|c| c.pictures = vec!["file:///etc/passwd".into()], "pictures[0]", "url"),
            (|c| c.pictures = vec!["https://me:secret@img.example/".into()], "pictures[0]", "url"),
            (|c| c.variants.clear(), "variants", "min_items"),
            (|c| c.variants = vec![variant("A"), variant("A")], "variants[1].sku", "unique"),
            (|c| c.variants[0].sku = "a|b".into(), "variants[0].sku", "pattern"),
            (|c| c.variants[0].price = -1, "variants[0].price", "range"),
            (|c| c.variants[0].price = i64::MAX, "variants[0].price", "range"),
            (|c| c.variants[0].quantity = -1, "variants[0].quantity", "range"),
            (
                |c| drop(c.variants[0].options.insert("size".into(), String::new())),
                "variants[0].options.size",
                "min_length",
            ),
        ];
        for (change, field, rule) in table {
            assert_eq!(broken(change), [(field.to_owned(), rule.to_owned())]);
        }
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
