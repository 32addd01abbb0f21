//! What a shopper typed, as a list of things that each hit must contain.
//!
//! The same [`Needle`] builds the index query and later finds in a hit's text what to highlight, so the two
//! cannot disagree about what matched.
//!
//! Words match whole; the last one also matches as a beginning, because it may still be being typed. Words of
//! [`TYPO_MIN_CHARS`] or more match with one typo: a letter changed, missing, added, or two neighbours
//! swapped. A word with digits is a model or a size and is never corrected. Runs (see [`super::tokenizer`])
//! match where their pairs follow each other. Long ones also match with a few pairs missing, which is what
//! one wrong syllable or a different habit of spacing causes. A consonant stands for any syllable that it
//! begins, and the last syllable for everything that it may still become.

use std::ops::Range;

use super::hangul;
use super::tokenizer::{Segment, SegmentKind, segments};

/// Shorter words are not corrected: with one letter of three changed it is another word.
pub(super) const TYPO_MIN_CHARS: usize = 4;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Needle {
    Word {
        term: String,
        is_last: bool,
    },
    /// Characters of a script without spaces, at least one.
    Run {
        characters: Vec<char>,
        is_last: bool,
    },
}

/// The needles in a query that is already folded.
pub(super) fn needles(folded: &str) -> Vec<Needle> {
    let mut segments = segments(folded).peekable();
    let mut needles = Vec::new();
    while let Some(segment) = segments.next() {
        needles.push(Needle::of(segment, segments.peek().is_none()));
    }
    needles
}

impl Needle {
    fn of(segment: Segment<'_>, is_last: bool) -> Self {
        match segment.kind {
            SegmentKind::Word => Self::Word { term: segment.text.to_owned(), is_last },
            SegmentKind::Run => Self::Run { characters: segment.text.chars().collect(), is_last },
        }
    }

    /// Whether we forgive a typo in this word.
    pub(super) fn forgives_typo(term: &str) -> bool {
        term.chars().count() >= TYPO_MIN_CHARS && !term.chars().any(char::is_numeric)
    }

    /// How many pairs of a run must be found at least. One wrong syllable spoils two pairs. Single consonants
    /// say so little that none may be wrong, except the last one, which is about to become a syllable.
    pub(super) fn required_pairs(run: &[char]) -> usize {
        let pairs = run.len().saturating_sub(1);
        match pairs {
            _ if run.iter().take(pairs).copied().any(hangul::is_initial) => pairs,
            0..=2 => pairs,
            3 => 2,
            more => more - 2,
        }
    }

    /// The byte ranges of `segment` that this needle matches, relative to the segment.
    pub(super) fn matches_in(&self, segment: Segment<'_>) -> Vec<Range<usize>> {
        match (self, segment.kind) {
            (Self::Word { term, is_last }, SegmentKind::Word) => {
                let found = segment.text;
                let within_typo = if *is_last { begins_within_one_edit } else { within_one_edit };
                let matches = found == *term
                    || (*is_last && found.starts_with(term))
                    || (Self::forgives_typo(term) && within_typo(term, found));
                if matches { std::iter::once(0..segment.text.len()).collect() } else { Vec::new() }
            }
            (Self::Run { characters, is_last }, SegmentKind::Run) => {
                let run: Vec<(usize, char)> = segment.text.char_indices().collect();
                let mut whole = occurrences(characters, *is_last, &run);
                if whole.is_empty()
                    && *is_last
                    && let Some(carried) = carried_over(characters)
                {
                    whole = occurrences(&carried, true, &run);
                }
                if !whole.is_empty() {
                    whole
                } else if Self::required_pairs(characters) + 1 < characters.len() {
                    characters.windows(2).flat_map(|pair| occurrences(pair, false, &run)).collect()
                } else {
                    across_the_edge(characters, *is_last, &run)
                }
            }
            _ => Vec::new(),
        }
    }
}

/// The run with the last consonant of its last syllable moved to a new syllable: 이엎 is 이어ㅍ.
pub(super) fn carried_over(run: &[char]) -> Option<Vec<char>> {
    let (last, before) = run.split_last()?;
    let (stays, carried) = hangul::carried_over(*last)?;
    Some([before, &[stays, carried]].concat())
}

/// Where `typed` occurs in a run, as byte ranges.
fn occurrences(typed: &[char], is_last: bool, run: &[(usize, char)]) -> Vec<Range<usize>> {
    run.windows(typed.len()).filter(|window| stand_for(typed, is_last, window)).filter_map(range_of).collect()
}

/// Either the end of a run that `typed` begins with, or its beginning that `typed` ends with; the rest is in
/// the neighbouring runs. A single character says too little to count as such a part.
fn across_the_edge(typed: &[char], is_last: bool, run: &[(usize, char)]) -> Vec<Range<usize>> {
    let longest = run.len().min(typed.len().saturating_sub(1));
    let ending = (2..=longest).rev().map(|length| &run[run.len() - length..]);
    let beginning = (2..=longest).rev().map(|length| &run[..length]);
    let ends = ending.into_iter().find(|end| stand_for(&typed[..end.len()], false, end));
    let begins =
        beginning.into_iter().find(|start| stand_for(&typed[typed.len() - start.len()..], is_last, start));
    ends.into_iter().chain(begins).filter_map(range_of).collect()
}

/// Whether each typed character stands for the one found in its place.
fn stand_for(typed: &[char], is_last: bool, found: &[(usize, char)]) -> bool {
    typed.iter().enumerate().zip(found).all(|((place, typed_one), (_, found))| {
        typed_one == found
            || hangul::initial(*found) == Some(*typed_one)
            || (is_last && place + 1 == typed.len() && hangul::may_become(*typed_one).contains(found))
    })
}

fn range_of(characters: &[(usize, char)]) -> Option<Range<usize>> {
    let ((from, _), (at, last)) = (characters.first()?, characters.last()?);
    Some(*from..at + last.len_utf8())
}

/// Optimal string alignment distance of at most one.
fn within_one_edit(a: &str, b: &str) -> bool {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    one_edit(&a, &b)
}

/// Whether some beginning of `word` is within one edit of `term`.
fn begins_within_one_edit(term: &str, word: &str) -> bool {
    let (term, word): (Vec<char>, Vec<char>) = (term.chars().collect(), word.chars().collect());
    let shortest = term.len().saturating_sub(1).min(word.len());
    let longest = (term.len() + 1).min(word.len());
    (shortest..=longest).any(|length| one_edit(&term, &word[..length]))
}

fn one_edit(term: &[char], typed: &[char]) -> bool {
    let same_start = term.iter().zip(typed).take_while(|(a, b)| a == b).count();
    let (term, typed) = (&term[same_start..], &typed[same_start..]);
    match (term, typed) {
        ([], []) => true,
        // two letters swapped, one exchanged, one left out, one too many
        ([a, b, rest @ ..], [c, d, end @ ..]) if a == d && b == c && rest == end => true,
        ([_, rest @ ..], [_, end @ ..]) if rest == end => true,
        ([_, rest @ ..], _) if rest == typed => true,
        (_, [_, end @ ..]) if end == term => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::folding::fold;
    use super::*;

    #[test]
    fn one_edit_is_a_change_a_loss_an_addition_or_a_swap() {
        for (typed, meant) in [
            ("headphone", "headphome"),
            ("hedphone", "headphone"),
            ("headdphone", "headphone"),
            ("haedphone", "headphone"),
        ] {
            assert!(within_one_edit(typed, meant), "{typed} should reach {meant}");
        }
        for (typed, meant) in [("hedfone", "headphone"), ("heaphnoe", "headphone"), ("", "ab")] {
            assert!(!within_one_edit(typed, meant), "{typed} should not reach {meant}");
        }
    }

    fn found(query: &str, text: &str) -> bool {
        let text = fold(text);
        needles(&fold(query))
            .iter()
            .all(|needle| segments(&text).any(|segment| !needle.matches_in(segment).is_empty()))
    }

    #[test]
    fn the_last_word_matches_as_a_beginning_and_others_whole() {
        assert!(found("wireless head", "wireless headphones"));
        assert!(found("wireless hedph", "wireless headphones"));
        assert!(!found("head wireless", "wireless headphones"));
        assert!(!found("cat", "car"));
        assert!(!found("model 2499", "model 2399"));
    }

    #[test]
    fn the_last_syllable_matches_all_that_it_may_become_f1() {
        for query in [
            "이어ㅍ",
            "이어포",
            "이엎",
            "이ㅇ",
            "ㅁㅅㅇㅇㅍ",
            "ㅇㅇㅍ",
            "무선ㅇㅇ",
            "ㅇㅇ포",
            "무",
            "뭇",
            "ㅁ",
        ] {
            assert!(found(query, "무선이어폰"), "{query}");
        }
        for query in ["이어ㅂ", "이어표", "ㅁㅅㅇㅇㅂ", "ㅍㅇㅇ", "이어포 세트", "ㅂ", "므"]
        {
            assert!(!found(query, "무선이어폰 세트"), "{query}");
        }
    }

    #[test]
    fn a_run_is_its_characters() {
        assert_eq!(needles("이어폰"), [Needle::Run { characters: vec!['이', '어', '폰'], is_last: true }]);
        assert_eq!(needles("a 폰")[1], Needle::Run { characters: vec!['폰'], is_last: true });
    }

    #[test]
    fn a_query_of_punctuation_has_no_needles() {
        assert!(needles("?! --").is_empty());
    }
}
