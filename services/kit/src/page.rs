//! Cursor pagination: `?cursor=&limit=` → `{data, next_cursor, has_more}`.
//!
//! A store is asked for one row more than the limit; the row too many says that there is more,
//! and the last row kept becomes the cursor. Cursors are opaque to callers.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::StatusCode;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::problem::{FieldError, Problem, Result};

/// Page size when none is asked for.
pub const DEFAULT_LIMIT: u32 = 20;
/// Largest page size.
pub const MAX_LIMIT: u32 = 100;

/// The query parameters of a list.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// Where to go on, from `next_cursor` of the page before.
    pub cursor: Option<String>,
    /// Entries per page.
    #[param(minimum = 1, maximum = 100, default = 20)]
    pub limit: Option<u32>,
}

impl PageQuery {
    /// The page size; 422 outside 1–100.
    pub fn limit(&self) -> Result<u32> {
        match self.limit.unwrap_or(DEFAULT_LIMIT) {
            limit @ 1..=MAX_LIMIT => Ok(limit),
            limit => Err(Problem::validation(vec![FieldError::new(
                "limit",
                "range",
                format!("must be between 1 and {MAX_LIMIT}, not {limit}"),
            )])),
        }
    }

    /// What the cursor holds, `None` on the first page; 400 when it is not one of ours.
    pub fn after<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        self.cursor.as_deref().map(decode_cursor).transpose()
    }
}

/// One page of a list.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    pub data: Vec<T>,
    /// Pass as `cursor` for the next page; null on the last.
    pub next_cursor: Option<String>,
    pub has_more: bool,
}

impl<T> Page<T> {
    /// A page from up to `limit + 1` rows; `cursor_of` names the place of the last row kept.
    pub fn from_rows<C: Serialize>(mut rows: Vec<T>, limit: u32, cursor_of: impl FnOnce(&T) -> C) -> Self {
        let limit = limit as usize;
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        let next_cursor = rows.last().filter(|_| has_more).map(|last| encode_cursor(&cursor_of(last)));
        Self { data: rows, next_cursor, has_more }
    }

    /// The same page with every entry converted.
    pub fn map<U>(self, convert: impl FnMut(T) -> U) -> Page<U> {
        Page {
            data: self.data.into_iter().map(convert).collect(),
            next_cursor: self.next_cursor,
            has_more: self.has_more,
        }
    }
}

/// A cursor holding `place`.
pub fn encode_cursor<T: Serialize>(place: &T) -> String {
    // Places are tuples of ids and times; `Value` can hold them all.
    let json = serde_json::to_value(place).unwrap_or_default();
    BASE64_URL_SAFE_NO_PAD.encode(json.to_string())
}

/// What [`encode_cursor`] put in.
pub fn decode_cursor<T: DeserializeOwned>(cursor: &str) -> Result<T> {
    BASE64_URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|json| serde_json::from_slice(&json).ok()).ok_or_else(
        || {
            Problem::new(StatusCode::BAD_REQUEST, "cursor-invalid", "The cursor is not one of this list")
                .field("cursor", "cursor", "must be the next_cursor of an earlier page")
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_too_many_means_there_is_more() {
        let page = Page::from_rows(vec![1, 2, 3], 2, |row| *row);
        assert_eq!(page.data, [1, 2]);
        assert!(page.has_more);
        assert_eq!(decode_cursor::<i32>(&page.next_cursor.unwrap()).unwrap(), 2);
    }

    #[test]
    fn the_last_page_has_no_cursor() {
        let page = Page::from_rows(vec![1, 2], 2, |row| *row);
        assert!(!page.has_more);
        assert_eq!(page.next_cursor, None);
    }

    #[test]
    fn limits_outside_the_range_and_foreign_cursors_are_refused() {
        let query = |limit| PageQuery { cursor: Some("?".to_owned()), limit };
        assert_eq!(query(None).limit().unwrap(), 20);
        assert_eq!(query(Some(100)).limit().unwrap(), 100);
        assert_eq!(query(Some(0)).limit().unwrap_err().code, "validation-failed");
        assert_eq!(query(Some(101)).limit().unwrap_err().errors[0].field, "limit");
        assert_eq!(query(None).after::<i32>().unwrap_err().code, "cursor-invalid");
    }
}
