//! What a shopper typed, as the list of things each hit must contain.
//!
//! The same [`Needle`] builds the index query and, afterwards, finds in a hit's text what to
//! highlight, so the two cannot disagree about what matched.
//!
//! Words match whole, the last one also as a beginning (it may still be being typed), and words of
//! [`TYPO_MIN_CHARS`] or more with one typo: a letter changed, missing, added, or two neighbours
//! swapped. What has digits is a model or a size and is never corrected. Runs (see [`super::tokenizer`]) match where their pairs follow each other, and long
//! ones also when a few pairs are missing, which is what one wrong syllable or a different habit of
//! spacing does to them.

use super::tokenizer::{Segment, SegmentKind, fold, grams, segments};

/// Shorter words are not corrected: one letter of three changed is another word.
pub(super) const TYPO_MIN_CHARS: usize = 4;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Needle {
    Word {
        term: String,
        is_last: bool,
    },
    /// A single character of an unspaced script: matches terms that begin with it.
    Character(String),
    /// The pairs of a run of two or more characters, without the closing single one.
    Run {
        pairs: Vec<String>,
        text: String,
    },
}

/// The needles in `query`, which is already normalized.
pub(super) fn needles(query: &str) -> Vec<Needle> {
    let mut segments = segments(query).peekable();
    let mut needles = Vec::new();
    while let Some(segment) = segments.next() {
        needles.push(Needle::of(segment, segments.peek().is_none()));
    }
    needles
}

impl Needle {
    fn of(segment: Segment<'_>, is_last: bool) -> Self {
        match segment.kind {
            SegmentKind::Word => Self::Word { term: fold(segment.text), is_last },
            SegmentKind::Run => {
                let mut pairs: Vec<String> =
                    grams(segment.text).into_iter().map(|(_, gram)| gram.to_owned()).collect();
                let closing = pairs.pop().unwrap_or_default();
                if pairs.is_empty() {
                    Self::Character(closing)
                } else {
                    Self::Run { pairs, text: segment.text.to_owned() }
                }
            }
        }
    }

    /// Whether a typo is forgiven in this word.
    pub(super) fn forgives_typo(term: &str) -> bool {
        term.chars().count() >= TYPO_MIN_CHARS && !term.chars().any(char::is_numeric)
    }

    /// How many of `pairs` pairs must be found at least. One wrong syllable spoils two pairs.
    pub(super) fn required_pairs(pairs: usize) -> usize {
        match pairs {
            0..=2 => pairs,
            3 => 2,
            more => more - 2,
        }
    }

    /// The byte ranges of `segment` that this needle matches, relative to the segment.
    pub(super) fn matches_in(&self, segment: Segment<'_>) -> Vec<std::ops::Range<usize>> {
        match (self, segment.kind) {
            (Self::Word { term, is_last }, SegmentKind::Word) => {
                let found = fold(segment.text);
                let within_typo = if *is_last { begins_within_one_edit } else { within_one_edit };
                let matches = found == *term
                    || (*is_last && found.starts_with(term))
                    || (Self::forgives_typo(term) && within_typo(term, &found));
                if matches { std::iter::once(0..segment.text.len()).collect() } else { Vec::new() }
            }
            (Self::Character(c), SegmentKind::Run) => {
                segment.text.match_indices(c.as_str()).map(|(at, c)| at..at + c.len()).collect()
            }
            (Self::Run { pairs, text }, SegmentKind::Run) => {
                let whole: Vec<_> = segment
                    .text
                    .match_indices(text.as_str())
                    .map(|(at, found)| at..at + found.len())
                    .collect();
                if !whole.is_empty() {
                    return whole;
                }
                grams(segment.text)
                    .into_iter()
                    .filter(|(_, gram)| pairs.iter().any(|pair| pair == gram))
                    .map(|(range, _)| range)
                    .collect()
            }
            _ => Vec::new(),
        }
    }
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

    #[test]
    fn the_last_word_matches_as_a_beginning_and_others_whole() {
        let found = |query: &str, text: &str| {
            needles(query)
                .iter()
                .all(|needle| segments(text).any(|segment| !needle.matches_in(segment).is_empty()))
        };
        assert!(found("wireless head", "wireless headphones"));
        assert!(found("wireless hedph", "wireless headphones"));
        assert!(!found("head wireless", "wireless headphones"));
        assert!(!found("cat", "car"));
        assert!(!found("model 2499", "model 2399"));
    }

    #[test]
    fn a_run_is_cut_into_its_pairs() {
        assert_eq!(
            needles("이어폰"),
            [Needle::Run { pairs: vec!["이어".into(), "어폰".into()], text: "이어폰".into() }]
        );
        assert_eq!(needles("폰"), [Needle::Character("폰".into())]);
    }

    #[test]
    fn a_query_of_punctuation_has_no_needles() {
        assert!(needles("?! --").is_empty());
    }
}
