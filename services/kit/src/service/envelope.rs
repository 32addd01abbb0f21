//! What every request must satisfy, whatever it asks for: HTTP as RFC 9110 and 9112 define it, and only one
//! value for each header of which different readers might pick different values.

use axum::extract::Request;
use http::header::{self, HeaderName};
use http::uri::Authority;
use http::{HeaderMap, StatusCode, Version};

use crate::extract::IdempotencyKey;
use crate::problem::{Problem, Result};

/// Headers that say one thing. We refuse one that comes twice: a proxy may have read the other value.
const SINGLE: [HeaderName; 4] = [
    header::HOST,
    header::AUTHORIZATION,
    header::CONTENT_TYPE,
    HeaderName::from_static(IdempotencyKey::HEADER),
];

/// 400 or 415 for a request that we do not read any further.
pub(super) fn check(request: &Request) -> Result<()> {
    let headers = request.headers();
    if let Some(repeated) = SINGLE.iter().find(|name| is_repeated(headers, name)) {
        return Err(Problem::new(StatusCode::BAD_REQUEST, "header-repeated", "A header came more than once")
            .detail(format!("send one {repeated}")));
    }
    host(request)?;
    content_encoding(headers)
}

fn is_repeated(headers: &HeaderMap, name: &HeaderName) -> bool {
    headers.get_all(name).iter().nth(1).is_some()
}

/// RFC 9112, section 3.2. HTTP/1.0 has no `Host`.
fn host(request: &Request) -> Result<()> {
    let refused = |code, title| Err(Problem::new(StatusCode::BAD_REQUEST, code, title));
    match request.headers().get(header::HOST) {
        None if request.version() == Version::HTTP_11 => refused("host-missing", "Host is required"),
        Some(host) if !host.is_empty() && Authority::try_from(host.as_bytes()).is_err() => {
            refused("host-invalid", "Host is no name of a host")
        }
        _ => Ok(()),
    }
}

/// We read bodies as they are, so we would misread one that is compressed.
fn content_encoding(headers: &HeaderMap) -> Result<()> {
    let identity = |value: &str| value.trim().is_empty() || value.trim().eq_ignore_ascii_case("identity");
    let plain = headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .all(|value| value.to_str().is_ok_and(|codings| codings.split(',').all(identity)));
    if plain {
        return Ok(());
    }
    let title = "The body must not be encoded";
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content-encoding-unsupported", title)
        .detail("send it as it is, without Content-Encoding"))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn refused(headers: &[(&str, &str)]) -> Option<(u16, &'static str)> {
        let request = headers
            .iter()
            .fold(Request::post("/things"), |request, (name, value)| request.header(*name, *value));
        let problem = check(&request.body(Body::empty()).unwrap()).err()?;
        Some((problem.status.as_u16(), problem.code))
    }

    #[test]
    fn a_body_in_another_coding_is_refused_h6() {
        for coding in ["gzip", "br", "identity, gzip", "aws-chunked"] {
            let refused = refused(&[("host", "x"), ("content-encoding", coding)]);
            assert_eq!(refused, Some((415, "content-encoding-unsupported")), "{coding}");
        }
        for plain in ["identity", "Identity", ""] {
            assert_eq!(refused(&[("host", "x"), ("content-encoding", plain)]), None);
        }
    }

    #[test]
    fn a_header_that_says_one_thing_comes_once_h6() {
        for name in ["host", "authorization", "content-type", "idempotency-key"] {
            let refused = refused(&[("host", "x"), (name, "a"), (name, "a")]);
            assert_eq!(refused, Some((400, "header-repeated")), "{name}");
        }
        assert_eq!(refused(&[("host", "x"), ("accept", "a"), ("accept", "b"), ("if-match", "\"1\"")]), None);
    }

    #[test]
    fn a_request_names_its_host_h6() {
        assert_eq!(refused(&[]), Some((400, "host-missing")));
        assert_eq!(refused(&[("host", "a b")]), Some((400, "host-invalid")));
        assert_eq!(refused(&[("host", "shop.example:8080")]), None);
        let old = Request::get("/things").version(Version::HTTP_10).body(Body::empty()).unwrap();
        assert!(check(&old).is_ok());
    }
}
