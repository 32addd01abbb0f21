//! Hangul as people type it: a syllable appears letter by letter, and people may search before it is
//! complete.
//!
//! 폰 appears on the screen as ㅍ, 포, 폰; 닭 as ㄷ, 다, 달, 닭; 과 as ㄱ, 고, 과. A last consonant may be the first of
//! the next syllable: 엎 becomes 어포. Single consonants are written as conjoining initials (U+1100 and on),
//! because compatibility normalization turns the letters of a keyboard into those.

use std::ops::RangeInclusive;

const FIRST: u32 = 0xac00;
const INITIALS: u32 = 19;
const VOWELS: u32 = 21;
const FINALS: u32 = 28;
const FIRST_INITIAL: u32 = 0x1100;

/// For each last consonant: what remains of it when its last letter moves on, and that letter as an initial.
const MOVING: [Option<(u32, u32)>; FINALS as usize] = [
    None,
    Some((0, 0)),  // ㄱ
    Some((0, 1)),  // ㄲ
    Some((1, 9)),  // ㄳ
    Some((0, 2)),  // ㄴ
    Some((4, 12)), // ㄵ
    Some((4, 18)), // ㄶ
    Some((0, 3)),  // ㄷ
    Some((0, 5)),  // ㄹ
    Some((8, 0)),  // ㄺ
    Some((8, 6)),  // ㄻ
    Some((8, 7)),  // ㄼ
    Some((8, 9)),  // ㄽ
    Some((8, 16)), // ㄾ
    Some((8, 17)), // ㄿ
    Some((8, 18)), // ㅀ
    Some((0, 6)),  // ㅁ
    Some((0, 7)),  // ㅂ
    Some((17, 9)), // ㅄ
    Some((0, 9)),  // ㅅ
    Some((0, 10)), // ㅆ
    Some((0, 11)), // ㅇ
    Some((0, 12)), // ㅈ
    Some((0, 14)), // ㅊ
    Some((0, 15)), // ㅋ
    Some((0, 16)), // ㅌ
    Some((0, 17)), // ㅍ
    Some((0, 18)), // ㅎ
];

/// A complete syllable, by the numbers of its letters.
#[derive(Clone, Copy)]
struct Syllable {
    initial: u32,
    vowel: u32,
    last: u32,
}

impl Syllable {
    fn of(c: char) -> Option<Self> {
        let index = u32::from(c).checked_sub(FIRST).filter(|index| *index < INITIALS * VOWELS * FINALS)?;
        Some(Self {
            initial: index / (VOWELS * FINALS),
            vowel: index / FINALS % VOWELS,
            last: index % FINALS,
        })
    }

    fn char(self) -> char {
        let index = (self.initial * VOWELS + self.vowel) * FINALS + self.last;
        char::from_u32(FIRST + index).unwrap_or_default()
    }

    fn initial(self) -> char {
        initial_letter(self.initial)
    }

    /// The vowel whose key comes first: ㅘ, ㅙ and ㅚ begin with ㅗ.
    fn first_vowel(self) -> u32 {
        match self.vowel {
            9..=11 => 8,
            14..=16 => 13,
            19 => 18,
            simple => simple,
        }
    }
}

fn initial_letter(index: u32) -> char {
    char::from_u32(FIRST_INITIAL + index).unwrap_or_default()
}

/// The first consonant of a syllable; `None` if this is not a syllable.
pub(super) fn initial(c: char) -> Option<char> {
    Syllable::of(c).map(Syllable::initial)
}

/// Whether this is a consonant alone.
pub(super) fn is_initial(c: char) -> bool {
    u32::from(c).checked_sub(FIRST_INITIAL).is_some_and(|index| index < INITIALS)
}

/// What appears on the screen before a syllable is complete, except its first consonant alone: 다, 달 for 닭.
pub(super) fn unfinished(c: char) -> impl Iterator<Item = char> {
    let steps = Syllable::of(c).map(|whole| {
        let open = Syllable { last: 0, ..whole };
        let first = Syllable { vowel: whole.first_vowel(), ..open };
        let stem = MOVING[whole.last as usize].map_or(0, |(stays, _)| stays);
        let mut steps = vec![first.char(), open.char(), Syllable { last: stem, ..whole }.char()];
        steps.dedup();
        steps
    });
    steps.into_iter().flatten().filter(move |step| *step != c)
}

/// The syllables that `c`, the last one typed so far, may still become, including itself.
pub(super) fn may_become(c: char) -> RangeInclusive<char> {
    if is_initial(c) {
        let first = Syllable { initial: u32::from(c) - FIRST_INITIAL, vowel: 0, last: 0 };
        return first.char()..=Syllable { vowel: VOWELS - 1, last: FINALS - 1, ..first }.char();
    }
    let Some(typed) = Syllable::of(c) else { return c..=c };
    if typed.last == 0 {
        let last_vowel = match typed.vowel {
            8 => 11,
            13 => 16,
            18 => 19,
            other => other,
        };
        return c..=Syllable { vowel: last_vowel, last: FINALS - 1, ..typed }.char();
    }
    let longest = (typed.last..FINALS).rfind(|last| {
        *last == typed.last || MOVING[*last as usize].is_some_and(|(stays, _)| stays == typed.last)
    });
    c..=Syllable { last: longest.unwrap_or(typed.last), ..typed }.char()
}

/// Splits a syllable whose last consonant may belong to the next one: what is left of it, and that consonant.
pub(super) fn carried_over(c: char) -> Option<(char, char)> {
    let typed = Syllable::of(c)?;
    let (stays, carried) = MOVING[typed.last as usize]?;
    Some((Syllable { last: stays, ..typed }.char(), initial_letter(carried)))
}

/// The two consonants of a double letter (ㄳ), as initials. Keyboards join what was typed as two.
pub(super) fn consonants_of_cluster(c: char) -> Option<[char; 2]> {
    let index = match c {
        '\u{3133}' => 3,                                      // ㄳ
        '\u{3135}' => 5,                                      // ㄵ
        '\u{3136}' => 6,                                      // ㄶ
        '\u{313a}'..='\u{3140}' => u32::from(c) - 0x313a + 9, // ㄺ to ㅀ
        '\u{3144}' => 18,                                     // ㅄ
        _ => return None,
    };
    let (stays, second) = MOVING[index as usize]?;
    let (_, first) = MOVING[stays as usize]?;
    Some([initial_letter(first), initial_letter(second)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_syllable_is_typed_letter_by_letter() {
        let steps = |c| unfinished(c).collect::<String>();
        assert_eq!(initial('폰'), Some('\u{1111}'));
        assert_eq!(
            (steps('폰'), steps('닭'), steps('과'), steps('괜')),
            ("포".into(), "다달".into(), "고".into(), "고괘".into())
        );
        assert_eq!((steps('가'), steps('a')), (String::new(), String::new()));
        assert_eq!(initial('a'), None);
    }

    #[test]
    fn every_step_of_a_syllable_may_become_it() {
        for c in '가'..='힣' {
            for step in unfinished(c).chain(initial(c)).chain([c]) {
                assert!(may_become(step).contains(&c), "{step} does not become {c}");
            }
        }
        assert!(!may_become('폰').contains(&'퐁'));
        assert!(!may_become('포').contains(&'표'));
        assert_eq!(may_become('x'), 'x'..='x');
    }

    #[test]
    fn a_last_consonant_may_belong_to_the_next_syllable() {
        assert_eq!(carried_over('엎'), Some(('어', '\u{1111}')));
        assert_eq!(carried_over('닭'), Some(('달', '\u{1100}')));
        assert_eq!((carried_over('어'), carried_over('x')), (None, None));
    }

    #[test]
    fn a_cluster_is_two_consonants() {
        let all: Vec<_> = "ㄳㄵㄶㄺㄻㄼㄽㄾㄿㅀㅄ".chars().filter_map(consonants_of_cluster).collect();
        let letters: String = "ㄱㅅㄴㅈㄴㅎㄹㄱㄹㅁㄹㅂㄹㅅㄹㅌㄹㅍㄹㅎㅂㅅ".into();
        let expected: String = unicode_normalization::UnicodeNormalization::nfkc(letters.as_str()).collect();
        assert_eq!(all.concat().into_iter().collect::<String>(), expected);
        assert_eq!(consonants_of_cluster('ㄱ'), None);
    }
}
