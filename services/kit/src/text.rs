//! The one rule for texts that people write: names, titles, descriptions, reasons, addresses.
//!
//! ```text
//! as written ── white space around it goes ── NFC ── [Text]: length, characters, something to see ── kept
//! ```
//!
//! We normalize a text before counting its length, so that the same word costs the same however its keyboard
//! composed it. We refuse characters that reverse the direction of what surrounds them (bidi controls): they
//! make one text look like another on somebody else's screen. Joiners, soft hyphens and the tags of flags are
//! part of how scripts and emoji are written, so we keep them. But a text of nothing else looks empty to
//! everybody who reads it.

use icu_properties::props::{BidiControl, DefaultIgnorableCodePoint, GeneralCategory, WhiteSpace};
use icu_properties::{CodePointMapData, CodePointSetData};
use unicode_normalization::UnicodeNormalization as _;

use crate::problem::FieldError;

/// The limits of one text, in characters after normalization.
#[derive(Clone, Copy, Debug)]
pub struct Text {
    least: usize,
    most: usize,
    lines: bool,
}

impl Text {
    /// One line of 1 to `most` characters.
    pub const fn line(most: usize) -> Self {
        Self { least: 1, most, lines: false }
    }

    /// Lines of 1 to `most` characters in all, including line breaks and tabs.
    pub const fn lines(most: usize) -> Self {
        Self { least: 1, most, lines: true }
    }

    /// The same text, but it may also be empty.
    pub const fn or_empty(self) -> Self {
        Self { least: 0, ..self }
    }

    /// The text as we keep it, trimmed and in NFC; or the first rule that it breaks, for the field `field`.
    pub fn check(self, field: &str, written: &str) -> Result<String, FieldError> {
        self.kept(written).map_err(|(rule, detail)| FieldError::new(field, rule, detail))
    }

    /// The same without a field: the rule that it breaks, and the rule in words.
    pub fn kept(self, written: &str) -> Result<String, (&'static str, String)> {
        let text: String = trim(written).nfc().collect();
        self.broken(&text).map_or(Ok(text), Err)
    }

    /// A text that may be left out. An empty one counts as `None`.
    pub fn check_optional(self, field: &str, written: Option<&str>) -> Result<Option<String>, FieldError> {
        match written.map(trim).filter(|text| !text.is_empty()) {
            Some(text) => self.check(field, text).map(Some),
            None => Ok(None),
        }
    }

    fn broken(self, text: &str) -> Option<(&'static str, String)> {
        let length = text.chars().count();
        if length > self.most {
            return Some(("max-length", format!("must have at most {} characters, has {length}", self.most)));
        }
        if length < self.least {
            return Some(("min-length", "must not be empty".to_owned()));
        }
        if text.chars().any(|c| is_control(c) && !(self.lines && matches!(c, '\n' | '\r' | '\t'))) {
            return Some(("no-control-characters", "must not contain control characters".to_owned()));
        }
        if text.chars().any(is_bidi_control) {
            let detail = "must not contain characters that change the direction of writing";
            return Some(("no-bidi-controls", detail.to_owned()));
        }
        if !text.is_empty() && !is_visible(text) {
            return Some(("visible", "must have something to see in it".to_owned()));
        }
        None
    }
}

/// Whether there is anything to see in a text.
pub fn is_visible(text: &str) -> bool {
    text.chars().any(is_visible_character)
}

/// Without the surrounding white space, as Unicode defines it.
fn trim(written: &str) -> &str {
    written.trim_matches(|c| CodePointSetData::new::<WhiteSpace>().contains(c))
}

/// Includes the separators of lines and paragraphs, which have a category of their own.
fn is_control(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

/// Embeddings, overrides, isolates and marks of direction.
pub fn is_bidi_control(c: char) -> bool {
    CodePointSetData::new::<BidiControl>().contains(c)
}

fn is_visible_character(c: char) -> bool {
    // A Braille cell without dots: a symbol to Unicode, a gap to everybody else.
    const BLANK_BRAILLE: char = '\u{2800}';
    if c == BLANK_BRAILLE || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c) {
        return false;
    }
    !matches!(
        CodePointMapData::<GeneralCategory>::new().get(c),
        GeneralCategory::Control
            | GeneralCategory::Format
            | GeneralCategory::PrivateUse
            | GeneralCategory::Surrogate
            | GeneralCategory::Unassigned
            | GeneralCategory::SpaceSeparator
            | GeneralCategory::LineSeparator
            | GeneralCategory::ParagraphSeparator
            // A combining mark without a letter below it.
            | GeneralCategory::NonspacingMark
            | GeneralCategory::EnclosingMark
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: Text = Text::line(10);

    fn rule(text: Text, written: &str) -> Option<String> {
        text.check("name", written).err().map(|error| error.rule)
    }

    #[test]
    fn names_of_any_script_are_kept_as_they_are() {
        for name in ["홍길동", "Zoë", "نرگس", "می\u{200c}خواهم", "👩\u{200d}👩\u{200d}👧", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "Ⅷ", "١٢"]
        {
            assert_eq!(NAME.check("name", name).as_deref(), Ok(name));
        }
    }

    #[test]
    fn white_space_around_a_text_goes_and_the_rest_is_composed() {
        assert_eq!(NAME.check("name", " \u{3000}\u{1112}\u{1161}\u{11ab}\n").as_deref(), Ok("한"));
        assert_eq!(NAME.check("name", &"\u{1112}\u{1161}\u{11ab}".repeat(10)).map(|name| name.len()), Ok(30));
    }

    #[test]
    fn a_text_of_nothing_visible_is_refused_m10() {
        for nothing in [
            "\u{200b}",
            "\u{2800}",
            "\u{3164}",
            "\u{ad}",
            "\u{e0041}\u{e0042}",
            "\u{e000}",
            "\u{f8ff}",
            "\u{115f}",
            "\u{feff}",
            "\u{200b} \u{2800}",
            "\u{301}",
            "\u{378}",
            "\u{180e}",
            "\u{2063}",
        ] {
            assert_eq!(rule(NAME, nothing).as_deref(), Some("visible"), "{nothing:?}");
        }
        assert_eq!(rule(NAME, " \u{a0}").as_deref(), Some("min-length"));
    }

    #[test]
    fn what_turns_writing_round_is_refused_wherever_it_stands_m10() {
        for control in ["\u{202e}", "\u{2066}", "\u{2069}", "\u{200f}", "\u{61c}", "\u{202a}"] {
            assert_eq!(
                rule(NAME, &format!("a{control}b")).as_deref(),
                Some("no-bidi-controls"),
                "{control:?}"
            );
            assert_eq!(rule(Text::lines(9), &format!("a\n{control}b")).as_deref(), Some("no-bidi-controls"));
        }
    }

    #[test]
    fn line_breaks_belong_to_lines_alone_and_other_controls_to_none() {
        assert_eq!(rule(NAME, "a\nb").as_deref(), Some("no-control-characters"));
        assert_eq!(rule(NAME, "a\u{2028}b").as_deref(), Some("no-control-characters"));
        assert_eq!(rule(Text::lines(9), "a\r\n\tb"), None);
        assert_eq!(rule(Text::lines(9), "a\0b").as_deref(), Some("no-control-characters"));
    }

    #[test]
    fn lengths_are_counted_in_characters() {
        assert_eq!(rule(NAME, &"가".repeat(10)), None);
        assert_eq!(rule(NAME, &"가".repeat(11)).as_deref(), Some("max-length"));
        assert_eq!(rule(NAME.or_empty(), ""), None);
    }

    #[test]
    fn an_optional_text_with_nothing_in_it_is_absent() {
        assert_eq!(NAME.check_optional("line2", Some("  ")), Ok(None));
        assert_eq!(NAME.check_optional("line2", None), Ok(None));
        assert_eq!(NAME.check_optional("line2", Some(" b ")), Ok(Some("b".to_owned())));
        assert_eq!(NAME.check_optional("line2", Some("\u{200b}")).unwrap_err().rule, "visible");
    }
}
