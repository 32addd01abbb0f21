//! The one form in which we compare texts and queries.
//!
//! ```text
//!  Straße, ５㎏, ﬁlter, İstanbul ──▶ strasse, 5kg, filter, istanbul   (and where each letter stood)
//! ```
//!
//! Compatibility normalization (NFKC) and full case folding. It drops what nobody sees (soft hyphens,
//! joiners, variation selectors) and accents, points and vowel marks that readers leave out. Every letter of
//! the form knows which part of the text it came from, so that a match can be shown in the text as written.
//!
//! We fold the text in *clusters*, the shortest stretches that normalization never joins with their
//! neighbours: the three jamo of a syllable, a half-width kana with its voicing mark, a letter with its
//! accents.

use std::ops::Range;

use icu_properties::CodePointSetData;
use icu_properties::props::DefaultIgnorableCodePoint;
use unicase::UniCase;
use unicode_normalization::char::canonical_combining_class;
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use super::hangul;

/// A text in the form for comparing.
pub(super) struct Folded {
    pub text: String,
    /// Where in `text` the letters of each cluster begin, and where the cluster is in the text as written.
    origins: Vec<(usize, Range<usize>)>,
}

impl Folded {
    pub(super) fn of(written: &str) -> Self {
        let mut folded = Self { text: String::with_capacity(written.len()), origins: Vec::new() };
        for cluster in clusters(written) {
            let at = folded.text.len();
            fold_cluster(&written[cluster.clone()], &mut folded.text);
            if folded.text.len() > at {
                folded.origins.push((at, cluster));
            }
        }
        folded
    }

    /// The part of the written text that a part of the form came from.
    pub(super) fn origin(&self, folded: &Range<usize>) -> Range<usize> {
        let cluster_at = |at: usize| {
            let after = self.origins.partition_point(|(start, _)| *start <= at);
            self.origins.get(after.wrapping_sub(1)).map_or(0..0, |(_, cluster)| cluster.clone())
        };
        cluster_at(folded.start).start..cluster_at(folded.end.saturating_sub(1)).end
    }
}

/// A text in the form for comparing, without its origin.
pub(super) fn fold(written: &str) -> String {
    let mut folded = String::with_capacity(written.len());
    for cluster in clusters(written) {
        fold_cluster(&written[cluster], &mut folded);
    }
    folded
}

fn clusters(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut rest = text.char_indices().peekable();
    std::iter::from_fn(move || {
        let (start, _) = rest.next()?;
        while rest.next_if(|(_, c)| joins_what_is_before(*c)).is_some() {}
        let end = rest.peek().map_or(text.len(), |(at, _)| *at);
        Some(start..end)
    })
}

fn joins_what_is_before(c: char) -> bool {
    if c.is_ascii() || folds_to_itself(c) {
        return false;
    }
    if is_ignorable(c) {
        return true;
    }
    let first = std::iter::once(c).nfkd().next().unwrap_or(c);
    hangul::consonants_of_cluster(c).is_none()
        && (canonical_combining_class(first) != 0
            || is_nfc_quick(std::iter::once(first)) == IsNormalized::Maybe)
}

fn fold_cluster(cluster: &str, folded: &mut String) {
    let mut characters = cluster.chars();
    if let (Some(c), None) = (characters.next(), characters.next())
        && (c.is_ascii() || folds_to_itself(c))
    {
        folded.push(c.to_ascii_lowercase());
        return;
    }
    let mut spelled = String::with_capacity(cluster.len());
    for c in cluster.chars().filter(|c| !is_ignorable(*c)) {
        match c {
            // These are trademark signs, not letters of the name before them.
            '™' | '℠' => spelled.push(' '),
            // A fraction is a number on its own: 5½ is not 51 ⁄ 2.
            '¼'..='¾' | '⅐'..='⅟' | '↉' => spelled.extend([' ', c]),
            // Turkish has both; many people who search can type only one of them.
            'ı' => spelled.push('i'),
            _ => match hangul::consonants_of_cluster(c) {
                Some(two) => spelled.extend(two),
                None => spelled.push(c),
            },
        }
    }
    let spelled: String = spelled.nfkd().filter(|c| !is_ignorable(*c)).collect();
    let lower = UniCase::unicode(spelled.as_str()).to_folded_case();
    folded.extend(lower.nfd().filter(|c| !is_left_out(*c)).nfc());
}

/// Most text in Korea, China and Japan: nothing has to be looked up for it.
fn folds_to_itself(c: char) -> bool {
    matches!(c,
        '\u{3041}'..='\u{3096}'   // Hiragana
        | '\u{30a1}'..='\u{30fa}' // Katakana
        | '\u{3400}'..='\u{4dbf}' // Han extension A
        | '\u{4e00}'..='\u{9fff}' // Han
        | '\u{ac00}'..='\u{d7a3}' // Hangul syllables
    )
}

/// Invisible, according to Unicode's own list.
fn is_ignorable(c: char) -> bool {
    !c.is_ascii() && CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
}

/// Marks that readers do without: accents of Latin, Greek and Cyrillic, points and vowel marks of Hebrew and
/// Arabic, the Arabic stroke that only lengthens a word. Marks that make another letter stay (voicing, tones,
/// vowels of the scripts of India and Thailand).
fn is_left_out(c: char) -> bool {
    const STROKE: char = '\u{640}';
    c == STROKE
        || matches!(c, '\u{300}'..='\u{36f}')
        || matches!(canonical_combining_class(c), 10..=35 | 200..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_or_sounds_the_same_is_the_same_f1() {
        for (written, form) in [
            ("ＵＳＢ-Ｃ 케이블", "usb-c 케이블"),
            ("Straße", "strasse"),
            ("STRASSE", "strasse"),
            ("ẞ", "ss"),
            ("Kopf\u{ad}hörer", "kopfhorer"),
            ("5㎏", "5kg"),
            ("ﬁlter ﬃ ﬆ", "filter ffi st"),
            ("İstanbul IŞIK ışık", "istanbul isik isik"),
            ("ΟΔΟΣ οδός", "οδοσ οδοσ"),
            ("ᾳ", "αι"),
            ("ｶﾞﾗｽ ﾊﾟﾝ", "ガラス パン"),
            ("ﻛﺘﺎﺏ كِتَاب كتـاب", "كتاب كتاب كتاب"),
            ("שָׁלוֹם", "שלום"),
            ("½ 5½", " 1⁄2 5 1⁄2"),
            ("m² H₂O ①", "m2 h2o 1"),
            ("Nike™ Air", "nike  air"),
            ("𝐔𝐒𝐁 ⓤⓢⓑ Ⅳ", "usb usb iv"),
            ("cafe\u{301} CAFÉ", "cafe cafe"),
            ("cafe\u{200d}\u{301}", "cafe"),
            ("\u{1112}\u{1161}\u{11ab}", "한"),
            ("한\u{3164}글", "한글"),
            ("ﾡﾢ", "\u{1100}\u{1101}"),
            ("이어ㅍ", "이어\u{1111}"),
            ("ㄱㅏㄴㅏ", "가나"),
            ("ㄳ 어ㅄ", "\u{1100}\u{1109} 어\u{1107}\u{1109}"),
            ("❤\u{fe0f}", "❤"),
            ("สวัสดี", "สวัสดี"),
            ("हिन्दी", "हिन्दी"),
            ("が か\u{3099}", "が が"),
            ("", ""),
        ] {
            assert_eq!(fold(written), form, "{written:?}");
            assert_eq!(Folded::of(written).text, form, "{written:?}");
            assert_eq!(fold(&fold(written)), fold(written), "{written:?} folds once and for all");
        }
    }

    #[test]
    fn nothing_is_left_out_that_is_not_looked_up() {
        for c in ('\0'..='\u{10ffff}').filter(|c| folds_to_itself(*c)) {
            let same: String = std::iter::once(c).nfkc().collect();
            assert_eq!(UniCase::unicode(same).to_folded_case(), c.to_string());
            assert_eq!(is_nfc_quick(std::iter::once(c)), IsNormalized::Yes);
        }
    }

    #[test]
    fn both_normal_forms_of_a_text_fold_alike_f1() {
        for written in ["Crème brûlée", "무선이어폰", "ガラスのコップ", "Đường", "ᾧ ΐ", "Ǆ ŉ", "קּ שׁ", "が"]
        {
            let (composed, decomposed): (String, String) = (written.nfc().collect(), written.nfd().collect());
            assert_eq!(fold(&composed), fold(written), "{written}");
            assert_eq!(fold(&decomposed), fold(written), "{written}");
        }
    }

    #[test]
    fn each_letter_knows_where_it_stood() {
        let written = "Kopf\u{ad}hörer für 5㎏ \u{1112}\u{1161}\u{11ab}글";
        let folded = Folded::of(written);
        for (form, origin) in [
            ("kopfhorer", "Kopf\u{ad}hörer"),
            ("5kg", "5㎏"),
            ("fur", "für"),
            ("한", "\u{1112}\u{1161}\u{11ab}"),
            ("g", "㎏"),
        ] {
            let at = folded.text.find(form).unwrap();
            assert_eq!(&written[folded.origin(&(at..at + form.len()))], origin);
        }
    }
}
