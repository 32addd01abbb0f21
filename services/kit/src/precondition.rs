//! Conditional requests (RFC 9110, section 13): a change that only applies to what its caller saw, and an
//! answer that is left out because its caller has it already.
//!
//! Each version of a resource has one strong tag, the version number in quotes. `If-Match` compares strongly,
//! so a weak tag matches nothing; `If-None-Match` compares weakly. In both, `*` matches whatever there is.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, IntoResponseParts, Response, ResponseParts};
use http::header::{self, HeaderName};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::problem::Problem;

/// The tag of a version. As part of an answer it becomes the `ETag` header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntityTag(String);

impl EntityTag {
    pub fn of_version(version: i64) -> Self {
        Self(version.to_string())
    }
}

impl IntoResponseParts for EntityTag {
    type Error = Infallible;

    fn into_response_parts(self, mut parts: ResponseParts) -> Result<ResponseParts, Infallible> {
        // Digits in quotes are always a valid value.
        if let Ok(value) = HeaderValue::try_from(format!("\"{}\"", self.0)) {
            parts.headers_mut().insert(header::ETAG, value);
        }
        Ok(parts)
    }
}

/// `If-Match`, which every change must have: 428 `if-match-missing` without it, 400 `if-match-invalid` if it
/// is not a list of tags.
#[derive(Clone, Debug)]
pub struct IfMatch(Tags);

impl IfMatch {
    /// Whether the change is meant for the current version.
    pub fn admits(&self, current: &EntityTag) -> bool {
        self.0.any(|tag| !tag.weak && tag.opaque == current.0)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        if !parts.headers.contains_key(header::IF_MATCH) {
            let title = "If-Match is required";
            return Err(Problem::new(StatusCode::PRECONDITION_REQUIRED, "if-match-missing", title)
                .detail("send the ETag of what you change as you last saw it"));
        }
        Tags::of(&parts.headers, &header::IF_MATCH).map(Self).ok_or_else(|| {
            let title = "If-Match is neither * nor a list of ETags";
            Problem::new(StatusCode::BAD_REQUEST, "if-match-invalid", title)
                .detail("send an ETag as it was received, such as \"3\" with its quotes")
        })
    }
}

/// A reader's `If-None-Match`. One that is missing, or that is not a list of tags, matches nothing.
#[derive(Clone, Debug)]
pub struct IfNoneMatch(Option<Tags>);

impl IfNoneMatch {
    /// `answer`, or 304 without it for a reader who has it already.
    pub fn or_not_modified(&self, current: EntityTag, answer: impl IntoResponse) -> Response {
        if self.0.as_ref().is_some_and(|tags| tags.any(|tag| tag.opaque == current.0)) {
            (StatusCode::NOT_MODIFIED, current, ()).into_response()
        } else {
            (current, answer).into_response()
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IfNoneMatch {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(Self(Tags::of(&parts.headers, &header::IF_NONE_MATCH)))
    }
}

#[derive(Clone, Debug)]
enum Tags {
    Any,
    Listed(Vec<Tag>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Tag {
    weak: bool,
    opaque: String,
}

impl Tags {
    /// `None` if the header is missing or malformed. Several headers count as one list.
    fn of(headers: &HeaderMap, name: &HeaderName) -> Option<Self> {
        let values: Vec<&str> =
            headers.get_all(name).iter().map(|value| value.to_str().ok()).collect::<Option<_>>()?;
        let list = values.join(",");
        if list.trim() == "*" {
            return Some(Self::Any);
        }
        let mut tags = Vec::new();
        // Empty list elements are skipped.
        let mut rest = list.trim_start_matches(is_separator);
        while !rest.is_empty() {
            let (tag, after) = tag(rest)?;
            tags.push(tag);
            let next = after.trim_start_matches(is_separator);
            if !next.is_empty() && !after[..after.len() - next.len()].contains(',') {
                return None;
            }
            rest = next;
        }
        (!tags.is_empty()).then_some(Self::Listed(tags))
    }

    fn any(&self, matches: impl Fn(&Tag) -> bool) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(tags) => tags.iter().any(matches),
        }
    }
}

fn is_separator(c: char) -> bool {
    matches!(c, ',' | ' ' | '\t')
}

/// The first tag of a list, and what follows it. A tag may contain a comma.
fn tag(list: &str) -> Option<(Tag, &str)> {
    let (weak, quoted) = list.strip_prefix("W/").map_or((false, list), |rest| (true, rest));
    let (opaque, rest) = quoted.strip_prefix('"')?.split_once('"')?;
    let tag =
        opaque.chars().all(|c| c.is_ascii_graphic()).then(|| Tag { weak, opaque: opaque.to_owned() })?;
    Some((tag, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(name: HeaderName, values: &[&str]) -> Parts {
        let request = values
            .iter()
            .fold(http::Request::get("/"), |request, value| request.header(name.clone(), *value));
        request.body(()).unwrap().into_parts().0
    }

    async fn if_match(values: &[&str]) -> Result<bool, &'static str> {
        let condition = IfMatch::from_request_parts(&mut parts(header::IF_MATCH, values), &()).await;
        let condition = condition.map_err(|problem| problem.code)?;
        Ok(condition.admits(&EntityTag::of_version(3)))
    }

    #[tokio::test]
    async fn a_change_is_made_for_a_version_for_one_of_several_or_for_whatever_there_is_h7() {
        for admitted in [r#""3""#, "*", r#""2", "3""#, r#""a,b","3""#, r#", "3","#, r#"W/"3", "3""#] {
            assert_eq!(if_match(&[admitted]).await, Ok(true), "{admitted}");
        }
        assert_eq!(if_match(&[r#""2""#, r#""3""#]).await, Ok(true));
    }

    #[tokio::test]
    async fn another_version_and_a_weak_tag_match_nothing_h7() {
        for other in [r#""2""#, r#"W/"3""#, r#""33""#, r#""x""#, r#""""#, r#""-1""#] {
            assert_eq!(if_match(&[other]).await, Ok(false), "{other}");
        }
    }

    #[tokio::test]
    async fn what_is_no_list_of_tags_is_refused_h7() {
        assert_eq!(if_match(&[]).await, Err("if-match-missing"));
        for wrong in ["3", "", ",", r#""3"#, r#"w/"3""#, r#""3" "4""#, r#""3"x"#, r#"*, "3""#, r#""a b""#] {
            assert_eq!(if_match(&[wrong]).await, Err("if-match-invalid"), "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_reader_who_has_it_is_not_sent_it_again_h7() {
        let answered = async |values: &[&str]| {
            let mut parts = parts(header::IF_NONE_MATCH, values);
            let Ok(condition) = IfNoneMatch::from_request_parts(&mut parts, &()).await;
            let answer = condition.or_not_modified(EntityTag::of_version(3), "the whole of it");
            assert_eq!(answer.headers()[header::ETAG], "\"3\"");
            answer.status().as_u16()
        };
        for known in [r#""3""#, r#"W/"3""#, "*", r#""1", W/"3""#] {
            assert_eq!(answered(&[known]).await, 304, "{known}");
        }
        for other in [r#""2""#, "3", ""] {
            assert_eq!(answered(&[other]).await, 200, "{other}");
        }
        assert_eq!(answered(&[]).await, 200);
    }
}
