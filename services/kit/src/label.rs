//! Labels that people put on things (categories, tags), and which of them are the same.
//!
//! `카페` is one category, however its keyboard composed it, and so are `Audio`, `audio` and `ＡＵＤＩＯ`. We keep
//! and show a label as it was written (see [`crate::text`]), and compare it by its [`key`].

use icu_properties::CodePointSetData;
use icu_properties::props::DefaultIgnorableCodePoint;
use unicase::UniCase;
use unicode_normalization::UnicodeNormalization as _;

/// The form in which two spellings of one label are equal: NFKC with full case folding,
/// without invisible characters, and with single spaces. No key holds a control character.
pub fn key(label: &str) -> String {
    let ignorable = CodePointSetData::new::<DefaultIgnorableCodePoint>();
    let spelled: String = label.nfkd().filter(|c| !ignorable.contains(*c)).collect();
    let folded: String = UniCase::unicode(spelled.as_str()).to_folded_case().nfkc().collect();
    let words = folded.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_that_read_alike_have_one_key_f2() {
        for (label, same) in [
            ("카페", "\u{110f}\u{1161}\u{1111}\u{1166}"),
            ("Audio", "ＡＵＤＩＯ"),
            ("Home  Office", " home\u{a0}office "),
            ("Straßenschuhe", "STRASSENSCHUHE"),
            ("Kopf\u{ad}hörer", "kopfho\u{308}rer"),
            ("ｶﾞﾗｽ", "ガラス"),
            ("ΟΔΟΣ", "οδος"),
            ("카\u{3164}페", "카페"),
        ] {
            assert_eq!(key(label), key(same), "{label:?} and {same:?}");
            assert_eq!(key(&key(label)), key(label));
        }
    }

    #[test]
    fn other_labels_have_other_keys() {
        for (label, other) in [("Pâté", "Pate"), ("카페", "커피"), ("home office", "homeoffice")] {
            assert_ne!(key(label), key(other), "{label:?} and {other:?}");
        }
        assert_eq!(key("a\u{1f}b"), "a b");
    }
}
