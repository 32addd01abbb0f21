//! The few pages that links in mails lead to. They are plain enough for any browser and have no script.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use rocketmart_kit::problem::Problem;

/// Forms may submit to us; nothing else is loaded or run.
const CONTENT_SECURITY_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
);

const STYLE: &str = "body{font:16px/1.5 sans-serif;max-width:32rem;margin:4rem auto;padding:0 1rem;color:#222}\
    button{font:inherit;padding:.5rem 1rem}input{font:inherit;padding:.4rem;width:100%;box-sizing:border-box}";

/// Escapes text for the content of an element or a quoted attribute.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// A whole document; `title` and `body` are already HTML.
pub(crate) fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title>\
         <style>{STYLE}</style></head>\n<body><h1>{title}</h1>\n{body}\n</body></html>\n"
    )
}

pub(super) fn response(status: StatusCode, title: &str, body: &str) -> Response {
    let headers = [(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY)];
    (status, headers, Html(page(title, body))).into_response()
}

/// Whether a browser asks and not a program.
pub(super) fn wanted(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).into_iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|kind| kind.trim_start().starts_with("text/html"))
}

/// A page that says that something is done.
pub(super) fn done(what: &str) -> Response {
    response(StatusCode::OK, what, "<p>You can close this page and log in.</p>")
}

/// The answer to a form: 204 or a problem for a program, and a page with the same content for a person.
pub(super) fn outcome(headers: &HeaderMap, result: Result<(), Problem>, done: &str) -> Response {
    match result {
        result if !wanted(headers) => result.map(|()| StatusCode::NO_CONTENT).into_response(),
        Ok(()) => self::done(done),
        Err(problem) => {
            let rules = problem.errors.iter().map(|error| format!("{} {}", error.field, error.detail));
            let details: Vec<String> = problem.detail.clone().into_iter().chain(rules).collect();
            let body = format!("<p>{}</p>", escape(&details.join("; ")));
            response(problem.status, &escape(&problem.title), &body)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_escapes_a_quoted_attribute() {
        assert_eq!(escape("\"><script>'&"), "&quot;&gt;&lt;script&gt;&#39;&amp;");
    }

    #[test]
    fn browsers_and_programs_are_told_apart() {
        let asks = |accept: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
            wanted(&headers)
        };
        assert!(asks("text/html,application/xhtml+xml,*/*;q=0.8"));
        assert!(!asks("*/*"));
        assert!(!asks("application/json"));
        assert!(!wanted(&HeaderMap::new()));
    }
}
