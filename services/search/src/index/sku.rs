//! Products by their SKUs, for people who have one from a label, an invoice or a colleague.
//!
//! A SKU is found whole, in upper or lower case, and by its beginning up to one of its separators: `mug-blue`
//! finds `MUG-BLUE-300`. A first part alone is an ordinary word and finds no SKU.

const SEPARATORS: [char; 3] = ['-', '.', '_'];
/// The longest SKU, in bytes.
const LONGEST: usize = 64;

/// The terms that find a SKU.
pub(super) fn terms(sku: &str) -> Vec<String> {
    let sku = sku.to_ascii_lowercase();
    let parts = sku.match_indices(SEPARATORS).skip(1).map(|(at, _)| sku[..at].to_owned());
    parts.chain([sku.clone()]).collect()
}

/// The term in folded text that may be a SKU.
pub(super) fn typed(folded: &str) -> Option<String> {
    // Word processors like to turn hyphens into other dashes.
    let sku = folded.trim().replace(['\u{2010}', '\u{2011}', '\u{2012}', '\u{2013}', '\u{2212}'], "-");
    let sku = sku.trim_end_matches(SEPARATORS);
    let is_sku = (1..=LONGEST).contains(&sku.len())
        && sku.chars().all(|c| c.is_ascii_alphanumeric() || SEPARATORS.contains(&c));
    is_sku.then(|| sku.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::folding::fold;
    use super::*;

    #[test]
    fn a_sku_is_found_whole_and_up_to_its_separators_f3() {
        let terms = terms("MUG-BLUE.300");
        for query in
            ["MUG-BLUE.300", "mug-blue.300", " mug-blue ", "MUG-BLUE-", "ＭＵＧ－ＢＬＵＥ", "mug\u{2011}blue"]
        {
            assert!(typed(&fold(query)).is_some_and(|sku| terms.contains(&sku)), "{query}");
        }
        for query in ["mug", "mug-bl", "blue.300", "mug blue", "머그", ""] {
            assert!(!typed(&fold(query)).is_some_and(|sku| terms.contains(&sku)), "{query}");
        }
        assert_eq!(super::terms("12345"), ["12345"]);
    }
}
