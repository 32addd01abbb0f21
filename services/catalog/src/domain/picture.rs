//! Addresses of pictures. The shop never fetches them; buyers' browsers do, and people read them.
//!
//! We refuse what a browser takes differently from how it reads: characters that are invisible or that
//! reverse the direction of the text, plain or percent-encoded, and whatever makes the host another one than
//! it seems.

use icu_properties::CodePointSetData;
use icu_properties::props::{DefaultIgnorableCodePoint, WhiteSpace};
use percent_encoding::percent_decode_str;
use rocketmart_kit::problem::FieldError;
use rocketmart_kit::text::is_bidi_control;
use url::Url;

/// Longest address, in bytes.
const MOST_BYTES: usize = 2_048;

/// The first rule that an address breaks.
pub(super) fn check(field: &str, address: &str) -> Result<(), FieldError> {
    if address.len() > MOST_BYTES {
        let detail = format!("must have at most {MOST_BYTES} bytes, has {}", address.len());
        return Err(FieldError::new(field, "max-length", detail));
    }
    for text in [address, &percent_decode_str(address).decode_utf8_lossy()] {
        if text.contains(|c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')) {
            let detail = "must not contain control characters, percent-encoded ones neither";
            return Err(FieldError::new(field, "no-control-characters", detail));
        }
        if text.contains(is_bidi_control) {
            let detail = "must not contain characters that change the direction of writing, percent-encoded ones neither";
            return Err(FieldError::new(field, "no-bidi-controls", detail));
        }
    }
    check_url(address).map_err(|detail| FieldError::new(field, "url", detail))
}

fn check_url(address: &str) -> Result<(), &'static str> {
    const ABSOLUTE: &str = "must be an absolute http or https address";
    let (scheme, rest) = address.split_once("://").ok_or(ABSOLUTE)?;
    if !["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return Err("must be an http or https address");
    }
    // Browsers read a backslash as a slash, and drop white space.
    if address.contains(|c: char| c == '\\' || CodePointSetData::new::<WhiteSpace>().contains(c)) {
        return Err("must not contain spaces or backslashes; percent-encode them");
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err("must not contain a user name or password");
    }
    let decoded = percent_decode_str(authority).decode_utf8_lossy();
    if decoded.contains(|c: char| CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)) {
        return Err("must name a host of visible characters");
    }
    // If the host is missing, browsers take the first part of the path for it.
    if authority.is_empty() || authority.starts_with(':') {
        return Err("must name a host");
    }
    Url::parse(address).map_err(|_| ABSOLUTE)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_a_picture_is_taken_in_any_script() {
        for address in [
            "https://img.example/mug.png",
            "HTTP://img.example:8080/a/b.png?size=2&x=%20#top",
            "https://bücher.example/머그%20컵.png",
            "https://img.example/%EB%A8%B8%EA%B7%B8.png",
            "https://img.example/cafe%CC%81-❤\u{fe0f}.png",
            "https://img.example/%B8%D3.png",
            "https://[2001:db8::1]/mug.png",
            "https://img.example",
        ] {
            assert_eq!(check("picture", address), Ok(()), "{address:?}");
        }
    }

    #[test]
    fn what_reads_otherwise_than_it_leads_is_refused_h3() {
        let long = format!("https://a/{}", "x".repeat(2_048));
        for (address, rule) in [
            ("https://a/\0", "no-control-characters"),
            ("https://a/%00", "no-control-characters"),
            ("https://a/%0A", "no-control-characters"),
            ("https://a/x%0d%0aSet-Cookie:", "no-control-characters"),
            ("https://a/\u{7f}", "no-control-characters"),
            ("https://a/%C2%85", "no-control-characters"),
            ("https://a/%E2%80%A8", "no-control-characters"),
            ("https://a\t.example/", "no-control-characters"),
            ("https://a/\u{202e}gnp.exe", "no-bidi-controls"),
            ("https://a/%E2%80%AE", "no-bidi-controls"),
            ("https://a/?q=%e2%81%a6", "no-bidi-controls"),
            ("https://a%E2%80%AE.example/", "no-bidi-controls"),
            ("https://a%00.example/", "no-control-characters"),
            ("https://a/\u{2066}", "no-bidi-controls"),
            ("https://img\u{200b}.example/", "url"),
            ("https://img%C2%AD.example/", "url"),
            ("https://me:secret@img.example/", "url"),
            ("https://me@img.example/", "url"),
            ("https://@img.example/", "url"),
            ("https:///img.example/", "url"),
            ("https://", "url"),
            ("https://?x", "url"),
            ("https://:80/", "url"),
            ("https:\\\\img.example\\a", "url"),
            ("https://img.example\\@other.example/", "url"),
            ("https:img.example/a", "url"),
            ("https://a b/", "url"),
            ("https://img.example/a\u{a0}b", "url"),
            ("https://a%20b/", "url"),
            ("https://a:99999/", "url"),
            ("mug.png", "url"),
            ("//img.example/mug.png", "url"),
            ("file:///etc/passwd", "url"),
            ("javascript:alert(1)", "url"),
            ("data:image/png;base64,AAAA", "url"),
            ("", "url"),
            (long.as_str(), "max-length"),
        ] {
            assert_eq!(
                check("picture", address).map_err(|error| error.rule),
                Err(rule.to_owned()),
                "{address:?}"
            );
        }
    }
}
