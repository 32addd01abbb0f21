//! Headers that tell browsers what not to do with an answer.

use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue};

/// For every answer: nothing may frame, sniff or store it unless the handler says so.
const ALWAYS: [(HeaderName, HeaderValue); 4] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
];

/// JSON loads nothing.
const OF_JSON: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");

/// The page for the API has its own scripts, styles and pictures, calls the service it came from, and sets
/// styles on its elements as it draws them.
const OF_PAGES: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
     font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// A year. Not for names below the shop's, which may belong to somebody else.
const TLS_ONLY: HeaderValue = HeaderValue::from_static("max-age=31536000");

const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Whether the caller spoke TLS to the proxy in front, as the nearest proxy says. A caller gains nothing by
/// pretending: browsers ignore this header unless they came over TLS themselves.
pub(super) fn came_over_tls(headers: &HeaderMap) -> bool {
    let nearest = headers.get_all(FORWARDED_PROTO).iter().next_back();
    let nearest = nearest.and_then(|value| value.to_str().ok()?.rsplit(',').next());
    nearest.is_some_and(|scheme| scheme.trim().eq_ignore_ascii_case("https"))
}

/// Adds what the handler has not set itself, for an answer of an API.
pub(super) fn protect(headers: &mut HeaderMap, over_tls: bool) {
    add(headers, &OF_JSON, over_tls);
}

/// The same for the page for the API.
pub(super) fn protect_page(headers: &mut HeaderMap, over_tls: bool) {
    add(headers, &OF_PAGES, over_tls);
}

fn add(headers: &mut HeaderMap, policy: &HeaderValue, over_tls: bool) {
    for (name, value) in &ALWAYS {
        headers.entry(name).or_insert_with(|| value.clone());
    }
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert_with(|| policy.clone());
    if over_tls {
        headers.entry(header::STRICT_TRANSPORT_SECURITY).or_insert(TLS_ONLY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn over_tls(values: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(FORWARDED_PROTO, value.parse().unwrap());
        }
        came_over_tls(&headers)
    }

    #[test]
    fn the_nearest_proxy_says_whether_the_caller_came_over_tls_h10() {
        assert!(over_tls(&["https"]));
        assert!(over_tls(&["http, https"]));
        assert!(over_tls(&["http", "HTTPS"]));
        assert!(!over_tls(&["https, http"]));
        assert!(!over_tls(&[]));
    }
}
