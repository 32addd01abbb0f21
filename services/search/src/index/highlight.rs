//! Shows a shopper why a product was found: the matched parts of its text in `<em>`, everything else escaped
//! for HTML.

use std::ops::Range;

use super::folding::Folded;
use super::needle::Needle;
use super::tokenizer::segments;

/// The longest snippet, in characters of the original text.
const SNIPPET_CHARS: usize = 180;
/// How much text is shown before the first match.
const LEAD_CHARS: usize = 40;

/// The whole text with its matches marked.
pub(super) fn highlight(text: &str, needles: &[Needle]) -> String {
    marked(text, 0..text.len(), &matches(text, needles))
}

/// The part of the text around its first match, or its beginning if nothing matches; `…` marks where text was
/// cut off.
pub(super) fn snippet(text: &str, needles: &[Needle]) -> String {
    let matches = matches(text, needles);
    let window = window(text, matches.first().map_or(0, |first| first.start));
    let mut snippet = String::new();
    if window.start > 0 {
        snippet.push('…');
    }
    snippet.push_str(&marked(text, window.clone(), &matches));
    if window.end < text.len() {
        snippet.push('…');
    }
    snippet
}

/// The byte ranges of `text` that match, in order; overlapping and adjacent ones are joined.
fn matches(text: &str, needles: &[Needle]) -> Vec<Range<usize>> {
    let folded = Folded::of(text);
    let mut found: Vec<Range<usize>> = segments(&folded.text)
        .flat_map(|segment| {
            needles
                .iter()
                .flat_map(move |needle| needle.matches_in(segment))
                .map(move |range| segment.offset + range.start..segment.offset + range.end)
        })
        .map(|range| folded.origin(&range))
        .collect();
    found.sort_by_key(|range| range.start);
    found.dedup_by(|next, previous| {
        let joins = next.start <= previous.end;
        if joins {
            previous.end = previous.end.max(next.end);
        }
        joins
    });
    found
}

/// A stretch of at most [`SNIPPET_CHARS`] that shows the match at `focus`. It starts after a space if there
/// is one nearby.
fn window(text: &str, focus: usize) -> Range<usize> {
    let start = text[..focus].char_indices().rev().nth(LEAD_CHARS - 1).map_or(0, |(at, _)| {
        let cut = &text[at..focus];
        at + cut.find(char::is_whitespace).map_or(0, |space| space + 1)
    });
    let start = text.ceil_char_boundary(start);
    let end = text[start..].char_indices().nth(SNIPPET_CHARS).map_or(text.len(), |(at, _)| start + at);
    start..end
}

fn marked(text: &str, window: Range<usize>, matches: &[Range<usize>]) -> String {
    let mut html = String::with_capacity(window.len() + 16);
    let mut at = window.start;
    for range in matches {
        let (from, to) = (range.start.max(at), range.end.min(window.end));
        if from >= to {
            continue;
        }
        escape_into(&mut html, &text[at..from]);
        html.push_str("<em>");
        escape_into(&mut html, &text[from..to]);
        html.push_str("</em>");
        at = to;
    }
    escape_into(&mut html, &text[at..window.end]);
    html
}

fn escape_into(html: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            other => html.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::folding::fold;
    use super::*;

    fn needles(query: &str) -> Vec<Needle> {
        super::super::needle::needles(&fold(query))
    }

    #[test]
    fn matches_are_marked_and_the_rest_is_escaped() {
        assert_eq!(
            highlight("Red <b>shoes</b> & socks", &needles("shoes")),
            "Red &lt;b&gt;<em>shoes</em>&lt;/b&gt; &amp; socks"
        );
    }

    #[test]
    fn a_typo_and_a_beginning_are_marked_as_what_they_matched() {
        assert_eq!(
            highlight("Wireless headphones", &needles("wirelss head")),
            "<em>Wireless</em> <em>headphones</em>"
        );
    }

    #[test]
    fn korean_is_marked_by_syllable() {
        assert_eq!(highlight("무선이어폰 세트", &needles("이어폰")), "무선<em>이어폰</em> 세트");
    }

    #[test]
    fn what_is_marked_is_the_text_as_it_was_written_f1() {
        for (text, query, marked) in [
            ("ＵＳＢ-Ｃ 케이블", "usb", "<em>ＵＳＢ</em>-Ｃ 케이블"),
            ("Die Straße", "STRASSE", "Die <em>Straße</em>"),
            ("Kopf\u{ad}hörer", "kopfhörer", "<em>Kopf\u{ad}hörer</em>"),
            ("쌀 5㎏ & 콩", "5kg", "쌀 <em>5㎏</em> &amp; 콩"),
            ("ﬁlter", "filter", "<em>ﬁlter</em>"),
            ("무선이어폰 세트", "이어ㅍ", "무선<em>이어폰</em> 세트"),
            ("무선이어폰 세트", "ㅇㅇㅍ", "무선<em>이어폰</em> 세트"),
            ("새 무선 이어폰 세트", "ㅁㅅㅇㅇㅍ", "새 <em>무선</em> <em>이어폰</em> 세트"),
            ("\u{110b}\u{1175}\u{110b}\u{1165}폰", "이어", "<em>\u{110b}\u{1175}\u{110b}\u{1165}</em>폰"),
            ("ｶﾞﾗｽのコップ", "ガラス", "<em>ｶﾞﾗｽ</em>のコップ"),
        ] {
            assert_eq!(highlight(text, &needles(query)), marked);
        }
    }

    #[test]
    fn a_snippet_of_a_long_text_shows_the_match_and_where_it_was_cut() {
        let text = format!("{} lantern {}", "word ".repeat(100), "tail ".repeat(100));
        let snippet = snippet(&text, &needles("lantern"));
        assert!(snippet.contains("<em>lantern</em>"), "{snippet}");
        assert!(snippet.starts_with("…word") && snippet.ends_with('…'), "{snippet}");
        assert!(snippet.chars().count() < SNIPPET_CHARS + 20);
    }

    #[test]
    fn a_snippet_never_cuts_inside_a_character() {
        let text = "한국어 설명 ".repeat(60);
        assert!(snippet(&text, &needles("설명")).contains("<em>설명</em>"));
        assert!(!snippet(&text, &[]).is_empty());
    }
}
