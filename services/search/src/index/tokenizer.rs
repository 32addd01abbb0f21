//! Cuts text of any script into terms.
//!
//! Text is folded ([`super::folding`]) and cut into *segments*: words of scripts that put spaces between them
//! (Latin, Cyrillic, Arabic, …), and runs of scripts that do not, or whose words have endings that no space
//! separates (Hangul, Han, Kana, Thai, …). A word becomes one term. A run becomes overlapping pairs: each
//! character starts one term, made of it and its neighbour, and the last character stands alone. So "이어폰"
//! finds "무선이어폰", and any single character is found as the beginning of the term that starts with it.
//!
//! A pair of Hangul syllables is also indexed as it may be typed, at the same place: with its second syllable
//! unfinished (어폰 as 어포 and 어ㅍ) and, in names and keywords, with initial consonants alone (ㅇㅍ).

use std::collections::VecDeque;

use tantivy::tokenizer::{Token, TokenStream, Tokenizer};
use unicode_normalization::char::canonical_combining_class;

use super::folding::fold;
use super::hangul;

/// A longer "word" is not a word (a key, a base64 block), so we do not index it.
const MAX_WORD_BYTES: usize = 255;
/// Ends a pair whose second syllable is unfinished; no run contains it.
const UNFINISHED: char = '~';

/// A stretch of folded text that is searched as one unit.
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
        } else if c.is_alphanumeric() || canonical_combining_class(c) != 0 {
            Some(Self::Word)
        } else {
            None
        }
    }
}

/// The segments of folded text in order, without what is between them (spaces, punctuation).
pub(super) fn segments(folded: &str) -> impl Iterator<Item = Segment<'_>> {
    let mut rest = folded.char_indices().peekable();
    std::iter::from_fn(move || {
        let (offset, kind) = rest.by_ref().find_map(|(at, c)| SegmentKind::of(c).map(|kind| (at, kind)))?;
        while rest.next_if(|(_, c)| SegmentKind::of(*c) == Some(kind)).is_some() {}
        let end = rest.peek().map_or(folded.len(), |(at, _)| *at);
        Some(Segment { text: &folded[offset..end], offset, kind })
    })
}

/// The term of two neighbours in a run.
pub(super) fn pair(first: char, second: char) -> String {
    String::from_iter([first, second])
}

/// The term of a pair whose second syllable may still change.
pub(super) fn unfinished_pair(first: char, second: char) -> String {
    String::from_iter([first, second, UNFINISHED])
}

/// Terms of two neighbours while the second is still being typed.
fn unfinished_pairs(first: char, second: char) -> impl Iterator<Item = String> {
    let steps = hangul::unfinished(second).map(move |step| unfinished_pair(first, step));
    steps.chain(hangul::initial(second).map(|consonant| pair(first, consonant)))
}

/// Terms of two neighbours when only the consonant of the first is typed.
fn pairs_by_initial(first: char, second: char) -> impl Iterator<Item = String> {
    let initial = hangul::initial(first).filter(|_| hangul::initial(second).is_some());
    initial
        .into_iter()
        .flat_map(move |initial| [pair(initial, second)].into_iter().chain(unfinished_pairs(initial, second)))
}

/// Scripts that are searched by pairs of characters. These are whole blocks, so that dependent vowels and
/// tone marks stay with their letters.
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
        | '\u{3400}'..='\u{4dbf}'   // Han extension A
        | '\u{4e00}'..='\u{9fff}'   // Han
        | '\u{ac00}'..='\u{d7a3}'   // Hangul syllables
        | '\u{f900}'..='\u{faff}'   // Han compatibility
        | '\u{20000}'..='\u{3134f}' // Han extensions B–G
    )
}

/// [`segments`] as a tantivy tokenizer; it folds its input.
#[derive(Clone)]
pub(super) struct SegmentTokenizer {
    /// Whether Hangul can also be found by its initial consonants.
    pub by_initials: bool,
}

impl Tokenizer for SegmentTokenizer {
    type TokenStream<'a> = SegmentTokenStream;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> Self::TokenStream<'a> {
        SegmentTokenStream { tokens: tokens(&fold(text), self.by_initials), current: Token::default() }
    }
}

/// The terms of folded text. Nobody asks tantivy for their positions: [`super::highlight`] marks the hits.
fn tokens(folded: &str, by_initials: bool) -> VecDeque<Token> {
    let mut tokens = VecDeque::new();
    let mut position = 0;
    let mut push = |position, text| tokens.push_back(Token { position, text, ..Token::default() });
    let mut segments = segments(folded).peekable();
    while let Some(segment) = segments.next() {
        match segment.kind {
            SegmentKind::Word if segment.text.len() <= MAX_WORD_BYTES => {
                push(position, segment.text.to_owned());
                position += 1;
            }
            SegmentKind::Word => {}
            SegmentKind::Run => {
                // People who type consonants leave out the spaces: 무선 이어폰 is also ㅁㅅㅇㅇㅍ.
                let next_run = segments.peek().filter(|next| next.kind == SegmentKind::Run);
                let after = next_run.and_then(|next| next.text.chars().next());
                let mut characters = segment.text.chars().peekable();
                while let Some(first) = characters.next() {
                    let within = characters.peek().copied();
                    push(position, within.map_or_else(|| first.to_string(), |second| pair(first, second)));
                    for typed in within.into_iter().flat_map(|second| unfinished_pairs(first, second)) {
                        push(position, typed);
                    }
                    let second = within.or(after).filter(|_| by_initials);
                    for typed in second.into_iter().flat_map(|second| pairs_by_initial(first, second)) {
                        push(position, typed);
                    }
                    position += 1;
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
        let tokens = tokens(&fold(text), true);
        let mut at = None;
        // The first term at each place is the text as it is.
        tokens
            .into_iter()
            .filter(|token| at.replace(token.position) != Some(token.position))
            .map(|token| token.text)
            .collect()
    }

    fn typed(text: &str, by_initials: bool) -> Vec<String> {
        let tokens = tokens(&fold(text), by_initials);
        tokens.into_iter().filter(|token| token.position == 0).skip(1).map(|token| token.text).collect()
    }

    #[test]
    fn a_word_is_one_term_in_lower_case_without_accents() {
        assert_eq!(terms("Café-Racer, ÉLAN!"), ["cafe", "racer", "elan"]);
        assert_eq!(terms("Кроссовки 42"), ["кроссовки", "42"]);
        assert_eq!(terms("हिन्दी स्टेशन"), ["हिन्दी", "स्टेशन"]);
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
    fn a_pair_of_syllables_is_there_as_it_may_be_typed_f1() {
        let whole_first = ["어포~", "어\u{1111}"];
        assert_eq!(typed("어폰", false), whole_first);
        let initial_first = ["\u{110b}폰", "\u{110b}포~", "\u{110b}\u{1111}"];
        assert_eq!(typed("어폰", true), [whole_first.as_slice(), &initial_first].concat());
        assert_eq!(typed("어 폰", true), initial_first, "across a space");
        assert!(typed("어 폰", false).is_empty());
        assert!(typed("東京", true).is_empty() && typed("usb", true).is_empty());
    }

    #[test]
    fn something_too_long_for_a_word_is_left_out() {
        assert_eq!(terms(&format!("a {} b", "x".repeat(300))), ["a", "b"]);
    }
}
