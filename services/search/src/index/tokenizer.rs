//! Cutting text of any script into terms.
//!
//! Text is first cut into *segments*: words of scripts that put spaces between them (Latin,
//! Cyrillic, Arabic, …), and runs of scripts that do not, or whose words carry endings that a
//! space does not show (Hangul, Han, Kana, Thai, …). A word becomes one term, lower-cased and
//! without accents. A run becomes overlapping pairs: each character starts one term, made of it
//! and its neighbour, and the last character stands alone. "무선이어폰" is thus found by "이어폰",
//! and any single character is found as the beginning of the term that starts with it.

use std::collections::VecDeque;

use tantivy::tokenizer::{Token, TokenStream, Tokenizer};
use unicode_normalization::UnicodeNormalization;

/// A longer "word" is no word (a key, a base64 block); it is not indexed.
const MAX_WORD_BYTES: usize = 255;

/// Text in the one form both documents and queries are compared in: composed (NFC), so that
/// Hangul typed as separate jamo equals Hangul typed as syllables.
pub(super) fn normalize(text: &str) -> String {
    text.nfc().collect()
}

/// A stretch of text that is searched as one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment<'a> {
    pub text: &'a str,
    /// Where it starts in the text it was cut from, in bytes.
    pub offset: usize,
    pub kind: SegmentKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SegmentKind {
    Word,
    Run,
}

impl SegmentKind {
    fn of(c: char) -> Option<Self> {
        if is_unspaced(c) {
            Some(Self::Run)
        } else if c.is_alphanumeric() || is_accent(c) {
            Some(Self::Word)
        } else {
            None
        }
    }
}

/// The segments of `text` in order; what lies between them (spaces, punctuation) is dropped.
pub(super) fn segments(text: &str) -> impl Iterator<Item = Segment<'_>> {
    let mut rest = text.char_indices().peekable();
    std::iter::from_fn(move || {
        let (offset, kind) = rest.by_ref().find_map(|(at, c)| SegmentKind::of(c).map(|kind| (at, kind)))?;
        while rest.next_if(|(_, c)| SegmentKind::of(*c) == Some(kind)).is_some() {}
        let end = rest.peek().map_or(text.len(), |(at, _)| *at);
        Some(Segment { text: &text[offset..end], offset, kind })
    })
}

/// The term of a word: lower case, without accents ("Café" and "cafe" are one).
pub(super) fn fold(word: &str) -> String {
    word.nfd().filter(|c| !is_accent(*c)).nfc().flat_map(char::to_lowercase).collect()
}

/// The pairs of a run, each with the byte range it covers within the run; the last character
/// alone closes the row.
pub(super) fn grams(run: &str) -> Vec<(std::ops::Range<usize>, &str)> {
    let starts: Vec<usize> = run.char_indices().map(|(at, _)| at).collect();
    (0..starts.len())
        .map(|i| {
            let end = starts.get(i + 2).copied().unwrap_or(run.len());
            (starts[i]..end, &run[starts[i]..end])
        })
        .collect()
}

fn is_accent(c: char) -> bool {
    matches!(c, '\u{0300}'..='\u{036f}')
}

/// Scripts searched by pairs of characters. Whole blocks, so that dependent vowels and tone marks
/// stay with their letters.
fn is_unspaced(c: char) -> bool {
    matches!(c,
        '\u{0e01}'..='\u{0e4e}'     // Thai
        | '\u{0e81}'..='\u{0ece}'   // Lao
        | '\u{1000}'..='\u{1049}'   // Myanmar
        | '\u{1100}'..='\u{11ff}'   // Hangul jamo
        | '\u{1780}'..='\u{17d3}'   // Khmer
        | '\u{3005}'..='\u{3007}'   // Han iteration marks
        | '\u{3041}'..='\u{3096}'   // Hiragana
        | '\u{3099}'..='\u{309a}'   // Kana voicing marks
        | '\u{30a1}'..='\u{30fa}'   // Katakana
        | '\u{30fc}'                // long vowel mark
        | '\u{3105}'..='\u{312f}'   // Bopomofo
        | '\u{3131}'..='\u{318e}'   // Hangul compatibility jamo
        | '\u{3400}'..='\u{4dbf}'   // Han extension A
        | '\u{4e00}'..='\u{9fff}'   // Han
        | '\u{ac00}'..='\u{d7a3}'   // Hangul syllables
        | '\u{f900}'..='\u{faff}'   // Han compatibility
        | '\u{ff66}'..='\u{ff9f}'   // half-width Katakana
        | '\u{20000}'..='\u{3134f}' // Han extensions B–G
    )
}

/// [`segments`] as a tantivy tokenizer.
#[derive(Clone, Default)]
pub(super) struct SegmentTokenizer;

impl Tokenizer for SegmentTokenizer {
    type TokenStream<'a> = SegmentTokenStream;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> Self::TokenStream<'a> {
        SegmentTokenStream { tokens: tokens(text), current: Token::default() }
    }
}

fn tokens(text: &str) -> VecDeque<Token> {
    let mut tokens = VecDeque::new();
    let mut push = |offset_from: usize, offset_to: usize, text: String| {
        let position = tokens.len();
        tokens.push_back(Token { offset_from, offset_to, position, text, position_length: 1 });
    };
    for segment in segments(text) {
        match segment.kind {
            SegmentKind::Word if segment.text.len() <= MAX_WORD_BYTES => {
                push(segment.offset, segment.offset + segment.text.len(), fold(segment.text));
            }
            SegmentKind::Word => {}
            SegmentKind::Run => {
                for (range, gram) in grams(segment.text) {
                    push(segment.offset + range.start, segment.offset + range.end, gram.to_owned());
                }
            }
        }
    }
    tokens
}

pub(super) struct SegmentTokenStream {
    tokens: VecDeque<Token>,
    current: Token,
}

impl TokenStream for SegmentTokenStream {
    fn advance(&mut self) -> bool {
        match self.tokens.pop_front() {
            Some(token) => {
                self.current = token;
                true
            }
            None => false,
        }
    }

    fn token(&self) -> &Token {
        &self.current
    }

    fn token_mut(&mut self) -> &mut Token {
        &mut self.current
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(text: &str) -> Vec<String> {
        tokens(&normalize(text)).into_iter().map(|token| token.text).collect()
    }

    #[test]
    fn a_word_is_one_term_in_lower_case_without_accents() {
        assert_eq!(terms("Café-Racer, ÉLAN!"), ["cafe", "racer", "elan"]);
        assert_eq!(terms("Кроссовки 42"), ["кроссовки", "42"]);
    }

    #[test]
    fn a_run_becomes_pairs_and_its_last_character() {
        assert_eq!(terms("이어폰"), ["이어", "어폰", "폰"]);
        assert_eq!(terms("폰"), ["폰"]);
    }

    #[test]
    fn mixed_scripts_are_cut_where_the_script_changes() {
        assert_eq!(terms("A4용지 500매"), ["a4", "용지", "지", "500", "매"]);
        assert_eq!(terms("東京タワー"), ["東京", "京タ", "タワ", "ワー", "ー"]);
    }

    #[test]
    fn decomposed_hangul_equals_composed() {
        assert_eq!(terms("\u{1112}\u{1161}\u{11ab}"), terms("한"));
    }

    #[test]
    fn offsets_point_into_the_text() {
        let text = "T셔츠 béret";
        for token in tokens(text) {
            let slice = &text[token.offset_from..token.offset_to];
            assert!(fold(slice) == token.text || slice == token.text, "{slice} is not {}", token.text);
        }
    }

    #[test]
    fn something_too_long_for_a_word_is_left_out() {
        assert_eq!(terms(&format!("a {} b", "x".repeat(300))), ["a", "b"]);
    }
}
