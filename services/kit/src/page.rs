//! Cursor pagination: `?cursor=&limit=` → `{data, next_cursor, has_more}`.
//!
//! We ask a store for one row more than the limit. The extra row tells that there is more, and the last row
//! we keep becomes the cursor. Cursors are opaque to callers, but callers make up their own all the same. So
//! a cursor encodes a [`Place`], and we accept it only if a list can have that place and we would have
//! written it the same way.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::StatusCode;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::problem::{FieldError, Problem, Result};

/// Page size when none is asked for.
pub const DEFAULT_LIMIT: u32 = 20;
/// Largest page size.
pub const MAX_LIMIT: u32 = 100;
/// Longest cursor that we decode, in bytes; ours are a third of it.
const MAX_CURSOR: usize = 256;
/// The end of the year 9999 in Unix microseconds; `time` and RFC 3339 know no later moments.
const LAST_MOMENT: i64 = 253_402_300_799_999_999;

/// A place in a list, such as its last row's id.
pub trait Place: Sized {
    /// How a cursor encodes it: whole numbers, ids and names, which cannot fail halfway through decoding.
    type Written: Serialize + DeserializeOwned;

    fn write(&self) -> Self::Written;

    /// `None` for a place that none of our lists can have.
    fn read(written: Self::Written) -> Option<Self>;
}

impl Place for Uuid {
    type Written = Self;

    fn write(&self) -> Self {
        *self
    }

    fn read(written: Self) -> Option<Self> {
        Some(written)
    }
}

/// A moment, and an id that tells rows of the same moment apart. Unix microseconds, because databases are
/// that precise.
impl Place for (OffsetDateTime, Uuid) {
    type Written = (i64, Uuid);

    fn write(&self) -> (i64, Uuid) {
        let (moment, id) = self;
        (i64::try_from(moment.unix_timestamp_nanos() / 1_000).unwrap_or(LAST_MOMENT), *id)
    }

    fn read((microseconds, id): (i64, Uuid)) -> Option<Self> {
        let known = (0..=LAST_MOMENT).contains(&microseconds).then_some(i128::from(microseconds) * 1_000)?;
        Some((OffsetDateTime::from_unix_timestamp_nanos(known).ok()?, id))
    }
}

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

    /// The place in the cursor, or `None` on the first page; 400 if the cursor is not one of ours.
    pub fn after<T: Place>(&self) -> Result<Option<T>> {
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
    /// Builds a page from up to `limit + 1` rows. `cursor_of` names the place of the last row kept.
    pub fn from_rows<C: Place>(mut rows: Vec<T>, limit: u32, cursor_of: impl FnOnce(&T) -> C) -> Self {
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

pub fn encode_cursor<T: Place>(place: &T) -> String {
    // `Value` can hold everything that places are written as.
    let json = serde_json::to_value(place.write()).unwrap_or_default();
    BASE64_URL_SAFE_NO_PAD.encode(json.to_string())
}

/// The reverse of [`encode_cursor`]; 400 `cursor-invalid` for anything that it would not have written.
pub fn decode_cursor<T: Place>(cursor: &str) -> Result<T> {
    written(cursor).and_then(T::read).filter(|place| encode_cursor(place) == cursor).ok_or_else(|| {
        Problem::new(StatusCode::BAD_REQUEST, "cursor-invalid", "The cursor is not one of this list").field(
            "cursor",
            "cursor",
            "must be the next_cursor of an earlier page",
        )
    })
}

fn written<W: DeserializeOwned>(cursor: &str) -> Option<W> {
    let cursor = (cursor.len() <= MAX_CURSOR).then_some(cursor)?;
    let json = BASE64_URL_SAFE_NO_PAD.decode(cursor).ok()?;
    serde_json::from_slice(&json).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    type Moment = (OffsetDateTime, Uuid);

    #[test]
    fn a_row_too_many_means_there_is_more() {
        let rows = [1, 2, 3].map(Uuid::from_u128);
        let page = Page::from_rows(rows.to_vec(), 2, |row| *row);
        assert_eq!(page.data, rows[..2]);
        assert!(page.has_more);
        assert_eq!(decode_cursor::<Uuid>(&page.next_cursor.unwrap()).unwrap(), rows[1]);
    }

    #[test]
    fn the_last_page_has_no_cursor() {
        let page = Page::from_rows(vec![Uuid::nil(), Uuid::max()], 2, |row| *row);
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
        assert_eq!(query(None).after::<Uuid>().unwrap_err().code, "cursor-invalid");
    }

    #[test]
    fn a_moment_comes_back_as_databases_keep_it() {
        for moment in [time::macros::datetime!(2026-09-14 10:00:00.123456 UTC), OffsetDateTime::UNIX_EPOCH] {
            let place = (moment, Uuid::max());
            assert_eq!(decode_cursor::<Moment>(&encode_cursor(&place)).unwrap(), place);
        }
    }

    #[test]
    fn a_cursor_that_somebody_changed_is_refused_and_harms_nobody_h2() {
        const NIL: &str = r#""00000000-0000-0000-0000-000000000000""#;
        let written = |json: &str| BASE64_URL_SAFE_NO_PAD.encode(json);
        for json in [
            format!("[[9999,365,23,59,59,0,-23,0,0],{NIL}]"),
            format!("[[-9999,1,0,0,0,0,0,0,0],{NIL}]"),
            format!("[{},{NIL}]", LAST_MOMENT + 1),
            format!("[-1,{NIL}]"),
            format!("[{},{NIL}]", i64::MIN),
            format!("[1e300,{NIL}]"),
            format!("[1.0,{NIL}]"),
            format!("[1,{NIL},1]"),
            format!("[ 1,{NIL}]"),
            format!("[1,{NIL}"),
            r#"[1,"00000000000000000000000000000000"]"#.to_owned(),
            format!(r#"{{"0":1,"1":{NIL}}}"#),
            "null".to_owned(),
            "[".repeat(180),
        ] {
            let refused = decode_cursor::<Moment>(&written(&json)).unwrap_err();
            assert_eq!((refused.status.as_u16(), refused.code), (400, "cursor-invalid"), "{json}");
        }
        for cursor in ["", "=", "\0", &"A".repeat(1 << 20)] {
            assert!(decode_cursor::<Moment>(cursor).is_err());
            assert!(decode_cursor::<Uuid>(cursor).is_err());
        }
        assert!(decode_cursor::<Moment>(&written(&format!("[{LAST_MOMENT},{NIL}]"))).is_ok());
    }
}
