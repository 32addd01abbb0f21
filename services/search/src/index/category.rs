//! Categories in the index: one for all its spellings.
//!
//! The filter compares keys ([`label::key`]). The facet counts the key together with the category as its
//! seller wrote it. So spellings are counted together and the most common one is shown.

use std::collections::{BTreeMap, HashMap};

use rocketmart_kit::label;
use unicode_normalization::UnicodeNormalization;

/// Separates the key from the spelling; no key contains it.
const SEPARATOR: char = '\u{1f}';

/// The distinct categories of one product: the key, and what the facet counts.
pub(super) fn distinct<'a>(
    categories: impl IntoIterator<Item = &'a String>,
) -> impl Iterator<Item = (String, String)> {
    let by_key: BTreeMap<String, &String> =
        categories.into_iter().map(|category| (label::key(category), category)).collect();
    by_key.into_iter().map(|(key, category)| {
        let as_written = format!("{key}{SEPARATOR}{}", category.nfc());
        (key, as_written)
    })
}

/// The category as written, from what the facet counts.
pub(super) fn name(counted: &str) -> &str {
    counted.split_once(SEPARATOR).map_or(counted, |(_, name)| name)
}

/// How many products each category has, from the counts of its spellings: largest first, no more than `most`.
pub(super) fn merged(spellings: impl Iterator<Item = (String, u64)>, most: usize) -> Vec<(String, u64)> {
    struct Category {
        name: String,
        of_name: u64,
        all: u64,
    }
    let mut categories: HashMap<String, Category> = HashMap::new();
    for (counted, count) in spellings {
        let (key, name) = counted.split_once(SEPARATOR).unwrap_or((&counted, &counted));
        let category = categories.entry(key.to_owned()).or_insert_with(|| Category {
            name: name.to_owned(),
            of_name: count,
            all: 0,
        });
        category.all += count;
        // If two are equally common, the first by name.
        if (count, category.name.as_str()) > (category.of_name, name) {
            name.clone_into(&mut category.name);
            category.of_name = count;
        }
    }
    let mut counts: Vec<_> = categories.into_values().map(|category| (category.name, category.all)).collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    counts.truncate(most);
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_are_counted_together_under_the_most_usual_one_f2() {
        let counted = |name: &str| format!("{}{SEPARATOR}{name}", label::key(name));
        let spellings =
            [(counted("audio"), 2), (counted("Audio"), 3), (counted("Lamps"), 4), (counted("Zoo"), 1)];
        assert_eq!(
            merged(spellings.clone().into_iter(), 2),
            [("Audio".to_owned(), 5), ("Lamps".to_owned(), 4)]
        );
        assert_eq!(merged(spellings.into_iter().rev(), 1), [("Audio".to_owned(), 5)]);
        assert_eq!(name(&counted("Audio")), "Audio");
    }

    #[test]
    fn a_product_is_in_a_category_once() {
        let categories = ["카페".to_owned(), "\u{110f}\u{1161}\u{1111}\u{1166}".to_owned(), "Tea".to_owned()];
        let keys: Vec<_> = distinct(&categories).map(|(key, _)| key).collect();
        assert_eq!(keys, ["tea", "카페"]);
    }
}
